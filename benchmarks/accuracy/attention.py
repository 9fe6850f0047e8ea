"""What a trained method relates its samples to: attention, anchors and proxies over the course of training."""

import math
from typing import Any

import torch
from torch import Tensor

from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Method
from benchmarks.accuracy.train import embed
from pyg_relational.metrics import (
    attention_entropy,
    class_attention,
    effective_rank,
    inter_class_similarity,
)

STAGES = ("start", "middle", "end")


def attention_at(relations: Any, measure: str) -> list[float] | None:
    """A measure of attention at each stage, from the row of a run; None without attention.

    Of attention to proxies, or to both together, or to anchors.
    """
    sets = relations["sets"] if isinstance(relations, dict) else {}
    names = (name for name, measures in sets.items() if "entropy" in measures)
    name = min(names, key=("proxies", "joint", "anchors").index, default=None)
    return None if name is None else list(sets[name][measure])


class Relating:
    """Collects measures and arrays of some samples, once a stage; nothing of methods that relate to nothing.

    Args:
        method: What is trained.
        problem: Whose test samples are looked at.
        rows: Which of them, sorted by class.
        shown: How many of these are kept for the picture, at most.
    """

    def __init__(self, method: Method, problem: Problem, rows: Tensor, shown: int) -> None:
        self.method, self.num_classes = method, problem.num_classes
        self.x, self.y = problem.test.x[rows], problem.test.y[rows]
        self.shown = slice(None, None, math.ceil(len(rows) / shown))
        self.arrays: dict[str, Tensor] = {}
        self.measures: dict[str, Any] = {}

    @torch.no_grad()
    def look(self, stage: str) -> None:
        """Measure now."""
        if self.method.relate is None:
            return
        features = embed(self.method, self.x)
        nodes, attention = self.method.relate(features)
        self.arrays |= {
            f"images_{stage}": features[self.shown].half(),
            "images_y": self.y[self.shown],
        }
        for name, (x, y) in nodes.items():
            self._add(name, inter_class_similarity=inter_class_similarity(x, y))
            self._add(name, effective_rank=effective_rank(x))
            self.arrays |= {f"{name}_{stage}": x.half(), f"{name}_y": y}
        for name, (weights, y) in attention.items():
            to_class = class_attention(weights, self.y, y, self.num_classes)
            self._add(
                name,
                entropy=attention_entropy(weights),
                entropy_of_mean=attention_entropy(weights.mean(0, keepdim=True)),
                own_class=to_class.diag().nanmean(),
            )
            self.arrays[f"attention_{name}_{stage}"] = to_class.half()

    @property
    def row(self) -> dict[str, Any]:
        """For the row of the run: by set, each measure at each stage."""
        if not self.measures:
            return {}
        return {"relations": {"num_classes": self.num_classes, "sets": self.measures}}

    def _add(self, name: str, **values: Tensor) -> None:
        for key, value in values.items():
            self.measures.setdefault(name, {}).setdefault(key, []).append(value.item())
