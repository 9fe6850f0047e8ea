import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData

from pyg_relational.interop import as_edges

pytestmark = pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")

Source = Callable[[Tensor, Tensor, int], Any]


def sparse_coo(index: Tensor, weight: Tensor, n: int) -> Tensor:
    return torch.sparse_coo_tensor(index, weight, (n, n), check_invariants=True)


def sparse_csr(index: Tensor, weight: Tensor, n: int) -> Tensor:
    return sparse_coo(index, weight, n).coalesce().to_sparse_csr()


def sparse_csc(index: Tensor, weight: Tensor, n: int) -> Tensor:
    return sparse_coo(index, weight, n).coalesce().to_sparse_csc()


def scipy_source(kind: str, form: str) -> Source:
    def build(index: Tensor, weight: Tensor, n: int) -> Any:
        coo = getattr(scipy.sparse, f"coo_{kind}")((weight.numpy(), index.numpy()), shape=(n, n))
        return coo.asformat(form)

    return build


# Those that carry gradients.
DIFFERENTIABLE: dict[str, Source] = {
    "tuple": lambda index, weight, n: (index, weight),
    "tuple_column": lambda index, weight, n: (index, weight.view(-1, 1)),
    "tuple_edge_index": lambda index, weight, n: (EdgeIndex(index, sparse_size=(n, n)), weight),
    "data": lambda index, weight, n: Data(edge_index=index, edge_weight=weight, num_nodes=n),
    "data_attr": lambda index, weight, n: Data(
        x=torch.ones(n, 2), edge_index=index, edge_attr=weight.view(-1, 1)
    ),
    "coo": sparse_coo,
    "csr": sparse_csr,
    "csc": sparse_csc,
}
SOURCES = DIFFERENTIABLE | {
    f"scipy_{form}_{kind}": scipy_source(kind, form)
    for kind in ("array", "matrix")
    for form in ("coo", "csr", "csc", "lil", "dok", "dia", "bsr")
}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Random edges in any order, duplicates and self-loops included; the last node is isolated."""
    n = draw(st.integers(1, 6))
    ends = st.integers(0, max(n - 2, 0))
    edges = draw(st.lists(st.tuples(ends, ends), max_size=12 if n > 1 else 0))
    weight = draw(
        st.lists(st.sampled_from([-1.5, 0.25, 1.0, 3.0]), min_size=len(edges), max_size=len(edges))
    )
    index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t().contiguous()
    return index, torch.tensor(weight, dtype=torch.float64), n


def dense(index: Tensor, weight: Tensor, n: int) -> Tensor:
    adjacency = torch.zeros(n, n, dtype=weight.dtype)
    for (row, col), value in zip(index.t().tolist(), weight, strict=True):
        adjacency[row, col] += value
    return adjacency


def assert_contract(edges: tuple[Tensor, Tensor, int], adjacency: Tensor) -> None:
    index, weight, n = edges
    pairs = list(map(tuple, index.t().tolist()))
    assert type(index) is Tensor
    assert index.dtype == torch.long
    assert type(n) is int
    assert n == len(adjacency)
    assert pairs == sorted(set(pairs))
    assert weight.shape == (len(pairs),)
    assert weight.dtype == adjacency.dtype
    assert torch.equal(dense(index, weight, n), adjacency)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_source_gives_the_dense_adjacency(source: str, graph: tuple[Tensor, Tensor, int]) -> None:
    index, weight, n = graph
    edges = as_edges(SOURCES[source](index, weight, n), num_nodes=n)
    assert_contract(edges, dense(index, weight, n))
    # Every stored pair and no other is an edge (DIA and DOK cannot hold a zero).
    expected = set(map(tuple, index.t().tolist()))
    if not source.startswith("scipy"):
        assert set(map(tuple, edges[0].t().tolist())) == expected


@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_unweighted_sources_count_edges(graph: tuple[Tensor, Tensor, int]) -> None:
    index, _, n = graph
    expected = dense(index, torch.ones(index.size(1)), n)
    for source in (
        index,
        index.int(),
        (index, None),
        EdgeIndex(index, sparse_size=(n, n)),
        Data(edge_index=index, num_nodes=n),
    ):
        assert_contract(as_edges(source, num_nodes=n), expected)


@settings(max_examples=25, deadline=None)
@given(graph=graphs())
def test_reading_twice_changes_nothing(graph: tuple[Tensor, Tensor, int]) -> None:
    index, weight, n = as_edges(graph[:2], num_nodes=graph[2])
    again = as_edges((index, weight), num_nodes=n)
    assert again[0].data_ptr() == index.data_ptr()  # sorted and unique already: nothing is copied
    assert again[1].data_ptr() == weight.data_ptr()
    assert again[2] == n


@pytest.mark.parametrize("source", DIFFERENTIABLE)
def test_gradients_pass(source: str) -> None:
    index = torch.tensor([[2, 0, 1, 0, 2], [1, 3, 1, 3, 0]])  # unsorted, (0, 3) twice
    weight = torch.tensor([0.5, 2.0, -1.0, 3.0, 1.5], dtype=torch.float64, requires_grad=True)

    def read(weight: Tensor) -> Tensor:
        return as_edges(DIFFERENTIABLE[source](index, weight, 5))[1]

    assert torch.autograd.gradcheck(read, weight)
    (grad,) = torch.autograd.grad(read(weight)[0], weight)
    assert grad.tolist() == [0, 1, 0, 1, 0]  # both copies of the edge (0, 3)


def test_gradients_pass_twice_through_merged_edges() -> None:
    index = torch.tensor([[1, 0, 1], [0, 1, 0]])
    weight = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda w: as_edges((index, w))[1].square(), weight)


@pytest.mark.parametrize("source", ["coo", "csr"])  # torch keeps no .grad on a CSC leaf
def test_given_sparse_tensor_gets_the_gradient(source: str) -> None:
    index, weight = torch.tensor([[0, 1], [1, 0]]), torch.tensor([2.0, 3.0])
    matrix = DIFFERENTIABLE[source](index, weight, 2).detach().requires_grad_()
    as_edges(matrix)[1].square().sum().backward()
    assert torch.equal(matrix.grad.to_dense(), torch.tensor([[0.0, 4.0], [6.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_point_type_is_kept(dtype: torch.dtype) -> None:
    index = torch.tensor([[1, 0, 1], [0, 1, 0]])
    assert as_edges((index, torch.ones(3, dtype=dtype)))[1].dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_other_weights_become_the_default_type(dtype: torch.dtype) -> None:
    index = torch.tensor([[1, 0, 1], [0, 1, 0]])
    ones = torch.ones(3, dtype=dtype)
    for source in ((index, ones), scipy.sparse.coo_array((ones.numpy(), index.numpy()))):
        weight = as_edges(source)[1]
        assert weight.dtype == torch.get_default_dtype()
        assert weight.tolist() == [1.0, 2.0]


def test_number_of_nodes() -> None:
    index = torch.tensor([[0, 2], [2, 0]])
    assert as_edges(index)[2] == 3
    assert as_edges(index, num_nodes=np.int64(7))[2] == 7
    assert as_edges(index[:, :0])[2] == 0
    assert as_edges(EdgeIndex(index, sparse_size=(5, None)))[2] == 5
    assert as_edges(Data(x=torch.zeros(4, 1), edge_index=index))[2] == 4
    assert as_edges(Data(x=torch.zeros(4, 1), edge_index=EdgeIndex(index)))[2] == 4
    assert as_edges(scipy.sparse.csr_array((6, 6)))[2] == 6


@pytest.mark.filterwarnings("error")
def test_data_that_does_not_know_its_size() -> None:
    data = Data(edge_index=torch.tensor([[0, 2], [2, 0]]), train_mask=torch.ones(9))
    assert as_edges(data)[2] == 3
    assert as_edges(data, num_nodes=9)[2] == 9


def test_batch_is_the_union_of_its_graphs() -> None:
    parts = [
        Data(edge_index=torch.tensor([[0, 1], [1, 0]]), edge_weight=torch.ones(2), num_nodes=n)
        for n in (3, 2)
    ]
    index, _, n = as_edges(Batch.from_data_list(parts))
    assert index.tolist() == [[0, 1, 3, 4], [1, 0, 4, 3]]
    assert n == 5


def test_direction_and_transposition() -> None:
    matrix = scipy.sparse.csr_array(np.array([[0.0, 5.0], [0.0, 0.0]]))
    assert as_edges(matrix)[0].tolist() == [[0], [1]]
    assert as_edges(matrix.T)[0].tolist() == [[1], [0]]
    data = Data(num_nodes=2, adj_t=sparse_csr(torch.tensor([[1], [0]]), torch.ones(1), 2))
    with pytest.raises(ValueError, match=r"pass data\.adj_t\.t\(\)"):
        as_edges(data)
    assert as_edges(data.adj_t.t())[0].tolist() == [[0], [1]]


def test_stored_zeros_are_edges_and_padding_is_not() -> None:
    stored = scipy.sparse.csr_array((np.array([0.0, 2.0]), ([0, 1], [1, 0])), shape=(4, 4))
    assert as_edges(stored)[1].tolist() == [0.0, 2.0]
    assert as_edges(stored.tobsr(blocksize=(2, 2)))[0].tolist() == [[1], [0]]


def test_input_is_left_alone() -> None:
    index = torch.tensor([[1, 0, 1], [0, 1, 0]])
    weight = torch.tensor([1.0, 2.0, 3.0])
    matrix = scipy.sparse.coo_array((weight.numpy().copy(), index.numpy().copy()), shape=(2, 2))
    tensor = sparse_coo(index, weight, 2)
    for source in ((index, weight), matrix, tensor):
        as_edges(source)
    assert index.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert weight.tolist() == [1.0, 2.0, 3.0]
    assert matrix.nnz == 3
    assert not tensor.is_coalesced()


INDEX = torch.tensor([[0, 1, 3], [1, 0, 2]])
ONES = torch.ones(3)
ERRORS: list[tuple[Any, int | None, type[Exception], str]] = [
    (INDEX, 3, ValueError, r"edge_index entry \[0, 2\] is 3, must be < num_nodes=3"),
    (INDEX - 1, None, ValueError, r"edge_index entry \[0, 0\] is -1, must be >= 0"),
    (INDEX[:, :0], -1, ValueError, "num_nodes must be >= 0, got -1"),
    (INDEX.t(), None, ValueError, r"edge_index must have shape \[2, E\], got \[3, 2\]"),
    (INDEX.float(), None, TypeError, "edge_index must hold integers, got torch.float32"),
    (INDEX.bool(), None, TypeError, "edge_index must hold integers, got torch.bool"),
    ((INDEX.numpy(), ONES), None, TypeError, "edge_index must be a tensor, got ndarray"),
    ((INDEX, ONES.numpy()), None, TypeError, "edge_weight must be a tensor or None, got ndarray"),
    ((INDEX, ONES[:2]), None, ValueError, r"edge_weight must have shape \[3\].*got \[2\]"),
    ((INDEX, ONES.to(torch.cfloat)), None, TypeError, "edge_weight must be real, got.*complex"),
    ((INDEX, ONES.to("meta")), None, ValueError, "edge_weight must be on cpu, got meta"),
    ((INDEX, ONES / 0), None, ValueError, "edge_weight must be finite, got inf at edge 0"),
    (
        (INDEX, torch.tensor([1.0, 1.0, torch.nan])),
        None,
        ValueError,
        "edge_weight must be finite, got nan at edge 2",
    ),
    ((INDEX, ONES, 4), None, ValueError, r"tuple \(edge_index, edge_weight\), got 3 items"),
    (INDEX, 4.0, TypeError, "num_nodes must be an int, got float"),
    (torch.ones(3), None, TypeError, "edge_index must hold integers"),
    (np.ones((2, 3)), None, ValueError, r"graph must be square, got shape \(2, 3\)"),
    (np.ones(3), None, ValueError, r"graph must be a matrix, got shape \[3\]"),
    (EdgeIndex(INDEX, sparse_size=(4, 5)), None, ValueError, r"square, got shape \(4, 5\)"),
    (torch.zeros(3, 4).to_sparse(), None, ValueError, r"square, got shape \(3, 4\)"),
    (torch.eye(3).to_sparse(), 4, ValueError, "num_nodes must be 3, the size of graph, got 4"),
    (torch.zeros(4, 4, 2).to_sparse(2), None, TypeError, r"two-dimensional.*\(4, 4, 2\)"),
    (scipy.sparse.csr_array((3, 4)), None, ValueError, r"square, got shape \(3, 4\)"),
    (scipy.sparse.csr_array((3, 3)), 4, ValueError, "num_nodes must be 3.*got 4"),
    (
        scipy.sparse.coo_array(np.ones(3)),
        None,
        ValueError,
        r"graph must be .*got.*3",
    ),  # 1 x 3 in SciPy 1.12
    (Data(edge_index=INDEX, num_nodes=4), 5, ValueError, "num_nodes must be 4.*got 5"),
    (Data(edge_index=INDEX, num_nodes=2), None, ValueError, "must be < num_nodes=2"),
    (Data(x=ONES), None, ValueError, "data.edge_index must be set, got None"),
    (
        Data(edge_index=INDEX, edge_attr=torch.ones(3, 2)),
        None,
        ValueError,
        r"edge_weight must have shape \[3\] or \[3, 1\].*got \[3, 2\]",
    ),
    (None, None, TypeError, "graph must be an.*got NoneType"),
]


@pytest.mark.parametrize(("graph", "num_nodes", "error", "message"), ERRORS)
def test_bad_input_is_named(
    graph: Any, num_nodes: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        as_edges(graph, num_nodes=num_nodes)


def test_block_sparse_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"COO, CSR or CSC tensor, got.*bsr"):
        as_edges(torch.eye(4).to_sparse_bsr((2, 2)))


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[1] / "examples" / "interop.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert len({line[14:].removesuffix(", differentiable") for line in lines}) == 1
    assert [line.endswith("differentiable") for line in lines] == [False, True, True, True]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda() -> None:
    index = torch.tensor([[2, 0, 1, 0], [1, 2, 1, 2]])
    weight = torch.arange(4.0)
    for source in DIFFERENTIABLE.values():
        edges = as_edges(source(index.cuda(), weight.cuda(), 4), num_nodes=4)
        assert edges[0].is_cuda
        assert edges[1].is_cuda
        assert_contract((edges[0].cpu(), edges[1].cpu(), 4), dense(index, weight, 4))


def test_dense_networkx_and_igraph():
    networkx, igraph = pytest.importorskip("networkx"), pytest.importorskip("igraph")
    dense = np.array([[0.0, 2.0, 0.0], [2.0, 0.0, 0.5], [0.0, 0.5, 0.0]], dtype=np.float32)
    edges = [(0, 1, 2.0), (1, 2, 0.5)]
    nx = networkx.Graph()
    nx.add_nodes_from(range(3))
    nx.add_weighted_edges_from(edges)
    ig = igraph.Graph.TupleList(edges, weights=True)
    for source in (dense, torch.from_numpy(dense), nx, nx.to_directed(), ig):
        assert_contract(as_edges(source), torch.from_numpy(dense))


def test_edges_of_networkx_and_igraph_weigh_one_where_none_says_else():
    networkx, igraph = pytest.importorskip("networkx"), pytest.importorskip("igraph")
    path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    assert_contract(as_edges(networkx.path_graph(3)), path)
    assert_contract(as_edges(igraph.Graph([(0, 1), (1, 2)])), path)
    assert_contract(as_edges(igraph.Graph([(0, 1), (1, 2)], directed=True)), path.triu())


def test_hetero_data_is_named():
    with pytest.raises(TypeError, match="graph must be homogeneous, got a HeteroData"):
        as_edges(HeteroData())
