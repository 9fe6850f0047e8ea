import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_relational.datasets import CIFAR10
from pyg_relational.datasets.cifar10 import read_batch
from pyg_relational.datasets.raw import RawFile

NAMES = [file.name for file in CIFAR10.files]


def batch(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
    content = {b"data": data, b"labels": (np.arange(20) % 10).tolist(), b"batch_label": b"a"}
    # numpy 2 moved the function that numpy 1, which wrote the published batches, names
    return pickle.dumps(content, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Path:
    """A root with batches of 20 images each."""
    folder = tmp_path / "raw" / CIFAR10.folder
    folder.mkdir(parents=True)
    files = []
    for seed, file in enumerate(CIFAR10.files):
        (folder / file.name).write_bytes(batch(seed))
        sha = hashlib.sha256(batch(seed)).hexdigest()
        files.append(RawFile(file.name, sha, file.url, file.member))
    monkeypatch.setattr(CIFAR10, "files", tuple(files))
    return tmp_path


def remove(root: Path, *names: str) -> None:
    for name in names:
        (root / "raw" / CIFAR10.folder / name).unlink()


def test_whole_set(small):
    dataset = CIFAR10(small)
    data = dataset[0]
    assert data.x.shape == (120, 3, 32, 32)
    assert data.train_mask.tolist() == [True] * 100 + [False] * 20
    for seed in range(6):
        here = np.empty(0).__reduce__()[0].__module__.encode()  # of this numpy
        raw = pickle.loads(batch(seed).replace(b"numpy.core.multiarray", here))[b"data"]
        expected = torch.from_numpy(raw).reshape(-1, 3, 32, 32).float() / 255
        assert torch.equal(data.x[20 * seed : 20 * seed + 20], expected)
    assert repr(dataset) == "CIFAR10()"


def test_missing_batches_are_named(small):
    remove(small, "data_batch_3", "data_batch_5")
    with pytest.raises(FileNotFoundError) as caught:
        CIFAR10(small)
    assert "data_batch_3, data_batch_5: not on disk" in str(caught.value)
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz" in str(caught.value)
    assert "data_batch_1" not in str(caught.value)


def test_partial_set_says_what_it_has(small):
    remove(small, "data_batch_1", "data_batch_3", "data_batch_5")
    says = r"CIFAR10\(40 train \+ 20 test, only data_batch_2, data_batch_4, test_batch\)"
    with pytest.warns(UserWarning, match=says):
        dataset = CIFAR10(small, allow_partial=True)
    assert dataset.is_partial
    assert torch.equal(dataset.split("test")[0], dataset[0].x[40:])
    assert dataset.num_classes == 10


def test_partial_cache_is_not_the_whole_set(small, recwarn):
    remove(small, "data_batch_3")
    CIFAR10(small, allow_partial=True)
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        CIFAR10(small)
    (small / "raw" / CIFAR10.folder / "data_batch_3").write_bytes(batch(2))
    assert CIFAR10(small)[0].num_nodes == 120
    assert CIFAR10(small, allow_partial=True)[0].num_nodes == 120
    remove(small, "data_batch_2")
    assert CIFAR10(small, allow_partial=True)[0].num_nodes == 100
    assert len(os.listdir(small / "processed" / "CIFAR10")) == 3


@pytest.mark.parametrize("gone", [["test_batch"], NAMES[:5], NAMES])
def test_partial_set_needs_both_parts(small, gone):
    remove(small, *gone)
    with pytest.raises(FileNotFoundError, match=", ".join(gone)):
        CIFAR10(small, allow_partial=True)


def test_damaged_batch(small):
    path = small / "raw" / CIFAR10.folder / "data_batch_4"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_4.*sha256"):
        CIFAR10(small)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_malicious_pickle_is_refused(tmp_path, protocol):
    content = pickle.dumps(Malicious(tmp_path / "here"), protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"got \w+\.mkdir"):
        read_batch(content)
    assert not (tmp_path / "here").exists()
    pickle.loads(content)
    assert (tmp_path / "here").exists()


@pytest.mark.parametrize("name", [b"builtins\neval", b"numpy\nload", b"numpy.core.multiarray\nfoo"])
def test_other_names_are_refused(name):
    with pytest.raises(pickle.UnpicklingError, match="numpy's array types"):
        read_batch(b"c" + name + b"\n.")


@pytest.mark.usefixtures("published")
def test_published_batches(tmp_path):
    with pytest.warns(UserWarning, match="20000 train \\+ 10000 test"):
        dataset = CIFAR10(tmp_path, allow_partial=True)
    data = dataset[0]
    counts = data.y[data.train_mask].bincount().tolist()
    assert counts == [1989, 1981, 2042, 2011, 2009, 1925, 2038, 2027, 2012, 1966]
    assert data.y[data.test_mask].bincount().tolist() == [1000] * 10
    assert data.x.shape == (30000, 3, 32, 32)
    assert data.x.aminmax() == (0, 1)
    assert dataset.num_features == 3072
    ships = data.x[data.y == 8].mean(0)  # red, green, blue: sea and sky
    assert ships[2].mean() > ships[1].mean() > ships[0].mean()
