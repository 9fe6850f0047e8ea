"""Rows to tables: means over seeds, and paired differences to the baseline."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.store import Row
from benchmarks.tables import Paired, markdown, mean_and_half, paired_by_seed

METRICS = {
    "accuracy": ("accuracy %", 100.0, 2),
    "nll": ("NLL", 1.0, 3),
    "ece": ("ECE %", 100.0, 2),
    "knn_accuracy": ("kNN accuracy %", 100.0, 2),
    "intra_similarity": ("intra-class cos", 1.0, 3),
    "inter_similarity": ("inter-class cos", 1.0, 3),
    "auroc_confidence": ("AUROC % by confidence", 100.0, 2),
    "auroc_distance": ("AUROC % by distance", 100.0, 2),
    "seconds_per_epoch": ("s/epoch", 1.0, 2),
}
MEASURES = {
    "entropy": "entropy",
    "entropy_of_mean": "entropy of the mean",
    "own_class": "to the own class",
    "inter_class_similarity": "inter-class cos",
    "effective_rank": "effective rank",
}


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows scored on test data, as a table with one line a run.

    Raises:
        ValueError: Different runs have the same names.
    """
    runs = pd.DataFrame([row for row in rows if row["stage"] == "test"])
    names = ["task", "method", "seed"]
    if len(runs) and (twice := runs.duplicated(names)).any():
        task, method, seed = runs.loc[twice, names].iloc[0]
        raise ValueError(
            f"task, method and seed must name one run, got several for {task}, {method}, {seed}: "
            "give tasks or methods of different studies a label, and a changed study a new folder"
        )
    return runs


def compare(runs: pd.DataFrame, task: str, method: str, baseline: str, metric: str) -> Paired:
    """A method against the baseline, over the seeds that both have."""
    of_task = runs[runs["task"] == task].groupby("method")
    return paired_by_seed(of_task.get_group(method), of_task.get_group(baseline), metric)


def results(rows: Sequence[Row], baseline: str | None = None) -> pd.DataFrame:
    """One line for each task and method, against ``baseline`` or the first method of the task.

    A star marks a value whose paired difference to the baseline has an interval without 0.
    """
    runs = frame(rows)
    lines = []
    for task, of_task in runs.groupby("task", sort=False):
        against = baseline or str(of_task["method"].iloc[0])
        if against not in set(of_task["method"]):
            known = sorted(set(of_task["method"]))
            raise ValueError(f"baseline must be one of {known} of {task}, got {against!r}")
        for method, group in of_task.groupby("method", sort=False):
            lines.append(_line(of_task, group, str(task), str(method), against))
    return pd.DataFrame(lines).fillna("")


def attacks(rows: Sequence[Row]) -> pd.DataFrame:
    """Accuracy under each attack and radius, with its interval; one column a method."""
    runs = [row for row in rows if row["stage"] == "test" and "attacks" in row]
    values: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for row in runs:
        for name, curve in row["attacks"].items():
            for radius, accuracy in zip(curve["radius"], curve["accuracy"], strict=True):
                cell = values.setdefault((row["task"], name, radius), {})
                cell.setdefault(row["method"], []).append(100 * accuracy)
    lines = []
    for (task, name, radius), cell in values.items():
        shown = {method: mean_and_half(accuracies) for method, accuracies in cell.items()}
        lines.append({"task": task, "attack": name, "radius": f"{radius:g}", **shown})
    return pd.DataFrame(lines).fillna("")


def relations(rows: Sequence[Row]) -> pd.DataFrame:
    """What attention and its sets do: mean over seeds, attention's entropy at the start, middle and end of training."""
    made: dict[tuple[str, str, str], list[Any]] = {}
    for row in (row for row in rows if row["stage"] == "test" and "relations" in row):
        for name, measures in row["relations"]["sets"].items():
            made.setdefault((row["task"], row["method"], name), []).append(measures)
    lines = []
    for (task, method, name), runs in made.items():
        line = {"task": task, "method": method, "set": name}
        for measure, title in MEASURES.items():
            means = np.mean([run[measure] for run in runs], axis=0) if measure in runs[0] else []
            shown = means if measure == "entropy" else means[-1:]
            line[title] = ", ".join(f"{mean:.3f}" for mean in shown)
        lines.append(line)
    return pd.DataFrame(lines)


def latents(rows: Sequence[Row]) -> pd.DataFrame:
    """Correctly clustered samples (CC) beside misclustered ones (MC) after the last epoch, layer by layer."""
    made: dict[tuple[str, str], list[Any]] = {}
    for row in (row for row in rows if row["stage"] == "test" and "latents" in row):
        made.setdefault((row["task"], row["method"]), []).append(row["latents"])
    lines = []
    for (task, method), runs in made.items():
        names = sorted(set(runs[0]) - {"layers"})
        value = {n: np.array([run[n] for run in runs], dtype=float) for n in names}
        for at, layer in enumerate(runs[0]["layers"]):
            of_layer = {name: values[:, :, at] for name, values in value.items()}
            line = {"task": task, "method": method, "layer": layer, **_latent_line(of_layer)}
            lines.append(line)
    return pd.DataFrame(lines)


def chosen(rows: Sequence[Row]) -> pd.DataFrame:
    """The setting that each method was run with, and what it scored on the held-out samples."""
    tuned = [row for row in rows if row["stage"] == "tune"]
    lines = {}
    for row in (row for row in rows if row["stage"] == "test"):
        trials = [t for t in tuned if (t["task"], t["method"]) == (row["task"], row["method"])]
        if any(_flat(trial) == _flat(row) for trial in trials):
            lines[row["task"], row["method"]] = _chosen_line(row, trials)
    return pd.DataFrame(lines.values())


def report(rows: Sequence[Row], baseline: str | None = None) -> str:
    """All tables of a study, with what they mean, as markdown."""
    parts = [markdown(results(rows, baseline)), NOTE] if len(frame(rows)) else []
    if len(settings := chosen(rows)):
        parts += [
            "Settings, chosen on a held-out fifth of the training samples:",
            markdown(settings),
        ]
    if len(robust := attacks(rows)):
        parts += [
            "Accuracy % of attacked test samples, mean over seeds ± 95 % Student-t interval:",
            markdown(robust),
        ]
    if len(related := relations(rows)):
        parts += [RELATIONS_NOTE, markdown(related)]
    if len(clustered := latents(rows)):
        parts += [LATENTS_NOTE, markdown(clustered)]
    return "\n\n".join(parts) + "\n"


NOTE = (
    "Mean over seeds (± standard deviation) on the test split. Difference: accuracy minus the "
    "baseline's, paired by seed, in percentage points, with its 95 % Student-t interval; wins: "
    "seeds with a higher accuracy. A star: the paired interval excludes 0. AUROC: how well samples of "
    "other data sets are told apart."
)

RELATIONS_NOTE = (
    "Attention of test samples, mean over seeds: entropy, as a share of the largest, of a sample's attention at the "
    "start, in the middle and at the end of training, and of the mean over samples; attention to the own class. Of "
    "the set itself, cosine between classes and effective rank:"
)

LATENTS_NOTE = (
    "Clusters of test samples in each layer after the last epoch, mean over seeds: share of misclustered samples (MC), "
    "accuracy of the network on them and on the correctly clustered ones (CC), the difference with its 95 % Student-t "
    "interval, in how many looks (after each epoch of each seed) CC is ahead of MC, and cross-entropy. GDV: low where "
    "classes are apart."
)


def _latent_line(value: dict[str, Any]) -> dict[str, str]:
    """``value`` of each measure ``[seeds, epochs]``; NaN of a group without samples."""
    last = {name: values[:, -1] for name, values in value.items()}
    ahead = value["cc_accuracy"][:, 1:] - value["mc_accuracy"][:, 1:]
    last_ahead = 100 * ahead[np.isfinite(ahead[:, -1]), -1]
    share = last["mc_samples"] / (last["mc_samples"] + last["cc_samples"])
    return {
        "MC %": f"{100 * share.mean():.1f}",
        "CC accuracy %": _mean(100 * last["cc_accuracy"], 1),
        "MC accuracy %": _mean(100 * last["mc_accuracy"], 1),
        "CC - MC": mean_and_half(last_ahead) if len(last_ahead) else "",
        "CC > MC": f"{(ahead > 0).sum()}/{np.isfinite(ahead).sum()}",
        "CC cross-entropy": _mean(last["cc_cross_entropy"], 3),
        "MC cross-entropy": _mean(last["mc_cross_entropy"], 3),
        "clusters": f"{last['clusters'].mean():.1f}",
        "modularity": f"{last['modularity'].mean():.3f}",
        "GDV": f"{last['gdv'].mean():.3f}",
    }


def _line(
    runs: pd.DataFrame, group: pd.DataFrame, task: str, method: str, baseline: str
) -> dict[str, str]:
    line = {"task": task, "method": method, "seeds": str(len(group))}
    for metric, (title, scale, digits) in METRICS.items():
        if metric not in group or group[metric].isna().all():
            continue
        values = group[metric] * scale
        star = ""
        if method != baseline:
            pair = compare(runs, task, method, baseline, metric)
            star = "*" if pair.excludes_zero and metric != "seconds_per_epoch" else ""
        line[title] = f"{values.mean():.{digits}f}{star}"
        if metric == "accuracy":
            spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
            line[title] = f"{values.mean():.{digits}f}{spread}{star}"
            line["difference"] = line["wins"] = ""
            if method != baseline:
                line["difference"] = pair.text(scale, digits)
                line["wins"] = f"{pair.wins}/{pair.n}"
    return line


def _mean(values: Any, digits: int) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.{digits}f}" if len(known) else ""


def _chosen_line(row: Row, trials: list[Row]) -> dict[str, str]:
    flat = [_flat(trial) for trial in trials]
    varied = [key for key in flat[0] if len({f[key] for f in flat}) > 1]
    mine = _flat(row)
    best = next(t for t in trials if _flat(t) == mine)
    setting = ", ".join(f"{key}={_short(mine[key])}" for key in varied)
    return {
        "task": row["task"],
        "method": row["method"],
        "trials": str(len(trials)),
        "setting": setting,
        "held-out accuracy %": f"{100 * best['accuracy']:.2f}",
    }


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _flat(row: Row) -> dict[str, Any]:
    return {**row["config"]["train"], **row["config"]["method"]["options"]}
