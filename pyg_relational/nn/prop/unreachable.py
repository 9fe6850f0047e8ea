"""What nodes hold that no label reaches."""

from typing import Literal

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import Labelled, mean_by

__all__ = ["OnUnreachable", "fill_unreachable"]

OnUnreachable = Literal["error", "nan", "prior"]


def fill_unreachable(
    u: Tensor, unreachable: Tensor | None, graph: Labelled, rule: OnUnreachable
) -> Tensor:
    """``u`` with rows that no label reaches filled by a rule.

    Args:
        u: Propagated labels.
        unreachable: Nodes that no label reaches, ``None`` of none.
        graph: Checked graph and labels.
        rule: ``"error"``, ``"nan"``, or ``"prior"``: the mean of the graph's labels.

    Shapes:
        ``u``: :math:`[n, c]`, ``unreachable``: :math:`[n]`, output: :math:`[n, c]`.

    Raises:
        ValueError: If the rule is ``"error"`` and there are such nodes.
    """
    if unreachable is None or not bool(unreachable.any()):
        return u
    if rule == "error":
        count, first = int(unreachable.sum()), int(unreachable.nonzero()[0])
        raise ValueError(
            f"mask must label a node of every component, got {count} nodes that no label reaches, "
            f"the first is node {first}; set on_unreachable='nan' or 'prior', or tau > 0 where there is one"
        )
    if rule == "nan":
        return u.masked_fill(unreachable[:, None], torch.nan)
    share = graph.mask.to(u.dtype)[:, None]
    labelled = mean_by(share, graph.batch, graph.num_graphs)
    if bool((unreachable & (labelled[:, 0] == 0)).any()):
        empty = int(graph.batch[labelled[:, 0] == 0][0])
        raise ValueError(
            f"mask must label a node of every graph with on_unreachable='prior', got none in graph {empty}"
        )
    prior = mean_by(graph.values, graph.batch, graph.num_graphs) / labelled
    return prior.where(unreachable[:, None], u)
