"""Clusters of 1,797 digits in scikit-learn's manners: from features, and from a sparse graph."""

import numpy as np
from sklearn.cluster import SpectralClustering
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from sklearn.neighbors import kneighbors_graph

from pyg_relational.estimators import ModularityClustering, SpectralGraphClustering

x, y = load_digits(return_X_y=True)
for model in (
    ModularityClustering(),
    ModularityClustering(10),
    SpectralGraphClustering(10),
    SpectralClustering(10, affinity="nearest_neighbors", random_state=0),
):
    found = model.fit_predict(x)
    agreement = normalized_mutual_info_score(y, found)
    print(f"{model}: {len(np.unique(found))} clusters, NMI with the classes {agreement:.3f}")

near = kneighbors_graph(x, 10)  # a scipy.sparse matrix
model = ModularityClustering(affinity="precomputed").fit(near.maximum(near.T))
agreement = normalized_mutual_info_score(y, model.labels_)
print(f"of a given graph: NMI {agreement:.3f}, modularity {model.modularity_:.3f}")
