"""Products of pairs of nodes that never become a matrix of all pairs."""

__all__: list[str] = []
