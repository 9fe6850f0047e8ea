"""Trained networks on disk, by the id of their run."""

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.accuracy import data
from benchmarks.accuracy.build import build
from benchmarks.accuracy.config import Run, Study, settings
from benchmarks.accuracy.methods import Method


def keep(method: Method, run: Run, folder: Path) -> None:
    """Write the parameters and buffers of a trained method."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.cpu() for name, value in method.module.state_dict().items()}
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        torch.save(state, file)
    os.replace(file.name, _path(folder, run.id))


def reload(study: Study, id: str, folder: Path, device: str = "cpu") -> tuple[Method, data.Problem]:
    """The trained method of a row, and what it was trained and scored on.

    Args:
        study: That of the row, by :func:`~benchmarks.accuracy.config.load`.
        id: The row's.
        folder: Of the kept networks.
        device: Where to.

    Raises:
        ValueError: The study has no such run.
        FileNotFoundError: Its network was not kept.
    """
    run = _find(study, id)
    path = _path(folder, id)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: not kept; run the study with --keep-models, in a new folder"
        )
    problem = data.problem(run.task.data, run.seed, validate=run.stage == "tune").to(device)
    method = build(run, problem, device)
    method.module.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return method, problem


def _find(study: Study, id: str) -> Run:
    for task in study.tasks:
        for method in study.methods:
            for seed in study.seeds:
                for run in settings("test", task, method, seed):
                    if run.id == id:
                        return run
    raise ValueError(f"id must be that of a test run of the study, got {id!r}")


def _path(folder: Path, id: str) -> Path:
    return folder / f"{id}.pt"
