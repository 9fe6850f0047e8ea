"""Wall seconds of exact neighbours in one thread and in two: ``python docs/measure_threads.py``."""

import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.speed.neighbors import K, points
from pyg_relational.ops import knn

CASES = (
    (10_000, 2, "Gaussian"),
    (10_000, 64, "Gaussian"),
    (10_000, 512, "Gaussian"),
    (50_000, 2, "Gaussian"),
    (50_000, 16, "Gaussian"),
    (50_000, 64, "Gaussian"),
    (50_000, 64, "clustered"),
)


def seconds(x: torch.Tensor, threads: int, rounds: int = 4) -> float:
    """The least of some rounds."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        knn(x, K)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    for n, d, kind in CASES:
        x = points(kind, n, d)
        one, two = seconds(x, 1), seconds(x, 2)
        print(f"| {n:,} x {d} {kind} | {one:.3f} | {two:.3f} | {one / two:.2f} |", flush=True)
