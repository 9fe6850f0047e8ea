"""The operations of docs/gpu.md against their peers, at the sizes of its goals."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch_geometric.nn import GATv2Conv

from benchmarks.gpu.case import Case, Functions
from pyg_relational.nn import (
    GraphLearningLayer,
    ProxyAttentionConv,
    ProxyGATv2Conv,
    graph_consistency_loss,
    modularity_loss,
)
from pyg_relational.ops import edge_dot, knn
from pyg_relational.ops.fused import available
from pyg_relational.transforms import knn_graph

HALF = torch.bfloat16


@contextmanager
def tf32() -> Iterator[None]:
    """Products of float32 in tf32, where the device has it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def within(context: Callable[[], Any], function: Callable[[], object]) -> Callable[[], object]:
    """The function in a context that is entered for every call."""

    def call() -> object:
        with context():
            return function()

    return call


def unfused() -> Any:
    """Without our kernels: the torch form."""
    return patch.object(available, "_ALLOWED", False)


def _normal(device: str, *sizes: tuple[int, ...]) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(size, generator=g).to(device).requires_grad_() for size in sizes]


def _classes(n: int, count: int, device: str) -> Tensor:
    return torch.randint(count, (n,), generator=torch.Generator().manual_seed(1)).to(device)


def _gradient(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return value.detach(), *torch.autograd.grad(value, leaves)


def consistency(device: str, n: int, d: int, c: int, literal: int = 0) -> Functions:
    """Graph consistency, forward and backward; the literal form where it has the memory."""
    x, z = _normal(device, (n, d), (n, c))
    y = _classes(n, c, device)

    def ours() -> object:
        return _gradient(graph_consistency_loss(x, z, y, detach_target=False), x, z)

    def dense() -> object:
        u, p = (torch.nn.functional.normalize(t, dim=1) for t in (x, z.softmax(1)))
        target = torch.relu(p @ p.T) * (y[:, None] == y)
        loss = (torch.relu(u @ u.T) - target).triu(1).square().sum() * 2 / (n * (n - 1))
        return _gradient(loss, x, z)

    return {
        "ours": ours,
        "ours, tf32": within(tf32, ours),
        "ours, torch form": within(unfused, ours),
        "ours, torch form, tf32": within(tf32, within(unfused, ours)),
        **({"literal dense": dense, "literal dense, tf32": within(tf32, dense)} if literal else {}),
    }


def gatv2(device: str, samples: int, proxies: int, heads: int, width: int) -> Functions:
    """The layer, forward and backward, with and without kernels, in half precision, and PyG's."""
    torch.manual_seed(0)
    x, g = _normal(device, (samples, heads * width), (proxies, heads * width))
    peer = GATv2Conv((heads * width,) * 2, width, heads, add_self_loops=False).to(device)
    layer = ProxyGATv2Conv.from_pyg(peer)

    def step(forward: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: _gradient(forward().float().square().mean(), x, g)

    def whole_graph() -> Tensor:
        i, j = torch.arange(proxies, device=device), torch.arange(samples, device=device)
        out: Tensor = peer((g, x), torch.cartesian_prod(i, j).T)
        return out

    ours = step(lambda: layer(x, g))
    return {
        "ours": ours,
        "ours, bf16 autocast": within(lambda: torch.autocast(device, HALF), ours),
        "ours, torch form": within(unfused, ours),
        "PyG GATv2Conv": step(whole_graph),
    }


def attention(device: str, samples: int, proxies: int, heads: int, width: int) -> Functions:
    """The layer, forward and backward, and bare projections around torch's fused attention."""
    torch.manual_seed(0)
    x, g = _normal(device, (samples, heads * width), (proxies, heads * width))
    layer = ProxyAttentionConv(heads * width, width, heads).to(device)

    def bare() -> Tensor:
        pairs = (layer.lin_query, x), (layer.lin_key[0], g), (layer.lin_value[0], g)
        q, k, v = (linear(rows).unflatten(1, (heads, width)) for linear, rows in pairs)
        out = scaled_dot_product_attention(*(t.transpose(0, 1)[None] for t in (q, k, v)))
        return out[0].transpose(0, 1).flatten(1)

    def step(forward: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: _gradient(forward().float().square().mean(), x, g)

    ours, peer = step(lambda: layer(x, g)), step(bare)
    half = lambda: torch.autocast(device, HALF)  # noqa: E731
    return {
        "ours": ours,
        "projections and scaled_dot_product_attention": peer,
        "ours, bf16 autocast": within(half, ours),
        "projections and scaled_dot_product_attention, bf16": within(half, peer),
    }


def neighbours(device: str, n: int, d: int, k: int) -> Functions:
    """Distances to the k nearest, by every library that is installed."""
    x = _normal(device, (n, d))[0].detach()

    def ours() -> object:
        return knn(x, k).distance

    def tiles() -> object:
        found = []
        for rows, part in zip(
            torch.arange(n, device=device).split(4096), x.split(4096), strict=True
        ):
            distance = torch.cdist(part, x)
            distance[torch.arange(len(rows), device=device), rows] = torch.inf
            found.append(distance.topk(k, largest=False).values)
        return torch.cat(found)

    peers: Functions = {
        "ours": ours,
        "ours, torch form": within(unfused, ours),
        "ours, tf32": within(tf32, ours),
        "cdist and topk in tiles": tiles,
    }
    return peers | (_libraries(x, k) if device == "cuda" else {})


def _libraries(x: Tensor, k: int) -> Functions:
    """Those that are installed; each finds a row itself first."""

    def faiss_flat() -> object:
        import faiss
        import faiss.contrib.torch_utils

        square, _ = faiss.knn_gpu(faiss.StandardGpuResources(), x, x, k + 1)
        return square[:, 1:].sqrt()

    def cuvs_flat() -> object:
        from cuvs.neighbors import brute_force

        square, _ = brute_force.search(brute_force.build(x), x, k + 1)
        return torch.as_tensor(square, device="cuda")[:, 1:].sqrt()

    def cluster() -> object:
        from torch_cluster import knn as peer

        i, j = peer(x, x, k + 1)
        return (x[i] - x[j]).norm(dim=1).view(len(x), -1).sort(1).values[:, 1:]

    every = {"faiss": faiss_flat, "cuvs": cuvs_flat, "torch_cluster": cluster}
    return {name: call for name, call in every.items() if find_spec(name)}


def edges(device: str, n: int, k: int, d: int) -> Functions:
    """Products along edges, forward and backward."""
    (x,) = _normal(device, (n, d))
    to = torch.randint(n, (n * k,), generator=torch.Generator().manual_seed(2)).to(device)
    edge_index = torch.stack([torch.arange(n, device=device).repeat_interleave(k), to])

    def ours() -> object:
        return _gradient(edge_dot(x, x, edge_index).square().sum(), x)

    def gathered() -> object:
        value = (x[edge_index[0]] * x[edge_index[1]]).sum(1)
        return _gradient(value.square().sum(), x)

    return {"ours": ours, "ours, torch form": within(unfused, ours), "gather and sum": gathered}


def layer(device: str, n: int, k: int, d: int, c: int) -> Functions:
    """Graph, solution and gradient of the graph learning layer; a hundredth of the labels."""
    x, centres = _normal(device, (n, d), (c, d))
    y = _classes(n, c, device)
    x = (0.3 * centres[y] + x).detach().requires_grad_()
    mask = torch.arange(n, device=device) % 100 < max(1, 100 * c // n)
    module = GraphLearningLayer(k=k).to(device)

    def ours() -> object:
        return _gradient(module(x, y, mask, c).square().mean(), x)

    return {"ours": ours, "ours, torch form": within(unfused, ours)}


def communities(device: str, n: int, k: int, c: int) -> Functions:
    """The modularity loss of a nearest-neighbour graph, forward and backward."""
    x, z = _normal(device, (n, 16), (n, c))
    edge_index, weight = knn_graph(x.detach(), k)

    def ours() -> object:
        return _gradient(modularity_loss(edge_index, weight, z.softmax(1)), z)

    return {"ours": ours, "ours, torch form": within(unfused, ours)}


CASES = {
    "consistency": Case(
        consistency,
        "graph consistency n={} d={}",
        (65_536, 512, 10),
        (300, 16, 5),
        "<= 60 ms with tf32",
    ),
    "consistency_narrow": Case(
        consistency, "graph consistency n={} d={}", (65_536, 128, 10), (200, 8, 5)
    ),
    "consistency_batch": Case(
        consistency, "graph consistency n={} d={}", (256, 512, 10), (64, 16, 5)
    ),
    "consistency_literal": Case(
        consistency,
        "graph consistency n={} d={}, and as printed",
        (8_192, 512, 10, 1),
        (300, 16, 5, 1),
        "faster, 1/10 of the memory",
    ),
    "gatv2": Case(
        gatv2,
        "GATv2, {} samples, {} proxies, {} heads of {}",
        (4096, 2000, 4, 128),
        (60, 20, 2, 8),
        "<= 5 ms, >= 20 x faster than PyG",
    ),
    "gatv2_fewer": Case(
        gatv2,
        "GATv2, {} samples, only {} proxies, {} heads of {}",
        (4096, 200, 4, 128),
        (60, 5, 2, 8),
    ),
    "attention": Case(
        attention,
        "attention, {} samples, {} proxies, {} heads of {}",
        (4096, 2000, 4, 128),
        (60, 20, 2, 8),
        "<= 1.2 x the peer",
    ),
    "neighbours": Case(
        neighbours, "kNN n={} d={} k={}", (100_000, 128, 24), (500, 8, 5), "<= 150 ms"
    ),
    "edges": Case(edges, "edge_dot n={}, {} edges each, d={}", (65_536, 24, 128), (300, 5, 8)),
    "layer": Case(
        layer,
        "graph learning layer n={} k={} d={}, {} classes",
        (100_000, 25, 32, 10),
        (400, 8, 8, 4),
        "<= 250 ms with its graph",
    ),
    "communities": Case(
        communities, "modularity loss n={} k={}, {} classes", (65_536, 24, 10), (300, 5, 4)
    ),
}
