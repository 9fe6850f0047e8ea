import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch_geometric.data import Data

from pyg_relational.cluster import leiden, spectral
from pyg_relational.estimators import ModularityClustering, SpectralGraphClustering
from pyg_relational.nn import ModularityPruning
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph

ALL = pytest.mark.parametrize(
    "model",
    [ModularityClustering(), ModularityClustering(2), SpectralGraphClustering(2)],
    ids=["leiden", "pruned", "spectral"],
)


@pytest.fixture
def moons():
    return make_moons(300, noise=0.05, random_state=0)


@ALL
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_checks(model):
    check_estimator(type(model)(**model.get_params() | {"k": 3}))


def test_equal_the_functions(moons):
    x = torch.from_numpy(moons[0])
    graph = knn_graph(x, 10)
    found = ModularityClustering(resolution=0.1, random_state=3).fit(moons[0])
    want = leiden(*graph, len(x), resolution=0.1, seed=3)
    assert found.labels_.tolist() == want.tolist()
    assert found.modularity_ == pytest.approx(modularity(*graph, want).item())
    pruned = ModularityClustering(4, random_state=3).fit_predict(moons[0])
    assert pruned.tolist() == ModularityPruning(4, seed=3)(x, *graph).clusters.tolist()
    plain = SpectralGraphClustering(4, random_state=3).fit_predict(moons[0])
    want = spectral(*graph, 4, min_size=7, num_nodes=len(x), seed=3)
    assert plain.tolist() == want.tolist()


@pytest.mark.parametrize("Clustering", [ModularityClustering, SpectralGraphClustering])
def test_moons_are_found_by_their_number(Clustering, moons):
    x, y = moons
    assert adjusted_rand_score(y, Clustering(2).fit_predict(x)) > 0.98


def test_a_stray_group_takes_no_cluster_as_it_does_in_scikit_learn(moons):
    x, y = moons
    stray = 9 + 0.1 * np.random.default_rng(0).standard_normal((9, 2))
    x = np.concatenate([x, stray])
    found = SpectralGraphClustering(2, k=8).fit_predict(x)
    assert adjusted_rand_score(y, found[:300]) > 0.98
    theirs = SpectralClustering(2, affinity="nearest_neighbors", n_neighbors=9, random_state=0)
    with pytest.warns(UserWarning, match="not fully connected"):
        assert adjusted_rand_score(y, theirs.fit_predict(x)[:300]) < 0.5


@ALL
def test_a_given_graph_in_any_form(model, moons):
    edge_index, weight = knn_graph(torch.from_numpy(moons[0]), 10)
    sparse = scipy.sparse.csr_array((weight.numpy(), edge_index.numpy()), shape=(300, 300))
    want = model.fit_predict(moons[0])
    given = type(model)(**model.get_params() | {"affinity": "precomputed"})
    forms = [
        sparse,
        scipy.sparse.coo_matrix(sparse),
        sparse.toarray(),
        (edge_index, weight),
        Data(edge_index=edge_index, edge_weight=weight, num_nodes=300),
    ]
    for form in forms:
        assert (given.fit_predict(form) == want).all()
        assert given.n_features_in_ == 300
    assert given.__sklearn_tags__().input_tags.pairwise
    assert not model.__sklearn_tags__().input_tags.pairwise


@ALL
def test_tables_pipelines_and_float32(model, moons):
    x = moons[0]
    want = model.fit_predict(x)
    table = model.fit(pd.DataFrame(x, columns=["a", "b"]))
    assert (table.labels_ == want).all()
    assert table.feature_names_in_.tolist() == ["a", "b"]
    found = make_pipeline(StandardScaler(), model).fit_predict(x.astype(np.float32))
    assert found.dtype == np.int64
    assert found.shape == (300,)


@ALL
def test_chance_is_the_seed_s(model):
    x = np.random.default_rng(0).standard_normal((200, 5))
    again = {}
    for state in (1, 1, np.random.RandomState(1), np.random.RandomState(1), None):
        model.set_params(random_state=state)
        again.setdefault(str(type(state)), []).append(model.fit_predict(x).tolist())
    model.set_params(random_state=0)
    assert all(found == same[0] for same in again.values() for found in same)


def test_digits_come_apart_better_than_in_scikit_learn():
    x, y = load_digits(return_X_y=True)
    scores = [
        adjusted_rand_score(y, model.fit_predict(x))
        for model in (
            ModularityClustering(),
            ModularityClustering(10),
            SpectralClustering(10, affinity="nearest_neighbors", random_state=0),
        )
    ]
    assert min(scores[:2]) > scores[2]


def test_a_graph_without_edges_is_of_lone_rows():
    empty = scipy.sparse.csr_array((4, 4))
    found = ModularityClustering(affinity="precomputed").fit(empty)
    assert found.labels_.tolist() == [0, 1, 2, 3]
    assert found.modularity_ == 0


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (SpectralGraphClustering(0), ValueError, "n_clusters must be"),
        (SpectralGraphClustering(2.5), TypeError, "n_clusters must be"),
        (SpectralGraphClustering(301), ValueError, "n_clusters must be <= 300, the number of rows"),
        (ModularityClustering(0), ValueError, "n_clusters must be"),
        (ModularityClustering(301), ValueError, "n_clusters must be <= 300, the number of rows"),
        (ModularityClustering(resolution=-1), ValueError, "resolution must be"),
        (ModularityClustering(affinity="rbf"), ValueError, "affinity must be"),
        (ModularityClustering(k=300), ValueError, "k must be"),
    ],
)
def test_rejects(model, error, message, moons):
    with pytest.raises(error, match=message):
        model.fit(moons[0])


def test_a_graph_of_one_direction_is_refused():
    for model in (ModularityClustering, SpectralGraphClustering):
        with pytest.raises(ValueError, match="both directions"):
            model(2, affinity="precomputed").fit(np.triu(np.ones((3, 3)), 1))
