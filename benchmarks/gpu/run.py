"""Everything that a GPU is needed for, within minutes: tests, times against peers, training."""

import sys
import time
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.part import Part, of_json, of_pytest, perform
from benchmarks.gpu.table import report
from benchmarks.store import Row, Store, identity
from benchmarks.suite import Suite

SECONDS = 520  # of all parts
KERNELS = "tests/ops/fused"


def options(parser: ArgumentParser) -> None:
    """Those of ``run``."""
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--only", default="", help="parts whose name holds this")
    parser.add_argument("--limit", type=float, default=SECONDS, help="seconds of all; 520")


def run(
    output: Path, device: str = "auto", only: str = "", limit: float = SECONDS
) -> tuple[list[Row], dict[str, str]]:
    """Test, time and train on a GPU within 9 minutes, or on the CPU at small sizes.

    Raises:
        ValueError: No part has such a name.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    every = parts(device)
    chosen = {name: part for name, part in every.items() if only in name}
    if not chosen:
        raise ValueError(f"only must be part of one of {list(every)}, got {only!r}")
    store, end = Store(output / "runs.jsonl"), time.monotonic() + limit
    about = _about(device)
    ids = [identity({"part": name}) for name in chosen]
    for key, (name, part) in zip(ids, chosen.items(), strict=True):
        print(f"{name} ...", flush=True)
        row = {"id": key, "part": name, **perform(part, end - time.monotonic()), **about}
        print("done" if row["ok"] else f"FAILED\n{row['error']}", flush=True)
        store.append(row)
    return [store.rows[key] for key in ids], {}


def parts(device: str) -> dict[str, Part]:
    """All, in the order of their worth."""
    files = sorted(str(path) for path in (machine.ROOT / KERNELS).glob("test_*_kernels.py"))
    interpreted = {} if device == "cuda" else {"TRITON_INTERPRET": "1"}
    return {
        "kernels' tests": Part(
            _pytest(*files), 90 if device == "cuda" else 240, of_pytest, interpreted
        ),
        "tests that take a device": Part(
            _pytest(f"--device={device}", f"--ignore={KERNELS}", "tests"), 120, of_pytest
        ),
        **{
            case.title(device): Part(_module("measure", name, device), 60, of_json, goal=case.goal)
            for name, case in CASES.items()
        },
        "training": Part(_module("training", device), 120, of_json),
        **(_placed() if device == "cuda" else {}),
    }


def _placed() -> dict[str, Part]:
    """Tests that know nothing of devices, with all that they make on the GPU. Some need the CPU: read their errors."""
    command = _pytest("--place=cuda", f"--ignore={KERNELS}", "tests/ops", "tests/nn")
    return {"tests placed on the GPU": Part(command, 120, of_pytest, goal="survey")}


def _pytest(*arguments: str) -> list[str]:
    """On several processes where the plugin is there; a file that cannot be imported does not stop the others."""
    shown = ["-rfEs", "--tb=line", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    several = ["-n", "8"] if find_spec("xdist") and torch.cuda.is_available() else []
    return [sys.executable, "-m", "pytest", *shown, *several, *arguments]


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.gpu.{name}", *arguments]


def _about(device: str) -> dict[str, Any]:
    about = machine.describe(device)
    if find_spec("triton"):
        from importlib.metadata import version

        about["versions"]["triton"] = version("triton")
    return about


SUITE = Suite(
    verb="gpu",
    mark="part",
    folder=lambda **_: "gpu",
    options=options,
    run=run,
    report=report,
    pictures=lambda rows, folders: {},
)
