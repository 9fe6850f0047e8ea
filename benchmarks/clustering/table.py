"""The table of the clustering study."""

from collections.abc import Sequence

import pandas as pd

from benchmarks.accuracy.store import Row
from benchmarks.accuracy.tables import half_interval, paired

BASELINE = "knn"
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
    "else knn: what ModularityPruning gives with the same clustering."
)


def report(rows: Sequence[Row]) -> str:
    """Markdown: for each data set accuracy and NMI at a glance, then every measure."""
    runs = pd.DataFrame(with_test(rows))
    parts = [NOTE]
    for data, of_data in runs.groupby("data", sort=False):
        parts += [f"## {data}", _glance(of_data), _details(of_data)]
    return "\n\n".join(parts) + "\n"


def with_test(rows: Sequence[Row]) -> list[Row]:
    """The rows, and of each pair of pruned and unpruned graph the one of higher modularity as another."""
    same = {(row["data"], row["clustering"], row["seed"], row["graph"]): row for row in rows}
    more = []
    for (*run, graph), pruned in same.items():
        given = same.get((*run, BASELINE))
        if graph == "pruned_consensus" and given is not None:
            best = max(given, pruned, key=lambda row: row["modularity"])
            seconds = {"graph_seconds": pruned["graph_seconds"]}
            more.append({**best, **seconds, "graph": "modularity_pruning"})
    return [*rows, *more]


def _glance(runs: pd.DataFrame) -> str:
    clusterings = list(runs["clustering"].unique())
    lines = []
    for graph, of_graph in runs.groupby("graph", sort=False):
        mean = of_graph.groupby("clustering")[["accuracy", "nmi"]].mean()
        cells = [
            f"{100 * mean.accuracy[c]:.2f} ({mean.nmi[c]:.2f})" if c in mean.index else ""
            for c in clusterings
        ]
        lines.append([str(graph), *cells])
    return _markdown(["ACC % (NMI)", *clusterings], lines)


def _details(runs: pd.DataFrame) -> str:
    titles = ["clustering", "graph", "seeds"]
    for measure, (title, _, _) in MEASURES.items():
        titles += [title, "difference"] if measure in PAIRED else [title]
    lines = []
    for clustering, same in runs.groupby("clustering", sort=False):
        base = same[same["graph"] == BASELINE].set_index("seed")
        for graph, group in same.groupby("graph", sort=False):
            line = [str(clustering), str(graph), str(len(group))]
            for measure, (_, scale, digits) in MEASURES.items():
                line.append(_mean(group[measure] * scale, digits))
                if measure in PAIRED:
                    line.append(_difference(group, base, measure) if graph != BASELINE else "")
            lines.append(line)
    return _markdown(titles, lines)


def _mean(values: pd.Series, digits: int) -> str:
    mean, half = f"{values.mean():.{digits}f}", half_interval(values.tolist())
    return f"{mean} ± {half:.{digits}f}" if half > 0 else mean


def _difference(group: pd.DataFrame, base: pd.DataFrame, measure: str) -> str:
    mine = group.set_index("seed")[measure]
    seeds = mine.index.intersection(base.index)
    if len(seeds) < 2:
        return ""
    _, scale, digits = MEASURES[measure]
    pair = paired(mine[seeds].tolist(), base[measure][seeds].tolist())
    mean, low, high = (f"{scale * value:+.{digits}f}" for value in pair[:3])
    return f"{mean} [{low}, {high}]{'*' if pair.excludes_zero else ''}"


def _markdown(titles: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(titles)
    return "\n".join(f"| {' | '.join(line)} |" for line in [titles, rule, *lines])
