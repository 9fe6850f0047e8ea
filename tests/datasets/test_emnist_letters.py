import numpy as np
import pytest
import torch

from pyg_relational.datasets import EMNISTLetters
from pyg_relational.datasets.emnist_letters import stratified_mask


@pytest.mark.usefixtures("published")
def test_test_files_only(tmp_path, raw_root):
    if (raw_root / EMNISTLetters.folder / EMNISTLetters.files[0].name).exists():
        pytest.skip("the whole set is at hand")
    with pytest.warns(UserWarning, match=r"15600 train \+ 5200 test, only emnist-letters-test"):
        dataset = EMNISTLetters(tmp_path, allow_partial=True)
    data = dataset[0]
    assert data.x.shape == (20800, 1, 28, 28)
    assert data.y[data.train_mask].bincount().tolist() == [600] * 26
    assert data.y[data.test_mask].bincount().tolist() == [200] * 26
    assert data.x.aminmax() == (0, 1)
    # upright: an i (8) is a vertical stroke, and a t (19) has its bar above the middle
    i, t = (data.x[data.y == label].mean(0)[0] for label in (8, 19))
    assert i.sum(0).max() > 2 * i.sum(1).max()
    assert t.sum(1).argmax() < 14


def test_whole_set_is_asked_for(tmp_path, offline):
    with pytest.raises(FileNotFoundError, match=r"train-images.*gzip\.zip") as caught:
        EMNISTLetters(tmp_path)
    assert all(file.name in str(caught.value) for file in EMNISTLetters.files)


def test_parse_whole_set(monkeypatch):
    monkeypatch.setattr("pyg_relational.datasets.emnist_letters.read_idx", lambda content: content)
    image = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    raw = {
        f"emnist-letters-{part}-{kind}-ubyte.gz": content
        for part, label in (("train", 1), ("test", 26))
        for kind, content in (("images-idx3", image), ("labels-idx1", np.array([label])))
    }
    x, y, train = EMNISTLetters.parse(raw)
    assert np.array_equal(x[1, 0], image[0].T)
    assert y.tolist() == [0, 25]
    assert train.tolist() == [True, False]


def test_stratified_mask_is_fixed_and_balanced():
    y = np.repeat(np.arange(5), 40)
    mask = stratified_mask(y)
    assert np.array_equal(mask, stratified_mask(y))
    assert np.bincount(y[mask]).tolist() == [30] * 5
    generator = torch.Generator().manual_seed(0)
    assert set(np.flatnonzero(mask[:40])) == set(
        torch.randperm(40, generator=generator)[:30].tolist()
    )


def test_half_of_the_training_files_is_not_used():
    names = [file.name for file in EMNISTLetters.files]
    assert EMNISTLetters.usable(set(names)) == set(names)
    assert EMNISTLetters.usable(set(names[1:])) == set(names[2:])
    assert EMNISTLetters.usable(set(names[:3])) == set()
