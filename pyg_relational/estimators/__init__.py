"""Label propagation and clustering in scikit-learn's manners."""

from pyg_relational.estimators.hypergraph_svc import HypergraphSVC
from pyg_relational.estimators.laplace_classifier import LaplaceClassifier
from pyg_relational.estimators.modularity_clustering import ModularityClustering
from pyg_relational.estimators.poisson_classifier import PoissonClassifier
from pyg_relational.estimators.spectral_graph_clustering import SpectralGraphClustering

__all__ = [
    "HypergraphSVC",
    "LaplaceClassifier",
    "ModularityClustering",
    "PoissonClassifier",
    "SpectralGraphClustering",
]
