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


PACKAGE = "pyg_relational.distributed"
DIES = {  # which rank, in which call of what
    "ring": (1, 2, f"{PACKAGE}.knn", "in_block"),
    "iteration": (1, 5, f"{PACKAGE}.solve:ShardedSystem", "sums"),
    "queries": (1, 3, f"{PACKAGE}.approximate", "in_block"),
    "clusters": (0, 1, "pyg_relational.nn.loss.latent_update", "leiden"),
}


def work(rank: int, folder: str, where: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3)
    torch.manual_seed(rank)
    x, y = torch.randn(50, 3), torch.arange(50) % 3

    def graph() -> None:
        distributed.laplace_propagation(distributed.knn_graph(x, 5), y, torch.arange(50) < 3)

    def approximate() -> None:
        distributed.approximate_knn(x, 5)

    def update() -> None:
        correction = distributed.LatentClusterCorrection(torch.arange(150) % 3)
        correction(x, torch.arange(50) + 50 * rank)
        correction.update()

    calls = {"queries": approximate, "clusters": update}
    if rank == DIES[where][0]:
        call, owner, name = DIES[where][1:]
        module, _, holder = owner.partition(":")
        of = getattr(import_module(module), holder) if holder else import_module(module)
        setattr(of, name, die_at(call, getattr(of, name)))
    import_module(f"{PACKAGE}.approximate").need_pynndescent = lambda: None
    dist.barrier()
    start = time.monotonic()
    said = refused(calls.get(where, graph))
    with open(f"{folder}/{rank}", "w") as file:
        file.write(f"{time.monotonic() - start}\n{said}")
    os._exit(0)


@pytest.mark.parametrize("where", DIES)
def test_the_others_raise_within_a_minute(tmp_path, where):
    dies = DIES[where][0]
    processes = [
        FORKED.Process(target=work, args=(rank, str(tmp_path), where)) for rank in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(150)
    codes = [-signal.SIGKILL if rank == dies else 0 for rank in range(3)]
    assert [process.exitcode for process in processes] == codes
    for rank in {0, 1, 2} - {dies}:
        seconds, said = (tmp_path / str(rank)).read_text().split("\n", 1)
        assert float(seconds) < 60
        assert said.startswith(("RuntimeError", "DistBackendError"))
        assert "onnection" in said
