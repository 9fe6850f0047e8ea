"""The table of the speed suite."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.accuracy.machine import describe
from benchmarks.speed.measure import ratio


@dataclass
class Row:
    """One case: CPU seconds of every round and extra MiB, by contestant, ours first."""

    name: str
    goal: str
    seconds: dict[str, list[float]]
    memory: dict[str, float]
    check: str


def to_markdown(rows: list[Row]) -> str:
    """One line a contestant; ratios are ours against the peer."""
    lines = [
        "| case | contestant | CPU s (median) | peer / ours | extra MiB | peer / ours | goal | check |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for row in rows:
        ours = next(iter(row.seconds))
        for name, seconds in row.seconds.items():
            first = name == ours
            time = "" if first else f"{ratio(row.seconds[ours], seconds):.2f}"
            memory = "" if first else f"{row.memory[name] / max(row.memory[ours], 1e-9):.2f}"
            lines.append(
                f"| {row.name if first else ''} | {name} | {median(seconds):.3f} | {time} "
                f"| {row.memory[name]:.0f} | {memory} | {row.goal if first else ''} | {row.check if first else ''} |"
            )
    return "\n".join(lines)


def save(rows: list[Row], folder: Path) -> None:
    """Write ``speed.json`` and ``speed.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    report = {**describe("cpu"), "rows": [asdict(row) for row in rows]}
    (folder / "speed.json").write_text(json.dumps(report, indent=1) + "\n")
    (folder / "speed.md").write_text(to_markdown(rows) + "\n")
