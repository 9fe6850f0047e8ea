import io
import os
import runpy
import socket
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from pyg_relational.distributed import gather
from pyg_relational.nn import FeatureCapture, graph_consistency_loss
from tests.distributed.pool import FORKED, share

ROOT = Path(__file__).parents[2]


def problem() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x = torch.randn(11, 4, dtype=torch.float64)
    return model, x, torch.arange(11) % 3


def global_loss(hidden: Tensor, logits: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(logits, y) + graph_consistency_loss(hidden, logits, y, detach_target=False)


def work(rank: int, group, sizes: list[int]) -> dict[str, Tensor]:
    model, x, y = problem()
    x, y = share(x, rank, sizes), share(y, rank, sizes)
    trained = DistributedDataParallel(model, process_group=group)
    with FeatureCapture(model, ["1"]) as capture:
        logits = trained(x)
    rows = (gather(part, group) for part in (capture.features[0], logits, y))
    loss = global_loss(*rows)
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in model.parameters()])
    return {"loss": loss.detach(), "grads": grads, "y": gather(y, group)}


def trained_on(batches: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """Parameters after a step on each batch, in one process."""
    model = problem()[0]
    for x, y in batches:
        hidden = model[:2](x)
        step(model, global_loss(hidden, model[2](hidden), y))
    return [p.detach() for p in model.parameters()]


def step(model: nn.Module, loss: Tensor) -> None:
    loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.5 * p.grad
            p.grad = None


LENGTHS = [[3, 2, 1], [4, 1]]  # rows of each batch, by rank: the second has one batch less


def batches(rank: int) -> list[tuple[Tensor, Tensor]]:
    _, x, y = problem()
    start, lengths = 6 * rank, LENGTHS[rank]
    stops = [start + sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [
        (x[stop - n : stop], y[stop - n : stop]) for n, stop in zip(lengths, stops, strict=True)
    ]


def global_batches(steps: int) -> list[tuple[Tensor, Tensor]]:
    parts = [[b[i] for b in (batches(0), batches(1)) if i < len(b)] for i in range(steps)]
    return [(torch.cat([x for x, _ in p]), torch.cat([y for _, y in p])) for p in parts]


def gathered_loss(trained: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with FeatureCapture(trained, ["1"]) as capture:
        logits = trained(x)
    return global_loss(gather(capture.features[0]), gather(logits), gather(y))


def goes_on_without_rows(rank: int) -> list[Tensor]:
    model, mine = problem()[0], batches(rank)
    trained = DistributedDataParallel(model)
    for i in range(int(gather(torch.tensor([len(mine)])).max())):
        x, y = mine[i] if i < len(mine) else (mine[0][0][:0], mine[0][1][:0])
        step(model, gathered_loss(trained, x, y))
    return [p.detach() for p in model.parameters()]


def stops_with_the_first(rank: int) -> list[Tensor]:
    model, mine = problem()[0], batches(rank)
    trained = DistributedDataParallel(model)
    with suppress(RuntimeError), trained.join(throw_on_early_termination=True):
        for x, y in mine:
            step(model, gathered_loss(trained, x, y))
        assert len(mine) == 2, "the longer rank must be stopped"
    return [p.detach() for p in model.parameters()]


def curved(x: Tensor) -> Tensor:
    """Neither its gradient nor its second derivative is constant, and rows meet."""
    return (x.sum(0) ** 3).sum() + (x**3).sum()


def second(x: Tensor, v: Tensor) -> Tensor:
    (g,) = torch.autograd.grad(curved(gather(x)), x, create_graph=True)
    (h,) = torch.autograd.grad((g * v).sum(), x)
    return h


def message(x: object, **kwargs: object) -> str:
    try:
        gather(x, **kwargs)
    except ValueError as error:
        return str(error)
    return "no error"


def collect(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    alone = [dist.new_group([r]) for r in range(2)]
    x = problem()[1][6 * rank : 6 + 6 * rank]
    v = x.cos()
    out = {
        "second": second(x.clone().requires_grad_(), v),
        "func": torch.func.grad(lambda a: curved(gather(a)))(x),
        "own": gather(x, group=alone[rank]),
        "pair": gather(x, group=dist.new_group([0, 1])),
        "other": message(x, group=alone[1 - rank]),
        "dtype": message(x.to([torch.float32, torch.float64][rank])),
        "width": message(torch.ones(2, 3 + rank, 2)),
        "dims": message(torch.ones(2, 3) if rank else torch.ones(2)),
        "scalar": message(torch.ones(()) if rank else torch.ones(2)),
        "grad": message(x.clone().requires_grad_(rank == 1)),
        "after": gather(x),
        "empty": gather(x[:0] if rank else x),
        "flags": gather(torch.tensor([rank == 1])),
        "on": goes_on_without_rows(rank),
        "stop": stops_with_the_first(rank),
    }
    torch.save(out, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)


def spawn(function, args, processes: int) -> None:
    """Run the processes to their end, or fail instead of waiting forever."""
    context = mp.start_processes(
        function, args, nprocs=processes, join=False, start_method=FORKED.get_start_method()
    )
    if not any(context.join(timeout=150) for _ in range(processes)):
        for process in context.processes:
            process.kill()
        pytest.fail("the processes hang")


@pytest.mark.parametrize("sizes", [[6, 5], [10, 1]])
def test_two_processes_give_the_gradient_of_one(ranks, sizes):
    model, x, y = problem()
    hidden = model[:2](x)
    loss = global_loss(hidden, model[2](hidden), y)
    loss.backward()
    grads = torch.cat([p.grad.flatten() for p in model.parameters()])
    for got in ranks(2, work, sizes):
        torch.testing.assert_close(got["loss"], loss.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got["grads"], grads, rtol=1e-12, atol=1e-12)
        assert got["y"].equal(y)


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> list[dict]:
    """What two processes got."""
    folder = tmp_path_factory.mktemp("two")
    spawn(collect, (str(folder),), processes=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_a_second_derivative_is_that_of_the_sum_of_the_losses(collected):
    x = problem()[1].requires_grad_()
    (g,) = torch.autograd.grad(2 * curved(x), x, create_graph=True)
    (h,) = torch.autograd.grad((g * x.detach().cos()).sum(), x)
    torch.testing.assert_close(torch.cat([c["second"] for c in collected]), h)
    torch.testing.assert_close(torch.cat([c["func"] for c in collected]), g.detach())


def test_a_group_gathers_by_itself(collected):
    x = problem()[1]
    assert torch.cat([c["own"] for c in collected]).equal(x)
    for rank, got in enumerate(collected):
        assert got["pair"].equal(x)
        assert got["other"] == f"group must hold this process, rank {rank}, got one without it"


def test_ranks_that_differ_are_named_on_every_rank_and_the_group_lives(collected):
    alike = "x must be alike on all ranks of the group, got "
    for got in collected:
        dtypes = "torch.float32 [n, 4] on cpu without gradient on rank 0, torch.float64 [n, 4] on cpu without"
        assert got["dtype"] == f"{alike}{dtypes} gradient on rank 1"
        assert (
            "[n, 3, 2] on cpu without gradient on rank 0, torch.float32 [n, 4, 2]" in got["width"]
        )
        assert "[n] on cpu without gradient on rank 0, torch.float32 [n, 3]" in got["dims"]
        assert got["scalar"] == "x must have rows, shape [n, ...], got a scalar (on rank 1)"
        assert (
            "without gradient on rank 0, torch.float64 [n, 4] on cpu with gradient" in got["grad"]
        )
        assert got["after"].equal(problem()[1])


def test_no_rows_and_flags(collected):
    for got in collected:
        assert got["empty"].equal(problem()[1][:6])
        assert got["flags"].tolist() == [False, True]


@pytest.mark.parametrize(("name", "steps"), [("on", 3), ("stop", 2)])
def test_uneven_batches_train_as_one_process_does(collected, name, steps):
    expected = trained_on(global_batches(steps))
    for got in collected:
        for p, q in zip(got[name], expected, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_identity_without_a_process_group():
    x = torch.randn(3, 2)
    assert gather(x) is x


def test_a_scalar_has_no_rows():
    with pytest.raises(ValueError, match="x must have rows"):
        gather(torch.tensor(1.0))


def test_x_must_be_a_tensor():
    with pytest.raises(TypeError, match="x must be a Tensor, got list"):
        gather([1.0])


def test_gradcheck_with_a_group_of_one(monkeypatch):
    """In this process, so without gloo: its collectives of one rank are copies."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda group: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda group: 1)
    monkeypatch.setattr(dist, "all_gather", lambda parts, x, group: parts[0].copy_(x))
    monkeypatch.setattr(dist, "all_reduce", lambda x, group: None)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gather, x)
    assert torch.autograd.gradgradcheck(lambda a: gather(a) ** 3, x)
    assert gather(torch.arange(4)).equal(torch.arange(4))


def example(name: str) -> str:
    return str(ROOT / "examples" / f"{name}.py")


def alone(name: str) -> list[str]:
    """Words that an example prints in one process."""
    said = io.StringIO()
    with redirect_stdout(said):
        runpy.run_path(example(name), run_name="__main__")
    return said.getvalue().split()


def test_example_under_torchrun_equals_one_process():
    """One of them by torchrun itself, whose three processes import torch anew."""
    name = "distributed_gll"
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = subprocess.run(
        [*run, example(name)], capture_output=True, text=True, check=True, timeout=300
    )
    assert two.stdout.startswith("2 process(es): ")
    one = alone(name)
    assert one[:2] == ["1", "process(es):"]
    assert one[2:] == two.stdout.split()[2:]


def started(rank: int, name: str, folder: str, port: int) -> None:
    """An example as torchrun starts it, in a process that has torch already."""
    own = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    os.environ.update({key: str(value) for key, value in own.items()})
    torch.set_num_threads(1)
    with open(f"{folder}/{rank}", "w") as file, redirect_stdout(file):
        runpy.run_path(example(name), run_name="__main__")
    os._exit(0)


@pytest.mark.parametrize("name", ["distributed_gcr", "distributed_lcc"])
def test_example_in_two_processes_equals_one(name, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    spawn(started, (name, str(tmp_path), port), processes=2)
    two = (tmp_path / "0").read_text()
    assert two.startswith("2 process(es): ")
    assert not (tmp_path / "1").read_text()
    one = alone(name)
    assert one[:2] == ["1", "process(es):"]
    assert one[2:] == two.split()[2:]
