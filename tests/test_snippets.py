"""Python in the README and the pages runs as it stands, given the names that a reader has at hand."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pyg_relational import distributed
from pyg_relational.datasets import PenDigits

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.M | re.S)


def blocks(page: Path) -> list[str]:
    found = BLOCK.findall(page.read_text())
    return [re.sub(f"^{indent}", "", code, flags=re.M) for indent, code in found]


def network(width: int = 4) -> nn.Module:
    layers = [
        ("layer3", nn.Linear(width, 8)),
        ("layer4", nn.Linear(8, 8)),
        ("head", nn.Linear(8, 2)),
    ]
    model = nn.Sequential()
    for name, layer in layers:
        model.add_module(name, layer)
    return model


def rows(n: int = 90, d: int = 4) -> dict[str, Any]:
    """Two blobs, a third of them labelled."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.randn(n, d, generator=g) + 3 * y[:, None]
    return {"torch": torch, "np": np, "x": x, "y": y}


def partial() -> dict[str, Any]:
    given = rows()
    y = given["y"].where(torch.arange(90) % 3 == 0, -1)
    return {**given, "y": y, "x_new": given["x"] + 0.1, "adjacency": np.ones((90, 90)) - np.eye(90)}


def training() -> dict[str, Any]:
    given, model = rows(), network()
    batches = list(zip(given["x"].split(30), given["y"].split(30), strict=True))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    more = {"model": model, "loader": batches, "batches": batches, "optimizer": optimizer}
    return {**given, **more, "cross_entropy": cross_entropy, "gather": distributed.gather}


def marked() -> dict[str, Any]:
    given = rows()
    given["x"].requires_grad_()
    return {**given, "mask": torch.arange(90) % 3 == 0}


def indexed() -> dict[str, Any]:
    given = training()
    index = torch.arange(90).split(30)
    loader = [(*batch, i) for batch, i in zip(given["batches"], index, strict=True)]
    return {**given, "loader": loader, "y_train": given["y"], "epochs": 2}


def trained() -> dict[str, Any]:
    given = training()
    return {**given, "x_train": given["x"], "y_train": given["y"]}


def wide() -> dict[str, Any]:
    given = rows(d=512)
    y = torch.arange(90) % 10
    return {**given, "y": y, "backbone": nn.Identity(), "x_train": given["x"], "y_train": y}


def features() -> dict[str, Any]:
    given = rows(d=64)
    given["features"] = given["x"].clone().requires_grad_()
    return {**given, "mask": torch.arange(90) < 30, "graph": (torch.tensor([[0, 1], [1, 0]]), None)}


GIVEN = {
    "README": [training, features, partial],
    "cnn2graph": [wide],
    "distributed": [marked],
    "estimators": [partial],
    "graph_consistency": [training],
    "graphs": [rows],
    "interop": [features],
    "label_propagation": [features],
    "latent_cluster_correction": [indexed],
    "modularity": [rows],
    "training_loops": [trained],
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore")
def test_snippets_run(page, dataset_root, tmp_path, monkeypatch):
    code = blocks(page)
    given = GIVEN.get(page.stem, [dict])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "raw").symlink_to(dataset_root / "raw")
    names = {"PenDigits": PenDigits, "root": os.fspath(tmp_path / "datasets")}
    torch.manual_seed(0)
    for number, block in enumerate(code):
        if number < len(given):
            names |= given[number]()
        exec(compile(block, f"{page.name}, block {number + 1}", "exec"), names)


def test_the_pages_have_snippets():
    assert sum(bool(blocks(page)) for page in PAGES) >= 10
