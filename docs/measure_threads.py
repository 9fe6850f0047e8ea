"""Wall seconds of exact neighbours in one thread and in two, and of their parts: ``python docs/measure_threads.py``."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from scipy.spatial import cKDTree

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


def seconds(work: Callable[[], object], threads: int) -> float:
    """The least of four rounds."""
    torch.set_num_threads(threads)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def told(name: str, work: Callable[[], object]) -> None:
    """A line of the table."""
    one, two = seconds(work, 1), seconds(work, 2)
    print(f"| {name} | {one:.3f} | {two:.3f} | {one / two:.2f} |", flush=True)


if __name__ == "__main__":
    a = torch.randn(4_000, 512)
    told("a bare product, 4,000 x 512 x 4,000", lambda: a @ a.T)
    b = points("Gaussian", 10_000, 64)
    told("bare products, 10,000 x 64", lambda: [rows @ b.T for rows in b.split(256)])
    plane = points("Gaussian", 50_000, 2).double().numpy()
    tree = cKDTree(plane)
    told(
        "bare queries of a tree, 50,000 x 2",
        lambda: tree.query(plane, K, workers=torch.get_num_threads()),
    )
    for n, d, kind in CASES:
        told(f"{n:,} x {d} {kind}", partial(knn, points(kind, n, d), K))
