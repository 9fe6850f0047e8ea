import importlib
import sys
import warnings
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pyg_relational import distributed, ops, transforms
from tests.distributed.pool import refused, share
from tests.distributed.test_knn_graph import points, some

SIZES = {1: [41], 2: [30, 11], 3: [20, 0, 21], 4: [1, 17, 3, 20]}
MODULE = "pyg_relational.distributed.approximate"
needs_pynndescent = pytest.mark.skipif(
    importlib.util.find_spec("pynndescent") is None, reason="needs pynndescent"
)


class Index:
    """In the place of pynndescent's: exact, but for what is left out."""

    asked: list[tuple[int, int]] = []  # noqa: RUF012
    missing = 0  # nearest neighbours that are not found
    short = 10**9  # how many are found

    def __init__(self, x: Any, n_neighbors: int, **options: Any) -> None:
        self.x = torch.from_numpy(x)
        self.asked.append((len(x), n_neighbors))
        near = ops.knn(self.x, n_neighbors - 1).index[:, self.missing :]
        self.neighbor_graph = torch.cat([torch.arange(len(x))[:, None], near], 1).numpy(), None

    def query(self, q: Any, k: int) -> tuple[Any, Any]:
        index, distance = ops.knn(self.x, k, y=torch.from_numpy(q))
        distance[:, self.short :] = torch.inf
        index[:, self.short :] = 0
        return index[:, self.missing :].numpy(), distance[:, self.missing :].numpy()


def with_index(few: int = 10, **change: Any) -> Any:
    """Descent in ranks of more than a few rows."""
    fake = SimpleNamespace(NNDescent=type("NNDescent", (Index,), {"asked": [], **change}))
    patches = patch.dict(sys.modules, pynndescent=fake), patch(f"{MODULE}._FEW", few)

    class Both:
        def __enter__(self) -> type[Index]:
            for each in patches:
                each.__enter__()
            return fake.NNDescent

        def __exit__(self, *error: Any) -> None:
            for each in patches:
                each.__exit__(*error)

    return Both()


def own(rank: int, group, kind: str) -> Tensor:
    return share(points(kind), rank, SIZES[distributed.collectives.rank_and_size(group)[1]])


def found(rank: int, group, kind: str, k: int, metric: str, short: int) -> dict[str, Any]:
    x = own(rank, group, kind)
    with with_index(short=short) as index:
        near = distributed.approximate_knn(x, k, metric, group=group)
    return {"near": tuple(near), "asked": index.asked, "type": type(near).__name__}


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("kind", ["normal", "lattice", "repeated"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("k", "short"), [(4, 10**9), (4, 2), (1, 10**9)])
def test_an_index_that_finds_all_gives_the_exact_neighbours(ranks, world, kind, metric, k, short):
    x = points(kind)
    exact = ops.knn(x, k, metric)
    got = ranks(world, found, kind, k, metric, short)
    index, distance = (torch.cat([f["near"][part] for f in got]) for part in (0, 1))
    torch.testing.assert_close(distance, exact.distance)
    if kind == "normal":
        assert index.equal(exact.index)
    assert index.shape == exact.index.shape
    assert (index != torch.arange(41)[:, None]).all()
    assert (index.sort(1).values.diff(dim=1) > 0).all()
    wide = -(-3 * (k + 1) // 2)
    for f, size in zip(got, SIZES[world], strict=True):
        assert f["near"][2] == 1
        assert f["type"] == "ApproximateKNN"
        assert f["asked"] == [(size, wide)] * (size > 10)


def worse(rank: int, group, rounds: int) -> dict[str, Any]:
    x = own(rank, group, "normal")
    with (
        with_index(missing=1) as index,
        patch("pyg_relational.ops.neighbors.approximate._ROUNDS", rounds),
        warnings.catch_warnings(record=True) as said,
    ):
        warnings.simplefilter("always")
        near = distributed.approximate_knn(x, 4, group=group, recall=0.9)
    said = [str(w.message) for w in said if w.category is RuntimeWarning]
    return {"near": tuple(near), "wide": [wide for _, wide in index.asked], "said": said}


def test_the_recall_is_that_of_all_rows_and_never_silent(ranks):
    """All rows are in the sample, so that the estimate is exact."""
    exact = ops.knn(points("normal"), 4)
    got = ranks(3, worse, 2)
    distance = torch.cat([f["near"][1] for f in got])
    recall = (distance <= exact.distance[:, -1:] * (1 + 1e-9)).double().mean().item()
    assert 0.3 < recall < 0.9
    for f in got:
        assert f["near"][2] == pytest.approx(recall, abs=1e-12)
        assert f["said"] == [f"recall reached {recall:.3f} of 0.9; distributed.knn is exact"]
    assert [f["wide"] for f in got] == [[8, 13], [], [8, 13]]


def test_more_neighbours_are_kept_until_the_recall_is_reached(ranks):
    """At last as many as there are: exact search."""
    got = ranks(3, worse, 4)
    assert torch.cat([f["near"][0] for f in got]).equal(ops.knn(points("normal"), 4).index)
    for f in got:
        assert f["near"][2] == 1
        assert not f["said"]
    assert [f["wide"] for f in got] == [[8, 13], [], [8, 13]]


def learned(rank: int, group, options: dict[str, Any]) -> dict[str, Tensor]:
    x = own(rank, group, "normal").clone().requires_grad_()
    with with_index():
        graph = distributed.knn_graph(x, 4, recall=0.9, group=group, **options)
    grad = some(41 * 41)[graph.edge_index[0] * 41 + graph.edge_index[1]]
    (graph.edge_weight * grad).sum().backward()
    return {"edge_index": graph.edge_index, "w": graph.edge_weight.detach(), "grad": x.grad}


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("options", [{}, {"symmetrize": "mutual", "metric": "cosine"}], ids=str)
def test_weights_and_gradient_are_those_of_the_exact_graph(ranks, world, options):
    x = points("normal").requires_grad_()
    edge_index, w = transforms.knn_graph(x, 4, **options)
    (w * some(41 * 41)[edge_index[0] * 41 + edge_index[1]]).sum().backward()
    got = ranks(world, learned, options)
    assert torch.cat([f["edge_index"] for f in got], 1).equal(edge_index)
    whole = torch.cat([f["w"] for f in got])
    torch.testing.assert_close(whole, w.detach(), rtol=1e-12, atol=1e-12)
    grad = torch.cat([f["grad"] for f in got])
    torch.testing.assert_close(grad, x.grad, rtol=1e-10, atol=1e-12)


def sent(rank: int, group) -> int:
    """Bytes on their way to the rank ahead."""
    asked = []

    def batch(ops: list) -> list:
        asked.extend(op.tensor.nbytes for op in ops if op.op is dist.isend)
        return pass_on(ops)

    pass_on = dist.batch_isend_irecv
    with with_index(), patch.object(dist, "batch_isend_irecv", batch):
        distributed.approximate_knn(own(rank, group, "normal"), 4, group=group)
    return sum(asked)


def test_blocks_go_once_round_the_ring_and_the_best_with_them_and_home(ranks):
    row = 8 * 3
    assert ranks(3, sent) == [row * (41 - ahead) + 16 * 4 * 41 for ahead in (0, 21, 20)]


def wrong(rank: int, group) -> dict[str, str]:
    x = torch.randn(20, 2)
    search, graph, mine = distributed.approximate_knn, distributed.knn_graph, rank == 1
    lacking = {"pynndescent": None} if mine else {}
    calls = {
        "recall": lambda: search(x, 2, recall=1.0 if mine else 0.9, group=group),
        "type": lambda: graph(x, 2, recall="high" if mine else 0.9, group=group),
        "other": lambda: search(x, 2, recall=0.8 if mine else 0.9, group=group),
        "exact": lambda: graph(x, 2, recall=None if mine else 0.9, group=group),
        "most": lambda: search(x[: 1 + rank], 6, group=group),
        "after": lambda: search(x, 2, group=group),
    }
    with with_index():
        said = {name: refused(call) for name, call in calls.items()}
        with patch.dict(sys.modules, lacking):
            said["package"] = missing(lambda: search(x, 2, group=group))
            said["graph"] = missing(lambda: graph(x, 2, recall=0.9, group=group))
        with patch.object(Index, "__init__", fails if mine else Index.__init__):
            said["index"] = refused(lambda: search(x, 2, group=group))
    return said


def fails(self: Index, x: Any, **options: Any) -> None:
    raise KeyError("leaf")


def missing(call: Any) -> str:
    try:
        call()
    except ImportError as error:
        return str(error)
    return "no error"


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    alike = "must be alike on all ranks of the group, got "
    lacks = "approximate_knn needs pynndescent: pip install pynndescent (on rank 1)"
    for got in ranks(3, wrong):
        assert "recall must be in (0, 1), got 1.0: ops.knn is exact (on rank 1)" in got["recall"]
        assert got["type"] == "TypeError: recall must be a number, got str (on rank 1)"
        assert got["other"] == f"ValueError: recall {alike}0.9 on rank 0, 0.8 on rank 1"
        assert got["exact"] == f"ValueError: recall {alike}0.9 on rank 0, None on rank 1"
        assert "k must be in 1..n - 1 = 5 for n = 6 rows, got 6" in got["most"]
        assert got["package"] == got["graph"] == lacks
        assert got["index"] == "ValueError: 'leaf' (on rank 1)"
        assert got["after"] == "no error"


def test_features_must_be_on_the_cpu():
    check = importlib.import_module(MODULE).check_approximate
    with pytest.raises(ValueError, match=r"x must be on the CPU, got meta: distributed\.knn"):
        check(torch.ones(2, 2, device="meta"), 0.9)


def test_one_process_needs_no_group():
    x = points("normal")
    with with_index():
        near = distributed.approximate_knn(x, 4)
    assert near.index.equal(ops.knn(x, 4).index)


def blobs() -> Tensor:
    """Rows among which some are repeated."""
    torch.manual_seed(0)
    x = torch.randn(6000, 16) + 3 * torch.randn(20, 16)[torch.randint(20, (6000,))]
    x[:40] = x[0]
    return x


def descended(rank: int, group, sizes: list[int], metric: str) -> tuple[Any, ...]:
    x = share(blobs(), rank, sizes)
    with patch(f"{MODULE}._FEW", 500):
        return tuple(distributed.approximate_knn(x, 10, metric, recall=0.9, group=group))


@needs_pynndescent
@pytest.mark.parametrize("sizes", [[3500, 2500], [3200, 0, 2800], [4, 2996, 2500, 500]])
def test_recall_is_as_said_and_distances_are_exact(ranks, sizes, monkeypatch):
    """By pynndescent itself, which compiles on each rank."""
    monkeypatch.setattr("tests.distributed.pool._SECONDS", 1800)
    x = blobs()
    for metric in ("euclidean", "cosine"):
        exact = ops.knn(x, 10, metric)
        got = ranks(len(sizes), descended, sizes, metric)
        index, distance = (torch.cat([f[part] for f in got]) for part in (0, 1))
        (recall,) = {f[2] for f in got}
        right = distance <= exact.distance[:, -1:] * (1 + 1e-6)
        assert recall >= 0.9
        assert right.double().mean().item() == pytest.approx(recall, abs=0.03)
        a, b = x.double(), x.double()[index]
        if metric == "euclidean":
            direct = (a[:, None] - b).norm(dim=2)
        else:
            direct = 1 - torch.cosine_similarity(a[:, None], b, dim=2)
        torch.testing.assert_close(distance.double(), direct, rtol=1e-5, atol=1e-6)
        assert (index != torch.arange(6000)[:, None]).all()
        assert (index.sort(1).values.diff(dim=1) > 0).all()
