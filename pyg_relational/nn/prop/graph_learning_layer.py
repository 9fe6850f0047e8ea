"""Label propagation on the kNN graph of a batch, as a classifier without parameters."""

from typing import Any

from torch import Tensor, nn

from pyg_relational.nn.prop.laplace import check_laplace, laplace_propagation
from pyg_relational.nn.prop.learned import Learned
from pyg_relational.ops import unit_rows
from pyg_relational.ops.options import check_options, show_options
from pyg_relational.transforms.knn_graph import Bandwidth, Metric, check_knn_graph, knn_graph

__all__ = ["GraphLearningLayer"]

_GIVEN = ("tau", "num_classes", "batch", "return_info")  # set at every call, or left alone


def _smallest(n: int, batch: Tensor | None) -> int:
    """Rows of the smallest graph."""
    if batch is None or n == 0:
        return n
    count = batch.bincount()
    return int(count[count > 0].min())


class GraphLearningLayer(nn.Module):
    r"""Graph learning layer (GLL, `Brown et al., 2024 <https://arxiv.org/abs/2412.08016>`_): in place of a linear head.

    Builds the :math:`k`-nearest-neighbour graph of the features and solves :math:`(L + \tau I) u = 0` off the labelled
    rows. Gradients are exact and reach the features through the weights; the edges are constant. Train with
    :math:`-\log(u_{\text{true}} + 10^{-8})` on the rows that are not labelled.

    Args:
        k: Number of neighbours, the point itself not counted (the paper counts it: its 25 is 24 here). In a smaller
            batch, all other rows of the smallest graph.
        tau: Decay :math:`\tau \ge 0`. A :class:`torch.nn.Parameter` is the first value of a
            :class:`~pyg_relational.nn.prop.learned.Learned`, which no step of an optimiser makes negative;
            ``layer.tau()`` is then its value. Rows sum to 1 only at 0.
        bandwidth: Bandwidth of the Gaussian weights, see :func:`~pyg_relational.transforms.knn_graph`.
        unit: Scale the features' rows to length 1 first, as the paper does with ``bandwidth=1``.
        metric: ``"euclidean"`` or ``"cosine"``.
        **options: Keyword arguments of :func:`~pyg_relational.nn.laplace_propagation`.

    Raises:
        TypeError: If an option is unknown or of a wrong type.
        ValueError: If one is out of range.

    Shapes:
        ``x``: :math:`[n, d]`, ``y``: :math:`[n]` or :math:`[n, c]`, ``mask``, ``batch``: :math:`[n]`,
        output: :math:`[n, c]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import GraphLearningLayer
        >>> x = torch.randn(30, 4, requires_grad=True)
        >>> y = torch.arange(30) % 3
        >>> u = GraphLearningLayer(k=5)(x, y, torch.arange(30) < 9)
        >>> loss = -(u[9:].gather(1, y[9:, None]) + 1e-8).log().mean()
        >>> loss.backward()
        >>> u.shape, x.grad.shape
        (torch.Size([30, 3]), torch.Size([30, 4]))
    """

    def __init__(
        self,
        k: int = 24,
        tau: float | Tensor = 0.07,
        bandwidth: Bandwidth = 1.0,
        unit: bool = True,
        metric: Metric = "euclidean",
        **options: Any,
    ) -> None:
        super().__init__()
        options_of_graph = {"metric": metric, "bandwidth": bandwidth}
        check_knn_graph(k, **check_options(knn_graph, options_of_graph))
        fixed = check_options(laplace_propagation, options, _GIVEN)
        check_laplace(tau=tau, **fixed)
        self.k = int(k)
        self.tau = Learned("tau", tau) if isinstance(tau, nn.Parameter) else tau
        self.bandwidth = bandwidth
        self.unit = unit
        self.metric = metric
        self.options = options

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        mask: Tensor | None = None,
        num_classes: int | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return the propagated labels; labelled rows hold their own.

        Args:
            x: Features.
            y: Classes or values of the rows, looked at off the mask only for the default of ``num_classes``.
            mask: Labelled rows, ``None`` for those with ``y >= 0``.
            num_classes: Number of classes, ``None`` for the largest label of any row + 1: give it where a batch may
                lack the last class.
            batch: Graph of every row.
        """
        edge_index, edge_weight = knn_graph(
            unit_rows(x) if self.unit else x,
            min(self.k, max(1, _smallest(len(x), batch) - 1)),
            metric=self.metric,
            bandwidth=self.bandwidth,
            batch=batch,
        )
        u: Tensor = laplace_propagation(
            edge_index,
            edge_weight,
            y,
            mask,
            num_classes=num_classes,
            tau=self.tau() if isinstance(self.tau, Learned) else self.tau,
            batch=batch,
            **self.options,
        )
        return u

    def extra_repr(self) -> str:
        """The options; a learned ``tau`` is a module of its own."""
        own = {"k": self.k, "tau": self.tau, "bandwidth": self.bandwidth, "unit": self.unit}
        if isinstance(self.tau, Learned):
            del own["tau"]
        return show_options(own | {"metric": self.metric} | self.options)
