"""Wall seconds of exact neighbours: one process in two threads, two in a ring; ``python docs/measure_ring.py``."""

import os
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.speed.neighbors import K, points
from docs.measure_threads import seconds
from pyg_relational import distributed
from pyg_relational.ops import knn

CASES = ((20_000, 64), (50_000, 64))


def work(rank: int, store: str, n: int, d: int, answers: Any) -> None:
    """Half of the rows."""
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    x = points("Gaussian", n, d)[rank * n // 2 : (rank + 1) * n // 2].clone()
    answers.put(seconds(partial(distributed.knn, x, K), 1))
    dist.barrier()
    answers.close()
    answers.join_thread()
    os._exit(0)


def ring(n: int, d: int) -> float:
    """Of the slower of two processes."""
    context = get_context("spawn")
    answers = context.Queue()
    with TemporaryDirectory() as folder:
        store = f"file://{folder}/store"
        ranks = [context.Process(target=work, args=(r, store, n, d, answers)) for r in range(2)]
        for process in ranks:
            process.start()
        times = [answers.get(timeout=600) for _ in ranks]
        for process in ranks:
            process.join()
    return max(times)


if __name__ == "__main__":
    for n, d in CASES:
        x = points("Gaussian", n, d)
        print(
            f"| {n:,} x {d} | {seconds(partial(knn, x, K), 2):.2f} | {ring(n, d):.2f} |", flush=True
        )
