import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyg_relational.distributed import gather
from pyg_relational.nn import graph_consistency_loss

ROOT = Path(__file__).parents[1]


def problem() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(11, 4, dtype=torch.float64)
    return model, x, torch.arange(11) % 3


def global_loss(hidden: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y) + graph_consistency_loss(hidden, logits, y, detach_target=False)


def work(rank: int, folder: str, sizes: list[int]) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=len(sizes)
    )
    model, x, y = problem()
    rows = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    trained = DistributedDataParallel(model)
    hidden: list[Tensor] = []
    model[1].register_forward_hook(lambda module, args, out: hidden.append(out))
    logits = trained(x[rows])
    loss = global_loss(gather(hidden[0]), gather(logits), gather(y[rows]))
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.save({"loss": loss.detach(), "grads": grads, "y": gather(y[rows])}, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's destructor can wait for the GIL forever


def spawn(function, args, processes: int) -> None:
    """Run the processes to their end, or fail instead of waiting forever."""
    context = mp.spawn(function, args=args, nprocs=processes, join=False)
    if not any(context.join(timeout=150) for _ in range(processes)):
        for process in context.processes:
            process.kill()
        pytest.fail("the processes hang")


@pytest.mark.parametrize("sizes", [[6, 5], [10, 1]])
def test_two_processes_give_the_gradient_of_one(tmp_path, sizes):
    model, x, y = problem()
    hidden = model[:2](x)
    loss = global_loss(hidden, model[2](hidden), y)
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in model.parameters()])
    spawn(work, (str(tmp_path), sizes), processes=2)
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(got["loss"], loss.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got["grads"], grads, rtol=1e-12, atol=1e-12)
        assert got["y"].equal(y)


def test_identity_without_a_process_group():
    x = torch.randn(3, 2)
    assert gather(x) is x


def test_a_scalar_has_no_rows():
    with pytest.raises(ValueError, match="x must have rows"):
        gather(torch.tensor(1.0))


def test_gradcheck_with_a_group_of_one(monkeypatch):
    """In this process, so without gloo: its collectives of one rank are copies."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 1)
    monkeypatch.setattr(dist, "all_gather", lambda parts, x: parts[0].copy_(x))
    monkeypatch.setattr(dist, "all_reduce", lambda x: None)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gather, x)
    assert gather(torch.arange(4)).equal(torch.arange(4))


def test_example_under_torchrun_equals_one_process():
    example = str(ROOT / "examples" / "distributed_gcr.py")
    one = subprocess.run([sys.executable, example], capture_output=True, text=True, check=True)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = subprocess.run([*run, example], capture_output=True, text=True, check=True, timeout=300)
    assert one.stdout.startswith("1 process(es): loss")
    assert one.stdout.split()[-1] == two.stdout.split()[-1]
