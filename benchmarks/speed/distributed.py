"""Graph learning over ranks: the work, memory and traffic of each."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.machine import peak_memory, reset_peak_memory
from benchmarks.speed.case import Case, Spent
from benchmarks.speed.neighbors import points
from pyg_relational.distributed import ShardedGraph, knn_graph, laplace_propagation

D, K, C = 16, 10, 10
GRID = "grid"
WORLDS = (1, 2, 4)


class Work(NamedTuple):
    """Of one rank: CPU seconds, extra MiB, MB sent and what the formula says, by part."""

    seconds: float
    mib: float
    sent: dict[str, float]
    formula: dict[str, float]


@contextmanager
def counted(sent: Counter[str]) -> Iterator[None]:
    """Count the bytes that are handed over for other ranks: of the ring, of exchanges of rows, and of sums."""
    exchange, pass_on, reduce = dist.all_to_all_single, dist.batch_isend_irecv, dist.all_reduce

    def all_to_all(out: Any, rows: Any, receive: Any, send: Any, group: Any = None) -> Any:
        others = sum(send) - send[dist.get_rank(group)]
        sent["rows"] += others * rows[:1].numel() * rows.element_size()
        return exchange(out, rows, receive, send, group=group)

    def batch(ops: Any) -> Any:
        sent["ring"] += sum(op.tensor.nbytes for op in ops if op.op is dist.isend)
        return pass_on(ops)

    def all_reduce(x: Any, **options: Any) -> Any:
        world = dist.get_world_size(options.get("group"))
        sent["sums"] += 2 * (world - 1) * x.nbytes // world
        return reduce(x, **options)

    names = ("all_to_all_single", "batch_isend_irecv", "all_reduce")
    with patch.multiple(dist, **dict(zip(names, (all_to_all, batch, all_reduce), strict=True))):
        yield


def formula(graph: ShardedGraph, rank: int, world: int, iterations: int) -> dict[str, float]:
    """MB that a rank sends: as docs/distributed.md has it, float32 features."""
    halo, offsets, ahead = graph.halo, graph.offsets, (rank + 1) % world
    block = offsets[ahead + 1] - offsets[ahead]
    give = len(halo.give)
    return {
        "ring": 4 * D * (graph.num_nodes - block) / 1e6,
        "features": 4 * (D + 1) * give / 1e6,
        "solve": 4 * C * give * iterations / 1e6,
    }


def grid(n: int, rows: range) -> Tensor:
    """Edges of some rows of a square grid of ``n`` nodes, numbered line by line."""
    side = int(n**0.5)
    node = torch.tensor(rows)
    ends = [
        (node[keep], node[keep] + step)
        for step, keep in (
            (1, node % side < side - 1),
            (-1, node % side > 0),
            (side, node < n - side),
            (-side, node >= side),
        )
    ]
    return torch.stack([torch.cat(part) for part in zip(*ends, strict=True)])


def work(rank: int, world: int, n: int, kind: str, store: str, answers: Any) -> None:
    """One step of a rank: graph, solve and backward pass."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=world)
    torch.manual_seed(0)
    rows = range(n * rank // world, n * (rank + 1) // world)
    here = slice(rows.start, rows.stop)
    y = torch.randint(C, (n,))[here].clone()
    mask = (torch.rand(n) < 0.05)[here].clone()
    x = grid(n, rows) if kind == GRID else points(kind, n, D)[here].clone().requires_grad_()
    parts: dict[str, Counter[str]] = {part: Counter() for part in ("graph", "solve", "backward")}
    reset_peak_memory("cpu")
    before, start = peak_memory("cpu"), time.process_time()
    with counted(parts["graph"]):
        graph = (
            ShardedGraph.from_rows(x, torch.ones(x.shape[1]).requires_grad_(), len(rows))
            if kind == GRID
            else knn_graph(x, K)
        )
    with counted(parts["solve"]):
        u, info = laplace_propagation(graph, y, mask, num_classes=C, tau=0.01, return_info=True)
    with counted(parts["backward"]):
        u.square().sum().backward()
    seconds, mib = time.process_time() - start, peak_memory("cpu") - before
    sent = {f"{part} {kind}": b / 1e6 for part in parts for kind, b in parts[part].items()}
    said = formula(graph, rank, world, info.iterations) if world > 1 else {}
    answers.put(Work(seconds, mib, sent, said))
    if world > 1:
        dist.barrier()
    answers.close()
    answers.join_thread()
    os._exit(0)


def step(world: int, n: int, kind: str) -> list[Work]:
    """What each rank had to do."""
    context = get_context("spawn")
    answers = context.Queue()
    with TemporaryDirectory() as folder:
        store = f"file://{folder}/store"
        ranks = [
            context.Process(target=work, args=(rank, world, n, kind, store, answers))
            for rank in range(world)
        ]
        for process in ranks:
            process.start()
        done = [answers.get(timeout=3600) for _ in ranks]
        for process in ranks:
            process.join()
    return done


def _busiest(world: int, n: int, kind: str) -> Spent:
    done = step(world, n, kind)
    return Spent(max(w.seconds for w in done), max(w.mib for w in done))


def _build(n: int, kind: str) -> dict[str, Callable[[], object]]:
    return {f"{world} process(es)": partial(_busiest, world, n, kind) for world in WORLDS}


def _traffic(n: int, kind: str) -> str:
    """MB sent by the rank that sends most of each kind, and the formula for it."""
    told = []
    for world in WORLDS[1:]:
        done = step(world, n, kind)
        sent = {name: max(w.sent.get(name, 0.0) for w in done) for w in done for name in w.sent}
        said = {name: max(w.formula[name] for w in done) for name in done[0].formula}
        graph = "" if kind == GRID else _of_graph(sent, said)
        told.append(
            f"{world}: {graph}rows of the solve {sent['solve rows']:.2f} MB, "
            f"formula {said['solve']:.2f}; rows of the backward pass {sent['backward rows']:.2f}; "
            f"sums {sent['solve sums'] + sent['backward sums']:.3f}"
        )
    return "; ".join(told)


def _of_graph(sent: dict[str, float], said: dict[str, float]) -> str:
    return (
        f"ring {sent['graph ring']:.2f} MB, formula {said['ring']:.2f}; "
        f"rows of the graph {sent['graph rows']:.2f}, features {said['features']:.2f}; "
    )


def _case(n: int, kind: str, rounds: int) -> Case:
    return Case(
        partial(_build, n, kind),
        tuple(f"{world} process(es)" for world in WORLDS),
        f"{kind}: time and memory of a rank fall with their number; bytes as the formula says",
        partial(_traffic, n, kind),
        rounds=rounds,
    )


_NAME = "distributed graph learning with gradient, busiest rank, n="

DISTRIBUTED = {
    f"{_NAME}20000 d={D} k={K}": _case(20_000, "Gaussian", 3),
    f"{_NAME}200000 d={D} k={K}": _case(200_000, "clustered", 1),
    f"{_NAME}1000000, grid given": _case(1_000_000, GRID, 1),
}
