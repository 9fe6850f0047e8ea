import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_relational.nn import BaseSampler


@given(
    st.lists(st.integers(-1, 3), min_size=1).filter(lambda y: max(y) >= 0),
    st.integers(1, 5),
    st.sampled_from(["random", "hard"]),
)
def test_draws_per_class_without_repeats(labels, per_class, mode):
    y = torch.tensor(labels)
    index = BaseSampler(y, per_class, mode)(torch.rand(len(y)))
    assert len(index.unique()) == len(index)
    counts = y[y >= 0].bincount(minlength=4)
    assert y[index].bincount(minlength=4).tolist() == counts.clamp(max=per_class).tolist()


def test_random_is_seeded_uniform_and_new_at_each_call():
    y = torch.zeros(10, dtype=torch.int64)
    a, b = (BaseSampler(y, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    draws = [a() for _ in range(600)]
    assert all(torch.equal(draw, b()) for draw in draws)
    share = torch.cat(draws).bincount(minlength=10) / len(draws)
    assert (share - 0.3).abs().max() < 0.08


def test_hard_takes_the_highest_scores():
    y = torch.tensor([0, 1, 0, 1, 0, -1])
    index = BaseSampler(y, 2, "hard")(torch.tensor([1.0, 5.0, 3.0, 4.0, 2.0, 9.0]))
    assert sorted(index.tolist()) == [1, 2, 3, 4]


def test_bad_input():
    y = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="per_class must be >= 1, got 0"):
        BaseSampler(y, 0)
    with pytest.raises(ValueError, match="mode must be one of"):
        BaseSampler(y, 1, "easy")
    with pytest.raises(ValueError, match="at least one class >= 0, got none"):
        BaseSampler(-torch.ones(3, dtype=torch.int64), 1)
    with pytest.raises(ValueError, match=r"score must have shape \[2\], got None"):
        BaseSampler(y, 1, "hard")()


def test_a_score_that_is_no_number():
    sampler = BaseSampler(torch.tensor([0, 0, 1, -1]), per_class=1, mode="hard")
    assert sampler(torch.tensor([1.0, 2.0, 3.0, torch.nan])).tolist() == [1, 2]
    with pytest.raises(ValueError, match="score must not be NaN on labelled samples"):
        sampler(torch.tensor([1.0, torch.nan, 3.0, 4.0]))


def test_scores_are_those_of_the_authors_program():
    y = torch.tensor([0, 0, 0, 1, 1, -1])
    u = torch.tensor([[0.9, 0.1], [0.2, 0.3], [0.5, 0.5], [0.0, 0.0], [0.4, 0.6], [0.5, 0.5]])
    expected = {
        "entropy": -(torch.tensor([0.9, 0.2, 0.5, 0.0, 0.6]).double() + 1e-8).log(),
        "l2": torch.tensor([0.18, 0.87, 0.5, 1.0, 0.48]).double(),
    }
    for score, values in expected.items():
        sampler = BaseSampler(y, 2, "score", score=score)
        sampler.update(torch.arange(6), u)
        torch.testing.assert_close(sampler.scores[:5], values, rtol=1e-5, atol=1e-7)
        assert sampler().tolist() == [1, 2, 3, 4]
        sampler.update(torch.tensor([1]), torch.tensor([[1.0, 0.0]]))
        assert sorted(sampler().tolist()) == [0, 2, 3, 4]


def test_before_the_first_update_scores_draw_at_random():
    y = torch.zeros(10, dtype=torch.int64)
    sampler = BaseSampler(y, 3, "score", torch.Generator().manual_seed(5))
    share = torch.cat([sampler() for _ in range(600)]).bincount(minlength=10) / 600
    assert (share - 0.3).abs().max() < 0.08


@pytest.mark.parametrize(
    ("index", "u", "message"),
    [
        ([4], [[0.5, 0.5]], r"index must be in \[0, 4\), got 4"),
        ([0, 4], [[0.5, 0.5]] * 2, r"index must be in \[0, 4\), got 4"),
        ([-1], [[0.5, 0.5]], r"index must be in \[0, 4\), got -1"),
        ([2], [[0.5]], r"u must have shape \[b, c\] with c > 1, got \[1, 1\]"),
        ([0, 2], [[0.5]] * 2, r"u must have shape \[b, c\] with c > 1, got \[2, 1\]"),
        ([2], [[0.5, torch.nan]], "u must be finite"),
        ([2, 1], [[0.5, 0.5]], r"index must have shape \[1\]"),
    ],
)
def test_bad_updates(index, u, message):
    sampler = BaseSampler(torch.tensor([0, 0, 1, -1]), 1, "score")
    with pytest.raises(ValueError, match=message):
        sampler.update(torch.tensor(index), torch.tensor(u))
    assert (sampler.scores == 0).all()
