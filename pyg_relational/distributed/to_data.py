"""A rank's part of a graph for PyG: own nodes first, those of other ranks that are neighbours behind them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.sharded_graph import (
    ShardedGraph,
    check_rows_of,
    group_of,
    weight_facts,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["to_data"]


def to_data(graph: ShardedGraph, **rows: Tensor) -> "Data":
    r"""This rank's part of the graph as :class:`torch_geometric.data.Data`, as PyG's loaders give a batch.

    Its nodes are the ``batch_size`` own ones, and behind them those of other ranks at the other end of their edges;
    ``n_id`` has the number of each in the whole graph. Edges lead to own nodes, from all of their neighbours: what a
    layer of a GNN gives for the first ``batch_size`` nodes is what it gives for them on the whole graph, unless it
    needs more than their neighbours' rows, as degrees. ``n_id[edge_index]`` are the edges in the whole graph, the
    source first.

    All ranks call it together. Rows of other ranks are exchanged, differentiably.

    Args:
        graph: The graph.
        **rows: Values of the local rows by the name that they get, such as ``x=x, y=y``.

    Shapes:
        ``rows``: :math:`[n_r, *]` each, in the result :math:`[n_r + h, *]`.

    Returns:
        ``Data`` with ``edge_index``, ``edge_weight``, ``n_id``, ``batch_size``, ``offsets`` (first node of each rank,
        and their number) and ``rows``.

    Raises:
        TypeError: If an argument is of a wrong type, on any rank.
        ValueError: If rows are not as many as the graph's here, on any rank, or differ between ranks in more.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph, to_data
        >>> graph = ShardedGraph.from_rows(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), None, num_rows=3)
        >>> to_data(graph, x=torch.eye(3))
        Data(x=[3, 3], edge_index=[2, 4], edge_weight=[4], n_id=[3], offsets=[2], num_nodes=3, batch_size=3)
    """
    agree(lambda: (_facts(graph, rows), []), group_of(graph))
    from torch_geometric.data import Data

    halo = graph.halo
    own = torch.arange(halo.start, halo.stop, device=graph.edge_index.device)
    n_id = torch.cat([own, halo.columns])
    return Data(
        **{name: halo.extend(x) for name, x in rows.items()},
        edge_index=graph.local.flip(0),
        edge_weight=graph.edge_weight,
        n_id=n_id,
        offsets=torch.tensor(graph.offsets),
        num_nodes=len(n_id),
        batch_size=graph.num_rows,
    )


def _facts(graph: object, rows: dict[str, Tensor]) -> dict[str, object]:
    for name, x in rows.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(x).__name__}")
        check_rows_of(graph, x, name)
    if not isinstance(graph, ShardedGraph):
        raise TypeError(f"graph must be a ShardedGraph, got {type(graph).__name__}")
    return {"call": "to_data", **weight_facts(graph), **{k: described(x) for k, x in rows.items()}}
