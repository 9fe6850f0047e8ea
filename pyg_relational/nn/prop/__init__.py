"""Label propagation: equations on a graph, solved, with exact gradients."""

from pyg_relational.nn.prop.base_sampler import BaseSampler
from pyg_relational.nn.prop.graph_learning_layer import GraphLearningLayer
from pyg_relational.nn.prop.laplace import LaplacePropagation, laplace_propagation

__all__ = ["BaseSampler", "GraphLearningLayer", "LaplacePropagation", "laplace_propagation"]
