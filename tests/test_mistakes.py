"""What users do wrong, and the text that they get: read the column of texts in a row, as they would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn
from torch_geometric.data import Data

from pyg_relational import cluster, metrics, visualize
from pyg_relational.datasets import PenDigits
from pyg_relational.estimators import LaplaceClassifier, PoissonClassifier
from pyg_relational.nn import (
    FeatureCapture,
    GraphConsistencyLoss,
    GraphLearningLayer,
    LaplacePropagation,
    LatentClusterCorrection,
    ProxyGATv2Conv,
    graph_consistency_loss,
    laplace_propagation,
)
from pyg_relational.ops import knn
from pyg_relational.transforms import KNNGraph, batch_graph, knn_graph

N = 40
X = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % 3
LOGITS = X[:, :3]
EXPLODED = X.index_fill(0, torch.tensor(3), torch.nan)
EDGES, WEIGHT = knn_graph(X, 4)
ROWS, CLASSES = X.numpy(), Y.numpy()
NONE = torch.full((N,), -1)
NET = nn.Sequential(nn.Linear(5, 3))

MISTAKES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "labels are float": (
        lambda: graph_consistency_loss([X], LOGITS, Y.float()),
        TypeError,
        "y must be int64, got torch.float32: take y.long()",
    ),
    "features of another batch": (
        lambda: graph_consistency_loss([X[:30]], LOGITS, Y),
        ValueError,
        "features[0] must have the 40 rows of logits, got 30",
    ),
    "the backbone exploded": (
        lambda: graph_consistency_loss([EXPLODED], LOGITS, Y),
        ValueError,
        "features[0] must be finite, got nan in row 3, column 0",
    ),
    "features are an array": (
        lambda: graph_consistency_loss([ROWS], LOGITS, Y),  # type: ignore[list-item]
        TypeError,
        "features[0] must be a Tensor, got ndarray",
    ),
    "no layer was captured": (
        lambda: graph_consistency_loss([], LOGITS, Y),
        ValueError,
        "features must hold at least one layer, got none",
    ),
    "an option is misspelt": (
        lambda: GraphConsistencyLoss(stage="lat"),
        ValueError,
        "stage must be one of ('all', 'early', 'middle', 'late'), got 'lat'",
    ),
    "an option's name is misspelt": (
        lambda: LaplacePropagation(taau=0.1),
        TypeError,
        "taau must be an option of laplace_propagation, such as tau, got taau=0.1",
    ),
    "the layer has another name": (
        lambda: FeatureCapture(NET, ["layer4"]),
        ValueError,
        "layers must name modules of the model, ['0'], got 'layer4'",
    ),
    "features are read before the pass": (
        lambda: FeatureCapture(NET, ["0"]).features,
        ValueError,
        "layers must run before features are read, got no output of ['0'] in the last pass",
    ),
    "more neighbours than rows": (
        lambda: knn(X, N),
        ValueError,
        "k must be in 1..n - 1 = 39 for n = 40 rows, got 40: take a smaller k or more rows",
    ),
    "no neighbours": (lambda: knn(X, 0), ValueError, "k must be >= 1, got 0"),
    "half a neighbour": (
        lambda: GraphLearningLayer(k=3.5),  # type: ignore[arg-type]
        TypeError,
        "k must be an int, got float",
    ),
    "rows are an array": (lambda: knn(ROWS, 3), TypeError, "x must be a Tensor, got ndarray"),
    "rows are counts": (
        lambda: knn(Y[:, None], 3),
        TypeError,
        "x must be floating point, got torch.int64: take x.float()",
    ),
    "images are not flattened": (
        lambda: knn(X[None], 3),
        ValueError,
        "x must have shape [n, d], got [1, 40, 5]: take x.flatten(1)",
    ),
    "a metric that there isn't": (
        lambda: knn(X, 3, "cosin"),
        ValueError,
        "metric must be one of ('euclidean', 'cosine'), got 'cosin'",
    ),
    "a bandwidth of 0": (
        lambda: knn_graph(X, 3, bandwidth=0.0),
        ValueError,
        "bandwidth must be positive and finite, got 0.0",
    ),
    "a graph without features": (
        lambda: KNNGraph(3)(Data(edge_index=EDGES)),
        ValueError,
        "data.x or data.pos must hold the features, got neither",
    ),
    "labels of another batch": (
        lambda: batch_graph(X, Y[:10], KNNGraph(3)),
        ValueError,
        "y must have shape [40], got [10]",
    ),
    "a directed graph": (
        lambda: laplace_propagation(EDGES[:, :50], WEIGHT[:50], Y),
        ValueError,
        "edge_weight must be equal in both directions of every edge, got a graph that is not "
        "undirected; see torch_geometric.utils.to_undirected",
    ),
    "no label at all": (
        lambda: laplace_propagation(EDGES, WEIGHT, NONE),
        ValueError,
        "mask must mark at least one labelled node, got none of 40",
    ),
    "a part without labels": (
        lambda: laplace_propagation(
            torch.tensor([[0, 1], [1, 0]]), None, torch.tensor([0, -1, -1])
        ),
        ValueError,
        "mask must label a node of every component, got 1 nodes that no label reaches, the first "
        "is node 2; set on_unreachable='nan' or 'prior', or tau > 0 where there is one",
    ),
    "a mask of numbers": (
        lambda: laplace_propagation(EDGES, WEIGHT, Y, (Y > 1).long()),
        TypeError,
        "mask must be a bool Tensor, got torch.int64",
    ),
    "distances for weights": (
        lambda: laplace_propagation(EDGES, -torch.ones(EDGES.shape[1]), Y),
        ValueError,
        "edge_weight must be >= 0, got min -1 at edge 0",
    ),
    "fewer classes than labels": (
        lambda: laplace_propagation(EDGES, WEIGHT, Y, num_classes=2),
        ValueError,
        "y must be in [0, 2) on labelled nodes, got 2",
    ),
    "edges of a larger graph": (
        lambda: laplace_propagation(EDGES + N, WEIGHT, Y),
        ValueError,
        "must be < num_nodes=40",
    ),
    "a classifier without labels": (
        lambda: PoissonClassifier(k=3).fit(ROWS, NONE.numpy()),
        ValueError,
        "y must label a row (-1 is no label), got no label in 40 rows",
    ),
    "a classifier that is not fitted": (
        lambda: PoissonClassifier().predict(ROWS),
        NotFittedError,
        "This PoissonClassifier instance is not fitted yet.",
    ),
    "a classifier, other columns": (
        lambda: LaplaceClassifier(k=3).fit(ROWS, CLASSES).predict(ROWS[:, :3]),
        ValueError,
        "X has 3 features, but LaplaceClassifier is expecting 5 features as input.",
    ),
    "a classifier, few rows": (
        lambda: PoissonClassifier().fit(ROWS[:8], CLASSES[:8]),
        ValueError,
        "k must be in 1..n - 1 = 7 for n = 8 rows, got 10: take a smaller k or more rows",
    ),
    "features of another width": (
        lambda: ProxyGATv2Conv(6, 4, 2)(X, X[:3]),
        ValueError,
        "x must have 6 channels, got 5",
    ),
    "more clusters than nodes": (
        lambda: cluster.spectral(EDGES, WEIGHT, 50),
        ValueError,
        "num_clusters must be <= 40",
    ),
    "clusters of other rows": (
        lambda: metrics.nmi(Y, Y[:5]),
        ValueError,
        "clusters must have shape [40], got [5]",
    ),
    "an update before the first epoch": (
        lambda: LatentClusterCorrection(Y, layers=1, k=5, warmup=0).step(),
        RuntimeError,
        "an update needs latents, got none: call forward() in training mode first",
    ),
    "names of classes in a picture": (
        lambda: visualize.relation_matrix(X, list("ab")),  # type: ignore[arg-type]
        TypeError,
        "y must be a Tensor, got list",
    ),
    "a folder that cannot be made": (
        lambda: PenDigits(Path(__file__) / "x"),
        OSError,
        "is not writable",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.filterwarnings("ignore")
def test_mistake_is_named(mistake):
    call, kind, text = MISTAKES[mistake]
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_strings_and_none_are_labels():
    y = np.array(["cat", None, "dog"] * 5, dtype=object)
    assert set(LaplaceClassifier(k=3).fit(ROWS[:15], y).predict(ROWS)) == {"cat", "dog"}
