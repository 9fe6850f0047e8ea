import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset
from torch_geometric.transforms import BaseTransform, Compose

from pyg_relational.datasets import Letter, PenDigits

pytestmark = pytest.mark.usefixtures("bundled")
COUNTS = [780, 779, 780, 719, 780, 720, 720, 778, 719, 719]  # training rows, pendigits.names


class Shift(BaseTransform):
    def __init__(self, by: float) -> None:
        self.by = by

    def forward(self, data: Data) -> Data:
        data.x = data.x + self.by
        return data


def test_pendigits(tmp_path):
    dataset = PenDigits(tmp_path)
    data = dataset[0]
    assert isinstance(dataset, InMemoryDataset)
    assert len(dataset) == 1
    assert data.x.shape == (10992, 16)
    assert data.x.dtype == torch.float32
    assert (data.x.min(), data.x.max()) == (0, 1)
    assert data.y.dtype == torch.int64
    assert data.y[data.train_mask].bincount().tolist() == COUNTS
    assert torch.equal(data.train_mask, ~data.test_mask)
    assert data.test_mask.sum() == 3498
    assert (dataset.num_classes, dataset.num_features, data.num_nodes) == (10, 16, 10992)
    first = torch.tensor([47, 100, 27, 81, 57, 37, 26, 0, 0, 23, 56, 53, 100, 90, 40, 98]) / 100
    assert torch.equal(data.x[0], first)
    assert data.y[0] == 8


def test_split_copies_in_order(tmp_path):
    dataset = PenDigits(tmp_path)
    x, y = dataset.split("train")
    assert torch.equal(x, dataset[0].x[:7494])
    assert torch.equal(y, dataset[0].y[:7494])
    x.zero_()
    assert dataset[0].x[:7494].any()
    assert len(dataset.split("test")[1]) == 3498
    with pytest.raises(ValueError, match='part must be "train" or "test", got \'val\''):
        dataset.split("val")


def test_raw_files_are_read_in_place(tmp_path, dataset_root):
    dataset = PenDigits(tmp_path)
    assert os.listdir(tmp_path) == ["processed"]
    assert dataset.raw_paths == [
        str(dataset_root / "raw" / "pendigits" / f"pendigits.{end}") for end in ("tra", "tes")
    ]
    assert dataset.processed_paths == [str(tmp_path / "processed" / "PenDigits" / "full.pt")]


def test_raw_files_in_root(tmp_path, dataset_root, monkeypatch):
    monkeypatch.delenv("PYG_RELATIONAL_RAW")
    shutil.copytree(dataset_root / "raw", tmp_path / "raw")
    dataset = PenDigits(tmp_path)
    assert dataset.raw_dir == str(tmp_path / "raw" / "pendigits")
    assert dataset.raw_paths[0] == str(tmp_path / "raw" / "pendigits" / "pendigits.tra")


def test_second_load_comes_from_the_cache(tmp_path, monkeypatch):
    first = PenDigits(tmp_path)[0]
    monkeypatch.delenv("PYG_RELATIONAL_RAW")
    monkeypatch.setattr(PenDigits, "parse", None)
    second = PenDigits(tmp_path)[0]
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.y, second.y)
    assert torch.equal(first.test_mask, second.test_mask)


def test_force_reload(tmp_path):
    cache = Path(PenDigits(tmp_path).processed_paths[0])
    cache.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"full\.pt must hold tensors.*force_reload=True"):
        PenDigits(tmp_path)
    assert PenDigits(tmp_path, force_reload=True)[0].num_nodes == 10992


def test_cache_never_runs_code(tmp_path):
    cache = Path(PenDigits(tmp_path).processed_paths[0])
    torch.save({"data": {}, "maximum": Shift(1.0)}, cache)
    with pytest.raises(ValueError, match=r"full\.pt must hold tensors.*force_reload=True"):
        PenDigits(tmp_path)


def test_transform_at_each_access(tmp_path):
    plain, shifted = PenDigits(tmp_path), PenDigits(tmp_path, transform=Shift(1.0))
    for _ in range(2):
        assert torch.equal(shifted[0].x, plain[0].x + 1)
    assert torch.equal(shifted.split("test")[0], plain.split("test")[0])
    assert (shifted.num_classes, shifted.num_features) == (10, 16)


def test_pre_transform_is_cached_by_its_state(tmp_path):
    plain = PenDigits(tmp_path)[0].x
    for by in (1.0, 2.0, 1.0):
        dataset = PenDigits(tmp_path, pre_transform=Compose([Shift(by)]))
        assert torch.equal(dataset[0].x, plain + by)
        assert torch.equal(dataset.split("test")[0], plain[7494:] + by)
    assert len(os.listdir(tmp_path / "processed" / "PenDigits")) == 3


def test_pre_transform_must_be_picklable(tmp_path):
    with pytest.raises(ValueError, match="pre_transform must be picklable"):
        PenDigits(tmp_path, pre_transform=lambda data: data)


def test_missing_and_offline(tmp_path, offline):
    with pytest.raises(FileNotFoundError) as caught:
        Letter(tmp_path)
    for word in (
        "letter-recognition.data",
        "https://archive.ics.uci.edu/",
        str(tmp_path / "raw" / "letter"),
        "PYG_RELATIONAL_RAW",
    ):
        assert word in str(caught.value)
    assert list(tmp_path.rglob("*.p*")) == []


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b.replace(b"47", b"48", 1)])
def test_damaged_raw_file(tmp_path, dataset_root, monkeypatch, damage):
    monkeypatch.delenv("PYG_RELATIONAL_RAW")
    shutil.copytree(dataset_root / "raw", tmp_path / "raw")
    path = tmp_path / "raw" / "pendigits" / "pendigits.tra"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"pendigits\.tra.*must have sha256 e2b9.*got"):
        PenDigits(tmp_path)
    assert not (tmp_path / "processed").exists()


def test_unwritable_root(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"not writable.*pass a root"):
        PenDigits(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_root(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"not writable.*pass a root"):
        PenDigits(tmp_path)


def test_interrupted_save_leaves_no_cache(tmp_path, monkeypatch):
    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:4])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(KeyboardInterrupt):
            PenDigits(tmp_path)
    assert os.listdir(tmp_path / "processed" / "PenDigits") == []
    assert PenDigits(tmp_path)[0].num_nodes == 10992


def test_builds_at_once_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        sums = list(
            pool.map(lambda _: float(PenDigits(tmp_path, force_reload=True)[0].x.sum()), range(16))
        )
    assert len(set(sums)) == 1
    assert os.listdir(tmp_path / "processed" / "PenDigits") == ["full.pt"]


def test_one_changed_byte_of_the_cache_is_found(tmp_path):
    cache = Path(PenDigits(tmp_path).processed_paths[0])
    stored = cache.read_bytes()
    for place in (0, 40, len(stored) // 2, len(stored) - 1):
        damaged = bytearray(stored)
        damaged[place] ^= 1
        cache.write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged or another file"):
            PenDigits(tmp_path)
    torch.save(torch.ones(3), cache)
    with pytest.raises(ValueError, match="damaged or another file"):
        PenDigits(tmp_path)
    cache.unlink()
    cache.mkdir()
    with pytest.raises(ValueError, match="must be the file of a cache, got a folder"):
        PenDigits(tmp_path)
