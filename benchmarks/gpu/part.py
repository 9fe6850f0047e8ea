"""A part of the run: a command with a limit of time, and what it says."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.machine import ROOT

Found = list[dict[str, Any]]
LINES = 15  # of an error that are kept


class Part(NamedTuple):
    """What is run.

    Args:
        command: And its arguments.
        limit: Seconds, after which it is ended; what it has said by then counts.
        read: Its output to what was found.
        environment: More variables.
        goal: What is hoped for.
    """

    command: Sequence[str]
    limit: float
    read: Callable[[str], Found]
    environment: Mapping[str, str] = {}
    goal: str = ""


def perform(part: Part, left: float) -> dict[str, Any]:
    """Run a part; one that fails is a row, too.

    Args:
        part: Which.
        left: Seconds that there are for it.
    """
    start, limit = time.monotonic(), min(part.limit, left)
    output, status = _output(part, limit) if left > 0 else ("no time was left", None)
    found = part.read(output)
    ok = status == 0 and bool(found) and not any("error" in entry for entry in found)
    lines = output.strip().splitlines()[-LINES:]
    ended = [f"ended after {limit:.0f} s"] * (status is None)
    return {
        "ok": ok,
        "seconds": round(time.monotonic() - start, 1),
        "goal": part.goal,
        "found": found,
        "error": "" if ok else "\n".join(lines + ended),
    }


def _output(part: Part, limit: float) -> tuple[str, int | None]:
    """What it printed, and its status; None where it was ended."""
    process = subprocess.Popen(
        part.command,
        cwd=ROOT,
        env={**os.environ, **part.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=limit)[0], process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and what it started
        return process.communicate()[0], None


def of_json(output: str) -> Found:
    """A measurement a line; other lines are passed over."""
    return [json.loads(line) for line in output.splitlines() if line.startswith('{"name"')]


def of_pytest(output: str) -> Found:
    """Counts; tests that failed, and files whose packages are not there, are named."""
    lines = output.splitlines()
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", output)
    }
    missing = [line for line in lines if line.startswith("ERROR") and "ModuleNotFound" in line]
    failed = [
        line for line in lines if line.startswith(("FAILED", "ERROR")) and line not in missing
    ]
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    found: dict[str, Any] = {"name": "tests", **counts, "left_out": [*missing, *skipped]}
    return [found | ({"error": "\n".join(failed)} if failed else {})] if counts else []
