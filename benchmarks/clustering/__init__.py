"""``python -m benchmarks cluster``: what a graph does for clustering, pruned in several ways and not."""
