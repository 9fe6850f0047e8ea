"""Files of the user's own that a study names: data, and functions as ``file.py:function``."""

import hashlib
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def is_function(name: str) -> bool:
    """Whether a name is ``file.py:function``."""
    return ".py:" in name


def function(name: str) -> Callable[..., Any]:
    """The function of ``file.py:function``; the file is run.

    Raises:
        ValueError: The file has no such function.
        OSError: There is no such file.
    """
    path, _, wanted = name.rpartition(":")
    found = getattr(_module(path, sha256(Path(path))), wanted, None)
    if not callable(found):
        raise ValueError(f"{path} must have a function {wanted!r}, got none")
    return found


def sha256(path: Path) -> str:
    """Of a file, or of the names and contents of all files in a folder.

    Raises:
        OSError: There is no such file.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = ((file, file.stat()) for file in files)
    return _sha256(path, tuple((file, s.st_size, s.st_mtime_ns) for file, s in stats))


@lru_cache(maxsize=64)
def _sha256(path: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digests = {file.relative_to(path).as_posix(): _digest(file) for file, *_ in files}
    if path.is_file():
        return digests["."]
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def _module(path: str, digest: str) -> ModuleType:
    name = f"own_{Path(path).stem}_{digest[:16]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
