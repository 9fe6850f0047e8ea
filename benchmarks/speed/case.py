"""What a case of the speed suite is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

Build = Callable[[], dict[str, Callable[[], object]]]


class Spent(NamedTuple):
    """What a contestant returns that runs in processes of its own: CPU seconds and extra MiB, of the busiest."""

    seconds: float
    mib: float


@dataclass(frozen=True)
class Case:
    """Ours first; the goal is what the figures are held against.

    ``rounds`` is the most that are timed. A contestant whose package in ``needs`` is not installed is left out, and a
    case whose ``data`` set, a class of ``pyg_relational.datasets``, has no raw files here.
    """

    build: Build
    contestants: tuple[str, ...]
    goal: str
    check: Callable[[], str] | None = None
    rounds: int = 5
    needs: dict[str, str] = field(default_factory=dict)
    data: str = ""


def off(found: Tensor, exact: Tensor) -> float:
    """Relative error, in the Euclidean norm."""
    return float((found - exact).detach().norm() / exact.detach().norm())
