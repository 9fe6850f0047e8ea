"""What clusters of every layer's latent space have to do with classes, over the course of training."""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.models import Backbone
from pyg_relational.metrics import latent_diagnostics
from pyg_relational.nn import FeatureCapture

MEASURES = ("clusters", "modularity", "gdv")
GROUPS = ("cc", "mc")  # correctly clustered, misclustered


class LatentHistory:
    """Diagnostics of some test samples, from layer to layer and epoch to epoch.

    Args:
        model: What is trained: layers and a linear head.
        problem: Whose test samples are looked at.
        rows: Which of them.
        k: Neighbours in their graphs.
    """

    def __init__(self, model: nn.Module, problem: Problem, rows: Tensor, k: int) -> None:
        if not isinstance(model, Backbone):
            raise TypeError(f"latents need a Backbone, got {type(model).__name__}")
        self.model, self.k = model, k
        self.x, self.y = problem.test.x[rows], problem.test.y[rows]
        self.layers = [*model.layers, "head"]
        self.found: dict[str, list[list[Any]]] = {}

    @torch.no_grad()
    def look(self) -> None:
        """Measure now."""
        with FeatureCapture(self.model.eval(), self.model.layers) as capture:
            logits = self.model(self.x)
        made = [
            latent_diagnostics(z, logits, self.y, k=self.k) for z in [*capture.features, logits]
        ]
        self._add("clusters", [layer.num_clusters for layer in made])
        self._add("modularity", [layer.modularity for layer in made])
        self._add("gdv", [layer.gdv for layer in made])
        for group in GROUPS:
            scores = [getattr(layer.scores, group) for layer in made]
            self._add(f"{group}_samples", [score.num_samples for score in scores])
            self._add(f"{group}_accuracy", [score.accuracy for score in scores])
            self._add(f"{group}_cross_entropy", [score.cross_entropy for score in scores])

    @property
    def row(self) -> dict[str, Any]:
        """For the row of the run: names of the layers; by measure, a list of their values each epoch, from 0."""
        return {"layers": self.layers, **self.found}

    def _add(self, name: str, values: list[Any]) -> None:
        self.found.setdefault(name, []).append(values)
