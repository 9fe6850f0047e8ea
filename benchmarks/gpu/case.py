"""What is timed on a GPU."""

from collections.abc import Callable
from typing import NamedTuple

Functions = dict[str, Callable[[], object]]


class Case(NamedTuple):
    """Functions that return the same, ours first, from a device and sizes.

    Args:
        build: Makes them.
        named: What the sizes are.
        full: Sizes on a GPU, those of the goals in docs/gpu.md.
        small: Sizes on a CPU, to see that it runs.
        goal: What ours is held against.
    """

    build: Callable[..., Functions]
    named: str
    full: tuple[int, ...]
    small: tuple[int, ...]
    goal: str = ""

    def title(self, device: str) -> str:
        """What it is, with its sizes."""
        return self.named.format(*self.sizes(device))

    def sizes(self, device: str) -> tuple[int, ...]:
        """Full on a GPU."""
        return self.full if device == "cuda" else self.small
