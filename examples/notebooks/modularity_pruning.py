# %% [markdown]
# # Clusters, and edges between them (modularity pruning)
#
# After [Zhuang, Wang et al.](https://arxiv.org/abs/2303.16103): edges that stand between clusters are weakened or dropped while modularity rises.
# Here on the graph of scikit-learn's 1,797 digits; no labels are used but to compare.

# %%
import torch
from sklearn.datasets import load_digits

from pyg_relational.cluster import spectral
from pyg_relational.metrics import clustering_accuracy, homophily, nmi
from pyg_relational.nn import ModularityPruning
from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import cluster_flow, graph_map, spectra

x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
graph = knn_graph(x, 10)
pruned = ModularityPruning(num_clusters=10)(x, *graph)
for step in pruned.history:
    print(f"{step.edges:,} edges, modularity on the given graph {step.modularity:.4f}")

# %% [markdown]
# Spectral clustering before and after.

# %%
for name, (edge_index, weight) in {"given": graph, "pruned": pruned[:2]}.items():
    found = spectral(edge_index, weight, 10, min_size=17, num_nodes=len(x))
    print(
        f"{name}: accuracy {clustering_accuracy(y, found):.3f}, NMI {nmi(y, found):.3f}, "
        f"weight inside of classes {homophily(edge_index, weight, y):.3f}"
    )
ax = cluster_flow(y, pruned.clusters)

# %%
ax = spectra({"10 nearest neighbours": graph, "pruned": pruned[:2]}, len(x))

# %% [markdown]
# The graph in the plane; dropped edges are orange.

# %%
ax = graph_map(x, *graph, y, pruned=pruned[:2])
