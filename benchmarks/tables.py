"""What the tables share: intervals, differences paired by seed, markdown."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
WIDEST = 48


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95 % Student-t interval of a mean; 0 of a single value."""
    if len(values) < 2:
        return 0.0
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))


def mean_and_half(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± half of the interval, of more than one value."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {half_interval(values):.{digits}f}" if len(values) > 1 else mean


class Paired(NamedTuple):
    """A paired comparison over seeds: mean difference, its interval, and how often it is > 0."""

    mean: float
    low: float
    high: float
    wins: int
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does; never with a single seed."""
        return self.low > 0 or self.high < 0

    def text(self, scale: float, digits: int) -> str:
        """Mean and interval, of more than one seed."""
        mean, low, high = (f"{scale * value:+.{digits}f}" for value in self[:3])
        return f"{mean} [{low}, {high}]" if self.n > 1 else mean


def paired(values: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Mean difference with its 95 % Student-t interval; infinite with a single pair."""
    difference = np.subtract(values, baseline)
    n, mean = len(difference), float(difference.mean())
    wins = int((difference > 0).sum())
    if n < 2:
        return Paired(mean, -math.inf, math.inf, wins, n)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * difference.std(ddof=1) / math.sqrt(n)
    return Paired(mean, mean - half, mean + half, wins, n)


def paired_by_seed(runs: pd.DataFrame, baseline: pd.DataFrame, measure: str) -> Paired:
    """The same, over the seeds that both have."""
    both = [part.set_index("seed")[measure] for part in (runs, baseline)]
    mine, theirs = pd.concat(both, axis=1, join="inner").dropna().to_numpy().T
    return paired(mine, theirs)


def markdown(table: pd.DataFrame) -> str:
    """A table of strings as markdown, aligned but for cells beyond ``WIDEST`` letters."""
    cells = [list(map(str, table.columns)), *table.astype(str).to_numpy().tolist()]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
