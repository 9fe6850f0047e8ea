"""Where and with what a run was made: versions, commit, threads, memory."""

import os
import platform
import resource
import subprocess
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch_geometric

import pyg_relational

ROOT = Path(__file__).parents[1]
DATASETS = ROOT / "datasets"
_STATUS, _CPU = Path("/proc/self/status"), Path("/proc/cpuinfo")


def describe(device: str) -> dict[str, Any]:
    """Versions, commit, date and name of the device: what every row has."""
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torch_geometric": torch_geometric.__version__,
            "pyg_relational": pyg_relational.__version__,
        },
        "git_commit": git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
    }


def cpu_name() -> str:
    """The processor's name, its architecture where the system doesn't tell."""
    lines = _CPU.read_text().splitlines() if _CPU.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Commit of the working tree, marked if files other than results differ.

    Outside of a repository what ``GIT_COMMIT`` says, or None.
    """
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_COMMIT")
    return f"{commit}-dirty" if changed else commit


def check_clean(output: Path) -> None:
    """Raise before rows that no commit reproduces come among the published results.

    Args:
        output: Folder for the rows.

    Raises:
        ValueError: It is in ``benchmarks/results``, and files differ from the commit.
    """
    commit = git_commit() or ""
    if output.resolve().is_relative_to(ROOT / "benchmarks" / "results") and "-dirty" in commit:
        raise ValueError(
            f"output must be outside of benchmarks/results while files differ from commit {commit}, got {output}: "
            "commit first"
        )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def reset_peak_memory(device: str) -> None:
    """Start to measure the peak."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> float:
    """MiB at the peak since the reset: of the GPU's tensors, or of the whole process.

    Where the system can't reset the peak, it is that of the process so far.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    if _STATUS.exists():
        line = next(s for s in _STATUS.read_text().splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
