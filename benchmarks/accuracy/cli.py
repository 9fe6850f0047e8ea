"""The verbs of ``python -m benchmarks``."""

import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.accuracy import plots, tables
from benchmarks.accuracy.config import load
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.store import Row, read
from benchmarks.accuracy.study import run_study
from pyg_relational import datasets

CONFIGS = Path(__file__).parents[1] / "configs"


def run(config: Path, output: Path | None = None, seeds: list[int] | None = None) -> None:
    """Run a study, or what is left of it; then print its table and write its pictures.

    Args:
        config: YAML file, see benchmarks/configs.
        output: Folder for the results; results/<name of the config> by default.
        seeds: In place of the config's, to share a study between processes (one output each).
    """
    study = load(config, seeds)
    folder = output or Path("results") / config.stem
    rows, skipped = run_study(study, folder)
    _write_report(rows, folder, skipped)
    print(f"\nrows:     {folder / 'runs.jsonl'}\ntable:    {folder / 'table.md'}")
    for path in plots.write(rows, [folder], folder / "pictures"):
        print(f"picture:  {path}")
    if len(skipped) == len(study.tasks):
        raise ValueError("no data set of this study is available, see above")


def table(results: list[Path], baseline: str | None = None) -> None:
    """Print the tables of finished runs.

    Args:
        results: Folders with a runs.jsonl, or such files.
        baseline: Method that the others are compared with; the first of each task by default.
    """
    print(tables.report(read(results), baseline=baseline))


def plot(results: list[Path], output: Path | None = None) -> None:
    """Draw the pictures of finished runs.

    Args:
        results: Folders with a runs.jsonl.
        output: Folder for the pictures; pictures/ in the first of the results by default.
    """
    for path in plots.write(read(results), results, output or results[0] / "pictures"):
        print(path)


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
    given = vars(_parser().parse_args(arguments))
    try:
        given.pop("verb")(**given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for name, verb in (("run", run), ("list", list_all), ("table", table), ("plot", plot)):
        text = (verb.__doc__ or "").split("\n")[0]
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(verb=verb)
        if verb is run:
            sub.add_argument("config", type=Path, help="a file of benchmarks/configs")
            sub.add_argument("--seeds", type=int, nargs="+", help="in place of the config's")
        if verb in (table, plot):
            sub.add_argument("results", type=Path, nargs="+", help="folders with a runs.jsonl")
        if verb is table:
            sub.add_argument("--baseline", help="method to compare with; the first by default")
        if verb in (run, plot):
            sub.add_argument("--output", type=Path, help="folder for what is written")
    verbs.add_parser("speed", help="Measure time and memory; see speed --help.")
    return parser


def _write_report(rows: list[Row], folder: Path, skipped: dict[str, str]) -> None:
    text = tables.report(rows, skipped)
    (folder / "table.md").write_text(text)
    print(f"\n{text}")
