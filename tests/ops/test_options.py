import pytest
import torch
from torch import nn

from pyg_relational.nn import (
    DGClusterLoss,
    GATEmbedding,
    GraphConsistencyLoss,
    GraphLearningLayer,
    GraPixLoss,
    GroupContrastiveLoss,
    LaplacePropagation,
    ModularityLoss,
    ModularityPruning,
    PLaplacePropagation,
    PoissonPropagation,
    ProxyContrastiveLoss,
    ProxyGATv2Conv,
    RandomWalkPropagation,
    SoftModularityPruning,
    SparseDMoN,
)
from pyg_relational.ops import CG, Auto, Direct, Multigrid
from pyg_relational.ops.options import check_options, show_options
from pyg_relational.transforms import DenseGraph, KNNGraph


def f(x, *, tau=0.0, order=1):
    """Its options are tau and order."""


def test_options_are_completed_by_defaults():
    assert check_options(f, {"order": 2}) == {"tau": 0.0, "order": 2}
    assert check_options(f, {}, given=("tau",)) == {"order": 1}


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"taau": 3}, (), "taau must be an option of f, such as tau, got taau=3"),
        ({"zzz": 3}, (), "zzz must be an option of f, such as order, tau, got zzz=3"),
        ({"x": 3}, (), "x must be an option of f"),
        ({"tau": 3}, ("tau",), "tau must be an option of f, such as order"),
    ],
)
def test_an_unknown_option_is_named_with_the_nearest(options, given, message):
    with pytest.raises(TypeError, match=message):
        check_options(f, options, given)


def test_options_are_shown_as_in_a_call():
    options = {"kind": "a", "tau": nn.Parameter(torch.tensor(0.5)), "weights": torch.ones(3, 2)}
    assert show_options(options) == "kind='a', tau=0.5, weights=Tensor[3, 2]"


SIZES = {"channels": 2, "num_clusters": 2}
REFUSED = [
    (LaplacePropagation, {"taau": 0.1}, "taau must be an option of .*, such as tau, got taau=0.1"),
    (LaplacePropagation, {"tau": -1.0}, "tau must be >= 0 and finite, got -1.0"),
    (LaplacePropagation, {"tau": "1"}, "tau must be a number or a Tensor, got str"),
    (LaplacePropagation, {"tau": True}, "tau must be a number or a Tensor, got bool"),
    (LaplacePropagation, {"f": torch.tensor([0.0, torch.inf])}, "f must be finite"),
    (LaplacePropagation, {"normalization": "sym"}, "normalization must be one of .*, got 'sym'"),
    (LaplacePropagation, {"reweighting": "x"}, "reweighting must be one of .*, got 'x'"),
    (LaplacePropagation, {"order": 0}, "order must be >= 1, got 0"),
    (LaplacePropagation, {"solver": "cg"}, r"solver must be CG\(...\), .* or None, got 'cg'"),
    (LaplacePropagation, {"num_classes": True}, "num_classes must be an int, got bool"),
    (LaplacePropagation, {"num_classes": 2.5}, "num_classes must be an int, got float"),
    (LaplacePropagation, {"num_classes": 0}, "num_classes must be >= 1, got 0"),
    (LaplacePropagation, {"initial": [0.0]}, "initial must be a Tensor or None, got list"),
    (LaplacePropagation, {"on_unreachable": 0}, "on_unreachable must be one of .*, got 0"),
    (PoissonPropagation, {"tau": 0.1}, "tau must be an option of poisson_propagation"),
    (PoissonPropagation, {"on_unreachable": "0"}, "on_unreachable must be one of .*, got '0'"),
    (PoissonPropagation, {"num_classes": -7}, "num_classes must be >= 1, got -7"),
    (PoissonPropagation, {"initial": "0"}, "initial must be a Tensor or None, got str"),
    (PoissonPropagation, {"solver": 1}, "solver must be"),
    (RandomWalkPropagation, {"alfa": 0.5}, "alfa must be an option of .*, such as alpha"),
    (RandomWalkPropagation, {"alpha": 1.0}, r"alpha must be a number in \[0, 1\), got 1.0"),
    (RandomWalkPropagation, {"alpha": "1"}, "alpha must be a number or a Tensor, got str"),
    (RandomWalkPropagation, {"initial": 0.0}, "initial must be a Tensor or None, got float"),
    (RandomWalkPropagation, {"on_unreachable": "0"}, "on_unreachable must be one of"),
    (PLaplacePropagation, {"p": 1.0}, r"p must be in \[2, 10.0\] with .*, got 1.0"),
    (PLaplacePropagation, {"p": "2"}, "p must be a number or a Tensor, got str"),
    (PLaplacePropagation, {"num_classes": "2"}, "num_classes must be an int, got str"),
    (PLaplacePropagation, {"p": 11.0}, r"p must be in \[2, 10.0\] with .*, got 11.0"),
    (PLaplacePropagation, {"equation": "g"}, "equation must be one of"),
    (PLaplacePropagation, {"equation": "game", "tau": 1.0}, "tau must be 0 with equation='game'"),
    (PLaplacePropagation, {"equation": "game", "solver": Direct()}, "solver must be CG"),
    (
        PLaplacePropagation,
        {"solver": Multigrid()},
        r"solver must be CG\(...\) or Direct\(...\), got",
    ),
    (GraphLearningLayer, {"k": 3.5}, "k must be an int, got float"),
    (GraphLearningLayer, {"k": 0}, "k must be >= 1, got 0"),
    (GraphLearningLayer, {"tau": -0.1}, "tau must be >= 0"),
    (GraphLearningLayer, {"metric": "cos"}, "metric must be one of .*, got 'cos'"),
    (GraphLearningLayer, {"bandwidth": -1.0}, "bandwidth must be positive and finite, got -1.0"),
    (GraphLearningLayer, {"ordre": 2}, "ordre must be an option of .*, such as order"),
    (GraphLearningLayer, {"order": 0}, "order must be >= 1, got 0"),
    (GraphLearningLayer, {"return_info": True}, "return_info must be an option of"),
    (KNNGraph, {"k": 3, "metrc": "cosine"}, "metrc must be an option of knn_graph, such as metric"),
    (KNNGraph, {"k": 3, "metric": "cos"}, "metric must be one of .*, got 'cos'"),
    (KNNGraph, {"k": 3, "kernel": "rbf"}, "kernel must be one of .*, got 'rbf'"),
    (KNNGraph, {"k": 3, "bandwidth": "self"}, "bandwidth must be one of .*, got 'self'"),
    (KNNGraph, {"k": 3, "bandwidth": None}, "bandwidth must be a str or a number, got NoneType"),
    (KNNGraph, {"k": 3, "symmetrize": "and"}, "symmetrize must be one of .*, got 'and'"),
    (KNNGraph, {"k": 3, "recall": 2}, r"recall must be in \(0, 1\), got 2"),
    (KNNGraph, {"k": True}, "k must be an int, got bool"),
    (KNNGraph, {"k": 3, "batch": torch.zeros(3).long()}, "batch must be an option of knn_graph"),
    (DenseGraph, {"similarity": "cos"}, "similarity must be one of .*, got 'cos'"),
    (DenseGraph, {"threshold": "0"}, "threshold must be a number or a Tensor, got str"),
    (DenseGraph, {"threshold": float("nan")}, "threshold must be a number, got nan"),
    (DenseGraph, {"top_k": 0}, "top_k must be >= 1, got 0"),
    (GraphConsistencyLoss, {"stage": "lat"}, "stage must be one of .*, got 'lat'"),
    (GraphConsistencyLoss, {"stage": "late+lat"}, "stage must be one of .*, got 'lat'"),
    (GraphConsistencyLoss, {"method": "fast"}, "method must be one of .*, got 'fast'"),
    (GraphConsistencyLoss, {"temperature": -1}, "temperature must be > 0 and finite, got -1"),
    (
        GraphConsistencyLoss,
        {"temperature": "1"},
        "temperature must be a number or a Tensor, got str",
    ),
    (GraphConsistencyLoss, {"weights": "cubic"}, "weights must be one of .*, got 'cubic'"),
    (GraphConsistencyLoss, {"target": "hard"}, "target must be one of .*, got 'hard'"),
    (GraphConsistencyLoss, {"similarity": "l2"}, "similarity must be one of .*, got 'l2'"),
    (GraphConsistencyLoss, {"reduction": "max"}, "reduction must be one of .*, got 'max'"),
    (GraphConsistencyLoss, {"num_samples": 0}, "num_samples must be >= 1, got 0"),
    (GraphConsistencyLoss, {"num_samples": 3, "method": "dense"}, "num_samples must be None"),
    (GraphConsistencyLoss, {"similarity": "rbf", "method": "tiled"}, "method must not be 'tiled'"),
    (CG, {"tol": "1"}, "tol must be a number or a Tensor, got str"),
    (Multigrid, {"tol": [1]}, "tol must be a number or a Tensor, got list"),
    (Auto, {"tol": True}, "tol must be a number or a Tensor, got bool"),
    (DGClusterLoss, {"auxiliary": "1"}, "auxiliary must be a number or a Tensor, got str"),
    (SparseDMoN, {**SIZES, "dropout": "0"}, "dropout must be a number or a Tensor, got str"),
    (SoftModularityPruning, {**SIZES, "keep": "1"}, "keep must be a number or a Tensor, got str"),
    (SoftModularityPruning, {**SIZES, "temperature": "1"}, "temperature must be a number or a T"),
    (ModularityPruning, {"num_clusters": 2, "power": "3"}, "power must be a number or a Tensor"),
    (ModularityLoss, {"resolution": "1"}, "resolution must be a number or a Tensor, got str"),
    (ProxyGATv2Conv, {"in_channels": 2, "out_channels": 2, "dropout": None}, "dropout must be a n"),
    (ProxyContrastiveLoss, {"margin": True}, "margin must be a number or a Tensor, got bool"),
    (
        GATEmbedding,
        {"in_channels": 2, "hidden_channels": 2, "num_prototypes": 2, "dropout": "0"},
        "dropout must be a number or a Tensor, got str",
    ),
    (GroupContrastiveLoss, {"temperature": "1"}, "temperature must be a number or a Tensor, got s"),
    (GraPixLoss, {"channels": 0, "num_clusters": 2}, "channels must be >= 1, got 0"),
    (GraPixLoss, {"channels": 2, "num_clusters": 2, "k": 0}, "k must be >= 1, got 0"),
    (GraPixLoss, {"channels": 2, "num_clusters": 2, "threshold": 2}, "threshold must be in"),
]


@pytest.mark.parametrize(("module", "options", "message"), REFUSED)
def test_a_module_refuses_at_construction(module, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        module(**options)


@pytest.mark.parametrize(
    ("module", "shown"),
    [
        (LaplacePropagation(tau=0.5, order=2), "LaplacePropagation(tau=0.5, order=2)"),
        (LaplacePropagation(f=nn.Parameter(torch.tensor(1.0))), "LaplacePropagation(f=1.0)"),
        (
            GraphLearningLayer(3, metric="cosine", order=2),
            "GraphLearningLayer(k=3, tau=0.07, bandwidth=1.0, unit=True, metric='cosine', order=2)",
        ),
        (KNNGraph(3, metric="cosine"), "KNNGraph(k=3, metric='cosine')"),
        (DGClusterLoss(0.5), "DGClusterLoss(auxiliary=0.5)"),
        (
            ModularityPruning(3, seed=4),
            "ModularityPruning(num_clusters=3, rule='consensus', power=3.0, min_degree=1, "
            "clustering=None, max_iter=1, seed=4)",
        ),
        (
            SoftModularityPruning(2, 3),
            "SoftModularityPruning(channels=2, num_clusters=3, gate='farthest', partitions=1, "
            "temperature=0.1, farthest_temperature=0.1, keep=0.9, min_degree=1, resolution=1.0, "
            "budget=10.0, hinge=1.0, collapse=1.0)",
        ),
    ],
)
def test_repr_shows_options_and_parameters(module, shown):
    assert repr(module) == shown


def test_repr_shows_a_learned_tau():
    learned = LaplacePropagation(tau=nn.Parameter(torch.tensor(0.5)))
    assert "Learned(tau=0.5)" in repr(learned)
    assert "Learned(tau=0.5)" in repr(GraphLearningLayer(3, nn.Parameter(torch.tensor(0.5))))
