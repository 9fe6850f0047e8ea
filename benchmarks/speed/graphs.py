"""Graphs that values travel far on, for solvers: paths, grids, roads, neighbours, and two clusters with a bridge."""

import os
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay
from torch import Tensor

from benchmarks.machine import DATASETS
from pyg_relational.ops import both_directions
from pyg_relational.transforms import knn_graph

Edges = tuple[Tensor, Tensor]  # in both directions, and their weights

_BRIDGE = 1e-4  # weight of the one edge between two clusters


def cached(name: str, build: Callable[[], Edges]) -> Edges:
    """A graph that takes long to build, kept beside the data."""
    path = DATASETS / "processed" / f"{name}.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        torch.save(build(), part)
        os.replace(part, path)
    edge_index, edge_weight = torch.load(path, weights_only=True)
    return edge_index, edge_weight


def grid(n: int, dim: int) -> Edges:
    """A path, a square or a cube of about ``n`` nodes, each with an edge to the next along each side."""
    side = round(n ** (1 / dim))
    node = torch.arange(side**dim).view([side] * dim)
    pairs = [
        torch.stack([node.narrow(d, 0, side - 1), node.narrow(d, 1, side - 1)]).flatten(1)
        for d in range(dim)
    ]
    return _both(torch.cat(pairs, 1), side**dim)


def roads(n: int) -> Edges:
    """The shortest tree along a Delaunay graph of random points in the plane, and its n / 4 shortest edges beside."""
    points = np.random.default_rng(0).random((n, 2))
    corners = Delaunay(points).simplices
    pairs = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    tree = minimum_spanning_tree(coo_array((length, pairs.T), shape=(n, n))).tocoo()
    in_tree = np.isin(pairs @ [n, 1], np.sort(np.stack([tree.row, tree.col], 1), 1) @ [n, 1])
    others = np.flatnonzero(~in_tree)
    some = others[np.argsort(length[others], kind="stable")[: n // 4]]
    kept = np.concatenate([np.flatnonzero(in_tree), some])
    return _both(torch.from_numpy(pairs[kept].T.astype(np.int64)), n)


def neighbours(n: int, d: int, seed: int = 0) -> Edges:
    """Neighbours of Gaussian points, k = 10."""
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    return cached(f"gaussian_{n}_{d}_knn10" + f"_{seed}" * (seed > 0), lambda: knn_graph(x, 10))


def bridge(n: int) -> Edges:
    """Neighbours of two sets of points in 3-d, and one weak edge between their first points."""
    half = n // 2
    (first, weight), (second, other) = neighbours(half, 3), neighbours(half, 3, seed=1)
    across = torch.tensor([[0, half], [half, 0]])
    return (
        torch.cat([first, second + half, across], 1),
        torch.cat([weight, other, torch.full((2,), _BRIDGE)]),
    )


GRAPHS: dict[str, Callable[[int], Edges]] = {
    "path": lambda n: grid(n, 1),
    "grid": lambda n: grid(n, 2),
    "3-d grid": lambda n: grid(n, 3),
    "roads": roads,
    "neighbours in 2-d": lambda n: neighbours(n, 2),
    "neighbours in 3-d": lambda n: neighbours(n, 3),
    "neighbours in 16-d": lambda n: neighbours(n, 16),
    "bridge": bridge,
}


def _both(pairs: Tensor, n: int) -> Edges:
    edge_index, _ = both_directions(pairs, n)
    return edge_index, torch.ones(edge_index.shape[1])
