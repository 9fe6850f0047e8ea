import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import ari, clustering_accuracy, nmi

METRICS = [clustering_accuracy, nmi, ari]

partitions = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        *(
            st.lists(st.integers(0, most), min_size=n, max_size=n).map(torch.tensor)
            for most in (3, 4)
        )
    )
)


def every_matching(y, clusters):
    """Best share over all assignments of clusters to different classes, or to none."""
    best = 0
    for match in itertools.permutations([*range(4), *[-1] * 5], 5):
        hits = sum(
            match[c] == label for label, c in zip(y.tolist(), clusters.tolist(), strict=True)
        )
        best = max(best, hits / len(y))
    return best


def entropy(*labels):
    rows = list(zip(*(t.tolist() for t in labels), strict=True))
    share = [rows.count(row) / len(rows) for row in set(rows)]
    return -sum(p * math.log(p) for p in share)


@settings(deadline=None, max_examples=15)
@given(partitions)
def test_accuracy_is_the_best_of_all_matchings(pair):
    assert clustering_accuracy(*pair) == pytest.approx(every_matching(*pair))


@settings(deadline=None, max_examples=40)
@given(partitions)
def test_nmi_is_information_over_the_root_of_the_entropies(pair):
    y, clusters = pair
    a, b = entropy(y), entropy(clusters)
    information = a + b - entropy(y, clusters)
    if a and b:
        assert nmi(y, clusters) == pytest.approx(information / math.sqrt(a * b), abs=1e-9)
    else:
        assert nmi(y, clusters) == (1 if a == b else 0)


@settings(deadline=None, max_examples=40)
@given(partitions)
def test_ari_counts_pairs(pair):
    y, clusters = ((t[:, None] == t)[tuple(torch.triu_indices(len(t), len(t), 1))] for t in pair)
    both, first, second, n = (int(t.sum()) for t in (y & clusters, y, clusters, y + ~y))
    expected = first * second / max(n, 1)
    most = (first + second) / 2
    value = 1 if most == expected else (both - expected) / (most - expected)
    assert ari(*pair) == pytest.approx(value)


@settings(deadline=None, max_examples=30)
@given(partitions, st.randoms(use_true_random=False))
def test_range_names_and_order_do_not_matter(pair, random):
    y, clusters = pair
    names = torch.tensor(random.sample(range(-50, 50), 5))
    order = torch.tensor(random.sample(range(len(y)), len(y)))
    for metric, low in zip(METRICS, (0, 0, -0.5), strict=True):
        value = metric(y, clusters)
        assert isinstance(value, float)
        assert low - 1e-12 <= value <= 1 + 1e-12
        assert metric(y[order], names[clusters[order]]) == pytest.approx(value)
        assert metric(y, names[y]) == pytest.approx(1)


@pytest.mark.parametrize("metric", METRICS)
def test_unlabelled_rows_are_left_out(metric):
    y, clusters = torch.tensor([0, -1, 1, 1, -1, 0]), torch.tensor([3, 1, 1, 1, 3, 1])
    known = y >= 0
    assert metric(y, clusters) == metric(y[known], clusters[known])
    assert metric(y, clusters) < 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("y", "clusters", "error", "message"),
    [
        ([0], torch.zeros(1).long(), TypeError, "y must be a Tensor, got list"),
        (torch.zeros(2), torch.zeros(2).long(), TypeError, "y must be int64, got torch.float32"),
        (torch.zeros(2).long(), torch.zeros(2), TypeError, "clusters must be int64"),
        (torch.zeros(2).long(), torch.zeros(3).long(), ValueError, r"clusters must .* \[2\]"),
        (torch.tensor(0), torch.zeros(1).long(), ValueError, r"y must have shape .* got \[\]"),
        (torch.full((2,), -1), torch.zeros(2).long(), ValueError, "y must label some row, got 2"),
        (torch.empty(0).long(), torch.empty(0).long(), ValueError, "y must label some row, got 0"),
    ],
)
def test_bad_input(metric, y, clusters, error, message):
    with pytest.raises(error, match=message):
        metric(y, clusters)
