"""``python -m benchmarks speed``: time and memory against named peers, in one run, on one thread."""

import argparse
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import in_fresh_process
from benchmarks.speed.plot import curve, ratios
from benchmarks.speed.propagation import ROOT
from benchmarks.speed.table import Row, save, to_markdown
from pyg_relational import datasets


def main(argv: list[str] | None = None) -> None:
    """Run the cases, print the table and write it beside its numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description=__doc__)
    parser.add_argument("--only", default="", help="run the cases whose name holds this")
    parser.add_argument("--repeat", type=int, default=5, help="timed rounds of every case")
    parser.add_argument("--output", type=Path, default=Path("results/speed"))
    args = parser.parse_args(argv)
    names = [name for name in CASES if args.only in name]
    if not names:
        parser.error(f"--only must be part of one of {list(CASES)}, got {args.only!r}")
    rows: list[Row] = []
    for name in tqdm(names, unit="case"):
        if lacking := _lacking(CASES[name].data):
            print(f"LEFT OUT {name}: {lacking}")
            continue
        rows.append(_row(name, args.repeat))
        save(rows, args.output)
    curve(rows, args.output)
    ratios(rows, args.output)
    print(to_markdown(rows))
    print(f"\nNumbers and table: {args.output}")


def _lacking(data: str) -> str:
    """What the data set says if its raw files are missing."""
    try:
        if data:
            getattr(datasets, data)(root=ROOT)
    except FileNotFoundError as error:
        return str(error)
    return ""


def _row(name: str, repeat: int) -> Row:
    case = CASES[name]
    absent = {peer: package for peer, package in case.needs.items() if not find_spec(package)}
    for peer, package in absent.items():
        print(f"LEFT OUT {peer}: pip install {package}")
    contestants = [peer for peer in case.contestants if peer not in absent]
    rounds = min(repeat, case.rounds)
    seconds = in_fresh_process(name, "time", str(rounds), *contestants)
    memory = {peer: in_fresh_process(name, "memory", peer) for peer in contestants}
    return Row(name, case.goal, seconds, memory, in_fresh_process(name, "check"))
