"""Weights that grow towards the labelled nodes, for Laplace learning with few labels."""

from typing import Literal

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import Labelled, mean_by
from pyg_relational.ops import edge_diff_dot, knn, safe_sqrt
from pyg_relational.ops.checks import check_features
from pyg_relational.ops.graph.components import connected_components, edges_where
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.solvers import Solver

__all__ = ["Normalization", "Reweighting", "reweight"]

Normalization = Literal["combinatorial", "randomwalk", "normalized"]
Reweighting = Literal["none", "poisson", "wnll", "properly"]

# Least value, radius, power and largest factor of the papers below, which are those of graphlearning.
_FLOOR = 1e-5
_RADIUS, _POWER, _MOST = 0.1, 2, 1e7


def reweight(
    graph: Labelled,
    method: Reweighting,
    normalization: Normalization = "combinatorial",
    x: Tensor | None = None,
    solver: Solver | None = None,
) -> Tensor:
    r"""Weights of a graph, heavier near its labels.

    - ``"wnll"`` (`Shi et al., 2017 <https://link.springer.com/article/10.1007/s10915-017-0421-z>`_):
      :math:`(a_i + a_j) w_ij`, :math:`a = n / m` at the :math:`m` labelled of :math:`n` nodes and 1 elsewhere;
    - ``"properly"`` (`Calder and Slepčev, 2019 <https://link.springer.com/article/10.1007/s00245-019-09637-3>`_):
      the same with :math:`a_i = 1 + (r / d_i)^2`, :math:`r = 0.1`, at most :math:`10^7`, :math:`d_i` the distance
      to the nearest labelled point;
    - ``"poisson"`` (`Calder et al., 2020 <https://proceedings.mlr.press/v119/calder20a.html>`_):
      :math:`v_i v_j w_ij`, :math:`v` the solution of :math:`L v = 1_m - \bar{1}_m`, shifted to a least value of
      :math:`10^{-5}` in each graph. With ``normalization="normalized"``, as in graphlearning's program,
      :math:`L = I - D^{-1/2} W D^{-1/2}`, whose solutions differ by multiples of :math:`\sqrt{d}`, so that the shift
      leaves the choice open: :math:`v` is the one with :math:`\sum_i \sqrt{d_i} v_i = 0`, in each component, and
      :math:`\bar{1}_m` the mean weighted by :math:`\sqrt{d}`. ``"randomwalk"`` takes the combinatorial form.

    Args:
        graph: Checked graph.
        method: One of these, or ``"none"``.
        normalization: Kind of Laplacian in ``"poisson"``.
        x: Features, for ``"properly"``.
        solver: For ``"poisson"``.

    Returns:
        Weights, differentiable in the weights and in ``x``.

    Raises:
        ValueError: If ``x`` is missing.
    """
    edge_index, weight, *_ = graph
    row, col = edge_index
    if method == "none":
        return weight
    if method == "poisson":
        v = _poisson(graph, normalization, solver)
        return v[row] * weight * v[col]
    a = _wnll(graph) if method == "wnll" else _properly(graph, x)
    return (a[row] + a[col]) * weight


def _wnll(graph: Labelled) -> Tensor:
    labelled = graph.mask.to(graph.edge_weight.dtype)[:, None]
    share = mean_by(labelled, graph.batch, graph.num_graphs)[:, 0]
    return share.where(graph.mask, 1.0).reciprocal()


def _properly(graph: Labelled, x: Tensor | None) -> Tensor:
    if x is None:
        raise ValueError("x must be given with reweighting='properly', got None")
    check_features(x)
    n = len(graph.mask)
    if len(x) != n:
        raise ValueError(f"x must have shape [{n}, d], got {list(x.shape)}")
    x = x.to(graph.edge_weight.dtype)
    nearest = torch.empty(n, dtype=torch.int64, device=x.device)
    for number in graph.batch.unique():
        inside = graph.batch == number
        labelled = (graph.mask & inside).nonzero()[:, 0]
        if len(labelled) == 0:
            raise ValueError(f"mask must label a node of every graph, got none in {int(number)}")
        nearest[inside] = labelled[knn(x[labelled], 1, y=x[inside]).index[:, 0]]
    pairs = torch.stack([torch.arange(n, device=x.device), nearest])
    distance = safe_sqrt(edge_diff_dot(x, x, pairs))
    least = _RADIUS / (_MOST - 1) ** (1 / _POWER)
    return 1 + (_RADIUS / distance.clamp(min=least)) ** _POWER


def _poisson(graph: Labelled, normalization: Normalization, solver: Solver | None) -> Tensor:
    edge_index, weight, _, mask, batch, num_graphs = graph
    n = len(mask)
    source = mask.to(weight.dtype)[:, None]
    shift = weight.new_zeros(n)
    fixed = torch.zeros_like(mask)
    equation = GroundedLaplacian(edge_index, weight, shift, fixed, solver=solver)
    if normalization == "normalized":
        v = _normalized(graph, equation, source, shift)[:, 0]
    else:
        v = implicit_solve(equation, source, weight, shift)[:, 0]
    low = v.new_full((num_graphs,), torch.inf).scatter_reduce(0, batch, v, "amin")
    return v - low[batch] + _FLOOR


def _normalized(
    graph: Labelled, equation: GroundedLaplacian, source: Tensor, shift: Tensor
) -> Tensor:
    """Solution for ``I - D^-1/2 W D^-1/2`` that is orthogonal to its kernel."""
    edge_index, weight = graph.edge_index, graph.edge_weight
    component = connected_components(edges_where(edge_index, weight > 0), len(source))
    d = degree(edge_index, weight * (edge_index[0] != edge_index[1]), len(source))[:, None]
    d, n = d.where(d > 0, 1.0), len(source)
    root = d.sqrt()
    source = source - mean_by(root * source, component, n) / mean_by(root, component, n)
    v = implicit_solve(equation, root * source, weight, shift)
    return root * (v - mean_by(d * v, component, n) / mean_by(d, component, n))
