"""Every public loss and propagation, compiled: the value, the gradient and the refusals of the eager call."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from pyg_relational import metrics, nn
from pyg_relational.transforms import (
    dense_graph,
    dissimilarity_graph,
    knn_graph,
    knn_hypergraph,
)

N, D, C = 12, 4, 3
EDGES = torch.tensor([[i, j] for i in range(N) for j in range(N) if i != j and i * j % 3 != 1]).T


class Inputs(NamedTuple):
    """Features, scores of three classes, and labels."""

    x: Tensor
    z: Tensor
    y: Tensor


def ordinary() -> Inputs:
    g = torch.Generator().manual_seed(0)
    x, z = (torch.randn(N, k, generator=g, dtype=torch.float64) for k in (D, C))
    return Inputs(x, z, torch.arange(N) % C)


def unlabelled() -> Inputs:
    x, z, y = ordinary()
    return Inputs(x, z, y.where(torch.arange(N) % 4 > 0, -1))


def without_a_class() -> Inputs:
    x, z, y = ordinary()
    return Inputs(x, z, y.where(y != 1, 2))


def not_finite() -> Inputs:
    x, z, y = ordinary()
    x[5, 1], z[5, 1] = math.nan, math.nan
    return Inputs(x, z, y)


def weights(x: Tensor) -> Tensor:
    """Of the edges, equal in both directions."""
    i, j = EDGES
    return torch.exp(-(x[i] - x[j]).square().sum(1) / 8)


def conv(kind: Any, **options: Any) -> Callable[[Inputs], Tensor]:
    """Attention of all rows to two sets of three."""
    torch.manual_seed(0)
    layer = kind(D, 3, **options).double()
    return lambda d: layer(d.x, (d.x[:3] + 1, d.x[3:6] * 2))


EDGE_CONSISTENCY = nn.EdgeConsistency()
CLASSES = torch.cartesian_prod(torch.arange(C), torch.arange(C)).T
CO_OCCURRENCE = nn.CoOccurrenceGCN(4).double()
GAT = nn.GATEmbedding(D, 2, 3).double()
IMAGE_TEXT = nn.ImageTextMatching((D, C), 4, C, num_clusters=(3, 2), k=(2, 2)).double().eval()
CALLS: dict[str, Callable[[Inputs], Tensor]] = {
    "graph_consistency_loss": lambda d: nn.graph_consistency_loss(d.x, d.z, d.y),
    "graph_consistency_loss, balance": lambda d: nn.graph_consistency_loss(
        d.x, d.z, d.y, balance=True
    ),
    "graph_consistency_loss, tiled": lambda d: nn.graph_consistency_loss(
        d.x, d.z, d.y, method="tiled"
    ),
    "graph_consistency_loss, sparse": lambda d: nn.graph_consistency_loss(
        d.x, d.z, d.y, edge_index=EDGES
    ),
    "EdgeConsistency": lambda d: EDGE_CONSISTENCY(d.x, d.z, d.y, EDGES),
    "proxy_contrastive_loss": lambda d: nn.proxy_contrastive_loss(
        d.x, d.y, d.x[:6] + 1, d.y[:6], d.x[6:] * 2, d.y[6:]
    ),
    "proxy_contrastive_loss, semihard": lambda d: nn.proxy_contrastive_loss(
        d.x, d.y, d.x[:6] + 1, d.y[:6], d.x[6:] * 2, d.y[6:], mining="semihard"
    ),
    "CNN2GraphLoss": lambda d: nn.CNN2GraphLoss()(
        nn.CNN2GraphOutput(
            d.z, d.x, d.x[:3] + 1, d.x[3:6] * 2, d.z[:3], d.z[3:6], d.y[:3], d.y[3:6]
        ),
        d.y,
    ),
    "modularity_loss": lambda d: nn.modularity_loss(EDGES, weights(d.x), d.z.softmax(1)),
    "dgcluster_loss": lambda d: nn.dgcluster_loss(EDGES, weights(d.x), d.x, d.y),
    "grapix_loss": lambda d: nn.grapix_loss(d.x, d.x[:3] + 1),
    "grapix_loss, edges": lambda d: nn.grapix_loss(d.x, d.x[:3] + 1, EDGES, weights(d.x)),
    "neighbor_consistency_loss": lambda d: nn.neighbor_consistency_loss(
        d.z.softmax(1), (torch.arange(N) + 1)[:, None] % N
    ),
    "self_label_loss": lambda d: nn.self_label_loss(5 * d.z, d.z, threshold=0.3),
    "global_alignment_loss": lambda d: nn.global_alignment_loss(d.x, d.x.flip(0), 2 * d.x),
    "match_clusters": lambda d: (
        nn.match_clusters(d.x.view(-1, 3, D), d.x.flip(0).view(-1, 3, D)[:, :2]).distance
    ),
    "cluster_matching_loss": lambda d: nn.cluster_matching_loss(
        d.x.view(-1, 3, D), d.x.flip(0).view(-1, 3, D)[:, :2]
    ),
    "cluster_pool": lambda d: nn.cluster_pool(
        d.x, d.z.softmax(1), torch.arange(N) // 4, batch_size=3
    ),
    "ImageTextMatching": lambda d: torch.stack(
        list(
            IMAGE_TEXT(
                d.x[:3], d.x, torch.arange(N) // 4, d.z, torch.arange(N) // 4, d.y[:3].clamp(min=0)
            )
        )
    ),
    "instance_contrastive_loss": lambda d: nn.instance_contrastive_loss(d.z, d.z.flip(0)),
    "group_contrastive_loss": lambda d: nn.group_contrastive_loss(d.z, d.z.flip(1)),
    "ProxyGATv2Conv": conv(nn.ProxyGATv2Conv, heads=2, self_loop="per_set"),
    "ProxyAttentionConv": conv(nn.ProxyAttentionConv, heads=2, self_loop="residual"),
    "ProxyPoolConv": conv(nn.ProxyPoolConv, combine="mean"),
    "prototype_scores": lambda d: nn.prototype_scores(
        d.x, d.x[:6] + 1, torch.arange(6) % C, num_classes=C
    ),
    "latent_cluster_loss": lambda d: nn.latent_cluster_loss(d.x, d.y, torch.arange(N) // 4, k=1),
    "laplace_propagation": lambda d: nn.laplace_propagation(
        EDGES, weights(d.x), d.y, torch.arange(N) < 6, num_classes=C, tau=0.1
    ),
    "poisson_propagation": lambda d: nn.poisson_propagation(
        EDGES, weights(d.x), d.y, torch.arange(N) < 6, num_classes=C
    ),
    "random_walk_propagation": lambda d: nn.random_walk_propagation(
        EDGES, weights(d.x), d.y, torch.arange(N) < 6, num_classes=C
    ),
    "p_laplace_propagation": lambda d: nn.p_laplace_propagation(
        EDGES, weights(d.x), d.y, torch.arange(N) < 6, num_classes=C
    ),
    "propagation": lambda d: nn.propagation(
        EDGES,
        weights(d.x),
        d.y,
        torch.arange(N) < 6,
        phi=lambda q, w, i, j: w * (q + q**3),
        num_classes=C,
    ),
    "hypergraph_propagation": lambda d: nn.hypergraph_propagation(
        *knn_hypergraph(d.x, 3), d.y, torch.arange(N) < 6, num_classes=C
    ),
    "GraphLearningLayer": lambda d: nn.GraphLearningLayer(k=4)(d.x, d.y, torch.arange(N) < 6, C),
    "CoOccurrenceGCN": lambda d: CO_OCCURRENCE(d.z, CLASSES, d.x.flatten()[: C * C].square()),
    "asymmetric_loss": lambda d: nn.asymmetric_loss(
        d.z, d.y[:, None] == torch.arange(C), torch.arange(1, C + 1)
    ),
    "dissimilarity_loss": lambda d: nn.dissimilarity_loss(d.z, d.z.flip(0)),
    "GATEmbedding": lambda d: GAT(d.x, EDGES),
    "dissimilarity_graph": lambda d: dissimilarity_graph(d.x, d.x[:3] + 1)[1],
    "knn_graph": lambda d: knn_graph(d.x, 3)[1],
    "dense_graph": lambda d: dense_graph(d.x)[1],
    "class_similarity": lambda d: torch.stack(
        list(metrics.class_similarity(d.x, d.y.clamp(min=0)))
    ),
}
BROKEN = (TorchDynamoException, RuntimeError, AssertionError)
KINDS = (ordinary, unlabelled, without_a_class, not_finite)


def outcome(call: Callable[[Inputs], Tensor], data: Inputs) -> Any:
    """Value and gradients, or that it is refused."""
    leaves = [t.clone().requires_grad_() for t in data[:2]]
    try:
        value = call(Inputs(leaves[0], leaves[1], data.y))
    except (ValueError, RuntimeError):
        return "refused"
    if not value.requires_grad:
        return (value,)
    slope = torch.linspace(1, 2, value.numel(), dtype=value.dtype).view_as(value)
    grads = torch.autograd.grad(
        (value * slope).sum(), leaves, allow_unused=True, materialize_grads=True
    )
    return value, *grads


TABLE = Path(__file__).parents[1] / "docs" / "devices.md"
BREAKS = {  # from the table: why there is more than one graph
    row[1].strip(" `"): row[2].strip()
    for line in TABLE.read_text().partition("# One graph")[2].partition("\n#")[0].splitlines()
    if len(row := line.split("|")) == 4 and row[1].startswith(" `")
}


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_said_to_break_the_graph_does(name):
    torch._dynamo.reset()
    x, z, y = ordinary()
    data = Inputs(x.requires_grad_(), z.requires_grad_(), y)
    with pytest.raises(BROKEN):
        torch.compile(CALLS[name], backend="eager", fullgraph=True)(data)


def test_compiled_takes_edges_in_any_order_and_number():
    torch._dynamo.reset()
    _, z, _ = ordinary()
    twice = torch.cat([EDGES, EDGES], 1)[:, torch.randperm(2 * EDGES.shape[1])]
    compiled = torch.compile(nn.modularity_loss, backend="eager", fullgraph=True)
    c = z.softmax(1)
    torch.testing.assert_close(
        compiled(twice, None, c), nn.modularity_loss(EDGES, None, c), check_dtype=False
    )
    one_way = EDGES[:, EDGES[0] < EDGES[1]]
    for wrong in (one_way, EDGES - 1, EDGES + 1):
        with pytest.raises(RuntimeError, match="edge_"):
            compiled(wrong, None, c)


def test_every_break_has_a_reason():
    assert set(BREAKS) < set(CALLS)
    assert all(BREAKS.values())


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_compiled_is_eager(name):
    """In one graph, unless docs/devices.md says why not."""
    torch._dynamo.reset()
    compiled = torch.compile(CALLS[name], backend="eager", fullgraph=name not in BREAKS)
    for kind in KINDS:
        eager, got = outcome(CALLS[name], kind()), outcome(compiled, kind())
        if isinstance(eager, str) or isinstance(got, str):
            assert got == eager, kind.__name__
        else:
            torch.testing.assert_close(got, eager, rtol=1e-8, atol=1e-10, msg=kind.__name__)
        assert kind is not not_finite or eager == "refused"
    assert autocast_depth() == 0


def autocast_depth() -> int:
    """Contexts that are open: with one left, autocast keeps weights as they were."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()
