"""The table of what was seen on a GPU."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from benchmarks.store import Row
from benchmarks.tables import markdown

SHOWN = 5  # names of failed tests


def report(rows: Sequence[Row], baseline: str | None = None) -> str:
    """One line a contestant or a run of tests, times against ``baseline``, else ours; then who measured what."""
    lines = [line for row in rows for line in _lines(row, baseline)]
    made = Counter(_made(row) for row in rows)
    by = [f"{count} on {what}" for what, count in made.items()]
    failed = [
        f"**{row['part']}** after {row['seconds']} s:\n\n```text\n{row['error']}\n```\n"
        for row in rows
        if not row["ok"]
    ]
    return "\n\n".join([markdown(pd.DataFrame(lines)), f"Parts: {'; '.join(by)}.\n", *failed])


def _made(row: Row) -> str:
    versions = [f"{name} {version}" for name, version in row["versions"].items()]
    return ", ".join([row["device"], *versions, f"commit {row['git_commit']}"])


def _lines(row: Row, baseline: str | None) -> Iterator[dict[str, str]]:
    times = {entry["name"]: entry["ms"] for entry in row["found"] if "ms" in entry}
    first = baseline if baseline in times else "ours"

    def ratio(name: str) -> str:
        both = name != first and {name, first} <= times.keys()
        return f"{times[name] / times[first]:.2f}" if both else ""

    for number, entry in enumerate(row["found"] or [{"name": "", "error": "failed, see below"}]):
        yield {
            "part": "" if number else row["part"],
            "contestant": entry["name"],
            "ms (median)": _shown(entry, "ms", ".2f"),
            "time, peer / ours": ratio(entry["name"]),
            "off ours": f"{entry['off']:.0e}" if number and "off" in entry else "",
            "peak MiB": _shown(entry, "mib", ".0f"),
            "goal": "" if number else row["goal"],
            "seen": _seen(entry),
        }


def _shown(entry: dict[str, Any], key: str, form: str) -> str:
    return f"{entry[key]:{form}}" if key in entry else ""


def _seen(entry: dict[str, Any]) -> str:
    words = [f"{entry[word]} {word}" for word in ("passed", "failed", "skipped") if word in entry]
    words += [f"accuracy {entry['accuracy']:.3f}"] if "accuracy" in entry else []
    words += entry.get("error", "").splitlines()[:SHOWN]
    words += [f"left out: {why}" for why in entry.get("left_out", [])]
    return "; ".join(words).replace("|", "/")
