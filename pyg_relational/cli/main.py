"""What the command ``pyg-relational`` does with its arguments."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NoReturn

from pyg_relational.cli import cluster, graph, propagate

__all__ = ["main"]

_COMMANDS = (propagate, cluster, graph)


class _Parser(ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the name of the command. Default: what the shell was given.

    Returns:
        The exit status: 0, or 2 after an error, which is one line on the standard error.

    Example:
        >>> main(["graph", "nothing.csv"])
        2
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    run = options.pop("run")
    from pyg_relational.ops import ConvergenceError

    try:
        run(**options)
    except (ValueError, OSError, ImportError, ConvergenceError) as error:
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="pyg-relational", description="Graphs of a table: its labels, clusters, edges."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        line = (command.__doc__ or "").strip()
        name = command.__name__.rpartition(".")[2]
        sub = commands.add_parser(name, help=line, description=line)
        command.add_options(sub)
        sub.set_defaults(run=command.run)
    return parser
