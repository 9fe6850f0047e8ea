"""Classes as a graph: which come together in samples of several classes."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import settle, zero_or_one

__all__ = ["label_graph"]


def label_graph(y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Graph of classes that come together, weighted by how often one comes with the other.

    From `Rawlekar et al., "Improving Multi-label Recognition using Class Co-Occurrence Probabilities"
    <https://doi.org/10.1007/978-3-031-78192-6_28>`_ (ICPR 2024, eqs. 1 and 2): with :math:`c_{mn} = \sum_i y_{im}
    y_{in}`, the number of samples with both classes,

    .. math::
        a_{mn} = \frac{c_{mn}}{c_{mm}} = P(n \mid m)

    is the weight of the edge from :math:`n` to :math:`m`, so that class :math:`m` gathers from those that come with it.
    There is an edge where there is a sample with both, and a loop of weight 1 at each class that is seen; a class that
    never is, 0/0 in the text, has no edge.

    Args:
        y: Classes of each sample: 1 where it has the class, 0 where not, or booleans.

    Shapes:
        ``y``: :math:`[n, C]`, output: ``edge_index`` :math:`[2, E]`, sorted by target, and ``edge_weight``
        :math:`[E]`, in the default floating-point type.

    Raises:
        TypeError: If ``y`` is no Tensor.
        ValueError: If it is no matrix, or holds another number than 0 and 1.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import label_graph
        >>> edge_index, edge_weight = label_graph(torch.tensor([[1, 1], [1, 0]]))
        >>> edge_index.tolist(), edge_weight.tolist()
        ([[0, 1, 0, 1], [0, 0, 1, 1]], [1.0, 0.5, 1.0, 1.0])
    """
    settle(zero_or_one(y, "y"))
    both = y.T.double() @ y.double()
    target, source = both.nonzero(as_tuple=True)
    weight = both[target, source] / both[target, target]
    return torch.stack([source, target]), weight.to(torch.get_default_dtype())
