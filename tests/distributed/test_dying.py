"""A rank that is killed makes the others raise."""

import os
import signal
import time
from importlib import import_module

import pytest
import torch
import torch.distributed as dist

from pyg_relational import distributed
from tests.distributed.pool import FORKED, refused


def die_at(call: int, function):
    """The function, whose process is killed when it is called so often."""
    calls: list[int] = []

    def counted(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return counted


def work(rank: int, folder: str, where: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3)
    torch.manual_seed(rank)
    x, y = torch.randn(50, 3), torch.arange(50) % 3

    def call() -> None:
        graph = distributed.knn_graph(x, 5)
        distributed.laplace_propagation(graph, y, torch.arange(50) < 3)

    knn = import_module("pyg_relational.distributed.knn")
    solve = import_module("pyg_relational.distributed.solve")
    if rank == 1 and where == "ring":
        knn.in_block = die_at(2, knn.in_block)
    if rank == 1 and where == "iteration":
        solve.ShardedSystem.sums = die_at(5, solve.ShardedSystem.sums)
    dist.barrier()
    start = time.monotonic()
    said = refused(call)
    with open(f"{folder}/{rank}", "w") as file:
        file.write(f"{time.monotonic() - start}\n{said}")
    os._exit(0)


@pytest.mark.parametrize("where", ["ring", "iteration"])
def test_the_others_raise_within_a_minute(tmp_path, where):
    processes = [
        FORKED.Process(target=work, args=(rank, str(tmp_path), where)) for rank in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
    assert [process.exitcode for process in processes] == [0, -signal.SIGKILL, 0]
    for rank in (0, 2):
        seconds, said = (tmp_path / str(rank)).read_text().split("\n", 1)
        assert float(seconds) < 60
        assert said.startswith(("RuntimeError", "DistBackendError"))
        assert "onnection" in said
