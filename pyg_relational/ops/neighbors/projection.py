"""Candidates for the nearest neighbours, by lower bounds of the distances in fewer dimensions."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyg_relational.ops.neighbors.candidates import Points, Tiles, candidates, merged, slack
from pyg_relational.ops.neighbors.rank import nearest

__all__ = ["candidates_projected", "project"]

_PAIRS = 2**28  # pairs of rows from which on a projection may pay
_MOST = 128  # principal directions
_SHARE = 1 / 128  # share of pairs up to which direct distances cost less than one matrix product
_SAMPLE = 32  # queries whose candidates are counted to foresee that share


def project(points: Points, k: int) -> Points | None:
    r"""The points in an eighth of the dimensions or fewer, where that leaves few candidates; else None.

    .. math::
        \lVert x - y \rVert^2 \ge \lVert V^T (x - y) \rVert^2
        + \left(\lVert x - V V^T x \rVert - \lVert y - V V^T y \rVert\right)^2

    for orthonormal :math:`V`, here near the leading principal directions: the right side is a distance too.
    Its rounding, in float32 of float64, is far within the ``slack`` of ``d`` dimensions.
    """
    (n, d), m = points.x.shape, points.q.shape[0]
    usual = points.x.dtype == torch.float32 and points.x.device.type == "cpu"
    if not (usual and d >= 128 and n * m >= _PAIRS):
        return None
    basis = _principal(points.x, min(d // 8, _MOST))
    x = _reduce(points.x, basis)
    low = points._replace(x=x, q=x if points.own else _reduce(points.q, basis))
    return low if _share(points, low, k) <= _SHARE / 2 else None


def _principal(x: Tensor, p: int) -> Tensor:
    """``p`` orthonormal columns near the leading principal directions, by orthogonal iteration."""
    some = x[:: max(1, len(x) // 1024)].double()
    some = some - some.mean(0)
    basis = some[:: max(1, len(some) // p)][:p].T
    for _ in range(2):
        basis = torch.linalg.qr(some.T @ (some @ basis)).Q
    return basis


def _reduce(x: Tensor, basis: Tensor) -> Tensor:
    """``[V^T x, ||x - V V^T x||]``, in float64 until the end: rounded once."""
    parts = []
    for part in x.split(4096):
        whole = part.double()
        inner = whole @ basis
        rest = torch.linalg.vecdot(whole, whole) - torch.linalg.vecdot(inner, inner)
        parts.append(torch.cat([inner, rest.clamp_(min=0).sqrt_()[:, None]], 1).to(x.dtype))
    return torch.cat(parts)


def _share(points: Points, low: Points, k: int) -> float:
    """Share of the points within the ``k``-th distance by the lower bound, for some of the queries."""
    m = len(points.q)
    rows = torch.arange(0, m, max(1, m // _SAMPLE))[:_SAMPLE]
    square, bound = (p.bias - 2 * p.q[rows] @ p.x.T for p in (points, low))
    if points.own:
        square[torch.arange(len(rows)), rows] = torch.inf
    reach = square.kthvalue(k, keepdim=True).values
    return float((bound <= reach).float().mean())


def candidates_projected(points: Points, low: Points, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Query and point of every pair that may be among a query's ``k`` nearest, by query; block by block.

    The nearest by the lower bound give an upper bound of the ``k``-th distance: no neighbour's lower bound
    is above it. Where more pairs than foreseen stay below, the rest goes without the projection.
    """
    (n, d), m = points.x.shape, points.q.shape[0]
    norm = points.q.norm(dim=1)

    tiles = Tiles(low, min(2 * k, n - points.own))

    def found() -> Iterator[tuple[Tensor, Tensor]]:
        left = int(_SHARE * n * m)
        for part in tiles.minima():
            length = norm[part.start : part.start + len(part.bound)]
            row, col = tiles.within(
                part, part.bound + slack(length, length.square() + part.bound, d)
            )
            reach = nearest(points, k, row, col)[1][:, k - 1]
            square = 2 * reach if points.cosine else reach.square()
            row, col = tiles.within(part, square - length.square() + slack(length, square, d))
            yield row, col
            left -= len(row)
            if left < 0:
                yield from candidates(points, k, part.start + len(reach))
                return

    return merged(found())
