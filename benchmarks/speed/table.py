"""The table of the speed suite."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

import pandas as pd

from benchmarks.speed.measure import ratio
from benchmarks.store import Row
from benchmarks.tables import markdown


def report(rows: Sequence[Row], baseline: str | None = None) -> str:
    """One line a contestant, against ``baseline`` where it is one of them, else the first; then who measured what."""
    lines = []
    for row in rows:
        ours = baseline if baseline in row["seconds"] else next(iter(row["seconds"]))
        for number, (name, seconds) in enumerate(row["seconds"].items()):
            memory = row["memory"]
            times = f"{ratio(row['seconds'][ours], seconds):.2f}"
            more = f"{memory[name] / max(memory[ours], 1e-9):.2f}"
            lines.append(
                {
                    "case": "" if number else row["case"],
                    "contestant": name,
                    "CPU s (median)": f"{median(seconds):.3f}",
                    "time, peer / ours": "" if name == ours else times,
                    "extra MiB": f"{memory[name]:.0f}",
                    "memory, peer / ours": "" if name == ours else more,
                    "goal": "" if number else row["goal"],
                    "check": "" if number else row["check"],
                }
            )
    made = Counter((r["device"], r["versions"]["torch"], r["git_commit"]) for r in rows)
    by = [f"{n} on {device}, torch {torch}, commit {c}" for (device, torch, c), n in made.items()]
    return f"{markdown(pd.DataFrame(lines))}\n\nCases: {'; '.join(by)}.\n"
