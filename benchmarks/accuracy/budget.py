"""How many runs of a study are left, and how long they will take."""

import time
from collections import Counter
from collections.abc import Iterable
from statistics import mean

from benchmarks.store import Row

Name = tuple[str, str]  # task and method


class OutOfTimeError(Exception):
    """The minutes of this start are used up."""


class Budget:
    """Counts the runs of a study down.

    Args:
        planned: Task and method of each run.
        rows: Of the runs that are made.
        max_minutes: After which no run is begun; None: no limit.
    """

    def __init__(
        self, planned: Iterable[Name], rows: Iterable[Row], max_minutes: float | None = None
    ) -> None:
        made = list(rows)
        self.left = Counter(planned)
        self.left.subtract(_name(row) for row in made)
        self.left = +self.left
        self.seconds: dict[str | Name, list[float]] = {}
        for row in made:
            self._record(row)
        self.start, self.max_minutes = time.monotonic(), max_minutes

    def add(self, row: Row) -> None:
        """A run was made."""
        self.left[_name(row)] -= 1
        self._record(row)

    def check(self) -> None:
        """Raise OutOfTimeError if no further run may begin."""
        limit = self.max_minutes
        if limit is not None and time.monotonic() - self.start >= 60 * limit:
            raise OutOfTimeError(f"stopped after {limit:g} minutes; the same command goes on")

    def __str__(self) -> str:
        """What is left: the time by runs of the same task and method, else of the task, else by all."""
        left = +self.left
        count = f"{left.total()} run{'s' * (left.total() != 1)}"
        if not self.seconds:
            return count
        known = self.seconds
        of = {name: known.get(name) or known.get(name[0]) or known[""] for name in left}
        minutes = sum(left[name] * mean(of[name]) for name in left) / 60
        return f"{count}, about {minutes:.0f} minute{'s' * (round(minutes) != 1)}"

    def _record(self, row: Row) -> None:
        taken = row["seconds"] if "seconds" in row else row["train_seconds"]
        for name in (_name(row), row["task"], ""):
            self.seconds.setdefault(name, []).append(taken)


def _name(row: Row) -> Name:
    return row["task"], row["method"]
