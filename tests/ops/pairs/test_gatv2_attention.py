import pytest
import torch

from pyg_relational.ops.pairs.gatv2_attention import gatv2_attention
from tests import oracles


def inputs():
    g = torch.Generator().manual_seed(0)
    shapes = (5, 2, 3), (7, 2, 3), (7, 2, 3), (2, 3)
    return [torch.randn(s, generator=g, dtype=torch.float64) for s in shapes]


def test_equals_the_literal_form():
    query, key, value, att = inputs()
    scores = oracles.gatv2_scores(query, key, att, 0.2)
    out, total = gatv2_attention(query, key, value, att)
    torch.testing.assert_close(out, torch.einsum("hbp,phc->bhc", scores.softmax(2), value))
    torch.testing.assert_close(total, scores.logsumexp(2).T)


def test_dropout_changes_the_sums_alone_and_not_their_mean():
    query, key, value, att = inputs()
    exact, total = gatv2_attention(query, key, value, att)
    torch.manual_seed(0)
    draws = [gatv2_attention(query, key, value, att, dropout=0.4) for _ in range(400)]
    assert all(t.equal(total) for _, t in draws)
    outs = torch.stack([out for out, _ in draws])
    assert ((outs.mean(0) - exact).abs() < 5 * outs.std(0) / 20).all()
    assert outs.std(0).min() > 1e-3


def test_shapes_are_checked():
    query, key, value, att = inputs()
    with pytest.raises(ValueError, match=r"value must have shape \[7, 2, 3\], got \[6, 2, 3\]"):
        gatv2_attention(query, key, value[:6], att)
