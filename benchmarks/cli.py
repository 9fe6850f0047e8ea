"""Studies: run, cluster, speed and gpu make rows; table, plot and report show rows of any."""

import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.run import SUITE as ACCURACY
from benchmarks.clustering.run import SUITE as CLUSTERING
from benchmarks.drawing import save
from benchmarks.gpu.run import SUITE as GPU
from benchmarks.page import page
from benchmarks.speed.run import SUITE as SPEED
from benchmarks.store import Row, read
from benchmarks.suite import Suite
from pyg_relational import datasets

SUITES = (ACCURACY, CLUSTERING, SPEED, GPU)
CONFIGS = machine.ROOT / "benchmarks" / "configs"


def make(suite: Suite, output: Path | None = None, **options: object) -> None:
    """Make what rows are missing; then print the table and draw.

    Args:
        suite: Whose.
        output: Folder for rows, table and pictures; one in results/ by default.
        options: Those of the suite.
    """
    folder = output or Path("results") / suite.folder(**options)
    machine.check_clean(folder)
    rows, missing = suite.run(folder, **options)
    parts = [suite.report(rows, None)] if rows else []
    parts += [f"Not run: {name}. {why}\n" for name, why in missing.items()]
    text = "\n".join(parts)
    print(f"\n{text}")
    if not rows:
        raise ValueError("nothing of this study could be run, see above")
    (folder / "table.md").write_text(text)
    print(f"rows:     {folder / 'runs.jsonl'}\ntable:    {folder / 'table.md'}")
    for path in _draw(suite, rows, [folder], folder):
        print(f"picture:  {path}")


def table(results: list[Path], baseline: str | None = None) -> None:
    """Print the tables of finished runs."""
    for suite, rows in _by_suite(results):
        print(suite.report(rows, baseline))


def plot(results: list[Path], output: Path | None = None, only: str | None = None) -> None:
    """Draw the pictures of finished runs."""
    first = results[0] if results[0].is_dir() else results[0].parent
    for suite, rows in _by_suite(results):
        for path in _draw(suite, rows, results, output or first, only):
            print(path)


def report(results: list[Path], output: Path = Path("report.html")) -> None:
    """Write one HTML page of finished runs: curves, tables that sort and filter, every run."""
    rows = {folder.name: read([folder]) for folder in results}
    output.write_text(page(rows), encoding="utf-8")
    print(output)


def list_all() -> None:
    """Print what there is: configs, data sets, methods with their options, models with theirs."""
    print("configs")
    for path in sorted(CONFIGS.glob("*.yaml")):
        print(f"  {path.stem:<14}{path.read_text().splitlines()[0].removeprefix('# ')}")
    print(f"data sets\n  {', '.join(datasets.__all__)}")
    for kind, registry in (("methods", methods), ("models", models)):
        print(kind)
        for name in registry.functions:
            options = ", ".join(f"{key}={value}" for key, value in registry.options(name).items())
            print(f"  {name:<14}{options}")


def main(arguments: list[str]) -> int:
    """Run a verb; the exit status."""
    given = vars(parser().parse_args(arguments))
    try:
        given.pop("verb")(**given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> ArgumentParser:
    """Of all verbs; its help has the usage of each."""
    top = ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(required=True, metavar="verb")

    def add(name: str, text: str | None) -> ArgumentParser:
        line = (text or "").split("\n")[0]
        return verbs.add_parser(name, help=line, description=line)

    for suite in SUITES:
        sub = add(suite.verb, suite.run.__doc__)
        suite.options(sub)
        sub.add_argument("--output", type=Path, help="folder for rows, table and pictures")
        sub.set_defaults(verb=partial(make, suite))
    for name, verb in (("table", table), ("plot", plot), ("report", report), ("list", list_all)):
        sub = add(name, verb.__doc__)
        sub.set_defaults(verb=verb)
        if verb is not list_all:
            sub.add_argument("results", type=Path, nargs="+", help="folders with a runs.jsonl")
        if verb is table:
            sub.add_argument("--baseline", help="what to compare with; the suite's by default")
        if verb is report:
            sub.add_argument("--output", type=Path, default=Path("report.html"), help="file")
        if verb is plot:
            sub.add_argument("--output", type=Path, help="folder; the first of the results")
            sub.add_argument("--only", help="pattern of the pictures' names, in place of the usual")
    top.epilog = "\n".join(sub.format_usage().strip() for sub in verbs.choices.values())
    return top


def _by_suite(results: Sequence[Path]) -> Iterator[tuple[Suite, list[Row]]]:
    """The suites that have rows in the folders, and these."""
    rows = read(results)
    for suite in SUITES:
        if mine := [row for row in rows if suite.mark in row]:
            yield suite, mine


def _draw(
    suite: Suite,
    rows: Sequence[Row],
    folders: Sequence[Path],
    output: Path,
    only: str | None = None,
) -> list[Path]:
    pattern = suite.shown if only is None else only
    pictures = suite.pictures(rows, folders).items()
    return save({name: draw() for name, draw in pictures if re.search(pattern, name)}, output)
