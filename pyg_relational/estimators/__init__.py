"""Label propagation in scikit-learn's manners."""

from pyg_relational.estimators.hypergraph_svc import HypergraphSVC
from pyg_relational.estimators.laplace_classifier import LaplaceClassifier
from pyg_relational.estimators.poisson_classifier import PoissonClassifier

__all__ = ["HypergraphSVC", "LaplaceClassifier", "PoissonClassifier"]
