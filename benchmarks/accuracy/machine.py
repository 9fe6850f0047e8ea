"""Where and with what a run was made: versions, commit, threads, memory."""

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

_STATUS = Path("/proc/self/status")


def describe(device: str) -> dict[str, Any]:
    """Versions, commit, date and device."""
    return {
        "versions": versions(),
        "git_commit": git_commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that results depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "pyg_relational": pyg_relational.__version__,
    }


@lru_cache(maxsize=1)
def git_commit() -> str | None:
    """Commit of the working tree, marked if files differ from it; None outside of a repository."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
    try:
        out = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()


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
