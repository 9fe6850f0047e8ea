"""The command ``pyg-relational``: graphs, labels and clusters of a table, without writing code."""

__all__: list[str] = []
