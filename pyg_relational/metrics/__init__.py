"""Measures of features, attention, graphs and partitions."""

from pyg_relational.metrics.attention import attention_entropy, class_attention
from pyg_relational.metrics.class_similarity import class_similarity, inter_class_similarity
from pyg_relational.metrics.clustering import ari, clustering_accuracy, nmi
from pyg_relational.metrics.conductance import conductance
from pyg_relational.metrics.correctly_clustered import clustered_scores
from pyg_relational.metrics.edit_distance import edit_distance
from pyg_relational.metrics.effective_rank import effective_rank
from pyg_relational.metrics.gdv import generalized_discrimination_value
from pyg_relational.metrics.homophily import homophily
from pyg_relational.metrics.latent_diagnostics import latent_diagnostics

__all__ = [
    "ari",
    "attention_entropy",
    "class_attention",
    "class_similarity",
    "clustered_scores",
    "clustering_accuracy",
    "conductance",
    "edit_distance",
    "effective_rank",
    "generalized_discrimination_value",
    "homophily",
    "inter_class_similarity",
    "latent_diagnostics",
    "nmi",
]
