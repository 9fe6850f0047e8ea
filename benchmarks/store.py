"""Finished runs: a file of JSON lines that a killed process leaves whole."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def identity(config: Mapping[str, Any]) -> str:
    """Hash of all that a row depends on: the same in every process and on every machine."""
    text = json.dumps(config, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Store:
    """Rows by id, each written to disk before ``append`` returns.

    Args:
        path: The file; made if it does not exist. A last line that was cut short (its process was
            killed while writing) is removed, with a notice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(path)
        self.rows: dict[str, Row] = {row["id"]: row for row in read([path])}

    def append(self, row: Row) -> None:
        """Add a row, in place of an older one of its id: one write, flushed to the disk."""
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps(row).encode() + b"\n")
            os.fsync(file.fileno())
        self.rows[row["id"]] = row

    def arrange(self, first: Iterable[str]) -> None:
        """Put the rows of these ids first, in their order; the file is replaced as a whole."""
        order = list(dict.fromkeys([*first, *self.rows]))
        if order == list(self.rows):
            return
        self.rows = {name: self.rows[name] for name in order}
        part = self.path.with_suffix(".part")
        part.write_text("".join(f"{json.dumps(row)}\n" for row in self.rows.values()))
        os.replace(part, self.path)


def read(paths: Iterable[Path]) -> list[Row]:
    """Rows of several files (or of ``runs.jsonl`` in several folders), the last of each id.

    Raises:
        ValueError: A line is not a row.
    """
    rows: dict[str, Row] = {}
    for path in (p / "runs.jsonl" if p.is_dir() else p for p in paths):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            row = _parse(line, f"{path}:{number}")
            rows[row["id"]] = row
    return list(rows.values())


def _parse(line: str, where: str) -> Row:
    try:
        row: Row = json.loads(line)
        _ = row["id"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where} must be the row of a run, got {line[:80]!r}") from error
    return row


def _cut_torn_line(path: Path) -> None:
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        print(f"{path}: the last line was cut short and is removed", file=sys.stderr)
    with path.open("ab") as file:
        file.truncate(whole)
