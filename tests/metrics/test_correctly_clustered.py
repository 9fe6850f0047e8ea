import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import clustered_scores
from tests.oracles import clustered_scores as oracle


def sample(n, seed, classes=3, k=4):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=g)
    y = torch.randint(-1, classes, (n,), generator=g)
    return logits, y, torch.randint(-1, k, (n,), generator=g)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 25), st.integers(0, 999), st.integers(1, 6))
def test_equals_the_count_sample_by_sample(n, seed, k):
    logits, y, clusters = sample(n, seed, k=k)
    expected = oracle(logits, y.tolist(), clusters.tolist())
    found = clustered_scores(logits, y, clusters)
    for group, (count, accuracy, loss) in zip(found, expected, strict=True):
        assert group.num_samples == count
        assert group.accuracy == pytest.approx(accuracy)
        assert group.cross_entropy == pytest.approx(loss)
        assert not any(isinstance(v, float) and math.isnan(v) for v in group)


def test_groups_add_up_to_the_whole():
    logits, y, clusters = sample(500, 0)
    cc, mc = clustered_scores(logits, y, clusters)
    known = (y >= 0) & (clusters >= 0)
    right = (logits.argmax(1) == y)[known].double().mean()
    loss = torch.nn.functional.cross_entropy(logits[known], y[known])
    n = cc.num_samples + mc.num_samples
    assert n == known.sum()
    assert (cc.num_samples * cc.accuracy + mc.num_samples * mc.accuracy) / n == pytest.approx(
        right.item()
    )
    assert (
        cc.num_samples * cc.cross_entropy + mc.num_samples * mc.cross_entropy
    ) / n == pytest.approx(loss.item(), rel=1e-5)


def test_empty_groups_are_none():
    logits = torch.tensor([[1.0, 0], [0, 1]])
    y = torch.tensor([0, 1])
    cc, mc = clustered_scores(logits, y, y)
    assert (cc.num_samples, cc.accuracy) == (2, 1.0)
    assert mc == (0, None, None)
    none = torch.full((2,), -1)
    for nothing in ((logits, y, none), (logits, none, y), (logits[:0], y[:0], y[:0])):
        assert clustered_scores(*nothing) == ((0, None, None), (0, None, None))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda():
    arguments = sample(500, 1)
    for here, there in zip(
        clustered_scores(*arguments), clustered_scores(*(a.cuda() for a in arguments)), strict=True
    ):
        assert here == pytest.approx(there)


TWO = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": torch.ones(2, 2).long()}, TypeError, "logits must be floating point"),
        ({"logits": torch.full((2, 2), torch.inf)}, ValueError, "logits must be finite"),
        ({"y": TWO[:1]}, ValueError, r"y must have shape \[2\]"),
        ({"y": TWO + 1}, ValueError, "y must be < 2, got 2"),
        ({"clusters": TWO.float()}, TypeError, "clusters must be int64"),
        ({"clusters": TWO - 2}, ValueError, "clusters must be in -1.*, got -2"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        clustered_scores(**({"logits": torch.ones(2, 2), "y": TWO, "clusters": TWO} | change))
