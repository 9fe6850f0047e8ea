"""Edges of a graph, and what is summed along them."""

__all__: list[str] = []
