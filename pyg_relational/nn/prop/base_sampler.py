"""The labelled samples that a graph learning layer propagates from."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_choice, check_labels


class BaseSampler:
    """Draws the same number of labelled samples of every class, anew at each call.

    Args:
        y: Classes of all samples, -1 where unlabelled.
        per_class: Samples of a class; a class with fewer gives all it has.
        mode: ``"random"``: uniform; ``"hard"``: those of highest score, e.g. last epoch's loss.
        generator: Source of randomness.

    Shapes:
        ``y``: :math:`[n]`, output: indices of the samples, sorted by class.

    Raises:
        ValueError: If an argument is out of range or nothing is labelled.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import BaseSampler
        >>> y = torch.tensor([0, 0, 0, 1, 1, -1])
        >>> y[BaseSampler(y, per_class=2)()].tolist()
        [0, 0, 1, 1]
        >>> BaseSampler(y, per_class=1, mode="hard")(torch.arange(6.0)).tolist()
        [2, 4]
    """

    def __init__(
        self,
        y: Tensor,
        per_class: int,
        mode: str = "random",
        generator: torch.Generator | None = None,
    ) -> None:
        check_choice(mode, ("random", "hard"), "mode")
        check_labels(y, len(y))
        if not isinstance(per_class, int) or per_class < 1:
            raise ValueError(f"per_class must be an int >= 1, got {per_class}")
        if not bool((y >= 0).any()):
            raise ValueError("y must hold at least one class >= 0, got none")
        self.y = y
        self.per_class = per_class
        self.mode = mode
        self.generator = generator

    def __call__(self, score: Tensor | None = None) -> Tensor:
        """Return the indices of the drawn samples.

        Args:
            score: One value a sample, for ``mode="hard"``.
        """
        key = self._key(score)
        key = key.where(self.y >= 0, -torch.inf)
        order = key.argsort(descending=True)
        order = order[self.y[order].argsort(stable=True)]
        order = order[self.y[order] >= 0]
        y = self.y[order]
        first = torch.searchsorted(y, y)
        rank = torch.arange(len(y), device=y.device) - first
        return order[rank < self.per_class]

    def _key(self, score: Tensor | None) -> Tensor:
        if self.mode == "random":
            device = self.generator.device if self.generator else self.y.device
            return torch.rand(len(self.y), generator=self.generator, device=device).to(
                self.y.device
            )
        if score is None or score.shape != self.y.shape:
            got = None if score is None else list(score.shape)
            raise ValueError(f"score must have shape {list(self.y.shape)}, got {got}")
        if bool(score[self.y >= 0].isnan().any()):
            raise ValueError("score must not be NaN on labelled samples")
        return score.detach().double()
