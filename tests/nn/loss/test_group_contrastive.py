import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import (
    GroupContrastiveLoss,
    group_contrastive_loss,
    instance_contrastive_loss,
)
from tests import oracles
from tests.device import Counts, pretend

F64 = torch.float64
MODULE = import_module("pyg_relational.nn.loss.group_contrastive")


def views(n: int, d: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=g, dtype=F64, requires_grad=True) for _ in "ab"]


def same_value_and_gradient(found, wanted, leaves):
    torch.testing.assert_close(found, wanted.to(found))
    if wanted.requires_grad:
        got = torch.autograd.grad(found, leaves)
        torch.testing.assert_close(got, torch.autograd.grad(wanted, leaves))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 999), st.floats(0.1, 3))
@settings(max_examples=40, deadline=None)
def test_instances_equal_the_oracle(n, d, seed, tau):
    a, b = views(n, d, seed)
    wanted = oracles.two_view_contrast(dict(enumerate(a)), dict(enumerate(b)), tau)
    same_value_and_gradient(instance_contrastive_loss(a, b, temperature=tau), wanted, (a, b))


@given(st.integers(1, 10), st.integers(1, 5), st.integers(0, 999), st.booleans())
@settings(max_examples=60, deadline=None)
def test_groups_equal_the_oracle(n, d, seed, given_groups):
    a, b = views(n, d, seed)
    g = torch.Generator().manual_seed(seed)
    groups = [torch.randint(-1, 4, (n,), generator=g) * 7 for _ in "ab"] if given_groups else []
    groups = [part.clamp(min=-1) for part in groups]
    labels = [part.tolist() for part in groups] or [x.argmax(1).tolist() for x in (a, b)]
    means = [oracles.group_means(x, part) for x, part in zip((a, b), labels, strict=True)]
    wanted = oracles.two_view_contrast(*means, 0.5)
    same_value_and_gradient(group_contrastive_loss(a, b, *groups), wanted, (a, b))


def test_samples_as_their_own_groups_are_instances():
    a, b = views(7, 3, 0)
    alone = torch.arange(7)
    torch.testing.assert_close(
        group_contrastive_loss(a, b, alone, alone), instance_contrastive_loss(a, b)
    )


def test_second_derivatives():
    a, b = views(4, 3, 1)
    assert gradcheck(instance_contrastive_loss, (a, b))
    assert gradgradcheck(instance_contrastive_loss, (a, b))
    groups = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2])
    assert gradcheck(lambda a, b: group_contrastive_loss(a, b, *groups), (a, b))
    assert gradgradcheck(lambda a, b: group_contrastive_loss(a, b, *groups), (a, b))


def test_tiles_change_nothing(monkeypatch):
    a, b = views(23, 4, 2)
    whole = instance_contrastive_loss(a, b)
    wanted = torch.autograd.grad(whole, (a, b))
    monkeypatch.setattr(MODULE, "_TILE", 46 * 5)
    tiled = instance_contrastive_loss(a, b)
    torch.testing.assert_close(tiled, whole)
    torch.testing.assert_close(torch.autograd.grad(tiled, (a, b)), wanted)
    assert gradgradcheck(lambda a: instance_contrastive_loss(a, b[:9]), (a[:9],))


def test_tiles_hold_no_square(monkeypatch):
    monkeypatch.setattr(MODULE, "_TILE", 1 << 14)
    kept = []
    a, b = (x.detach().requires_grad_() for x in views(512, 4, 3))
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        instance_contrastive_loss(a, b).backward()
    assert max(kept) <= 1 << 14
    assert sum(kept) < 1024 * 1024 / 2


def test_groups_that_meet_in_no_view_cost_nothing():
    a, b = views(3, 2, 4)
    loss = group_contrastive_loss(a, b, torch.tensor([0, 0, -1]), torch.tensor([1, -1, 1]))
    assert loss.item() == 0
    assert [g.abs().max().item() for g in torch.autograd.grad(loss, (a, b))] == [0, 0]


def test_a_group_of_one_view_is_an_other_of_the_rest():
    a, b = torch.eye(3), torch.eye(3)
    groups = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 2])
    loss = group_contrastive_loss(a, b, *groups, temperature=1.0)
    assert loss.item() == pytest.approx(math.log(1 + 2 / math.e))


@pytest.mark.parametrize("n", [0, 1])
def test_no_sample_and_one(n):
    a, b = views(n, 3, 5)
    for loss in (instance_contrastive_loss(a, b), group_contrastive_loss(a, a * 2)):
        assert loss.item() == pytest.approx(0)
        assert all(
            g.isfinite().all()
            for g in torch.autograd.grad(loss, (a, b), allow_unused=True)
            if g is not None
        )
    none = torch.full((n,), -1)
    assert group_contrastive_loss(a, b, none, none).item() == 0


def test_zero_rows_and_half_precision():
    a = torch.zeros(4, 3, requires_grad=True)
    loss = instance_contrastive_loss(a, torch.ones(4, 3))
    loss.backward()
    assert loss.isfinite()
    assert a.grad.isfinite().all()
    half = instance_contrastive_loss(torch.eye(3).half(), torch.eye(3).half())
    assert half.dtype == torch.float32


def test_a_small_temperature_overflows_nothing():
    a, b = views(5, 3, 6)
    assert instance_contrastive_loss(a.float(), b.float(), temperature=1e-3).isfinite()


def test_module_is_the_weighted_sum():
    a, b = views(9, 3, 7)
    loss = GroupContrastiveLoss(0.25, 2.0, temperature=0.7)(a, b)
    parts = (f(a, b, temperature=0.7) for f in (instance_contrastive_loss, group_contrastive_loss))
    torch.testing.assert_close(
        loss, sum(w * part for w, part in zip((0.25, 2.0), parts, strict=True))
    )


def test_a_device_is_read_once_a_loss():
    a, b = (x.detach().float() for x in views(9, 3, 8))
    with Counts() as counts:
        found = GroupContrastiveLoss()(pretend(a), pretend(b))
    assert counts.reads.total() == 2
    assert counts.copies.total() == 0
    torch.testing.assert_close(found.value, GroupContrastiveLoss()(a, b))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: instance_contrastive_loss(x, x[:2]), ValueError, "b must have the shape of a"),
        (lambda x: instance_contrastive_loss(x, x, temperature=0), ValueError, "temperature must"),
        (lambda x: instance_contrastive_loss(x / 0, x), ValueError, "a must be finite"),
        (lambda x: group_contrastive_loss(x.long(), x), TypeError, "a must be floating point"),
        (
            lambda x: group_contrastive_loss(x, x, torch.arange(3)),
            ValueError,
            "groups_a and groups_b must be given together",
        ),
        (
            lambda x: group_contrastive_loss(x, x, torch.arange(3), torch.arange(3) - 2),
            ValueError,
            "groups_b must be >= -1",
        ),
        (
            lambda x: group_contrastive_loss(x, x, torch.arange(2), torch.arange(3)),
            ValueError,
            "groups_a must have shape",
        ),
        (lambda x: GroupContrastiveLoss(-1.0), ValueError, "instance_weight must be"),
        (lambda x: GroupContrastiveLoss(temperature=math.nan), ValueError, "temperature must"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.ones(3, 2))
