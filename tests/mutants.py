"""Single-line mutants of the package, and which of them the tests let live: ``python -m tests.mutants``.

A mutant is one small change of one line: ``<`` for ``<=``, ``+`` for ``-``, ``min`` for ``max``, another number. A
seeded sample of each file's is written into a copy of the repository, one at a time, and runs the tests that belong to
the file: the one at the mirrored path, then those of the modules that import it, then those that name what it
exports. What lives is printed, but for ``equivalent_mutants.csv``: what no test can see, each with the reason; ``*``
stands for all mutants of a line. Results stay in ``--output``; what is there is not run again, with ``--again`` only
what was killed isn't.

Nothing is changed in annotations, messages, defaults (``test_surface.py`` compares them) and numbers at the head of a
module (tuned: what was measured stands beside them). Triton's kernels are left out: they need Triton's interpreter.
"""

import ast
import csv
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.csv")
PRELOADED = ("igraph", "networkx", "sklearn.neighbors", "torch._dynamo", "torch_geometric")
LEFT_OUT = ("pyg_relational/ops/fused/kernels/", "pyg_relational/datasets/")
OPERATORS = {
    "Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt", "Eq": "NotEq", "NotEq": "Eq", "Is": "IsNot", "IsNot": "Is",
    "In": "NotIn", "NotIn": "In", "And": "Or", "Or": "And", "Add": "Sub", "Sub": "Add", "Mult": "Div", "Div": "Mult",
    "FloorDiv": "Mult", "Mod": "FloorDiv", "BitAnd": "BitOr", "BitOr": "BitAnd", "Pow": "Mult", "MatMult": "Mult",
}  # fmt: skip
NAMES = ("min max", "amin amax", "argmin argmax", "minimum maximum", "any all", "sum mean")
SWAPPED = {a: b for pair in map(str.split, NAMES) for a, b in (pair, pair[::-1])}
# Nothing in these is mutated.
TEXT = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
NOTES = ("annotation", "returns", "defaults", "kw_defaults")  # test_surface.py compares defaults


class Mutant(NamedTuple):
    """One line of one file, before and after."""

    file: str
    before: str
    after: str
    line: int
    source: str


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that compute: no annotation, message or import."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, TEXT) and name not in NOTES:
                yield child
                yield from walk(child)


def other(operator: ast.AST) -> Any:
    """Its neighbour among the operators."""
    name = OPERATORS.get(type(operator).__name__)
    return getattr(ast, name)() if name else None


def constants(value: object) -> list[object]:
    """Other constants in its place."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [1 - value] if value in (0, 1) else [value // 2, value * 2]
    if isinstance(value, float):
        return [value * 2, value / 2] if value else [1.0]
    return []


def changes(node: ast.AST) -> list[str]:
    """Texts to stand for the node's."""
    if isinstance(node, ast.Constant):
        return [repr(value) for value in constants(node.value)]
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and (op := other(node.ops[0])):
        return [ast.unparse(ast.Compare(node.left, [op], node.comparators))]
    if isinstance(node, ast.BinOp) and (op := other(node.op)):
        return [f"({ast.unparse(ast.BinOp(node.left, op, node.right))})"]
    if isinstance(node, ast.BoolOp) and (op := other(node.op)):
        return [f"({ast.unparse(ast.BoolOp(op, node.values))})"]
    if isinstance(node, ast.UnaryOp):
        return [f"({ast.unparse(node.operand)})"]
    if isinstance(node, ast.Name) and node.id in ("min", "max", "any", "all"):
        return [SWAPPED[node.id]]
    if isinstance(node, ast.Attribute) and node.attr in SWAPPED:
        return [f"({ast.unparse(node.value)}).{SWAPPED[node.attr]}"]
    if isinstance(node, ast.IfExp):
        return [f"({ast.unparse(node.body)})", f"({ast.unparse(node.orelse)})"]
    return []


def mutants(file: str) -> list[Mutant]:
    """All of a file."""
    source = (ROOT / file).read_text()
    lines = source.splitlines(keepends=True)
    found = {}
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not isinstance(node, ast.Assign | ast.AnnAssign)]
    for node in walk(tree):
        if not isinstance(node, ast.expr) or node.lineno != node.end_lineno:
            continue
        i, line = node.lineno - 1, lines[node.lineno - 1].encode()
        for text in changes(node):
            new = (line[: node.col_offset] + text.encode() + line[node.end_col_offset :]).decode()
            whole = "".join([*lines[:i], new, *lines[i + 1 :]])
            mutant = Mutant(file, lines[i].strip(), new.strip(), i + 1, whole)
            found[mutant[:3]] = mutant
    return list(found.values())


def sample(file: str, count: int, seed: int) -> list[Mutant]:
    """Some of a file, on as many lines as there are; the same ones whatever else is in the file."""
    every = sorted(mutants(file), key=lambda m: random.Random(f"{seed} {m[:3]}").random())
    rounds = [sum(m.line == n.line for n in every[:i]) for i, m in enumerate(every)]
    return [m for _, m in sorted(zip(rounds, every, strict=True), key=lambda pair: pair[0])][:count]


@cache
def texts(folder: str, pattern: str) -> dict[str, str]:
    """Sources of a folder."""
    paths = sorted((ROOT / folder).rglob(pattern))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


def mirror(file: str) -> str:
    """The test of a module."""
    path = Path("tests", *Path(file).parts[1:])
    return path.with_name(f"test_{path.name}").as_posix()


def exports(source: str) -> list[str]:
    """Names in a module's ``__all__``."""
    found = re.search(r"__all__ = \[(.*?)\]", source, re.S)
    return re.findall(r'"(\w+)"', found[1]) if found else []


def users(files: list[str]) -> list[str]:
    """Modules that import one of the files."""
    lines = [f"from {file.removesuffix('.py').replace('/', '.')} import" for file in files]
    modules = texts("pyg_relational", "*.py").items()
    return [m for m, text in modules if m not in files and any(line in text for line in lines)]


@cache
def belonging(file: str, count: int) -> list[str]:
    """Tests that belong to a file: the mirrored one and ``count`` more, of what imports it by ever more steps."""
    modules, tests = texts("pyg_relational", "*.py"), texts("tests", "test_*.py")
    found, near, seen = [mirror(file)], [file], [file]
    while near:
        names = "|".join(name for module in near for name in exports(modules[module])) or "$^"
        counts = {t: len(re.findall(rf"\b(?:{names})\b", text)) for t, text in tests.items()}
        found += [*map(mirror, near), *sorted(filter(counts.get, tests), key=lambda t: -counts[t])]
        near = users(seen)
        seen += near
    kept = [test for test in dict.fromkeys(found) if test in tests]
    return kept[: count + (found[0] in tests)]


def child(copy: Path, test: str, chosen: str) -> None:
    """Run the chosen tests of a file in the copy; the process ends with pytest's status."""
    sys.dont_write_bytecode = True
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.environ["PYTHONPATH"] = str(copy)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    fast = [hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", phases=fast)  # nothing is shrunk
    hypothesis.settings.load_profile("mutants")
    os._exit(int(pytest.main(["-x", "-p", "no:cacheprovider", "-k", chosen, test])))


def passes(copy: Path, test: str, chosen: str, most: float | None = None) -> bool:
    """Whether a test file passes in time; none collected is no failure."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(copy, test, chosen))
    process.start()
    process.join(most)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode in (0, 5)


@cache
def limit(copy: Path, test: str, chosen: str) -> float | None:
    """Seconds after which a mutant counts as killed by a test file; None where it fails without one."""
    start = time.monotonic()
    return max(60, 3 * (time.monotonic() - start)) if passes(copy, test, chosen) else None


def killer(copy: Path, mutant: Mutant, tests: list[str], chosen: str) -> str:
    """The first test file that fails on a mutant; empty if it lives."""
    path = copy / mutant.file
    source = path.read_text()
    for test in tests:
        if (most := limit(copy, test, chosen)) is None:
            continue
        path.write_text(mutant.source)
        passed = passes(copy, test, chosen, most)
        path.write_text(source)
        if not passed:
            return test
    return ""


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, none if there is no file."""
    with open(path, newline="") if path.exists() else open(os.devnull) as file:
        return list(csv.DictReader(file))


def key(row: dict[str, str]) -> tuple[str, ...]:
    """What a row of a file is about."""
    return row["file"], row["before"], row["after"]


def explained() -> Callable[[tuple[str, ...]], bool]:
    """Whether there is a reason why a mutant, or every one of its line (``*``), may live."""
    reasons = {key(row) for row in read(EQUIVALENT)}
    return lambda mutant: mutant in reasons or (*mutant[:2], "*") in reasons


def run(options: Namespace, copy: Path) -> None:
    """Mutate all files asked for; write what killed each."""
    seen = {key(row) for row in read(options.output) if row["killed by"] or not options.again}
    may_live = explained()
    paths = [path for pattern in options.files for path in sorted(ROOT.glob(pattern))]
    files = [path.relative_to(ROOT).as_posix() for path in paths]
    with options.output.open("a", newline="") as output:
        writer = csv.writer(output, lineterminator="\n")
        if not output.tell():
            writer.writerow(["file", "line", "before", "after", "killed by"])
        for file in files:
            if file.startswith(LEFT_OUT):
                continue
            for mutant in sample(file, options.per_file, options.seed):
                if mutant[:3] not in seen and not may_live(mutant[:3]):
                    by = killer(copy, mutant, belonging(file, options.others), options.tests)
                    writer.writerow([file, mutant.line, mutant.before, mutant.after, by])
                    output.flush()


def report(output: Path) -> str:
    """How many were killed, and what lives without a reason."""
    last = {key(row): row for row in read(output)}
    may_live = explained()
    lives = {k: row for k, row in last.items() if not row["killed by"] and not may_live(k)}
    killed = sum(bool(row["killed by"]) for row in last.values())
    rows = [f"- {k[0]}:{row['line']}: `{k[1]}` -> `{k[2]}`" for k, row in lives.items()]
    title = f"{len(last)} mutants, {killed} killed, {len(rows)} live unexplained"
    return "\n".join([title, *rows])


def main() -> None:
    """Run and print."""
    parser = ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", nargs="+", default=["pyg_relational/**/*.py"], help="globs")
    parser.add_argument("--per-file", type=int, default=4)
    parser.add_argument("--others", type=int, default=3, help="test files after the mirrored one")
    parser.add_argument(
        "--tests", default="", help="an expression for pytest's -k: without slow ones"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(".venv/mutants.csv"))
    parser.add_argument("--again", action="store_true", help="run again what lived")
    options = parser.parse_args()
    for name in PRELOADED:  # once, not in every mutant's process
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*"))
        run(options, copy)
    print(report(options.output))


if __name__ == "__main__":
    main()
