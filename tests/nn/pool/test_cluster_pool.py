import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import cluster_pool
from tests import oracles


def nodes(n, k, seed=0, d=3):
    g = torch.Generator().manual_seed(seed)
    x, scores = (torch.randn(n, m, generator=g, dtype=torch.float64) for m in (d, k))
    return x.requires_grad_(), scores.softmax(1).requires_grad_()


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_equals_the_oracle_of_each_graph(n, k, seed):
    x, c = nodes(n, k, seed)
    batch = torch.randint(0, 4, (n,), generator=torch.Generator().manual_seed(seed))
    found = cluster_pool(x, c, batch, 5)
    wanted = torch.stack([oracles.cluster_pool(x[batch == b], c[batch == b]) for b in range(5)])
    torch.testing.assert_close(found, wanted)
    grads = [torch.autograd.grad(part.square().sum(), (x, c)) for part in (found, wanted)]
    torch.testing.assert_close(*grads)


def test_one_graph_and_the_number_of_graphs():
    x, c = nodes(6, 2)
    torch.testing.assert_close(cluster_pool(x, c)[0], oracles.cluster_pool(x, c))
    batch = torch.tensor([0, 2, 2, 0, 2, 2])
    assert cluster_pool(x, c, batch).shape == (3, 2, 3)
    assert cluster_pool(x, c, batch)[1].eq(0).all()
    assert cluster_pool(x[:0], c[:0], batch[:0]).shape == (0, 2, 3)


def test_derivatives():
    batch = torch.tensor([0, 1, 1, 0, 1])
    assert gradcheck(lambda x, c: cluster_pool(x, c, batch, 2), nodes(5, 2))
    assert gradgradcheck(lambda x, c: cluster_pool(x, c, batch, 2), nodes(5, 2))


def test_half_precision_is_computed_in_float32():
    x, c = (part.detach().bfloat16() for part in nodes(5, 2))
    with torch.autocast("cpu", torch.bfloat16):
        found = cluster_pool(x, c)
    torch.testing.assert_close(found, cluster_pool(x.float(), c.float()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.ones(3)}, ValueError, r"x must have shape \[n, d\]"),
        ({"x": torch.full((3, 2), torch.nan)}, ValueError, "x must be finite"),
        ({"assignment": torch.ones(2, 2)}, ValueError, "assignment must have the 3 rows of x"),
        ({"assignment": torch.ones(3, 0)}, ValueError, "assignment must have at least one column"),
        ({"assignment": torch.full((3, 2), torch.inf)}, ValueError, "assignment must be finite"),
        ({"batch": torch.ones(3)}, TypeError, "batch must be int64"),
        ({"batch": torch.tensor([0, -1, 0])}, ValueError, "batch must be >= 0, got -1"),
        (
            {"batch": torch.tensor([0, 2, 0]), "batch_size": 2},
            ValueError,
            "batch must be < 2, got 2",
        ),
        ({"batch": torch.tensor([0, 1, 0]), "batch_size": 2.0}, TypeError, "batch_size must be an"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, got bool"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        cluster_pool(**({"x": torch.ones(3, 2), "assignment": torch.ones(3, 2)} | change))
