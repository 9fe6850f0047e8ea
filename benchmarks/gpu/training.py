"""The methods of full.yaml, trained for a minute, in a process of its own, which runs this file."""

import json
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
import yaml

from benchmarks import machine
from benchmarks.accuracy import config, data
from benchmarks.accuracy.build import build
from benchmarks.accuracy.methods import Samples
from benchmarks.accuracy.train import fit, score
from benchmarks.gpu.measure import why

FULL = machine.ROOT / "benchmarks" / "configs" / "full.yaml"
DIGITS = config.Model("mlp", {"width": 128, "depth": 3})


def tasks(device: str, full: bool) -> Iterator[tuple[str, config.Task, data.Problem]]:
    """PenDigits, and full.yaml's network on CIFAR-10, or on noise where it is not on disk."""
    digits = data.Source("PenDigits", train_size=None if full else 500)
    train = config.Train(epochs=12 if full else 2, lr=3e-3)
    yield "PenDigits", config.Task(digits, DIGITS, train), data.problem(digits, 0).to(device)
    source, model = data.Source("CIFAR10", train_size=12_800), config.Model("resnet18")
    task = config.Task(source, model, config.Train(epochs=1, augment=True))
    if not full:
        task = config.Task(source, config.Model("cnn"), config.Train(epochs=1, batch_size=32))
    with patch("pyg_relational.datasets.base.download", side_effect=OSError("no network")):
        known = full and data.available(source) is None
    problem = data.problem(source, 0) if known else noise(12_800 if full else 64)
    yield "CIFAR-10" if known else "noise for images", task, problem.to(device)


def noise(n: int) -> data.Problem:
    """As CIFAR-10, with nothing to learn: times only."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 10
    train, test = (Samples(torch.randn(n, 3, 32, 32, generator=g), y) for _ in range(2))
    return data.Problem(train, y, test, 10)


def methods() -> Iterator[config.Method]:
    """Those of full.yaml, with the first setting of each; latents are corrected from the first epoch."""
    for given in yaml.safe_load(FULL.read_text())["methods"]:
        later = {"warmup": 0, "interval": 1} if given["name"] == "lcc" else {}
        first = {key: values[0] for key, values in given["grid"].items() if key.endswith("weight")}
        first.pop("weight_decay", None)
        options = given.get("options", {}) | later | first
        yield config.Method(given["name"], options, label=given.get("label", given["name"]))


def train(task: config.Task, method: config.Method, problem: data.Problem, device: str) -> Any:
    """Milliseconds a step, peak memory and accuracy."""
    run = config.Run("test", task, method, 0)
    machine.reset_peak_memory(device)
    built = build(run, problem, device)
    fitted = fit(built, problem, task.train, 0)
    if device == "cuda":
        torch.cuda.synchronize()
    memory = machine.peak_memory(device)
    found = {"ms": 1000 * fitted.wall / fitted.steps, "mib": memory}
    return found | {"accuracy": score(built, problem)["accuracy"]}


def main(device: str) -> None:
    """Print a line of JSON a method and task."""
    for name, task, problem in tasks(device, device == "cuda"):
        for method in methods():
            row = {"name": f"{name}, {method.label}"}
            try:
                row |= train(task, method, problem, device)
            except Exception as error:
                row |= why(error)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
