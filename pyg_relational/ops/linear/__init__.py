"""Linear systems of a graph: equations, solvers and one rule of their derivatives."""

__all__ = []
