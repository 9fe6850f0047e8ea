"""Label propagation: equations on a graph, solved, with exact gradients."""

from pyg_relational.nn.prop.general import propagation
from pyg_relational.nn.prop.graph_learning_layer import GraphLearningLayer
from pyg_relational.nn.prop.hypergraph import hypergraph_propagation
from pyg_relational.nn.prop.laplace import LaplacePropagation, laplace_propagation
from pyg_relational.nn.prop.p_eikonal import p_eikonal
from pyg_relational.nn.prop.p_laplace import PLaplacePropagation, p_laplace_propagation
from pyg_relational.nn.prop.poisson import PoissonPropagation, poisson_propagation
from pyg_relational.nn.prop.poisson_mbo import poisson_mbo
from pyg_relational.nn.prop.random_walk import RandomWalkPropagation, random_walk_propagation
from pyg_relational.nn.prop.volume_mbo import volume_mbo

__all__ = [
    "GraphLearningLayer",
    "LaplacePropagation",
    "PLaplacePropagation",
    "PoissonPropagation",
    "RandomWalkPropagation",
    "hypergraph_propagation",
    "laplace_propagation",
    "p_eikonal",
    "p_laplace_propagation",
    "poisson_mbo",
    "poisson_propagation",
    "propagation",
    "random_walk_propagation",
    "volume_mbo",
]
