import hashlib
import re

import pytest

from pyg_relational import datasets
from pyg_relational.datasets import PenDigits


@pytest.mark.parametrize("name", datasets.__all__)
def test_card_tells_what_the_loader_checks(dataset_root, name):
    card = (dataset_root / f"{name.lower()}.md").read_text()
    files = getattr(datasets, name).files
    rows = re.findall(r"^\| `(.+)` \| `([0-9a-f]{64})` \|$", card, re.MULTILINE)
    assert rows == [(file.name, file.sha256) for file in files]
    assert all(f"<{file.url}>" in card for file in files)
    assert all(f"**{part}.**" in card for part in ("Units", "Split", "Citation", "Licence"))


def test_index_lists_every_card(dataset_root):
    listed = re.findall(
        r"^\| \[(\w+)\]\(([^)]+)\) ", (dataset_root / "README.md").read_text(), re.M
    )
    assert sorted(listed) == sorted((name, f"{name.lower()}.md") for name in datasets.__all__)
    cards = {path.name for path in dataset_root.glob("*.md")} - {"README.md"}
    assert cards == {card for _, card in listed}


def test_bundled_files_are_the_published_ones(dataset_root):
    for file in PenDigits.files:
        content = (dataset_root / "raw" / "pendigits" / file.name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256
