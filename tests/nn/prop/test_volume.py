import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.nn.prop.volume import volume_bounds, volume_threshold
from tests import oracles


def gain(scores, label):
    return scores.gather(1, label[:, None]).sum()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_no_partition_is_better(n, c, slack, ties, seed):
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, c, generator=g, dtype=torch.float64)
    scores = scores.round() if ties else scores
    priors = torch.rand(c, generator=g)
    lower, upper = volume_bounds(n, priors / priors.sum(), slack)
    label = volume_threshold(scores, lower, upper)
    size = label.bincount(minlength=c)
    assert bool(((size >= lower) & (size <= upper)).all())
    best = oracles.best_partition(scores, lower, upper)
    torch.testing.assert_close(gain(scores, label), gain(scores, best))


@pytest.mark.parametrize("ties", [False, True])
def test_large_unbalanced_scores_get_equal_classes(ties):
    g = torch.Generator().manual_seed(0)
    scores = torch.rand(3000, 5, generator=g, dtype=torch.float64) * torch.linspace(0.2, 2, 5)
    scores = (8 * scores).round() if ties else scores
    size = torch.full((5,), 600)
    label = volume_threshold(scores, size, size)
    assert label.bincount().tolist() == [600] * 5
    # optimal if no exchange along any cycle of classes gains
    loss = scores.gather(1, label[:, None]) - scores
    cost = torch.stack([loss[label == k].amin(0) for k in range(5)])
    for middle in range(5):
        cost = torch.minimum(cost, cost[:, middle, None] + cost[None, middle])
    assert cost.diagonal().min() >= -1e-9


@pytest.mark.parametrize(
    ("priors", "sizes"), [([0.3, 0.7], [3, 7]), ([0.7, 0.3], [7, 3]), ([0.1, 0.9], [1, 9])]
)
def test_sizes_that_are_whole_numbers_but_for_rounding(priors, sizes):
    for dtype in (torch.float32, torch.float64):
        low, high = volume_bounds(10, torch.tensor(priors, dtype=dtype))
        assert low.tolist() == high.tolist() == sizes


def test_equal_rows_and_no_rows():
    scores = torch.zeros(1000, 4)
    sizes = torch.tensor([100, 200, 300, 400])
    assert volume_threshold(scores, sizes, sizes).bincount().tolist() == sizes.tolist()
    none = torch.zeros(2, dtype=torch.int64)
    assert volume_threshold(torch.zeros(0, 2), none, none).tolist() == []


def test_no_room():
    with pytest.raises(ValueError, match="room for 3 rows"):
        volume_threshold(torch.zeros(3, 2), torch.tensor([0, 0]), torch.tensor([1, 1]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_scores_that_are_not_finite(value):
    one = torch.tensor([1, 1])
    with pytest.raises(ValueError, match="scores must be finite"):
        volume_threshold(torch.tensor([[0.0, value], [1.0, 0.0]]), one, one)
