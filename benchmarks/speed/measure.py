"""Measurements, each in a process of its own, which runs this file."""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.machine import peak_memory, reset_peak_memory
from benchmarks.speed.case import Spent


def in_fresh_process(case: str, what: str, *args: str) -> Any:
    """Run one measurement on one thread, away from the memory and caches of the others."""
    command = [sys.executable, "-m", "benchmarks.speed.measure", case, what, *args]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return json.loads(done.stdout)


def cpu_seconds(functions: dict[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    """CPU seconds of every function in turn, round by round, after a round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeat + 1):
        for name, function in functions.items():
            start = time.process_time()
            spent = function()
            own = time.process_time() - start
            if turn or repeat == 1:
                seconds[name].append(spent.seconds if isinstance(spent, Spent) else own)
        if repeat == 1:
            break
    return seconds


def extra_mib(function: Callable[[], object]) -> float:
    """Peak resident memory during the call over that before it, in MiB."""
    gc.collect()
    reset_peak_memory("cpu")
    before = peak_memory("cpu")
    spent = function()
    return spent.mib if isinstance(spent, Spent) else peak_memory("cpu") - before


def ratio(ours: list[float], peer: list[float]) -> float:
    """Median over the rounds of the peer's time over ours."""
    return median(b / a for a, b in zip(ours, peer, strict=True))


def main(name: str, what: str, *args: str) -> None:
    """Print a measurement as JSON: ``CASE time REPEAT CONTESTANT...``, ``CASE memory CONTESTANT``, ``CASE check``."""
    from benchmarks.speed.cases import CASES

    torch.set_num_threads(1)
    case = CASES[name]
    if what == "check":
        found: Any = case.check() if case.check else ""
    elif what == "memory":
        found = extra_mib(case.build()[args[0]])
    else:
        functions = case.build()
        found = cpu_seconds({name: functions[name] for name in args[1:]}, int(args[0]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
