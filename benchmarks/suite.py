"""What a kind of study tells the command line."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks.store import Row

Pictures = Mapping[str, Callable[[], Figure | None]]


class Suite(NamedTuple):
    """A kind of study; each folder beside this file has one, at the end of its ``run.py``.

    Args:
        verb: Its subcommand.
        mark: Field that its rows have, and those of no other suite.
        folder: Name of the folder in ``results/`` by default, from the options.
        options: Adds the options of ``run`` to a parser.
        run: From the folder for rows and the options to the rows of the study, old and new, and why parts were not
            run, by name. Each row is on the disk before the next is made.
        report: Rows to markdown, against a baseline, the suite's own by default.
        pictures: Rows and the folders that they come from to what can be drawn, by file name.
        shown: Pattern of the pictures that are drawn without being asked for.
    """

    verb: str
    mark: str
    folder: Callable[..., str]
    options: Callable[[ArgumentParser], None]
    run: Callable[..., tuple[list[Row], dict[str, str]]]
    report: Callable[[Sequence[Row], str | None], str]
    pictures: Callable[[Sequence[Row], Sequence[Path]], Pictures]
    shown: str = ""
