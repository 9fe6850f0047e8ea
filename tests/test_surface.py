"""What a user meets: names, what they return, and what an import costs."""

import ast
import inspect
import subprocess
import sys
import typing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import pyg_relational

ROOT = Path(pyg_relational.__file__).parent
MODULES = [
    ".".join(("pyg_relational", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in sorted(ROOT.rglob("*.py"))
]
ROOMS = sorted(pyg_relational.__all__)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name):
    module = import_module(name)
    assert len(module.__all__) == len(set(module.__all__))
    for public in module.__all__:
        assert not public.startswith("_")
        assert hasattr(module, public)
    if hasattr(module, "__path__"):
        return
    body = ast.parse(Path(module.__file__).read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert {name for name in defined if not name.startswith("_")} <= set(module.__all__)


def functions() -> dict[str, Any]:
    found = {}
    for room in ROOMS:
        module = import_module(f"pyg_relational.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            for part in ("forward", "__call__", "fit") if inspect.isclass(value) else ():
                if part in vars(value) or (hasattr(value, "forward") and part == "forward"):
                    found[f"{room}.{name}.{part}"] = getattr(value, part)
            if inspect.isfunction(value):
                found[f"{room}.{name}"] = value
    return found


@pytest.mark.parametrize("function", functions().values(), ids=functions().keys())
def test_no_public_function_returns_any(function):
    assert inspect.signature(function).return_annotation not in (Any, inspect.Signature.empty)


def test_propagations_say_what_they_return_with_and_without_info():
    from pyg_relational import nn

    get_overloads = getattr(typing, "get_overloads", lambda _: ())  # of Python 3.11
    for name in ("laplace", "poisson", "random_walk", "p_laplace"):
        function = inspect.unwrap(getattr(nn, f"{name}_propagation"))
        given = list(inspect.signature(function).parameters)
        for overload in get_overloads(function):
            assert list(inspect.signature(overload).parameters) == given


def test_the_root_imports_nothing():
    assert run("import sys, pyg_relational; print('torch' in sys.modules)") == "False"


def test_every_room_is_reached_from_the_root():
    code = "import pyg_relational as p; print(*(getattr(p, name).__name__ for name in p.__all__))"
    assert run(code).split() == [f"pyg_relational.{room}" for room in pyg_relational.__all__]
    assert set(pyg_relational.__all__) <= set(dir(pyg_relational))
    with pytest.raises(AttributeError, match="'pyg_relational' has no attribute 'nothing'"):
        _ = pyg_relational.nothing


def test_rooms_bring_nothing_that_is_slow_to_import():
    rooms = ", ".join(room for room in ROOMS if room != "estimators")
    code = (
        "import sys, torch_geometric; before = set(sys.modules)\n"
        f"from pyg_relational import {rooms}\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}),"
        "*(name for name in sys.modules if name.startswith('scipy.')))"
    )
    brought = set(run(code).split())
    slow = {"sklearn", "igraph", "matplotlib", "pandas", "faiss", "scipy.optimize", "scipy.stats"}
    assert "pyg_relational" in brought
    assert not brought & (slow | {"scipy.linalg", "scipy.io", "scipy.sparse.linalg"})
