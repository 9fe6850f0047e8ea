"""Layers that take part in graph consistency, and their weights."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_choice, check_features

__all__ = ["Weights", "check_layer_weights", "check_stage", "layer_weights", "layers_of"]

Weights = str | Sequence[float] | Tensor

_STAGES = ("all", "early", "middle", "late")
_BY_DEPTH: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "squared": lambda x: x**2,
    "sqrt": math.sqrt,
    "arccos": lambda x: math.acos(1 - 2 * x) / math.pi,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
}


def check_stage(stage: Any) -> None:
    """Raise unless ``stage`` names stages, joined by ``+``.

    Args:
        stage: The argument to check.
    """
    for part in [stage] if stage in _STAGES else str(stage).split("+"):
        check_choice(part, _STAGES, "stage")


def check_layer_weights(weights: Any) -> None:
    """Raise unless ``weights`` is a known name or numbers.

    Args:
        weights: The argument to check.

    Raises:
        TypeError: If it is neither a name nor numbers.
        ValueError: If the name is unknown.
    """
    if not isinstance(weights, Collection):
        raise TypeError(f"weights must be a str or numbers, got {type(weights).__name__}")
    if isinstance(weights, str):
        check_choice(weights, ("adaptive", "equal", *_BY_DEPTH), "weights")


def layers_of(stage: str, layers: int) -> list[int]:
    r"""Numbers of the layers of the named stages.

    Args:
        stage: Names, joined by ``+``.
        layers: Number of all layers.

    Example:
        >>> from pyg_relational.nn.loss.consistency_layers import layers_of
        >>> layers_of("early+late", 4)
        [0, 2, 3]
    """
    third = layers // 3
    early, middle, late = (
        (range(third), range(third, 2 * third), range(2 * third, layers))
        if third
        else [range(layers)] * 3
    )
    stages = {"early": early, "middle": middle, "late": late}
    parts = stage.split("+")
    if "all" in parts:
        return list(range(layers))
    return sorted({i for part in parts for i in stages[part]})


def layer_weights(weights: Weights, layers: int, chosen: list[int]) -> Tensor | None:
    """Weights of the chosen layers; ``None`` for the adaptive ones, which need the losses.

    Args:
        weights: Name, or a number for every layer.
        layers: Number of all layers.
        chosen: Numbers of those that take part.

    Shapes:
        output: one for each of ``chosen``.

    Raises:
        ValueError: If there is not one finite number for every layer.

    Example:
        >>> from pyg_relational.nn.loss.consistency_layers import layer_weights
        >>> layer_weights("linear", 4, [1, 3]).tolist()
        [0.5, 1.0]
    """
    if not isinstance(weights, str):
        if len(weights) != layers:
            raise ValueError(
                f"weights must have one number for each of {layers} layers, got {len(weights)}"
            )
        given = torch.stack([torch.as_tensor(weights[i], dtype=torch.float64) for i in chosen])
        check_features(given[None], "weights")
        return given
    if weights == "adaptive":
        return None
    if weights == "equal":
        return torch.full((len(chosen),), 1 / len(chosen), dtype=torch.float64)
    depths = [(i + 1) / layers for i in chosen]
    return torch.tensor([_BY_DEPTH[weights](t) for t in depths], dtype=torch.float64)
