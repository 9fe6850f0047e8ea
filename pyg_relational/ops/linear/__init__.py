"""Linear systems of a graph: equations, solvers and one rule of their derivatives.

- What a user gives, and gets back: ``solvers`` (``CG``, ``Direct``, ``Multigrid``, ``Auto``, ``SolveInfo``),
  ``prepared``.
- Derivatives of every solution: ``implicit``; of symmetric equations with held values ``held``.
- Equations: ``grounded`` (label propagation), ``mixed`` (with a hypergraph), ``p_laplacian``, ``game_p_laplacian``.
- Which solver runs: ``auto``. What is made once for a matrix: ``set_up``, of it ``operator``, ``components``,
  ``scaled``, ``factors``.
- Iterations: ``cg``, ``bicgstab``; their preconditioners: ``aggregation``, ``multigrid``.
"""

__all__ = []
