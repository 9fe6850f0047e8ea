"""The picture of the rooms in CONTRIBUTING.md is true: every arrow is an import, every import an arrow, no circle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

from pyg_relational.ops import linear

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pyg_relational"
HOUSES = ("distributed", "nn", "ops")  # folders of rooms


def room(module: str) -> str:
    """``nn.loss`` of ``pyg_relational.nn.loss.scan``; ``ops`` of a file in ``ops``; else the first name."""
    parts = module.split(".")[1:]
    inner = parts[0] in HOUSES and len(parts) > 1 and (PACKAGE / parts[0] / parts[1]).is_dir()
    return ".".join(parts[: 2 if inner else 1])


def imported(source: str) -> set[str]:
    """Modules of the package that a source imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {
                f"{node.module}.{name.name}"
                for name in node.names
                if node.module == "pyg_relational"
            }
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("pyg_relational.")}


def arrows() -> dict[str, set[str]]:
    """What each room imports, as seen from outside of ``ops`` one room; doors (``__init__``) are no rooms."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name == "__init__.py":
            continue
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        others = found.setdefault(here, set())
        for module in imported(path.read_text()):
            there = room(module)
            inside = here.split(".")[0] == "ops"
            others.add(there if inside or not there.startswith("ops.") else "ops")
        others.discard(here)
    return found


def drawn() -> dict[str, set[str]]:
    """The same, from the picture."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    picture = re.search(r"## Rooms.*?```text\n(.*?)```", text, re.S)
    assert picture
    rows = re.findall(r"^([\w.]+) +->([^#\n]*)", picture[1], re.M)
    return {left: set(re.findall(r"[\w.]+", right)) for left, right in rows}


def test_the_picture_is_true():
    assert drawn() == arrows()


def test_no_room_is_in_a_circle():
    order = list(TopologicalSorter(arrows()).static_order())
    assert order.index("ops.graph") < order.index("ops.linear")


def test_pools_do_not_measure():
    assert "metrics" not in arrows()["nn.pool"]


def test_what_counts_as_an_import():
    source = "def f():\n    from pyg_relational.nn.loss.scan import x\nfrom pyg_relational import ops\nimport torch"
    assert {room(m) for m in imported(source)} == {"nn.loss", "ops"}


def test_the_room_of_linear_systems_says_where_everything_is():
    files = {path.stem for path in (PACKAGE / "ops/linear").glob("[!_]*.py")}
    assert files == set(re.findall(r"``([a-z_]+)``", linear.__doc__)) != set()
