"""The one door of calls that ranks make together: what is wrong on one of them is raised on all."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pyg_relational.distributed.collectives import rank_and_size

__all__ = ["agree", "described", "fingerprint"]

_MOST = 4  # numbers of a rank
_KINDS = (TypeError, ImportError, RuntimeError)  # raised as such on all ranks

_Facts = tuple[dict[str, object], list[int]]


def agree(facts: Callable[[], _Facts], group: Any = None) -> list[list[int]]:
    """Numbers of all ranks, after one small exchange; all raise together if one refuses, or if they differ.

    Args:
        facts: Checks this rank's arguments; returns what must be alike on all ranks, by name, and up to 4 numbers
            that need not.
        group: Processes. (default: all)

    Raises:
        TypeError, ImportError, RuntimeError: If ``facts`` raises it, on any rank.
        ValueError: If ``facts`` raises anything else, on any rank, or what must be alike is not.

    Example:
        >>> from pyg_relational.distributed.agree import agree
        >>> agree(lambda: ({"k": 5}, [100]))
        [[100]]
    """
    if rank_and_size(group)[1] == 1:
        return [facts()[1]]
    alike, numbers, error = _asked(facts)
    row = [error is not None, _digest(alike), len(numbers), *numbers]
    stated = _gather_row(row + [0] * (_MOST - len(numbers)), group)
    if any(other[:2] != stated[0][:2] or other[0] for other in stated):
        _refuse(error, alike, group)
    return [other[3 : 3 + other[2]] for other in stated]


def described(x: Tensor) -> str:
    """Dtype, width, device and need of a gradient of a Tensor with rows.

    Args:
        x: The Tensor.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.agree import described
        >>> described(torch.ones(3, 2))
        'torch.float32 [n, 2] on cpu without gradient'
    """
    shape = ", ".join(["n", *map(str, x.shape[1:])])
    needs_grad = x.requires_grad and torch.is_grad_enabled()
    return f"{x.dtype} [{shape}] on {x.device.type} {'with' if needs_grad else 'without'} gradient"


def fingerprint(x: Tensor) -> tuple[object, ...]:
    """Shape, and a sum of the bits by their places, of what every rank must have alike: parameters, classes.

    Args:
        x: The Tensor.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.agree import fingerprint
        >>> fingerprint(torch.ones(2, 1)) == fingerprint(torch.ones(2, 1))
        True
    """
    bits = x.detach().double().contiguous().view(torch.int64).flatten()
    place = torch.arange(len(bits), device=bits.device)
    total = ((bits ^ (bits >> 32)) * (2 * place + 1)).sum()
    return (*x.shape, f"{int(total) % 2**64:x}")


def _asked(facts: Callable[[], _Facts]) -> tuple[dict[str, object], list[int], Exception | None]:
    try:
        alike, numbers = facts()
        torch.tensor(numbers, dtype=torch.int64)  # what cannot be told is an error, too
        repr(alike)
        return alike, numbers, None
    except Exception as error:  # whatever it is, the others must not wait
        return {}, [], error


def _digest(alike: dict[str, object]) -> int:
    return int.from_bytes(blake2b(repr(alike).encode(), digest_size=7).digest(), "big")


def _gather_row(row: list[int], group: Any) -> list[list[int]]:
    own = torch.tensor(row, dtype=torch.int64, device=_device(group))
    rows = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(rows, own, group=group)
    stated: list[list[int]] = torch.stack(rows).tolist()
    return stated


def _device(group: Any) -> torch.device:
    """Where the group's own messages are, whatever the arguments are on."""
    on_cuda = dist.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_cuda else torch.device("cpu")


def _kind(error: Exception) -> type[Exception]:
    return next((kind for kind in _KINDS if isinstance(error, kind)), ValueError)


def _refuse(error: Exception | None, alike: dict[str, object], group: Any) -> None:
    told: list[Any] = [None] * dist.get_world_size(group)
    wrong = None if error is None else (_kind(error), str(error) or repr(error))
    dist.all_gather_object(told, (wrong, alike), group=group)
    for rank, (wrong, _) in enumerate(told):
        if wrong:
            kind, message = wrong
            raise kind(f"{message} (on rank {rank})") from error
    first = told[0][1]
    for rank, (_, other) in enumerate(told):
        for name in first | other:
            if repr(first.get(name)) != repr(other.get(name)):
                raise ValueError(
                    f"{name} must be alike on all ranks of the group, got {first.get(name)} on rank 0, "
                    f"{other.get(name)} on rank {rank}"
                )
