"""The compiled extras for real; ``make test-extras`` installs them."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import ToSparseTensor

from pyg_relational.interop import as_edges
from pyg_relational.transforms import knn_graph
from tests.test_interop import assert_contract, dense, graphs

pytestmark = pytest.mark.extras

INDEX = torch.tensor([[2, 0, 1, 0, 2], [1, 3, 1, 3, 0]])  # unsorted, (0, 3) twice


def needs(name: str) -> Any:
    """The package; skips where it is missing, fails where it is there and broken."""
    return pytest.importorskip(name, reason=f"needs {name} (make test-extras)")


def sparse_tensor(index: Tensor, weight: Tensor | None, n: int) -> Any:
    return needs("torch_sparse").SparseTensor(
        row=index[0], col=index[1], value=weight, sparse_sizes=(n, n)
    )


def dgl_graph(key: str) -> Callable[[Tensor, Tensor | None, int], Any]:
    def build(index: Tensor, weight: Tensor | None, n: int) -> Any:
        graph = needs("dgl").graph((index[0], index[1]), num_nodes=n)
        if weight is not None:
            graph.edata[key] = weight
        return graph

    return build


SOURCES = {"torch_sparse": sparse_tensor, "dgl": dgl_graph("weight"), "dgl_w": dgl_graph("w")}


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_source_gives_the_dense_adjacency(source: str, graph: tuple[Tensor, Tensor, int]) -> None:
    index, weight, n = graph
    assert_contract(as_edges(SOURCES[source](index, weight, n)), dense(index, weight, n))
    ones = torch.ones(index.size(1))
    assert_contract(as_edges(SOURCES[source](index, None, n)), dense(index, ones, n))


@pytest.mark.parametrize("source", SOURCES)
def test_gradients_pass(source: str) -> None:
    weight = torch.tensor([0.5, 2.0, -1.0, 3.0, 1.5], dtype=torch.float64, requires_grad=True)

    def read(weight: Tensor) -> Tensor:
        return as_edges(SOURCES[source](INDEX, weight, 5))[1]

    assert torch.autograd.gradcheck(read, weight)
    (grad,) = torch.autograd.grad(read(weight)[0], weight)
    assert grad.tolist() == [0, 1, 0, 1, 0]  # both copies of the edge (0, 3)


def test_sparse_tensor_is_a_matrix() -> None:
    rectangle = needs("torch_sparse").SparseTensor(row=INDEX[0], col=INDEX[1], sparse_sizes=(4, 5))
    with pytest.raises(ValueError, match=r"square, got shape \(4, 5\)"):
        as_edges(rectangle)
    with pytest.raises(ValueError, match="num_nodes must be 4, the size of graph, got 7"):
        as_edges(sparse_tensor(INDEX, None, 4), num_nodes=7)


def test_message_passing_over_sparse_tensor_equals_edges() -> None:
    needs("torch_sparse")
    torch.manual_seed(0)
    weight = torch.rand(5, requires_grad=True)
    data = Data(x=torch.randn(4, 3), edge_index=INDEX, edge_weight=weight)
    adj_t = ToSparseTensor(attr="edge_weight")(data).adj_t
    conv = GCNConv(3, 2, add_self_loops=False)  # PyG overwrites those of a SparseTensor
    expected = conv(data.x, adj_t)
    index, merged, n = as_edges(adj_t.t())
    out = conv(data.x, index, merged)
    assert n == 4
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out.square().sum(), weight, retain_graph=True),
        torch.autograd.grad(expected.square().sum(), weight),
    )


def test_message_passing_with_torch_scatter() -> None:
    scatter = needs("torch_scatter").scatter
    index, weight, n = as_edges((INDEX, torch.rand(5, dtype=torch.float64)))
    x = torch.randn(n, 3, dtype=torch.float64)
    messages = weight.unsqueeze(-1) * x[index[0]]
    expected = dense(index, weight, n).t() @ x
    torch.testing.assert_close(scatter(messages, index[1], 0, dim_size=n), expected)


def test_dgl_agrees_on_direction() -> None:
    dgl = needs("dgl")
    matrix = scipy.sparse.coo_matrix(([2.0, 3.0, 4.0], ([0, 1, 2], [1, 2, 0])), shape=(3, 3))
    graph = dgl.from_scipy(matrix, eweight_name="weight")
    for expected, got in zip(as_edges(matrix), as_edges(graph), strict=True):
        assert torch.equal(torch.as_tensor(expected), torch.as_tensor(got))


def test_dgl_graph_of_several_types_is_refused() -> None:
    dgl = needs("dgl")
    ends = (torch.tensor([0]), torch.tensor([1]))
    hetero = dgl.heterograph({("a", "to", "b"): ends, ("b", "to", "a"): ends})
    block = dgl.to_block(dgl.graph(ends))
    for graph in (hetero, block):
        with pytest.raises(ValueError, match="must be a homogeneous DGLGraph"):
            as_edges(graph)


def test_int32_dgl_graph() -> None:
    graph = dgl_graph("weight")(INDEX, None, 4).int()
    assert as_edges(graph)[0].dtype == torch.long


def test_mini_batches_of_a_graph_whose_features_are_on_disk(tmp_path: Path) -> None:
    if not find_spec("pyg_lib"):
        needs("torch_sparse")
    rows = torch.randn(300, 4)
    np.save(tmp_path / "x.npy", rows.numpy())
    x = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="r+"))
    edge_index, edge_weight = knn_graph(x, 5)
    assert edge_weight.equal(knn_graph(rows, 5)[1])
    data = Data(x=x, edge_index=edge_index)
    loader = NeighborLoader(data, num_neighbors=[3, 3], batch_size=64)
    seen = []
    for batch in loader:
        assert batch.x.equal(rows[batch.n_id])
        ends = batch.n_id[batch.edge_index]
        assert {tuple(e) for e in ends.T.tolist()} <= {tuple(e) for e in edge_index.T.tolist()}
        seen.append(batch.n_id[: batch.batch_size])
    assert torch.cat(seen).sort().values.equal(torch.arange(300))


def test_the_example_of_features_on_disk_trains_on_mini_batches(tmp_path: Path) -> None:
    if not find_spec("pyg_lib"):
        needs("torch_sparse")
    example = Path(__file__).parents[1] / "examples" / "out_of_core.py"
    run = [sys.executable, "-W", "ignore", str(example)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(re.search(r"mini-batches ([.\d]+) right", done.stdout)[1]) > 0.8
