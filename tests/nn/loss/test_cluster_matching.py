import itertools
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import cluster_matching_loss, match_clusters
from tests import oracles

MODULE = import_module("pyg_relational.nn.loss.cluster_matching")
SIZES = st.tuples(st.integers(1, 4), st.integers(1, 4)).map(lambda n: (max(n), min(n)))


def clusters(count, n_v, n_t, seed=0, p=3):
    g = torch.Generator().manual_seed(seed)
    shapes = (count, n_v, p), (count, n_t, p)
    return [torch.randn(*s, generator=g, dtype=torch.float64).requires_grad_() for s in shapes]


def same_value_and_gradient(found, wanted, leaves):
    torch.testing.assert_close(found, wanted)
    both = [torch.autograd.grad(part, leaves, allow_unused=True) for part in (found, wanted)]
    for got, expected in zip(*both, strict=True):
        torch.testing.assert_close(got, torch.zeros_like(got) if expected is None else expected)


@given(st.integers(1, 4), SIZES, st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_matching_equals_the_oracle(count, sizes, seed):
    v, t = clusters(count, *sizes, seed)
    wanted = torch.stack([oracles.minimum_matching(*pair) for pair in zip(v, t, strict=True)])
    same_value_and_gradient(match_clusters(v, t).distance.sum(), wanted.sum(), (v, t))
    torch.testing.assert_close(match_clusters(v, t).distance, wanted)


@given(st.integers(2, 4), SIZES, st.integers(0, 999), st.floats(0, 2))
@settings(max_examples=40, deadline=None)
def test_loss_equals_the_oracle(count, sizes, seed, margin):
    v, t = clusters(count, *sizes, seed)
    wanted = oracles.cluster_hinge(v, t, margin)
    same_value_and_gradient(cluster_matching_loss(v, t, margin=margin), wanted, (v, t))


def test_matching_is_that_of_scipy():
    v, t = clusters(30, 5, 4, 1)
    for b, match in enumerate(match_clusters(v, t).match):
        row, column = linear_sum_assignment(torch.cdist(v[b], t[b]).detach())
        assert match[torch.as_tensor(column)].tolist() == row.tolist()


@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 1), (4, 2), (5, 3), (4, 4)])
def test_all_matchings_in_their_order(n, k):
    table = MODULE._injections(n, k, torch.device("cpu")).tolist()
    assert table == [list(choice) for choice in itertools.permutations(range(n), k)]


def test_offsets_cost_no_digits():
    v, t = (part.detach() for part in clusters(3, 4, 3))
    shifted = match_clusters(v.float() + 1024, t.float() + 1024)
    wanted = match_clusters((v.float() + 1024).double(), (t.float() + 1024).double())
    assert shifted.match.equal(wanted.match)
    torch.testing.assert_close(shifted.distance.double(), wanted.distance)


def test_derivatives():
    v, t = clusters(3, 3, 2, 2)
    assert gradcheck(lambda v, t: match_clusters(v, t).distance, (v, t))
    assert gradcheck(cluster_matching_loss, (v, t))
    assert gradgradcheck(cluster_matching_loss, (v, t))


def test_equal_clusters_have_gradient_zero():
    v, _ = clusters(1, 2, 2)
    distance = match_clusters(v, v.detach()).distance.sum()
    assert distance == 0
    assert torch.autograd.grad(distance, v)[0].eq(0).all()


def test_one_sample_has_no_other():
    assert cluster_matching_loss(*clusters(1, 3, 2)) == 0
    assert cluster_matching_loss(torch.zeros(0, 3, 4), torch.zeros(0, 2, 4)) == 0
    assert match_clusters(torch.zeros(0, 3, 4), torch.zeros(0, 2, 4)).match.shape == (0, 2)


def test_half_precision_is_computed_in_float32():
    v, t = (part.detach().bfloat16() for part in clusters(3, 3, 2))
    with torch.autocast("cpu", torch.bfloat16):
        loss = cluster_matching_loss(v, t)
    torch.testing.assert_close(loss, cluster_matching_loss(v.float(), t.float()))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"visual": torch.ones(2, 3)}, ValueError, r"visual must have shape \[B, N, p\]"),
        ({"visual": [1.0]}, TypeError, "visual must be a Tensor, got list"),
        ({"textual": torch.ones(2, 2, 4).long()}, TypeError, "textual must be floating point"),
        ({"textual": torch.ones(2, 0, 4)}, ValueError, "textual must have shape .* one cluster"),
        ({"textual": torch.ones(3, 2, 4)}, ValueError, r"samples and channels of visual, \[2, 4\]"),
        ({"textual": torch.ones(2, 4, 4)}, ValueError, "at most the 3 clusters of visual, got 4"),
        ({"visual": torch.ones(2, 80, 4)}, ValueError, "at most 5,040 matchings, got 6,320 of 2"),
        ({"visual": torch.full((2, 3, 4), torch.inf)}, ValueError, "visual must be finite"),
        ({"textual": torch.full((2, 2, 4), torch.nan)}, ValueError, "textual must be finite"),
        ({"margin": -1.0}, ValueError, "margin must be finite and >= 0, got -1"),
    ],
)
def test_bad_input(change, error, message):
    given = {"visual": torch.ones(2, 3, 4), "textual": torch.ones(2, 2, 4)} | change
    with pytest.raises(error, match=message):
        cluster_matching_loss(**given)
