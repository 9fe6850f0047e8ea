"""The table of the clustering study."""

from collections.abc import Sequence

import pandas as pd

from benchmarks.store import Row
from benchmarks.tables import markdown, mean_and_half, paired_by_seed

BASELINE, ALONE = "knn", "none"  # of graphs; of samples clustered without one
MEASURES = {  # title, scale, digits
    "accuracy": ("ACC %", 100.0, 2),
    "nmi": ("NMI", 1.0, 3),
    "ari": ("ARI", 1.0, 3),
    "modularity": ("modularity", 1.0, 3),
    "clusters": ("clusters", 1.0, 1),
    "homophily": ("homophily", 1.0, 3),
    "edges_kept": ("edges %", 100.0, 1),
    "graph_seconds": ("graph CPU s", 1.0, 2),
}
PAIRED = ("accuracy", "nmi")
NOTE = (
    "Mean over seeds and half of its 95 % Student-t interval. Difference: to the unpruned kNN graph with the same "
    "clustering, paired by seed, with its 95 % interval; a star where that excludes 0. Modularity is that of the "
    "partition on the kNN graph, homophily the weighted share of the graph's edges inside of classes, edges its number "
    "of edges against the kNN graph's. modularity_pruning is pruned_consensus where that modularity is above knn's, "
    "else knn: what ModularityPruning gives with the same clustering. Without outliers, without random: samples were "
    "taken out, clustered was the kNN graph of the others, and each has the cluster of the nearest of these."
)


def report(rows: Sequence[Row], baseline: str | None = None) -> str:
    """Markdown: for each data set accuracy and NMI at a glance, then every measure against a graph, kNN by default."""
    runs = pd.DataFrame(with_test(rows))
    parts = [NOTE]
    for data, of_data in runs.groupby("data", sort=False):
        parts += [f"## {data}", _glance(of_data), _details(of_data, baseline or BASELINE)]
    return "\n\n".join(parts) + "\n"


def with_test(rows: Sequence[Row]) -> list[Row]:
    """The rows, and of each pair of pruned and unpruned graph the one of higher modularity as another."""
    same = {(row["data"], row["clustering"], row["seed"], row["graph"]): row for row in rows}
    more = []
    for (*run, graph), pruned in same.items():
        kind, *nodes = graph.split(", ")
        given = same.get((*run, ", ".join([BASELINE, *nodes])))
        if kind == "pruned_consensus" and given is not None:
            best = max(given, pruned, key=lambda row: row["modularity"])
            seconds = {"graph_seconds": pruned["graph_seconds"]}
            name = ", ".join(["modularity_pruning", *nodes])
            more.append({**best, **seconds, "graph": name})
    return [*rows, *more]


def _glance(runs: pd.DataFrame) -> str:
    lines = []
    for graph, of_graph in runs.groupby("graph", sort=False):
        mean = of_graph.groupby("clustering")[["accuracy", "nmi"]].mean()
        cells = {c: f"{100 * m.accuracy:.2f} ({m.nmi:.2f})" for c, m in mean.iterrows()}
        lines.append({"ACC % (NMI)": graph, **cells})
    return markdown(pd.DataFrame(lines)[["ACC % (NMI)", *runs["clustering"].unique()]].fillna(""))


def _details(runs: pd.DataFrame, baseline: str) -> str:
    lines = []
    for clustering, same in runs.groupby("clustering", sort=False):
        base = same[same["graph"] == (baseline if baseline in set(same["graph"]) else ALONE)]
        for graph, group in same.groupby("graph", sort=False):
            line = {"clustering": clustering, "graph": graph, "seeds": len(group)}
            for measure, (title, scale, digits) in MEASURES.items():
                line[title] = mean_and_half((group[measure] * scale).tolist(), digits)
                if measure in PAIRED:
                    line[f"{title} difference"] = _difference(group, base, measure)
            lines.append(line)
    return markdown(pd.DataFrame(lines))


def _difference(group: pd.DataFrame, base: pd.DataFrame, measure: str) -> str:
    if group.index.equals(base.index) or not set(group["seed"]) & set(base["seed"]):
        return ""
    pair = paired_by_seed(group, base, measure)
    _, scale, digits = MEASURES[measure]
    return pair.text(scale, digits) + ("*" if pair.excludes_zero else "")
