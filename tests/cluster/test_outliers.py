from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_relational.cluster import join_nearest, outliers
from tests import oracles
from tests.device import Counts, pretend

MODULE = import_module("pyg_relational.cluster.outliers")


def points(n: int, d: int, seed: int, kind: str = "normal", dtype=torch.float64) -> Tensor:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return {"normal": x, "grid": x.round(), "copies": x[torch.arange(n) % max(1, n // 3)]}[kind]


@given(
    st.integers(2, 24),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(0, 999),
    st.sampled_from(["normal", "grid", "copies"]),
    st.floats(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_equals_the_oracle(n, d, k, seed, kind, whisker):
    x, k = points(n, d, seed, kind), min(k, n - 1)
    found = outliers(x, k, whisker=whisker)
    torch.testing.assert_close(found.degree, oracles.outlier_degree(x, k), rtol=1e-9, atol=1e-9)
    crowded = oracles.knn(x, k, "euclidean")[1].sum(1) == 0
    wanted = torch.tensor(oracles.box_plot_outliers(found.degree.tolist(), whisker))
    assert found.mask.equal(wanted & ~crowded)
    assert found.mask.sum() <= (n + 2) // 4


def test_figure_3_of_the_text():
    """16 degrees, r = 1.5: the two above 1.275."""
    given = [0.1, 0.15, 0.3, 0.35, 0.4, 0.42, 0.45, 0.5, 0.57, 0.6, 0.68, 0.72, 0.81, 0.87]
    wanted = [False] * 14 + [True] * 2
    assert oracles.box_plot_outliers([*given, 2.07, 2.25], 1.5) == wanted
    fence = MODULE._fence(torch.tensor([*given, 2.07, 2.25]), 1.5)
    assert fence.item() == pytest.approx(1.275)


def test_a_point_on_its_own_is_an_outlier_at_any_scale_and_place():
    x = torch.cat([points(60, 2, 0), torch.tensor([[9.0, 9.0]], dtype=torch.float64)])
    mask = outliers(x).mask
    assert mask[-1]
    assert mask.equal(outliers(1e-3 * x.flip(1) + 5).mask)


def test_the_middle_of_a_lattice_is_symmetric():
    x = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    assert outliers(x, 4).degree[12] == -1  # mirrors of its neighbours are its neighbours


def test_copies_are_no_outliers_and_nothing_is_nan():
    x = torch.cat([torch.zeros(6, 2), 5 + torch.randn(20, 2)])
    found = outliers(x, 5)
    assert not found.mask[:6].any()
    assert found.degree[:6].tolist() == [-1] * 6
    assert found.degree.isfinite().all()
    assert not outliers(torch.ones(4, 3), 2).mask.any()


def test_tiles_change_nothing(monkeypatch):
    x = points(50, 3, 1)
    whole = outliers(x, 7)
    monkeypatch.setattr(MODULE, "_TILE", 7 * 3 * 4)
    assert outliers(x, 7).degree.equal(whole.degree)


def test_half_precision_is_computed_in_float32():
    x = points(40, 3, 2).half()
    assert outliers(x).degree.equal(outliers(x.float()).degree)


def test_a_device_is_asked_for_little():
    x = points(40, 3, 3, dtype=torch.float32)
    wanted = outliers(x)
    with Counts() as counts:
        found = outliers(pretend(x))
    torch.testing.assert_close(found.degree.value, wanted.degree)
    assert found.mask.value.equal(wanted.mask)
    assert counts.copies.total() == 0


@given(st.integers(1, 30), st.integers(0, 999), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_joined_rows_have_the_cluster_of_the_nearest(n, seed, share):
    x, g = points(n, 2, seed), torch.Generator().manual_seed(seed)
    clusters = torch.randint(5, (n,), generator=g)
    clusters[torch.rand(n, generator=g) < share] = -1
    clusters[0] = 3
    given = clusters.clone()
    joined = join_nearest(x, clusters)
    for i in range(n):
        held = [j for j in range(n) if given[j] >= 0]
        nearest = i if given[i] >= 0 else min(held, key=lambda j: ((x[i] - x[j]).norm(), j))
        assert joined[i] == given[nearest]
    assert clusters.equal(given)


def test_no_rows_join_nothing():
    none = torch.empty(0, dtype=torch.int64)
    assert join_nearest(torch.empty(0, 2), none).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: outliers(x, 0), ValueError, "k must be >= 1, got 0"),
        (lambda x: outliers(x, 4), ValueError, r"k must be in 1..n - 1 = 3"),
        (lambda x: outliers(x, 2.0), TypeError, "k must be an int, got float"),
        (lambda x: outliers(x, 2, whisker=-1), ValueError, "whisker must be >= 0 and finite, got"),
        (lambda x: outliers(x, 2, whisker=float("nan")), ValueError, "whisker must be"),
        (lambda x: outliers(x.long(), 2), TypeError, "x must be floating point"),
        (lambda x: outliers(x / 0, 2), ValueError, "x must be finite"),
        (lambda x: join_nearest(x, torch.full((4,), -1)), ValueError, "at least one cluster"),
        (lambda x: join_nearest(x, torch.full((4,), -2)), ValueError, "clusters must be >= -1"),
        (lambda x: join_nearest(x, torch.ones(3).long()), ValueError, "clusters must have shape"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.arange(8.0).view(4, 2) + 1)
