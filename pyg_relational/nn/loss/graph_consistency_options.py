"""Options of graph consistency regularisation: their text, defaults and checks."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pyg_relational.nn.loss.consistency_layers import Weights, check_layer_weights, check_stage
from pyg_relational.nn.loss.edge_consistency import Similarity
from pyg_relational.ops.checks import check_choice, check_count, check_number
from pyg_relational.ops.options import check_options

__all__ = ["GraphConsistencyOptions", "Method", "Reduction", "Target"]

_DENSE_UP_TO = 512  # rows, as in a tile; there whole matrices take 0.4 of the tiles' time

Target = Literal["soft", "label"]
Reduction = Literal["mean", "sum"]
Method = Literal["auto", "dense", "tiled", "sparse"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphConsistencyOptions:
    r"""Options of :func:`~pyg_relational.nn.graph_consistency_loss` and its module, checked when they are made.

    Args:
        stage: Which of the layers take part: ``"all"``, ``"early"``, ``"middle"``, ``"late"``, or two or three
            joined by ``+``.
        weights: With :math:`t = l / K` the depth of layer :math:`l` of :math:`K`: ``"adaptive"``
            (:math:`\mathrm{softmax}(-L / T)`), ``"equal"`` (one over the number of layers that take part),
            ``"linear"`` (:math:`t`), ``"squared"``, ``"sqrt"``, ``"arccos"`` (:math:`\arccos(1 - 2t) / \pi`),
            ``"cosine"`` (:math:`(1 + \cos \pi t) / 2`, which falls with depth), or a number for every layer: a
            Tensor of them can be learned.
        temperature: :math:`T` of the adaptive weights, in units of the loss.
        detach_weights: No gradient through the adaptive weights; with it, a layer can be rewarded for becoming worse.
        detach_target: No gradient through the prediction graph.
        target: ``"soft"``, or ``"label"``: 1 for every pair of one class.
        similarity: ``"cosine"``, or ``"rbf"``, which takes :math:`\exp(-\min(\lVert a - b \rVert^2, 100) / d)` of
            :math:`d` columns in place of both cosines.
        relu: Cut negative cosines at 0.
        center: Subtract the batch mean of each feature first.
        balance: Weigh the pairs of one class, as a whole, like those of two.
        reduction: ``"mean"`` over the :math:`n (n - 1) / 2` pairs, or ``"sum"``.
        method: ``"dense"``, ``"tiled"`` (:math:`O(n d)` memory), ``"sparse"`` (over ``edge_index`` only) or
            ``"auto"``: sparse with ``edge_index``, else dense up to 512 rows or with ``"rbf"``, else tiled.
        num_samples: Sparse: draw so many pairs to estimate, without bias, the loss over all the pairs that are
            not edges.

    Raises:
        TypeError: If an option is of a wrong type.
        ValueError: If one is unknown or out of range.

    Example:
        >>> from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
        >>> GraphConsistencyOptions(stage="late").temperature
        1.0
    """

    stage: str = "all"
    weights: Weights = "adaptive"
    temperature: float = 1.0
    detach_weights: bool = True
    detach_target: bool = True
    target: Target = "soft"
    similarity: Similarity = "cosine"
    relu: bool = True
    center: bool = False
    balance: bool = False
    reduction: Reduction = "mean"
    method: Method = "auto"
    num_samples: int | None = None

    @classmethod
    def of(cls, options: dict[str, Any]) -> "GraphConsistencyOptions":
        """Options by name; an unknown one raises with the nearest names."""
        for name in options:
            if name not in cls.__dataclass_fields__:
                check_options(cls, options)
        return cls(**options)

    def __post_init__(self) -> None:
        """Check all that can be known before the batch."""
        check_stage(self.stage)
        check_layer_weights(self.weights)
        check_number(self.temperature, "temperature")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature must be > 0 and finite, got {self.temperature}")
        check_choice(self.target, Target, "target")
        check_choice(self.similarity, Similarity, "similarity")
        check_choice(self.reduction, Reduction, "reduction")
        check_choice(self.method, Method, "method")
        if self.similarity == "rbf" and self.method == "tiled":
            raise ValueError("method must not be 'tiled' with similarity='rbf', got 'tiled'")
        if self.num_samples is None:
            return
        check_count(self.num_samples, "num_samples")
        if self.method in ("dense", "tiled"):
            raise ValueError(
                f"num_samples must be None with method={self.method!r}, got {self.num_samples}"
            )

    def check_graph(self, edge_index: object) -> None:
        """Raise unless there is a graph where the method needs one, and none where it takes none.

        Args:
            edge_index: The graph of the sparse method.
        """
        if edge_index is not None and self.method in ("dense", "tiled"):
            raise ValueError(f"edge_index must be None with method={self.method!r}, got a graph")
        if edge_index is None and (self.method == "sparse" or self.num_samples is not None):
            raise ValueError(
                "edge_index must be given with method='sparse' or num_samples, got None"
            )

    def is_dense(self, n: int) -> bool:
        """Whether all pairs of a batch are held as matrices.

        Args:
            n: Number of rows.
        """
        small = n <= _DENSE_UP_TO or self.similarity == "rbf"
        return self.method == "dense" or (self.method == "auto" and small)
