"""What a user meets: names, what they return, and what an import costs."""

import ast
import inspect
import re
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy

import pyg_relational

ROOT = Path(pyg_relational.__file__).parent
MODULES = [
    ".".join(("pyg_relational", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in sorted(ROOT.rglob("*.py"))
]
PREDICTORS = ("poisson_mbo", "volume_mbo", "p_eikonal")
ROOMS = sorted(pyg_relational.__all__)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name):
    if ".fused.kernels." in name:
        pytest.importorskip("triton", reason="needs triton")
    module = import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        assert not public.startswith("_")
        assert hasattr(module, public)
    if hasattr(module, "__path__"):
        return
    body = ast.parse(Path(module.__file__).read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    named = {
        target.id for node in body if isinstance(node, ast.Assign) for target in names_of(node)
    }
    assert {n for n in defined | named if not n.startswith("_")} <= {*module.__all__, *LEFT}


LEFT = ("Groups",)  # of ops.neighbors.top


def names_of(node: ast.Assign) -> list[ast.Name]:
    parts = [part for target in node.targets for part in ast.walk(target)]
    return [part for part in parts if isinstance(part, ast.Name)]


def functions() -> dict[str, Any]:
    found = {}
    for room in ROOMS:
        module = import_module(f"pyg_relational.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            for part in ("forward", "__call__", "fit") if inspect.isclass(value) else ():
                if part in vars(value) or (hasattr(value, "forward") and part == "forward"):
                    found[f"{room}.{name}.{part}"] = getattr(value, part)
            if inspect.isfunction(value):
                found[f"{room}.{name}"] = value
    return found


@pytest.mark.parametrize("function", functions().values(), ids=functions().keys())
def test_no_public_function_returns_any(function):
    assert inspect.signature(function).return_annotation not in (Any, inspect.Signature.empty)


def test_propagations_say_what_they_return_with_and_without_info():
    from pyg_relational import nn

    get_overloads = getattr(typing, "get_overloads", lambda _: ())  # of Python 3.11
    for name in ("laplace", "poisson", "random_walk", "p_laplace"):
        function = inspect.unwrap(getattr(nn, f"{name}_propagation"))
        given = list(inspect.signature(function).parameters)
        for overload in get_overloads(function):
            assert list(inspect.signature(overload).parameters) == given


def arguments(function: Any) -> dict[str, str]:
    """First sentence that a docstring has for each argument."""
    doc = inspect.getdoc(inspect.unwrap(function))
    part = doc.split("\nArgs:\n")[1].split("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", part, re.MULTILINE)
    return {name: " ".join(text.split()).split(". ")[0].rstrip(".") for name, text in entries}


def test_the_same_option_of_propagations_has_the_same_first_sentence():
    from pyg_relational import nn

    found = {}
    linear = ["laplace", "poisson", "random_walk", "p_laplace"]
    for name in (*(f"{part}_propagation" for part in linear), "propagation", *PREDICTORS):
        said = arguments(getattr(nn, name))
        assert set(said) == set(inspect.signature(getattr(nn, name)).parameters)
        for option, sentence in said.items():
            if (option, name in PREDICTORS) != ("y", True):  # these take classes alone
                assert sentence == found.setdefault(option, sentence), (name, option)


# Options that are another choice elsewhere: numbers from papers, speeds, what the word means there.
OWN = """aggr alpha balance bandwidth center clustering f k kernel margin max_iter method min_size mix n_clusters
  num_clusters on_unreachable p recall resolution self_loop solver tau temperature threshold tol"""


def defaults() -> list[tuple[str, str, Any]]:
    """Option, room or name (without case and underscores) it belongs to, default."""
    found = []
    for room in ROOMS:
        module = import_module(f"pyg_relational.{room}")
        for name in module.__all__ if room != "datasets" else []:
            value = getattr(module, name)
            error = inspect.isclass(value) and issubclass(value, Exception)
            parameters = {} if error or not callable(value) else inspect.signature(value).parameters
            classifier = room == "estimators" and "Clustering" not in name
            family = room if classifier else name.lower().replace("_", "")
            found += [(option, family, p.default) for option, p in parameters.items()]
    return [row for row in found if row[2] is not inspect.Parameter.empty]


def test_the_same_option_has_the_same_default():
    first: dict[Any, Any] = {}
    for option, family, default in defaults():
        key = (option, family) if option in OWN.split() else option
        assert default == first.setdefault(key, default), (option, family)
    assert first["resolution", "grapixloss"] != first["resolution", "leiden"]


def test_the_root_imports_nothing():
    assert run("import sys, pyg_relational; print('torch' in sys.modules)") == "False"


def test_every_room_is_reached_from_the_root():
    code = "import pyg_relational as p; print(*(getattr(p, name).__name__ for name in p.__all__))"
    assert run(code).split() == [f"pyg_relational.{room}" for room in pyg_relational.__all__]
    assert set(pyg_relational.__all__) <= set(dir(pyg_relational))
    with pytest.raises(AttributeError, match="'pyg_relational' has no attribute 'nothing'"):
        _ = pyg_relational.nothing


def test_rooms_bring_nothing_that_is_slow_to_import():
    rooms = ", ".join(room for room in ROOMS if room not in ("datasets", "estimators"))
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        f"from pyg_relational import {rooms}\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}),"
        "*(name for name in sys.modules if name.startswith(('scipy.', 'torch._dynamo'))))"
    )
    brought = set(run(code).split())
    slow = {
        "torch_geometric",
        "torch._dynamo",
        "sklearn",
        "igraph",
        "matplotlib",
        "pandas",
        "faiss",
    }
    slow |= {"scipy.optimize", "scipy.stats"}
    assert "pyg_relational" in brought
    if scipy.__version__ >= "1.15":  # its csgraph brought them before
        slow |= {"scipy.linalg", "scipy.io", "scipy.sparse.linalg"}
    assert not brought & slow


@pytest.mark.parametrize("door", ["nn", "nn.loss", "nn.pool", "transforms"])
def test_names_imported_on_demand_are_the_same_each_time(door):
    code = (
        f"import pyg_relational.{door} as door\n"
        "listed = set(dir(door)) >= set(door.__all__)\n"
        "first = {name: getattr(door, name) for name in door.__all__}\n"
        "print(listed, all(getattr(door, name) is value for name, value in first.items()))"
    )
    assert run(code) == "True True"


def made() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Modules by name, how to make each, and what differs from the default one by one."""
    import torch

    from pyg_relational import nn, ops, transforms

    y = torch.arange(8) % 2
    net = torch.nn.Sequential(torch.nn.Identity())
    conv = {"heads": 2, "concat": False, "dropout": 0.25, "self_loop": "residual"}
    conv |= {"softmax": "joint", "combine": "mean", "bias": False}
    lcc = {"layers": 2, "k": 3, "kernel": "gaussian", "clustering": "peer_pressure"}
    lcc |= {"targets": "cluster", "method": "approximate", "samples_per_cluster": 3}
    lcc |= {"classes": torch.tensor([0]), "tangent_dim": 1, "tangent_k": 9, "warmup": 2}
    gcr = {"stage": "late", "weights": "linear", "temperature": 0.5, "detach_weights": False}
    gcr |= {"detach_target": False, "target": "label", "similarity": "rbf", "relu": False}
    gcr |= {"center": True, "balance": True, "reduction": "sum", "method": "dense"}
    gcr |= {"num_samples": 50}
    solving = {"solver": ops.CG(tol=0.125), "on_unreachable": "prior"}
    linear = solving | {"num_classes": 4}
    soft = {"gate": "hard_concrete", "partitions": 2, "temperature": 0.25, "keep": 0.5}
    soft |= {"farthest_temperature": 0.5, "min_degree": 2, "resolution": 2.0, "budget": 5.0}
    soft |= {"hinge": 2.0, "collapse": 3.0}
    grapix = {"alpha": 2.0, "resolution": 0.5, "k": 9, "entropy_weight": 3.0}
    return {
        "Auto": (ops.Auto, {"tol": 0.25, "strict": True}),
        "BaseSampler": (
            lambda **o: nn.BaseSampler(y, 1, **o),
            {"mode": "hard", "score": "l2", "generator": torch.Generator()},
        ),
        "CG": (ops.CG, {"tol": 0.25, "max_iter": 7, "strict": True}),
        "CNN2GraphLoss": (
            nn.CNN2GraphLoss,
            {"weight": 2.0, "class_weights": (1.0, 2.0, 3.0)},
        ),
        "DGClusterLoss": (nn.DGClusterLoss, {"auxiliary": 0.5}),
        "DenseGraph": (transforms.DenseGraph, {"similarity": "rbf", "threshold": 0.5, "top_k": 3}),
        "Direct": (ops.Direct, {"strict": True}),
        "FeatureCapture": (
            lambda **o: nn.FeatureCapture(net, ["0"], **o),
            {"pool": True, "select": len},
        ),
        "GATEmbedding": (lambda **o: nn.GATEmbedding(4, 4, 2, **o), {"dropout": 0.25}),
        "GraPixLoss": (
            lambda **o: nn.GraPixLoss(4, 2, **o),
            grapix | {"threshold": 0.5, "balance": True},
        ),
        "GraphLearningLayer": (
            nn.GraphLearningLayer,
            solving | {"k": 3, "tau": 0.5, "bandwidth": "unit", "unit": False, "metric": "cosine"},
        ),
        "GroupContrastiveLoss": (
            nn.GroupContrastiveLoss,
            {"instance_weight": 0.25, "group_weight": 2.0, "temperature": 0.75},
        ),
        "CoOccurrenceGCN": (nn.CoOccurrenceGCN, {"hidden_channels": 4, "num_layers": 3}),
        "ImageTextMatching": (
            lambda **o: nn.ImageTextMatching((4, 4), 8, 2, **o),
            {"num_clusters": (4, 2), "k": (3, 1), "margin": 0.5, "dropout": 0.25}
            | {"modularity_weight": 2.0, "matching_weight": 0.5, "auxiliary_weight": 0.75},
        ),
        "KNNGraph": (lambda **o: transforms.KNNGraph(3, **o), {"metric": "cosine", "kernel": None}),
        "KNNHypergraph": (
            lambda **o: transforms.KNNHypergraph(3, **o),
            {"metric": "cosine", "bandwidth": 2.0},
        ),
        "LaplacePropagation": (nn.LaplacePropagation, linear | {"tau": 0.5, "order": 2}),
        "ModularityLoss": (
            nn.ModularityLoss,
            {"resolution": 2.0, "collapse": 3.0, "orthogonality": 0.5},
        ),
        "Multigrid": (ops.Multigrid, {"tol": 0.25, "max_iter": 7, "strict": True}),
        "PLaplacePropagation": (nn.PLaplacePropagation, linear | {"p": 4.0, "tau": 0.5}),
        "PoissonPropagation": (nn.PoissonPropagation, linear),
        "RandomWalkPropagation": (nn.RandomWalkPropagation, linear | {"alpha": 0.5}),
        "RemoveOutliers": (transforms.RemoveOutliers, {"k": 3, "whisker": 1.5}),
        "SoftModularityPruning": (lambda **o: nn.SoftModularityPruning(4, 2, **o), soft),
        "SparseDMoN": (lambda **o: nn.SparseDMoN(4, 2, **o), {"dropout": 0.5}),
        "CNN2Graph": (
            lambda **o: nn.CNN2Graph(torch.nn.Identity(), 4, 2, **o),
            {"anchor_grad": False, "proxies_per_class": 3, "anchors_per_class": 2},
        ),
        "EdgeConsistency": (nn.EdgeConsistency, {"aggr": "mean", "relu": False}),
        "GraphConsistencyLoss": (nn.GraphConsistencyLoss, gcr),
        "LatentClusterCorrection": (
            lambda **o: nn.LatentClusterCorrection(y, **o),
            lcc | {"interval": 2, "memory": "fresh", "seed": 5},
        ),
        "ProxyContrastiveLoss": (
            nn.ProxyContrastiveLoss,
            {"margin": 0.3, "pair_margin": 2.0, "mining": "random", "reduction": "nonzero_mean"}
            | {"term_weights": (1.0, 2.0, 3.0, 4.0)},
        ),
        "ProxyAttentionConv": (
            lambda **o: nn.ProxyAttentionConv(4, 4, **o),
            conv | {"scale": "embed", "num_sets": 3},
        ),
        "ProxyGATv2Conv": (
            lambda **o: nn.ProxyGATv2Conv(4, 4, **o),
            conv | {"negative_slope": 0.5},
        ),
        "ProxyPoolConv": (
            lambda **o: nn.ProxyPoolConv(4, 4, **o),
            {"aggr": "max", "self_loop": "none", "combine": "max", "bias": False},
        ),
        "ProxySet": (
            lambda **o: nn.ProxySet(2, 4, **o),
            {"proxies_per_class": 3, "anchors_per_class": 2},
        ),
        "ModularityPruning": (
            lambda **o: nn.ModularityPruning(3, **o),
            {"rule": "farthest", "power": 2.0, "min_degree": 4, "max_iter": 7, "seed": 5}
            | {"clustering": len},
        ),
    }


def shown() -> dict[str, Any]:
    """Public modules, transforms and solvers, and what else has a repr of its options."""
    from torch.nn import Module
    from torch_geometric.transforms import BaseTransform

    from pyg_relational import nn, ops
    from pyg_relational.ops.linear.solvers import Solver

    kinds = (Module, BaseTransform, *typing.get_args(Solver), nn.BaseSampler, nn.FeatureCapture)
    rooms = [import_module(f"pyg_relational.{room}") for room in ROOMS]
    values = {name: getattr(room, name) for room in rooms for name in room.__all__}
    assert ops.Auto in values.values()
    return {name: v for name, v in values.items() if inspect.isclass(v) and issubclass(v, kinds)}


SUBMODULES = {"CNN2Graph": {"conv", "out_channels"}, "CNN2GraphLoss": {"contrastive"}}


def test_repr_is_tried_of_every_option_of_every_class():
    assert set(made()) == set(shown())
    for name, kind in shown().items():
        options = {
            option
            for option, parameter in inspect.signature(kind).parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        assert options - set(made()[name][1]) == SUBMODULES.get(name, set()), name


@pytest.mark.parametrize("name", made())
def test_repr_shows_each_option_that_differs_from_the_default(name):
    make, options = made()[name]
    from pyg_relational.ops.options import show_options

    for option, value in options.items():
        assert show_options({option: value}) in repr(make(**{option: value}))
        assert show_options({option: value}) not in repr(make())


@pytest.mark.parametrize("name", made())
def test_a_wrong_type_is_refused_by_its_name_when_it_is_built(name):
    make, options = made()[name]
    for option, value in options.items():
        if isinstance(value, bool):  # flags are as Python takes them
            continue
        wrong = [object()] + [True] * isinstance(value, int | float)
        for some in wrong:
            with pytest.raises((TypeError, ValueError), match=rf"^{option}\b"):
                make(**{option: some})


@pytest.mark.parametrize("name", made())
def test_integers_of_numpy_are_integers(name):
    make, options = made()[name]
    for option, value in options.items():
        if type(value) is int:
            make(**{option: np.int64(value)})


def seeded() -> dict[str, Any]:
    """Public functions of a seed, and calls of them."""
    import torch

    from pyg_relational import cluster, metrics, nn, visualize

    x, y = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2
    path = torch.stack([torch.arange(11), torch.arange(1, 12)])
    edges = torch.cat([path, path.flip(0)], 1)
    models = {"a": None}
    return {
        "leiden": lambda s: cluster.leiden(edges, seed=s),
        "leiden_partitions": lambda s: cluster.leiden_partitions(edges, None, 12, seed=s),
        "peer_pressure": lambda s: cluster.peer_pressure(edges, seed=s),
        "spectral": lambda s: cluster.spectral(edges, None, 2, seed=s),
        "latent_diagnostics": lambda s: metrics.latent_diagnostics(x, x[:, :2], y, k=3, seed=s),
        "latent_cluster_loss": lambda s: nn.latent_cluster_loss(x, y, y, seed=s),
        "latent_cluster_targets": lambda s: nn.latent_cluster_targets(x, y, y, seed=s),
        "prune_by_consensus": lambda s: nn.prune_by_consensus(edges, None, 2, seed=s),
        "embedding_map": lambda s: visualize.embedding_map({"a": (x, y)}, seed=s),
        "graph_map": lambda s: visualize.graph_map(x, edges, seed=s),
        "label_rate_curve": lambda s: visualize.label_rate_curve(
            models, x, y, per_class=[1], seed=s
        ),
    }


def test_every_seed_is_tried():
    takes = {
        name.split(".")[1]
        for name, f in functions().items()
        if name.count(".") == 1 and "seed" in inspect.signature(f).parameters
    }
    assert takes == set(seeded())


@pytest.mark.parametrize("name", seeded())
def test_a_seed_is_an_integer_of_any_library(name):
    call = seeded()[name]
    for wrong in (True, 2.5, "a", None):
        with pytest.raises(TypeError, match=r"^seed must be an int, got"):
            call(wrong)
    with pytest.raises(ValueError, match=r"^seed must be >= 0, got -1"):
        call(-1)
    if name != "label_rate_curve":  # would fit
        call(np.int64(2))


def test_no_two_checks_have_the_same_name():
    names = [name for module in MODULES for name in checks(module)]
    assert len(names) > 30
    assert [name for name in set(names) if names.count(name) > 1] == []


def checks(module: str) -> list[str]:
    """Functions of a module that are checks for others."""
    path = ROOT.parent.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    body = ast.parse(path.read_text()).body
    names = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    return [name for name in names if name.startswith("check_")]


@pytest.mark.parametrize("name", MODULES)
def test_an_argument_is_said_to_be_something(name):
    """``seed: Of the layout`` leaves the reader to look for the noun."""
    path = ROOT.parent.joinpath(*name.split("."))
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    assert not re.findall(r"^ +\w+: (?:Of|Whose) .*", text, re.MULTILINE)


# By rules 3 and 4 of docs/conventions.md.
EDGES_LATER = ("edge_diff_dot", "edge_dot", "graph_consistency_loss", "grapix_loss", "graph_map")
BY_NAME = ("max_iter", "resolution", "seed", "solver", "steps", "tau", "temperature", "tol")


def test_the_graph_comes_first_labels_before_clusters_and_options_by_name():
    seen = set()
    for name, function in functions().items():
        parameters = inspect.signature(function).parameters
        by_place = [n for n, p in parameters.items() if p.kind is not p.KEYWORD_ONLY]
        if name.count(".") > 1:  # a method
            continue
        if "edge_index" in by_place:
            assert (by_place[0] == "edge_index") != (name.split(".")[1] in EDGES_LATER), name
        if {"y", "clusters"} <= set(by_place):
            assert by_place.index("y") < by_place.index("clusters"), name
        assert not set(BY_NAME) & set(by_place), name
        seen |= set(parameters)
    assert {"edge_index", "clusters", *BY_NAME} <= seen
