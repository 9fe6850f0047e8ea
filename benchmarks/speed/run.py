"""Speed cases to rows: each measurement in a fresh process, all contestants of a case in the same run."""

from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError

from tqdm import tqdm

from benchmarks import machine
from benchmarks.accuracy.data import Source, available
from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import in_fresh_process
from benchmarks.speed.plot import pictures
from benchmarks.speed.table import report
from benchmarks.store import Row, Store, identity
from benchmarks.suite import Suite


def options(parser: ArgumentParser) -> None:
    """Those of ``run``."""
    parser.add_argument("--only", default="", help="cases whose name holds this; other rows stay")
    parser.add_argument("--missing", action="store_true", help="cases without a row in the output")
    parser.add_argument("--repeat", type=int, default=5, help="timed rounds of every case; 5")


def run(
    output: Path, only: str = "", missing: bool = False, repeat: int = 5
) -> tuple[list[Row], dict[str, str]]:
    """Measure time and memory of the operations and their peers; rows of other cases stay.

    Raises:
        ValueError: No case has such a name.
    """
    names = [name for name in CASES if only in name]
    if not names:
        raise ValueError(f"only must be part of one of {list(CASES)}, got {only!r}")
    store = Store(output / "runs.jsonl")
    sets = {name: CASES[name].data for name in names if CASES[name].data}
    left_out = {name: why for name, data in sets.items() if (why := available(Source(data)))}
    names = [name for name in names if name not in left_out]
    for name in tqdm(names, unit="case"):
        if missing and identity({"case": name}) in store.rows:
            continue
        try:
            store.append(measure(name, repeat))
        except CalledProcessError as error:  # it has said why; the other cases do not wait for it
            left_out[name] = f"Failed: {' '.join(map(str, error.cmd[3:]))}"
    return list(store.rows.values()), left_out


def measure(name: str, repeat: int) -> Row:
    """A case as it is now: CPU seconds of every round and extra MiB, by contestant, ours first."""
    case = CASES[name]
    absent = {peer: package for peer, package in case.needs.items() if not find_spec(package)}
    for peer, package in absent.items():
        print(f"LEFT OUT {peer}: pip install {package}")
    contestants = [peer for peer in case.contestants if peer not in absent]
    rounds = min(repeat, case.rounds)
    return {
        "id": identity({"case": name}),
        "case": name,
        "goal": case.goal,
        "seconds": in_fresh_process(name, "time", str(rounds), *contestants),
        "memory": {peer: in_fresh_process(name, "memory", peer) for peer in contestants},
        "check": in_fresh_process(name, "check"),
        **machine.describe("cpu"),
        "threads": 1,
    }


SUITE = Suite(
    verb="speed",
    mark="case",
    folder=lambda **_: "speed",
    options=options,
    run=run,
    report=report,
    pictures=pictures,
)
