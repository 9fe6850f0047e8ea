"""What public functions ask of a device, within the table of docs/devices.md, and that no tensor forgets its device."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch_geometric.data import Data

from pyg_relational import cluster, metrics, nn, ops, transforms
from pyg_relational.ops import CG, knn, modularity, unit_rows
from pyg_relational.ops.linear import cg
from pyg_relational.transforms import (
    DenseGraph,
    KNNGraph,
    KNNHypergraph,
    RemoveOutliers,
    batch_graph,
    dense_graph,
    dissimilarity_graph,
    knn_graph,
    knn_hypergraph,
    label_graph,
)
from tests.device import Counts, pretend

N, D, C = 256, 16, 10
TABLE = Path(__file__).parents[1] / "docs" / "devices.md"


class Inputs(NamedTuple):
    """Features, scores, classes, labelled rows, and a graph with weights."""

    x: Tensor
    z: Tensor
    y: Tensor
    mask: Tensor
    edges: Tensor
    weight: Tensor
    proxies: Tensor
    proxy_y: Tensor
    clusters: Tensor


def inputs(n: int = N) -> Inputs:
    """Blobs of ten classes, in float32."""
    g = torch.Generator().manual_seed(0)
    y = torch.randint(C, (n,), generator=g)
    x = torch.randn(C, D, generator=g)[y] + torch.randn(n, D, generator=g)
    edges, weight = knn_graph(x, 8)
    z = torch.randn(n, C, generator=g)
    clusters = y.where(torch.arange(n) % 8 > 0, (y + 1) % C)
    return Inputs(
        x.requires_grad_(),
        z.requires_grad_(),
        y,
        torch.arange(n) < n // 4,
        edges,
        weight.requires_grad_(),
        (x.detach()[:40] + 1).requires_grad_(),
        y[:40],
        clusters,
    )


Place = Callable[[Any], Any]  # brings a module to where the inputs are
Call = Callable[[Inputs, Place], Any]  # a public function; what it returns is differentiated


def conv(layer: Any, d: Inputs, place: Place) -> Tensor:
    torch.manual_seed(0)
    return place(layer)(d.x, (d.proxies, d.proxies * 2))


def clusters(d: Inputs) -> tuple[Tensor, Tensor]:
    """Four of an image and two of a text."""
    visual = d.x.view(-1, 4, D)
    return visual, visual.flip(0)[:, :2]


def image_text(d: Inputs, place: Place) -> list[Tensor]:
    """Images of eight nodes, texts of eight words."""
    torch.manual_seed(0)
    model = place(nn.ImageTextMatching((D, C), 8, 3, num_clusters=(4, 2)))
    sample = torch.arange(len(d.x), device=d.x.device) // 8
    count = len(d.x) // 8
    return list(model(d.x[:count] * 2, d.x, sample, d.z, sample, d.y[:count] % 3))


def pairs(d: Inputs) -> Tensor:
    """A path through all rows."""
    node = torch.arange(len(d.x), device=d.x.device)
    return torch.stack([node[:-1], node[1:]])


def complete(d: Inputs) -> Tensor:
    """All edges between ten classes."""
    node = torch.arange(C, device=d.x.device)
    return torch.cartesian_prod(node, node).T


def several(d: Inputs) -> Tensor:
    """The class of each row and the one before."""
    return (d.y[:, None] - torch.arange(C, device=d.x.device)) % C < 2


def edges_of(transform: Any, d: Inputs) -> list[Tensor]:
    """What a transform has added."""
    graph = transform(Data(x=d.x, y=d.y))
    return [v for k, v in graph.to_dict().items() if k not in ("x", "y") and isinstance(v, Tensor)]


def corrected(d: Inputs) -> Tensor:
    """The loss of the second epoch, by targets of the first."""
    layer = nn.LatentClusterCorrection(d.y, k=3, clustering=lambda *_: d.clusters)
    rows = torch.arange(len(d.x), device=d.x.device)
    for _ in range(2):
        loss = layer(d.x, rows)
        layer.step()
    return loss


CALLS: dict[str, Call] = {
    # losses
    "graph_consistency_loss": (lambda d, _: nn.graph_consistency_loss(d.x, d.z, d.y)),
    "graph_consistency_loss, balance": (
        lambda d, _: nn.graph_consistency_loss(d.x, d.z, d.y, balance=True)
    ),
    "graph_consistency_loss, tiled": (
        lambda d, _: nn.graph_consistency_loss(d.x, d.z, d.y, method="tiled")
    ),
    "graph_consistency_loss, sparse": (
        lambda d, _: nn.graph_consistency_loss(d.x, d.z, d.y, d.edges)
    ),
    "EdgeConsistency": (lambda d, place: place(nn.EdgeConsistency())(d.x, d.z, d.y, d.edges)),
    "proxy_contrastive_loss": (
        lambda d, _: nn.proxy_contrastive_loss(
            d.x, d.y, d.proxies, d.proxy_y, d.proxies * 2, d.proxy_y
        )
    ),
    "proxy_contrastive_loss, semihard": (
        lambda d, _: nn.proxy_contrastive_loss(
            d.x, d.y, d.proxies, d.proxy_y, d.proxies * 2, d.proxy_y, mining="semihard"
        )
    ),
    "proxy_contrastive_loss, random": (
        lambda d, _: nn.proxy_contrastive_loss(
            d.x, d.y, d.proxies, d.proxy_y, d.proxies * 2, d.proxy_y, mining="random"
        )
    ),
    "CNN2GraphLoss": (
        lambda d, _: nn.CNN2GraphLoss()(
            nn.CNN2GraphOutput(
                *(d.z, d.x, d.proxies, d.proxies * 2, d.z[:40], d.z[40:80]),
                *(d.proxy_y, d.proxy_y),
            ),
            d.y,
        )
    ),
    "latent_cluster_loss": (lambda d, _: nn.latent_cluster_loss(d.x, d.y, d.clusters, k=3)),
    "modularity": (lambda d, _: modularity(d.edges, d.weight, d.z.softmax(1))),
    "modularity_loss": (lambda d, _: nn.modularity_loss(d.edges, d.weight, d.z.softmax(1))),
    "grapix_loss": (lambda d, _: nn.grapix_loss(d.x, d.proxies)),
    "grapix_loss, edges": (lambda d, _: nn.grapix_loss(d.x, d.proxies, d.edges, d.weight)),
    "dgcluster_loss": (lambda d, _: nn.dgcluster_loss(d.edges, d.weight, d.x, d.y)),
    "neighbor_consistency_loss": (
        lambda d, _: nn.neighbor_consistency_loss(d.z.softmax(1), d.edges[1, : len(d.z), None])
    ),
    "self_label_loss": (lambda d, _: nn.self_label_loss(5 * d.z, d.z, threshold=0.3)),
    "global_alignment_loss": (lambda d, _: nn.global_alignment_loss(d.x, d.x.flip(0), 2 * d.x)),
    "match_clusters": (lambda d, _: nn.match_clusters(*clusters(d)).distance),
    "cluster_matching_loss": (lambda d, _: nn.cluster_matching_loss(*clusters(d))),
    "ImageTextMatching": (lambda d, place: image_text(d, place)),
    "dissimilarity_loss": (lambda d, _: nn.dissimilarity_loss(d.z, d.z.flip(0))),
    "asymmetric_loss": (
        lambda d, _: nn.asymmetric_loss(d.z, several(d), torch.arange(1, C + 1, device=d.x.device))
    ),
    "GATEmbedding": (lambda d, place: place(nn.GATEmbedding(D, 8, 5))(d.x, d.edges)),
    "CoOccurrenceGCN": (
        lambda d, place: place(nn.CoOccurrenceGCN(8))(d.z, complete(d), d.weight[: C * C])
    ),
    "instance_contrastive_loss": (lambda d, _: nn.instance_contrastive_loss(d.z, d.z.flip(0))),
    "group_contrastive_loss": (lambda d, _: nn.group_contrastive_loss(d.z, d.z.flip(1))),
    # layers
    "ProxyGATv2Conv": (lambda d, place: conv(nn.ProxyGATv2Conv(D, 8, heads=4), d, place)),
    "ProxyAttentionConv": (lambda d, place: conv(nn.ProxyAttentionConv(D, 8, heads=4), d, place)),
    "ProxyPoolConv": (lambda d, place: conv(nn.ProxyPoolConv(D, 8), d, place)),
    "prototype_scores": (
        lambda d, _: nn.prototype_scores(d.x, d.proxies, d.proxy_y, num_classes=C)
    ),
    # graphs
    "knn": (lambda d, _: knn(d.x, 10).distance),
    "knn_graph": (lambda d, _: knn_graph(d.x, 10)[1]),
    "knn_graph of 10,000 rows": (lambda d, _: knn_graph(d.x, 10)[1]),
    "dense_graph": (lambda d, _: dense_graph(d.x)[1]),
    "dissimilarity_graph": (lambda d, _: dissimilarity_graph(d.x, d.proxies)[1]),
    "label_graph": (lambda d, _: label_graph(d.z > 1)[1]),
    # propagation
    "laplace_propagation": (
        lambda d, _: nn.laplace_propagation(d.edges, d.weight, d.y, d.mask, num_classes=C)
    ),
    "laplace_propagation, tau": (
        lambda d, _: nn.laplace_propagation(d.edges, d.weight, d.y, d.mask, num_classes=C, tau=0.1)
    ),
    "poisson_propagation": (
        lambda d, _: nn.poisson_propagation(d.edges, d.weight, d.y, d.mask, num_classes=C)
    ),
    "random_walk_propagation": (
        lambda d, _: nn.random_walk_propagation(d.edges, d.weight, d.y, d.mask, num_classes=C)
    ),
    "p_laplace_propagation of two classes": (
        lambda d, _: nn.p_laplace_propagation(d.edges, d.weight, d.y % 2, d.mask, num_classes=2)
    ),
    "hypergraph_propagation": (
        lambda d, _: nn.hypergraph_propagation(
            *knn_hypergraph(d.x, 5),
            d.y,
            d.mask,
            edge_index=d.edges,
            edge_weight=d.weight,
            mix=0.5,
            num_classes=C,
        )
    ),
    "GraphLearningLayer": (lambda d, place: place(nn.GraphLearningLayer())(d.x, d.y, d.mask, C)),
    # pooling
    "cluster_pool": (lambda d, _: nn.cluster_pool(d.x, d.z.softmax(1), d.y, C)),
    "SoftModularityPruning": (
        lambda d, place: place(nn.SoftModularityPruning(D, 5))(d.x, d.edges, d.weight).loss
    ),
    "SparseDMoN": (
        lambda d, place: list(place(nn.SparseDMoN(D, 5))(d.x, d.edges, d.weight).losses)
    ),
    # the same, rarely trained
    "p_laplace_propagation": (
        lambda d, _: nn.p_laplace_propagation(d.edges, d.weight, d.y, d.mask, num_classes=C)
    ),
    "p_eikonal": (lambda d, _: nn.p_eikonal(d.edges, d.weight, d.y, d.mask, num_classes=C)),
    "volume_mbo": (
        lambda d, _: nn.volume_mbo(d.edges, d.weight, d.y, d.mask, num_classes=C, max_iter=2)
    ),
    "poisson_mbo": (lambda d, _: nn.poisson_mbo(d.edges, d.weight, d.y, d.mask, num_classes=C)),
    "ProxyAttentionConv, per_set": (
        lambda d, place: conv(nn.ProxyAttentionConv(D, 8, heads=4, self_loop="per_set"), d, place)
    ),
    "ProxyGATv2Conv, per_set": (
        lambda d, place: conv(nn.ProxyGATv2Conv(D, 8, heads=4, self_loop="per_set"), d, place)
    ),
    "latent_cluster_targets": (
        lambda d, _: nn.latent_cluster_targets(d.x.detach(), d.y, d.clusters, k=3)
    ),
    "LatentClusterCorrection": (lambda d, _: corrected(d)),
    "BaseSampler": (lambda d, _: nn.BaseSampler(d.y, 2, generator=torch.Generator())()),
    # transforms
    "knn_hypergraph": (lambda d, _: knn_hypergraph(d.x, 5)),
    "KNNGraph": (lambda d, _: edges_of(KNNGraph(8), d)),
    "KNNHypergraph": (lambda d, _: edges_of(KNNHypergraph(5), d)),
    "DenseGraph": (lambda d, _: edges_of(DenseGraph(), d)),
    "RemoveOutliers": (lambda d, _: RemoveOutliers(5)(Data(x=d.x.detach(), y=d.y)).x),
    "batch_graph": (lambda d, _: batch_graph(d.x, d.y, KNNGraph(8)).edge_attr),
    # operators
    "both_directions": (lambda d, _: ops.both_directions(pairs(d), len(d.x))),
    "connected_components": (lambda d, _: ops.connected_components(d.edges, len(d.x))),
    "edge_dot": (lambda d, _: ops.edge_dot(d.x, d.x * 2, d.edges)),
    "edge_diff_dot": (lambda d, _: ops.edge_diff_dot(d.x, d.x * 2, d.edges)),
    "gatv2_scores": (
        lambda d, _: ops.gatv2_scores(d.x[:, None], d.proxies[:, None], d.proxies[:1])
    ),
    "gaussian_kernel": (lambda d, _: ops.gaussian_kernel(d.x.square().sum(1), 2.0)),
    "hypergraph_laplacian_product": (
        lambda d, _: ops.hypergraph_laplacian_product(d.edges, d.weight[: len(d.x)], d.z)
    ),
    "laplacian_product": (lambda d, _: ops.laplacian_product(d.edges, d.weight, d.z)),
    "modularity of clusters": (lambda d, _: ops.modularity(d.edges, d.weight, d.clusters)),
    "neighbor_pairs": (lambda d, _: ops.neighbor_pairs(knn(d.x, 5).index)),
    "safe_sqrt": (lambda d, _: ops.safe_sqrt(d.x.square())),
    "spmm": (lambda d, _: ops.spmm(*d.edges, d.weight.detach(), d.z.detach(), len(d.x))),
    "tangent_basis": (lambda d, _: ops.tangent_basis(d.x.detach(), 20, 2).square().sum(1)),
    "unit_rows": (lambda d, _: ops.unit_rows(d.x)),
    # clusters
    "absorb_small": (lambda d, _: cluster.absorb_small(d.edges, d.weight, d.clusters, 30)),
    "edge_consensus": (lambda d, _: cluster.edge_consensus(d.edges, [d.y, d.clusters])),
    "join_nearest": (lambda d, _: cluster.join_nearest(d.x.detach(), d.y.where(d.mask, -1))),
    "match_labels": (lambda d, _: cluster.match_labels(d.y, d.clusters)),
    "outliers": (lambda d, _: cluster.outliers(d.x.detach(), 5)),
    # metrics
    "attention_entropy": (lambda d, _: metrics.attention_entropy(d.z.softmax(1))),
    "class_attention": (
        lambda d, _: metrics.class_attention(d.z.softmax(1), d.y, d.proxy_y[:C], C)
    ),
    "class_similarity": (lambda d, _: metrics.class_similarity(d.x, d.y)),
    "clustered_scores": (lambda d, _: metrics.clustered_scores(d.z, d.y, d.clusters)),
    "clustering_accuracy": (lambda d, _: metrics.clustering_accuracy(d.y, d.clusters)),
    "conductance": (lambda d, _: metrics.conductance(d.edges, d.weight, d.clusters)),
    "effective_rank": (lambda d, _: metrics.effective_rank(d.x)),
    "generalized_discrimination_value": (
        lambda d, _: metrics.generalized_discrimination_value(d.x, d.y)
    ),
    "homophily": (lambda d, _: metrics.homophily(d.edges, d.weight, d.y)),
    "ari": (lambda d, _: metrics.ari(d.y, d.clusters)),
    "nmi": (lambda d, _: metrics.nmi(d.y, d.clusters)),
    "inter_class_similarity": (lambda d, _: metrics.inter_class_similarity(d.x, d.y)),
}


SIZES = {"knn_graph of 10,000 rows": 10_000}


class Budget(NamedTuple):
    """The most that a call may ask for: reads forward and backward, operators, and copies to the device."""

    forward: int
    backward: int
    operators: int
    copies: int


ROWS = [
    [cell.strip(" `") for cell in line.split("|")[1:-1]]
    for line in TABLE.read_text().partition("# Budgets")[2].splitlines()
    if line.startswith("| `")
]
SOLVES = {
    row[0]: [int(cell.replace(",", "")) for cell in row[1:3]]
    for line in TABLE.read_text().partition("# Solves")[2].partition("# Budgets")[0].splitlines()
    if line.startswith("| `") and (row := [cell.strip(" `") for cell in line.split("|")[1:-1]])
}
AN_ITERATION = 12  # operators, besides those that look every 16
BUDGETS = {row[0]: Budget(*(int(cell.replace(",", "")) for cell in row[1:5])) for row in ROWS}


def outcome(call: Call, data: Inputs, place: Place) -> list[Tensor]:
    """Tensors that a call returns."""
    torch.manual_seed(0)
    return [part for part in tree_leaves(call(data, place)) if isinstance(part, Tensor)]


def differentiate(parts: list[Tensor]) -> None:
    """What has a gradient, of a sum whose terms weigh 1 to 2."""
    parts = [part for part in parts if part.requires_grad]
    slopes = [
        torch.linspace(1, 2, part.numel(), device=part.device).view_as(part).to(part.dtype)
        for part in parts
    ]
    torch.autograd.backward(parts, slopes)


class Count(NamedTuple):
    """Of a call and of its gradient, and the inputs that gradients have come to."""

    forward: Counts
    backward: Counts
    data: Inputs
    parts: list[Tensor]

    def budget(self) -> Budget:
        both = self.forward.launches + self.backward.launches
        copies = self.forward.copies + self.backward.copies
        reads = self.forward.reads.total(), self.backward.reads.total()
        return Budget(*reads, both.total(), copies.total())


def count(name: str) -> Count:
    data = inputs(SIZES.get(name, N))
    with Counts():
        data = Inputs(*map(pretend, data))
    with Counts() as forward:
        parts = outcome(CALLS[name], data, pretend)
    with Counts() as backward:
        differentiate(parts)
    return Count(forward, backward, data, parts)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_a_device_is_asked_for_no_more_than_the_table_says_and_gives_the_same(name):
    got = count(name)
    budget = got.budget()
    for most, number, where in zip(
        BUDGETS[name],
        budget,
        (got.forward.reads, got.backward.reads, "", got.forward.copies),
        strict=True,
    ):
        assert number <= most, (budget, where)
    data = inputs(SIZES.get(name, N))
    parts = outcome(CALLS[name], data, lambda module: module)
    differentiate(parts)
    wanted = [*parts, *(t.grad for t in data if t.grad is not None)]
    found = [*got.parts, *(t.grad for t in got.data if t.grad is not None)]
    torch.testing.assert_close([t.value for t in found], wanted, rtol=1e-2, atol=1e-3)


def besides_iterations(name: str) -> list[int]:
    """Operators forward and backward, less 12 for every iteration of conjugate gradients there."""
    iterations: Counter[int] = Counter()

    def counted(*args: Any) -> tuple[Tensor, int]:
        x, count = iterate(*args)
        iterations[id(Counts.current())] += count
        return x, count

    iterate, cg._iterate = cg._iterate, counted
    try:
        got = count(name)
    finally:
        cg._iterate = iterate
    both = (got.forward, got.backward)
    return [c.launches.total() - AN_ITERATION * iterations[id(c)] for c in both]


@pytest.mark.parametrize("name", SOLVES)
@pytest.mark.filterwarnings("ignore")
def test_a_solve_is_no_more_operators_besides_its_iterations_than_the_table_says(name):
    found = besides_iterations(name)
    assert all(n <= most for n, most in zip(found, SOLVES[name], strict=True)), found


def test_the_graph_learning_layer_beyond_its_graph_is_a_solve(monkeypatch):
    layer = besides_iterations("GraphLearningLayer")
    graph: Call = lambda d, _: knn_graph(unit_rows(d.x), 24, bandwidth=1.0)[1]  # noqa: E731
    monkeypatch.setitem(CALLS, "its graph", graph)
    graph_of_layer = besides_iterations("its graph")
    assert all(n - own <= 250 for n, own in zip(layer, graph_of_layer, strict=True))


@pytest.mark.filterwarnings("ignore")
def test_an_iteration_is_twelve_operators_and_a_look_five_every_sixteen():
    def operators(iterations: int) -> int:
        with Counts():
            d = Inputs(*map(pretend, inputs()))
        with Counts() as counts:
            nn.laplace_propagation(
                *(d.edges, d.weight, d.y, d.mask),
                num_classes=C,
                solver=CG(tol=1e-9, max_iter=iterations),
            )
        return counts.launches.total()

    assert 16 * AN_ITERATION <= operators(32) - operators(16) <= 16 * AN_ITERATION + 5


def test_second_derivatives_on_a_device_are_those_on_the_cpu():
    """Of dot-product attention with each sample's own key and value, which has them where weights are asked for."""

    def second(place):
        torch.manual_seed(0)
        layer = place(nn.ProxyAttentionConv(D, 8, heads=4, self_loop="per_set"))
        data = inputs(20)
        x, proxies = (place(t.detach().requires_grad_()) for t in (data.x, data.proxies))
        out, _ = layer(x, (proxies, proxies * 2), return_attention_weights=True)
        (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [x, proxies, *layer.parameters()])

    wanted = second(lambda t: t)
    with Counts():
        found = second(pretend)
    torch.testing.assert_close([t.value for t in found], list(wanted), rtol=1e-3, atol=1e-3)
    assert all(bool(t.any()) for t in wanted)


@pytest.mark.parametrize(
    "name",
    [
        "graph_consistency_loss",
        "graph_consistency_loss, balance",
        "proxy_contrastive_loss",
        "proxy_contrastive_loss, semihard",
        "neighbor_consistency_loss",
        "self_label_loss",
        "ProxyGATv2Conv",
        "ProxyAttentionConv",
        "ProxyPoolConv",
    ],
)
def test_nothing_is_read_while_compiling(name, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    got = count(name)
    assert not got.forward.reads + got.backward.reads


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("kind", ["points", "grid", "duplicates", "other queries", "few"])
def test_neighbours_on_a_device_are_those_on_the_cpu(kind, metric):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(12 if kind == "few" else 150, 3, generator=g)
    if kind == "grid":
        x = x.mul(2).round()
    if kind == "duplicates":
        x = x[torch.arange(150) % 4] + 1e3
    y = torch.randn(7, 3, generator=g) if kind == "other queries" else None
    wanted = knn(x, 10, metric, y)
    with Counts():
        found = knn(pretend(x), 10, metric, None if y is None else pretend(y))
        assert torch.equal(found.index.cpu(), wanted.index)
        torch.testing.assert_close(found.distance.cpu(), wanted.distance)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_a_card_gives_the_same_as_the_cpu(name):
    data = inputs(SIZES.get(name, N))
    there = Inputs(*(t.detach().cuda().requires_grad_(t.requires_grad) for t in data))
    found = outcome(CALLS[name], there, lambda module: module.cuda())
    try:
        torch.cuda.set_sync_debug_mode("default" if BUDGETS[name].backward else "error")
        differentiate(found)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wanted = outcome(CALLS[name], data, lambda module: module)
    differentiate(wanted)
    assert all(part.is_cuda for part in found)
    if "random" not in name:
        wanted += [t.grad for t in data if t.grad is not None]
        found += [t.grad for t in there if t.grad is not None]
        torch.testing.assert_close([t.cpu() for t in found], wanted, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_no_tensor_is_made_without_a_device(name):
    data = inputs(SIZES.get(name, N))
    with torch.device("meta"):
        differentiate(outcome(CALLS[name], data, _filled))


def _filled(module: Any) -> Any:
    """A module that was made on meta, on the CPU."""
    module.to_empty(device="cpu")
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return module


def test_the_table_has_a_row_for_each_and_says_why_more_than_one_read():
    assert list(BUDGETS) == list(CALLS)
    assert all(row[5] for row in ROWS if int(row[1]) > 1)


ELSEWHERE = {
    "option, or what a function returns": """
        CG Auto Direct Multigrid Prepared ConvergenceError SolveInfo KNN ApproximateKNN CNN2GraphOutput DMoNLosses
        ClusterMatching ImageTextLosses LatentClusterInfo LatentClusterTargets Outliers PrunedGraph SoftPrunedGraph
        SparseDMoNOutput
    """,
    "module of a function in the table": """
        DGClusterLoss GraPixLoss GraphConsistencyLoss GroupContrastiveLoss LaplacePropagation ModularityLoss
        PLaplacePropagation PoissonPropagation ProxyContrastiveLoss RandomWalkPropagation
    """,
    "computed on the CPU": """
        ModularityPruning approximate_knn edit_distance latent_diagnostics leiden leiden_partitions peer_pressure
        propagation prune_by_consensus spectral
    """,
    "in a model of torch's or tests/test_capture.py": "CNN2Graph FeatureCapture ProxySet",
}


def test_every_public_name_is_in_the_table_or_says_why_not():
    rooms = (ops, nn, transforms, metrics, cluster)
    public = {name for room in rooms for name in room.__all__}
    excused = " ".join(ELSEWHERE.values()).split()
    named = {name.partition(",")[0].partition(" ")[0] for name in CALLS}
    assert len(excused) == len(set(excused))
    assert public - named == set(excused)
    assert named <= public


def test_counts():
    with Counts() as counts:
        x = pretend(torch.arange(4.0))
        assert x.is_cuda
        x[x > 1] = 0  # a fill: no size is asked for
        assert not counts.reads
        (x > 1).nonzero()
        x[x > 1].tolist()
        bool(x.any())
        torch.tensor([1.0], device=x.device)
        x[torch.arange(2)]
    assert counts.reads.total() == 4
    assert counts.copies.total() == 2
    with Counts(), pytest.raises(RuntimeError, match="must have tensors of one device"):
        torch.cat([x, torch.ones(1)])


if __name__ == "__main__":  # the table as it is
    for name in CALLS:
        forward, backward, operators, copies = count(name).budget()
        digits = 10 ** max(0, len(str(operators)) - 2)
        print(
            f"| `{name}` | {forward} | {backward} | {-(-operators // digits) * digits:,} | {copies} | |"
        )
    for name in SOLVES:
        forward, backward = besides_iterations(name)
        print(f"| `{name}` | {forward:,} | {backward:,} |")
