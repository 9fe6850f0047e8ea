"""Random undirected graphs for tests."""

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from pyg_relational.ops import both_directions


class Graph(NamedTuple):
    """``weight[pair]`` are the weights of ``edge_index``, both directions equal."""

    edge_index: Tensor
    pair: Tensor
    weight: Tensor
    y: Tensor
    mask: Tensor

    @property
    def edge_weight(self) -> Tensor:
        return self.weight[self.pair]


def dense(edge_index: Tensor, edge_weight: Tensor, n: int) -> Tensor:
    """Adjacency matrix; entries at one place added up."""
    zero = torch.zeros(n, n, dtype=edge_weight.dtype)
    return zero.index_put((edge_index[0], edge_index[1]), edge_weight, accumulate=True)


def random_graph(
    n: int, extra: float = 0.3, seed: int = 0, classes: int = 3, labelled=0.3
) -> Graph:
    """A connected graph: a path and random chords, weights in [0.1, 1.1), node 0 labelled."""
    g = torch.Generator().manual_seed(seed)
    chords = torch.rand(n, n, generator=g) < extra
    adjacent = chords.triu(1) | torch.diag(torch.ones(n - 1), 1).bool() if n > 1 else chords & False
    pairs = adjacent.nonzero().T
    edge_index, pair = both_directions(pairs, n)
    weight = torch.rand(pairs.shape[1], dtype=torch.float64, generator=g) + 0.1
    y = torch.randint(classes, (n,), generator=g)
    mask = torch.rand(n, generator=g) < labelled
    mask[0] = True
    return Graph(edge_index, pair, weight, y, mask)


def union(a: Graph, b: Graph) -> tuple[Graph, Tensor]:
    """The two side by side, and which graph each node is of."""
    n, p = len(a.y), len(a.weight)
    edge_index = torch.cat([a.edge_index, b.edge_index + n], dim=1)
    both = Graph(
        edge_index,
        torch.cat([a.pair, b.pair + p]),
        torch.cat([a.weight, b.weight]),
        torch.cat([a.y, b.y]),
        torch.cat([a.mask, b.mask]),
    )
    return both, torch.cat([torch.zeros_like(a.y), torch.ones_like(b.y)])


@st.composite
def graphs(draw, most: int = 12) -> Graph:
    """Connected graphs of 1 to ``most`` nodes."""
    return random_graph(
        draw(st.integers(1, most)),
        draw(st.floats(0, 1)),
        draw(st.integers(0, 2**31)),
        draw(st.integers(1, 4)),
    )
