"""A study from plan to rows: tune each method, then run its best setting for every seed."""

import os
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from benchmarks import machine
from benchmarks.accuracy import config, data, plot, trained
from benchmarks.accuracy.attention import Relating
from benchmarks.accuracy.budget import Budget, OutOfTimeError
from benchmarks.accuracy.build import build
from benchmarks.accuracy.config import Run, load, settings
from benchmarks.accuracy.latents import LatentHistory
from benchmarks.accuracy.methods import Method
from benchmarks.accuracy.robustness import robustness
from benchmarks.accuracy.table import report
from benchmarks.accuracy.train import Output, fit, predict, score
from benchmarks.store import Row, Store
from benchmarks.suite import Suite

PROBE = 160  # test samples in the picture of the relations
RELATED = 1000  # test samples whose attention is measured
SURROGATE = 10_000  # from a run's seed to that of the network whose adversarial samples it gets


def options(parser: ArgumentParser) -> None:
    """Those of ``run``."""
    parser.add_argument("config", type=Path, help="a file of benchmarks/configs")
    parser.add_argument("--seeds", type=int, nargs="+", help="in place of the config's")
    parser.add_argument("--max-minutes", type=float, help="after which no further run begins")
    parser.add_argument(
        "--keep-models", action="store_true", help="write the trained networks to models/"
    )


def run(
    output: Path,
    config: Path,
    seeds: list[int] | None = None,
    max_minutes: float | None = None,
    keep_models: bool = False,
) -> tuple[list[Row], dict[str, str]]:
    """Train and score methods, as a config says, or what is left of it.

    Args:
        output: Folder of ``runs.jsonl``, ``probes/`` and ``models/``.
        config: YAML file, see benchmarks/configs.
        seeds: In place of the config's, to share a study between processes (one output each).
        max_minutes: After which no further run begins.
        keep_models: Whether to write the trained networks of test runs, see ``trained.py``.

    Returns:
        The study's rows, in order, be they new or old; and why tasks were left out, by label:
        their data sets are neither on disk nor reachable, or the time is up.
    """
    study = load(config, seeds)
    models = output / "models" if keep_models else None
    torch.set_num_threads(study.threads)
    device = _device(study.device)
    store = Store(output / "runs.jsonl")
    skipped = {t.label: why for t in study.tasks if (why := data.available(t.data))}
    tasks = [task for task in study.tasks if task.label not in skipped]
    for label, why in skipped.items():
        print(f"SKIPPED {label}: {why}")
    tuned = study.methods[0].trials > 1
    done: list[Row] = []
    tuning = tuned * study.methods[0].trials * len(study.tune_seeds)
    names = [(task.label, method.label) for task in tasks for method in study.methods]
    planned = names * (len(study.seeds) + tuning)
    budget = Budget(planned, store.rows.values(), max_minutes)
    print(f"to do: {budget}")
    with until_time_is_up(skipped, budget), tqdm(total=len(planned), unit="run") as bar:

        def rows(runs: list[Run], probes: Path | None = None) -> list[Row]:
            for run in runs:
                bar.set_description(f"{run.task.label}: {run.method.label}, {run.stage}")
                if run.id not in store.rows:
                    budget.check()
                    first = not budget.seconds
                    row = perform(run, device, probes, models)
                    store.append(row)
                    budget.add(row)
                    if first:
                        tqdm.write(f"left, by the first: {budget}")
                done.append(store.rows[run.id])
                bar.update()
            return done[-len(runs) :]

        for task in tasks:
            best = []
            for method in study.methods:
                trials = settings("tune", task, method, study.tune_seeds[0])
                if tuned:
                    again = (
                        [replace(trial, seed=seed) for trial in trials] for seed in study.tune_seeds
                    )
                    trials = [pick(trials, [rows(part) for part in again], study.tune_by)]
                best.append(trials[0])
            for seed in study.seeds:
                probes = output / "probes" if seed == study.seeds[0] else None
                rows([replace(run, stage="test", seed=seed) for run in best], probes)
    store.arrange(row["id"] for row in done)
    return done, skipped


@contextmanager
def until_time_is_up(missing: dict[str, str], budget: Budget) -> Iterator[None]:
    """Where the time is up, what is left to run is ``missing``."""
    try:
        yield
    except OutOfTimeError as error:
        missing[str(budget)] = str(error)


def pick(trials: list[Run], rows: list[list[Row]], by: str) -> Run:
    """The trial of the best mean on the held-out samples of several seeds; the other score, then order, break ties.

    Args:
        trials: One run for each setting.
        rows: Theirs, in this order, for each tuning seed.
        by: ``"nll"`` or ``"accuracy"``.
    """
    nll, accuracy = (
        np.mean([[r[name] for r in part] for part in rows], 0) for name in ("nll", "accuracy")
    )
    first, second = (nll, -accuracy) if by == "nll" else (-accuracy, nll)
    return trials[min(range(len(trials)), key=lambda i: (first[i], second[i]))]


def perform(run: Run, device: str, probes: Path | None = None, models: Path | None = None) -> Row:
    """Train and score once.

    Args:
        run: What to do.
        device: Where.
        probes: Folder in which to keep the features of some test samples, before and after.
        models: Folder in which to keep the trained network of a test run.
    """
    start = time.perf_counter()
    problem = data.problem(run.task.data, run.seed, validate=run.stage == "tune").to(device)
    machine.reset_peak_memory(device)
    method = build(run, problem, device)
    probe = _probe_rows(problem)
    before = predict(method, problem.test.x[probe])
    related = _probe_rows(problem, RELATED)
    relating = Relating(method, problem, related, PROBE)
    relating.look("start")
    history = _history(run, method, problem)
    fitted = fit(
        method,
        problem,
        run.task.train,
        run.seed,
        halfway=lambda: relating.look("middle"),
        each=history.look if history else lambda: None,
    )
    relating.look("end")
    memory = machine.peak_memory(device)
    if models is not None and run.stage == "test":
        trained.keep(method, run, models)
    if probes is not None:
        after = predict(method, problem.test.x[probe])
        arrays = _probe(before, after, problem.test.y[probe]) | relating.arrays
        _save(probes / f"{run.id}.npz", arrays)
    return {
        "id": run.id,
        "stage": run.stage,
        "task": run.task.label,
        "method": run.method.label,
        "seed": run.seed,
        "train_samples": len(problem.train.y),
        "scored_samples": len(problem.test.y),
        **score(method, problem),
        **relating.row,
        **({"latents": history.row} if history else {}),
        **_attacked(run, method, problem, device),
        "train_seconds": fitted.wall,
        "train_cpu_seconds": fitted.cpu,
        "seconds_per_epoch": fitted.wall / run.task.train.epochs,
        "milliseconds_per_step": 1000 * fitted.wall / max(1, fitted.steps),
        "peak_memory_mib": memory,
        "seconds": time.perf_counter() - start,
        "curve": fitted.curve,
        **machine.describe(device),
        "config": run.config,
    }


def _history(run: Run, method: Method, problem: data.Problem) -> LatentHistory | None:
    """What the run's latents are told by, after a look at the fresh network; None where nobody asks."""
    if run.latents is None:
        return None
    rows = _probe_rows(problem, run.latents.samples)
    history = LatentHistory(method.module, problem, rows, run.latents.k)
    history.look()
    return history


def _attacked(run: Run, method: Method, problem: data.Problem, device: str) -> dict[str, Any]:
    """Robustness, where the task asks for it; the surrogate is a baseline of another seed."""
    attack = run.task.attack
    if run.stage != "test" or attack is None:
        return {}
    other = replace(run, method=config.Method("baseline"), seed=run.seed + SURROGATE)
    surrogate = build(other, problem, device)
    fit(surrogate, problem, run.task.train, other.seed)
    return {"attacks": robustness(method, surrogate, problem, attack, run.seed)}


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _probe_rows(problem: data.Problem, count: int = PROBE) -> torch.Tensor:
    """Some scored samples, the same for all runs of a task, sorted by class."""
    y = problem.test.y.cpu()
    if len(y) > count + problem.num_classes:
        strata = y if problem.num_classes <= count else None
        _, rows = train_test_split(
            np.arange(len(y)), stratify=strata, test_size=count, random_state=0
        )
    else:
        rows = np.arange(len(y))
    rows = torch.from_numpy(rows)
    return rows[y[rows].argsort(stable=True)]


def _probe(before: Output, after: Output, y: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "features_before": before.features.half(),
        "features_after": after.features.half(),
        "logits_before": before.logits,
        "logits_after": after.logits,
        "y": y,
    }


def _save(path: Path, arrays: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        np.savez_compressed(file, **{name: value.cpu().numpy() for name, value in arrays.items()})
    os.replace(file.name, path)


SUITE = Suite(
    verb="run",
    mark="stage",
    folder=lambda config, **_: config.stem,
    options=options,
    run=run,
    report=report,
    pictures=plot.pictures,
    shown=plot.SHOWN,
)
