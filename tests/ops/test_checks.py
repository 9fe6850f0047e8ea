from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
import torch

from pyg_relational.ops.checks import (
    check_batch,
    check_choice,
    check_count,
    check_features,
    check_labels,
    check_number,
    check_share,
)


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(4, 3),
        torch.randn(3, 4).T,
        torch.randn(2, 2, requires_grad=True),
        torch.empty(0, 3),
        torch.empty(3, 0),
        torch.full((4, 4), 3e38),
        torch.full((9, 9), 6e4, dtype=torch.float16),
        torch.ones(2, 2, dtype=torch.bfloat16),
    ],
)
def test_features_that_pass(x):
    check_features(x)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ([[1.0]], TypeError, "feats must be a Tensor, got list"),
        (torch.ones(2, 2).long(), TypeError, "feats must be floating point, got torch.int64"),
        (torch.ones(2, 2).cfloat(), TypeError, "feats must be floating point, got torch.complex64"),
        (torch.ones(2), ValueError, r"feats must have shape \[n, d\], got \[2\]"),
        (torch.ones(2, 1, 1), ValueError, r"feats must have shape \[n, d\], got \[2, 1, 1\]"),
    ],
)
def test_features_that_do_not(x, error, message):
    with pytest.raises(error, match=message):
        check_features(x, "feats")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_features_must_be_finite(bad, dtype):
    x = torch.ones(5, 4, dtype=dtype)
    x[3, 2] = bad
    with pytest.raises(ValueError, match=rf"x must be finite, got {bad} in row 3, column 2"):
        check_features(x)


def test_infinities_do_not_cancel():
    with pytest.raises(ValueError, match="got inf in row 0, column 0"):
        check_features(torch.tensor([[torch.inf, -torch.inf]]))


def test_labels():
    check_labels(torch.tensor([-1, 3]), 2)
    check_labels(torch.empty(0, dtype=torch.int64), 0)
    with pytest.raises(TypeError, match="labels must be a Tensor, got list"):
        check_labels([1], 1, "labels")
    with pytest.raises(TypeError, match=r"y must be int64, got torch\.int32"):
        check_labels(torch.tensor([1]).int(), 1)
    with pytest.raises(ValueError, match=r"y must have shape \[3\], got \[2\]"):
        check_labels(torch.tensor([0, 1]), 3)
    with pytest.raises(ValueError, match=r"y must have shape \[2\], got \[2, 1\]"):
        check_labels(torch.tensor([[0], [1]]), 2)


def test_choice():
    check_choice(None, ("a", None), "what")
    for choices in (("a", None), Literal["a", None]):
        check_choice("a", choices, "what")
        with pytest.raises(ValueError, match=r"what must be one of \('a', None\), got 'b'"):
            check_choice("b", choices, "what")


def test_share():
    for good in (0, 0.5, 1):
        check_share(good, "keep")
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"keep must be in \[0, 1\], got {bad}"):
            check_share(bad, "keep")


def test_count():
    for three in (3, np.int64(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.int8)):
        assert type(check_count(three, "k")) is int
        assert check_count(three, "k", 3) == 3
    assert check_count(0, "k", 0) == 0
    for bad in (
        True,
        np.True_,
        torch.tensor(True),
        np.float64(2),
        torch.tensor(2.0),
        2.0,
        "2",
        None,
    ):
        with pytest.raises(TypeError, match=f"k must be an int, got {type(bad).__name__}"):
            check_count(bad, "k")
    with pytest.raises(ValueError, match="k must be >= 2, got 1"):
        check_count(1, "k", 2)


def test_a_batch_is_read_once_and_says_what_was_asked():
    sets = {"x": torch.ones(3, 2), "z": torch.ones(3, 4, dtype=torch.float64)}
    y = torch.tensor([2, -1, 0])
    assert check_batch(sets, {"y": y}) == [-1.0]
    assert check_batch({"x": torch.ones(0, 2)}, {"y": y[:0]}) == [0.0]
    assert check_batch({"x": torch.full((4, 4), 3e38)}, {}) == []


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("x", torch.ones(3), ValueError, r"x must have shape \[n, d\], got \[3\]"),
        ("z", torch.tensor([[1.0], [torch.nan], [1.0]]), ValueError, "z must be finite, got nan in row 1"),
        ("z", torch.ones(3, 1).long(), TypeError, "z must be floating point"),
        ("y", torch.tensor([0, -3, 1]), ValueError, "y must be >= -1, got -3"),
        ("y", torch.tensor([0, 1]), ValueError, r"y must have shape \[3\], got \[2\]"),
    ],
)  # fmt: skip
def test_a_batch_is_refused_by_name(name, value, error, message):
    given = {
        "x": torch.ones(3, 2),
        "z": torch.ones(3, 1),
        "y": torch.tensor([0, 1, 1]),
        name: value,
    }
    with pytest.raises(error, match=message):
        check_batch({"x": given["x"], "z": given["z"]}, {"y": given["y"]})


@pytest.mark.parametrize(
    "value", [1, 0.5, np.float32(1), np.int8(1), Fraction(1, 2), torch.tensor(1.0)]
)
def test_numbers_of_any_library(value):
    check_number(value, "p")


@pytest.mark.parametrize(
    ("value", "got"), [(True, "bool"), (np.bool_(1), "bool"), ("1", "str"), (None, "NoneType")]
)
def test_no_number(value, got):
    with pytest.raises(TypeError, match=f"p must be a number or a Tensor, got {got}"):
        check_number(value, "p")
    with pytest.raises(TypeError, match=f"p must be a number or a Tensor, got {got}"):
        check_share(value, "p")
