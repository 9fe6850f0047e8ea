"""Edges of a graph, and what is summed along them."""
