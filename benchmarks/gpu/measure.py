"""Time and memory of a case, in a process of its own, which runs this file; a line of JSON a contestant."""

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from benchmarks.machine import peak_memory, reset_peak_memory

ROUNDS = 10
ENOUGH = 2.0  # seconds of a contestant, after which no round is begun


def measure(functions: dict[str, Callable[[], object]], device: str) -> Iterator[dict[str, Any]]:
    """Name, milliseconds, MiB, and how far its result is off the first's, of each; or why there are none."""
    first = None
    for name, function in functions.items():
        try:
            found, result = _measured(function, device)
            first = result if first is None else first
            yield {"name": name, **found, "off": off(result, first)}
        except Exception as error:
            yield {"name": name, **why(error, name.startswith("ours"))}


def why(error: Exception, ours: bool = True) -> dict[str, Any]:
    """What failed; a package that is not there, or memory that a peer has not, is left out."""
    word = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
    lacks = isinstance(error, ImportError)
    lacks |= isinstance(error, torch.cuda.OutOfMemoryError) and not ours
    return {"left_out": [word]} if lacks else {"error": f"{type(error).__name__}: {word}"}


def off(found: object, exact: object) -> float:
    """The largest difference of tensors, each in the Euclidean norm, relative to the second."""
    pairs = zip(tree_leaves(found), tree_leaves(exact), strict=True)
    return max(float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in pairs)


def _measured(function: Callable[[], object], device: str) -> tuple[dict[str, float], object]:
    """Median over rounds after one that is not counted, and the peak over what was there before; a result."""
    function()
    gc.collect()
    reset_peak_memory(device)
    before = peak_memory(device)
    times: list[float] = []
    while len(times) < ROUNDS and sum(times) < 1000 * ENOUGH:
        times.append(_milliseconds(function, device))
    memory = peak_memory(device) - before
    return {"ms": median(times), "mib": memory}, function()


def _milliseconds(function: Callable[[], object], device: str) -> float:
    """Of one call: by the GPU's own clock there, which starts when the call does."""
    if device != "cuda":
        start = time.perf_counter()
        function()
        return 1000 * (time.perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end))


def main(name: str, device: str) -> None:
    """Print the measurements of a case."""
    from benchmarks.gpu.cases import CASES

    case = CASES[name]
    for found in measure(case.build(device, *case.sizes(device)), device):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
