"""Scores of classes, refined by those of classes that come with them."""

from itertools import pairwise

from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from pyg_relational.ops.checks import check_count, check_matrix, finite, settle
from pyg_relational.ops.graph.as_edges import edge_checks, read_graph
from pyg_relational.ops.options import show_options

__all__ = ["CoOccurrenceGCN"]


class CoOccurrenceGCN(nn.Module):
    r"""Graph convolution over the classes of each sample, added to its scores.

    From `Rawlekar et al., "Improving Multi-label Recognition using Class Co-Occurrence Probabilities"
    <https://doi.org/10.1007/978-3-031-78192-6_28>`_ (ICPR 2024, eq. 3). With the scores of a sample as the features
    :math:`H^0 = p` of the classes, one each, and the graph of :func:`~pyg_relational.transforms.label_graph`,

    .. math::
        H^l = \rho(A H^{l-1} W^l), \qquad \hat p = p + H^L

    with LeakyReLU :math:`\rho`; all samples share :math:`A` and the maps, and none sees another. The text gives neither
    the shapes of :math:`W^l` nor how many there are: here all but the first and the last have ``hidden_channels`` on
    both sides. Parameters do not grow with the number of classes.

    Args:
        hidden_channels: Features of a class between the layers.
        num_layers: Number of layers.

    Shapes:
        ``logits``: :math:`[B, C]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output:
        :math:`[B, C]`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If an option is out of range, a value is not finite, or an edge is of no class.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import CoOccurrenceGCN
        >>> from pyg_relational.transforms import label_graph
        >>> graph = label_graph(torch.tensor([[1, 1, 0], [0, 0, 1]]))
        >>> CoOccurrenceGCN()(torch.randn(5, 3), *graph).shape
        torch.Size([5, 3])
    """

    def __init__(self, hidden_channels: int = 16, num_layers: int = 2) -> None:
        super().__init__()
        hidden = check_count(hidden_channels, "hidden_channels")
        self.hidden_channels, self.num_layers = hidden, check_count(num_layers, "num_layers")
        widths = [1] + [hidden] * (self.num_layers - 1) + [1]
        options = {"normalize": False, "add_self_loops": False, "bias": False}
        self.convs = nn.ModuleList(GCNConv(a, b, **options) for a, b in pairwise(widths))

    def forward(self, logits: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        """Return refined scores.

        Args:
            logits: Scores of every class.
            edge_index: Edges between classes, from the one that says something of the other.
            edge_weight: Their weights.
        """
        check_matrix(logits, "logits")
        c = logits.shape[1]
        edge_index, edge_weight, _ = read_graph((edge_index, edge_weight), c)
        settle(finite(logits, "logits"), *edge_checks(edge_index, edge_weight, c))
        h = logits[:, :, None]
        for conv in self.convs:
            h = nn.functional.leaky_relu(conv(h, edge_index, edge_weight.to(h.dtype)))
        return logits + h[:, :, 0]

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        names = ("hidden_channels", "num_layers")
        return show_options({name: getattr(self, name) for name in names})
