"""What only one rank of a smaller group has wrong is raised on all of its ranks, and the group lives."""

import pytest
import torch

from pyg_relational import distributed
from tests.distributed.pool import refused

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def doors(rank: int, group) -> dict[str, str]:
    """Rank 1 has something else in one argument."""
    x = torch.randn(4, 2)
    y, c, mu = torch.tensor([0, 1, 0, 1]), torch.ones(4, 2), torch.eye(2)
    graph = distributed.knn_graph(x, 2, group=group)
    state = graph.state_dict()

    def wrong(bad, good):
        return bad if rank == 1 else good

    tuples = wrong((graph.edge_index, graph.edge_weight), graph)
    calls = {
        "laplace": lambda: distributed.laplace_propagation(tuples, y),
        "modularity": lambda: distributed.modularity_loss(tuples, c),
        "grapix": lambda: distributed.grapix_loss(tuples, x, mu),
        "dgcluster": lambda: distributed.dgcluster_loss(tuples, x),
        "to_data": lambda: distributed.to_data(tuples, x=x),
        "nothing": lambda: distributed.to_data(wrong(None, graph)),
        "gather": lambda: distributed.gather(wrong([1.0], x), group),
        "state": lambda: distributed.ShardedGraph.from_state_dict(wrong([], state), group),
        "key": lambda: distributed.ShardedGraph.from_state_dict(
            wrong({"offsets": state["offsets"]}, state), group
        ),
        "tau": lambda: distributed.laplace_propagation(graph, y, tau=torch.ones(wrong(3, 4))),
        "large": lambda: distributed.ShardedGraph.from_rows(
            PATH[:, :0], None, wrong(10**30, 0), group
        ),
        "classes": lambda: distributed.laplace_propagation(graph, y, num_classes=wrong(10**30, 2)),
        "y": lambda: distributed.LatentClusterCorrection(wrong(None, y), group=group),
        "features": lambda: distributed.graph_consistency_loss(wrong(None, x), c, y, group=group),
        "k": lambda: distributed.knn(x, wrong("two", 2), group=group),
        "after": lambda: distributed.laplace_propagation(graph, y),
    }
    return {name: refused(call) for name, call in calls.items()}


GRAPH = "TypeError: graph must be a ShardedGraph, got tuple (on rank 1)"
EXPECTED = {
    **dict.fromkeys(("laplace", "modularity", "grapix", "dgcluster", "to_data"), GRAPH),
    "nothing": "TypeError: graph must be a ShardedGraph, got NoneType (on rank 1)",
    "gather": "TypeError: x must be a Tensor, got list (on rank 1)",
    "state": "TypeError: state must be a dict of Tensors ['edge_index', 'edge_weight', 'offsets'], "
    "got list (on rank 1)",
    "key": "TypeError: state must be a dict of Tensors ['edge_index', 'edge_weight', 'offsets'], "
    "got ['offsets'] (on rank 1)",
    "tau": "ValueError: tau must be a scalar or have shape [4], got [3] (on rank 1)",
    "large": f"ValueError: num_rows must be < 2**62, got {10**30} (on rank 1)",
    "classes": f"ValueError: num_classes must be < 2**62, got {10**30} (on rank 1)",
    "y": "TypeError: y must be a Tensor, got NoneType (on rank 1)",
    "features": "TypeError: features must be a Tensor or a sequence of them, got NoneType (on rank 1)",
    "k": "TypeError: k must be an int, got str (on rank 1)",
    "after": "no error",
}


@pytest.mark.parametrize("world", [2, 3])
def test_what_one_rank_has_wrong_is_raised_on_all(ranks, world):
    for got in ranks(world, doors):
        assert got == EXPECTED
