"""One door for graphs: whatever a user holds becomes ``(edge_index, edge_weight, num_nodes)``."""

from pyg_relational.ops.graph.as_edges import as_edges

__all__ = ["as_edges"]
