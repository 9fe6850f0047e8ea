import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.cluster import match_labels
from tests import oracles

pairs = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 3)), min_size=1, max_size=40)


def columns(rows):
    clusters, y = torch.tensor(rows).T
    return clusters.contiguous(), y.contiguous()


def maximum_flow(clusters: list[int], y: list[int]) -> int:
    """Samples of matched pairs, by the flow of least cost: one unit out of each cluster, any number into a label."""
    graph = nx.DiGraph()
    graph.add_nodes_from(["source", "sink"])
    for c, label in zip(clusters, y, strict=True):
        if c < 0 or label < 0:
            continue
        graph.add_edge("source", ("cluster", c), capacity=1)
        graph.add_edge(("label", label), "sink")
        together = sum((c, label) == pair for pair in zip(clusters, y, strict=True))
        graph.add_edge(("cluster", c), ("label", label), capacity=1, weight=-together)
    flow = nx.max_flow_min_cost(graph, "source", "sink")
    return -nx.cost_of_flow(graph, flow)


@settings(deadline=None, max_examples=100)
@given(pairs)
def test_value_is_that_of_the_maximum_flow_of_least_cost(rows):
    clusters, y = columns(rows)
    label = match_labels(y, clusters)
    matched = (
        (clusters >= 0) & (y >= 0) & (torch.cat([label, label.new_tensor([-1])])[clusters] == y)
    )
    assert int(matched.sum()) == maximum_flow(clusters.tolist(), y.tolist())


@settings(deadline=None, max_examples=100)
@given(pairs, st.integers(0, 3))
def test_is_the_majority_label(rows, more):
    clusters, y = columns(rows)
    k = int(clusters.max()) + 1 + more
    expected = [oracles.matched_label(clusters.tolist(), y.tolist(), c) for c in range(k)]
    assert match_labels(y, clusters, k).tolist() == expected


def test_of_labels_as_frequent_it_is_the_lowest():
    clusters = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    y = torch.tensor([7, 3, 3, 7, 9, 5, 7, 0, 3])
    assert match_labels(y, clusters).tolist() == [3, 5, 0]
    assert match_labels(y.flip(0), clusters.flip(0)).tolist() == [3, 5, 0]


def test_large_labels_and_many_clusters_take_no_table():
    n = 200_000
    y = torch.arange(n) + 2**62
    assert match_labels(y, torch.arange(n)).equal(y)


def test_empty():
    none = torch.empty(0, dtype=torch.int64)
    assert match_labels(none, none).tolist() == []
    assert match_labels(none, none, 2).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("clusters", "y", "k", "error", "message"),
    [
        ([0, 1], [0, 1], 1, ValueError, "clusters must be in -1..0, got 1"),
        ([-1, -1], [0, 1], -3, ValueError, "num_clusters must be >= 0, got -3"),
        ([0, -2], [0, 1], None, ValueError, "clusters must be in -1..0, got -2"),
        ([0, 1], [0], None, ValueError, r"y must have shape \[2\], got \[1\]"),
        ([0.0, 1.0], [0, 1], None, TypeError, "clusters must be int64, got torch.float32"),
        ([[0, 1]], [0], None, ValueError, r"clusters must have shape"),
    ],
)
def test_bad_input_is_named(clusters, y, k, error, message):
    with pytest.raises(error, match=message):
        match_labels(torch.tensor(y), torch.tensor(clusters), k)
