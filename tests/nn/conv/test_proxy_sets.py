import pytest
import torch
from torch.testing import assert_close

from pyg_relational.nn import ProxyAttentionConv, ProxyGATv2Conv, ProxyPoolConv
from pyg_relational.nn.conv.proxy_sets import combine
from tests import oracles

X, G = torch.randn(5, 2), torch.randn(7, 3)
EDGES = torch.tensor([[0, 6, 3], [4, 0, 0]])


@pytest.mark.parametrize("layer", [ProxyGATv2Conv, ProxyAttentionConv, ProxyPoolConv])
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((X.long(), G), TypeError, "x must be floating point, got torch.int64"),
        ((X[0], G), ValueError, r"x must have shape \[n, d\], got \[2\]"),
        ((X.tolist(), G), TypeError, "x must be a Tensor, got list"),
        ((G, G), ValueError, "x must have 2 channels, got 3"),
        ((X / 0, G), ValueError, "x must be finite, got -?inf in row 0, column 0"),
        ((X, X), ValueError, "sets must have 3 channels, got 2"),
        ((X, None), TypeError, "sets must be a Tensor or a tuple of them, got NoneType"),
        ((X, {"a": G}), TypeError, "sets must be .* got dict"),
        ((X, ()), ValueError, "sets must hold at least one set, got none"),
        ((X, (G, G * torch.nan)), ValueError, r"sets\[1\] must be finite, got nan in row 0"),
        ((X, (G, X)), ValueError, r"sets\[1\] must have 3 channels, got 2"),
        ((X, [G, G.tolist()]), TypeError, r"sets\[1\] must be a Tensor, got list"),
        ((X, G[None]), ValueError, r"sets must have shape \[n, d\], got \[1, 7, 3\]"),
        ((X, G, 3), TypeError, "edge_index must be a Tensor, EdgeIndex, .* got int"),
        ((X, G, (EDGES,)), TypeError, "edge_index must be a Tensor, EdgeIndex, .* got tuple"),
        ((X, (G, G), EDGES), TypeError, "edge_index must be a tuple .* got Tensor"),
        ((X, (G, G), (EDGES,)), ValueError, "edge_index must hold one graph .* 2 sets, got 1"),
        ((X, (G, G), (EDGES, None)), TypeError, "edge_index must be a Tensor, .* got NoneType"),
        ((X, G, EDGES.T), ValueError, r"edge_index must be int64 of shape \[2, E\], .* \[3, 2\]"),
        ((X, G, EDGES[0]), ValueError, r"edge_index must be int64 of shape \[2, E\], .* \[3\]"),
        ((X, G, EDGES.int()), ValueError, r"edge_index must be int64 .* got torch.int32 \[2, 3\]"),
        ((X, G, EDGES - 1), ValueError, r"edge_index .* in \[0, 7\) for proxies, got -1 to 5"),
        ((X, G, EDGES + 1), ValueError, r"edge_index .* in \[0, 7\) for proxies, got 1 to 7"),
        ((X, G, EDGES.flip(0)), ValueError, r"edge_index .* in \[0, 5\) for samples, got 0 to 6"),
    ],
)
def test_bad_input(layer, args, error, message):
    with pytest.raises(error, match=message):
        layer((3, 2), 4)(*args)


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_a_matrix_of_another_shape_is_refused_though_all_its_indices_fit(layout):
    matrix = torch.zeros(7, 5)
    matrix[1, 2] = 1
    with pytest.raises(ValueError, match=r"edge_index .* = \[5, 7\], got \[7, 5\]"):
        ProxyGATv2Conv((3, 2), 4)(X, G, matrix.to_sparse(layout=layout))
    ProxyGATv2Conv((3, 2), 4)(X, G, matrix.T.to_sparse(layout=layout))


@pytest.mark.parametrize("how", ["sum", "mean", "max", "cat"])
@pytest.mark.parametrize("number", [1, 3])
def test_combine_is_a_loop_over_sets(how, number):
    parts = [torch.randn(4, 2) for _ in range(number)]
    for base in (None, torch.randn(4, 2), torch.randn(2)):
        rows = [
            oracles.combined(
                [p[i] for p in parts], how, 0.0 if base is None else base.expand(4, 2)[i]
            )
            for i in range(4)
        ]
        assert_close(combine(parts, how, base), torch.stack(rows))
    with pytest.raises(ValueError, match="combine must be one of"):
        combine(parts, "median", None)


@pytest.mark.parametrize("how", ["sum", "mean", "max", "cat"])
@pytest.mark.parametrize("layer", [ProxyGATv2Conv, ProxyAttentionConv, ProxyPoolConv])
def test_a_tuple_of_sets_is_a_loop_over_sets(layer, how):
    shared = {"num_sets": 1} if layer is ProxyAttentionConv else {}
    conv = layer((3, 2), 4, self_loop="none", combine=how, bias=False, **shared)
    sets = G, G[:2] + 1, G[:0]
    parts = [conv(X, g) for g in sets]
    assert_close(conv(X, sets), combine(parts, how, None))
    edges = EDGES, EDGES[:, :0], EDGES[:, :0]
    parts = [conv(X, g, e) for g, e in zip(sets, edges, strict=True)]
    assert_close(conv(X, sets, edges), combine(parts, how, None))
