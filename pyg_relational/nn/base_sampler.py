"""The labelled samples that a graph learning layer propagates from."""

from typing import Literal

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_choice, check_count, check_features, check_labels
from pyg_relational.ops.options import show_options

__all__ = ["BaseSampler", "Mode", "Score"]

_FLOOR = 1e-8  # of the probability in the entropy score, as in the loss

Mode = Literal["random", "score", "hard"]
Score = Literal["entropy", "l2"]


class BaseSampler:
    r"""Draws the same number of labelled samples of every class, anew at each call.

    With ``mode="score"`` as in the authors' program (`jwcalder/GraphLearningLayer
    <https://github.com/jwcalder/GraphLearningLayer>`_) of `Brown et al., 2024 <https://arxiv.org/abs/2412.08016>`_:
    the base are the worst predicted samples of each class, by what :meth:`update` last recorded of them in training,

    .. math::
        s_i = -\log(u_{i y_i} + 10^{-8}) \quad (\text{"entropy"}), \qquad
        s_i = 1 - \sum_k u_{ik}^2 \quad (\text{"l2"})

    Samples of equal score, as all have before the first update, are drawn at random, where the program takes the
    first in the set. In the program, samples of the base also run through the layer as unlabelled ones and so get
    scores too; where they do not, they keep their last.

    Args:
        y: Classes of all samples, -1 where unlabelled.
        per_class: Samples of a class; a class with fewer gives all it has.
        mode: ``"random"``: uniform; ``"score"``: those of highest recorded score; ``"hard"``: those of highest score
            given at the call.
        generator: Source of randomness.
        score: ``"entropy"`` or ``"l2"``, what ``mode="score"`` records.

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
        >>> sampler = BaseSampler(y, per_class=1, mode="score")
        >>> sampler.update(torch.tensor([1, 3]), torch.tensor([[0.2, 0.8], [0.7, 0.3]]))
        >>> sampler().tolist()
        [1, 3]
    """

    def __init__(
        self,
        y: Tensor,
        per_class: int,
        mode: Mode = "random",
        generator: torch.Generator | None = None,
        score: Score = "entropy",
    ) -> None:
        check_choice(mode, Mode, "mode")
        check_choice(score, Score, "score")
        if not isinstance(generator, torch.Generator | None):
            raise TypeError(
                f"generator must be a torch.Generator or None, got {type(generator).__name__}"
            )
        check_labels(y, len(y))
        per_class = check_count(per_class, "per_class")
        if not bool((y >= 0).any()):
            raise ValueError("y must hold at least one class >= 0, got none")
        self.y = y
        self.per_class = per_class
        self.mode = mode
        self.generator = generator
        self.score = score
        self.scores = torch.zeros(len(y), dtype=torch.float64, device=y.device)

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in ("mode", "generator", "score")}
        return f"{type(self).__name__}({len(self.y)}, {self.per_class}, {show_options(options)})"

    def __call__(self, score: Tensor | None = None) -> Tensor:
        """Return the indices of the drawn samples.

        Args:
            score: One value a sample, for ``mode="hard"``.
        """
        order = self._ranked(score)
        order = order[self.y[order].argsort(stable=True)]
        order = order[self.y[order] >= 0]
        y = self.y[order]
        first = torch.searchsorted(y, y)
        rank = torch.arange(len(y), device=y.device) - first
        return order[rank < self.per_class]

    def update(self, index: Tensor, u: Tensor) -> None:
        """Record how well samples are predicted, for ``mode="score"``.

        Args:
            index: Samples that were propagated to; unlabelled ones are not looked at.
            u: Their rows of the layer's output.

        Shapes:
            ``index``: :math:`[b]`, ``u``: :math:`[b, c]`.

        Raises:
            TypeError: If a dtype does not fit.
            ValueError: If a shape does not fit, an index or a class is out of range, or ``u`` is not finite.
        """
        check_features(u, "u")
        check_labels(index, len(u), "index")
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < len(self.y):
            got = int(index.min()) if int(index.min()) < 0 else int(index.max())
            raise ValueError(f"index must be in [0, {len(self.y)}), got {got}")
        u = u.detach().double()
        y = self.y[index]
        if len(y) and int(y.max()) >= u.shape[1]:
            raise ValueError(
                f"u must have shape [b, c] with c > {int(y.max())}, got {list(u.shape)}"
            )
        new = 1 - u.square().sum(1)
        if self.score == "entropy":
            new = -(u.gather(1, y.clamp(min=0)[:, None])[:, 0].clamp(min=0) + _FLOOR).log()
        self.scores[index] = new

    def _ranked(self, score: Tensor | None) -> Tensor:
        """All samples, the first to take first."""
        if self.mode == "hard":
            return self._checked(score).argsort(descending=True)
        device = self.generator.device if self.generator else self.y.device
        key = torch.rand(len(self.y), generator=self.generator, device=device).to(self.y.device)
        order = key.argsort(descending=True)
        if self.mode == "score":
            order = order[self.scores[order].argsort(descending=True, stable=True)]
        return order

    def _checked(self, score: Tensor | None) -> Tensor:
        if score is None or score.shape != self.y.shape:
            got = None if score is None else list(score.shape)
            raise ValueError(f"score must have shape {list(self.y.shape)}, got {got}")
        if bool(score[self.y >= 0].isnan().any()):
            raise ValueError("score must not be NaN on labelled samples")
        return score.detach().double()
