"""Names of graphs and clusterings in pictures."""

GRAPHS = {
    "knn": "kNN graph",
    "consensus_knn": "consensus of neighbourhoods",
    "lgss": "learned from smooth signals",
    "spectral_sparsifier": "sampled by effective resistance",
    "random_partitions": "control: random partitions",
    "shuffled_consensus": "control: shares on other edges",
    "pruned_farthest": "pruned by Algorithm 1",
    "pruned_consensus": "pruned by consensus",
    "pruned_soft": "pruned by learned gates",
    "modularity_pruning": "pruned where modularity rises",
    "none": "features, no graph",
}
CLUSTERINGS = {
    "leiden": "Leiden",
    "leiden_k": "Leiden with\nk clusters",
    "spectral": "spectral",
    "spectral_plain": "spectral, rows\nnot scaled",
    "sklearn": "scikit-learn's\nspectral",
    "lanczos": "textbook\nLanczos",
    "kmeans": "k-means",
    "hdbscan": "HDBSCAN",
    "density_peaks": "density peaks",
}


def graph_name(graph: str) -> str:
    """In a reader's words, what was taken out before included."""
    name, comma, rest = graph.partition(", ")
    rest = "without random rows" if rest == "without random" else rest
    return GRAPHS.get(name, name) + comma + rest


def clustering_name(clustering: str) -> str:
    """In a reader's words."""
    return CLUSTERINGS.get(clustering, clustering)
