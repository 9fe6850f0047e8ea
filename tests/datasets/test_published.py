"""Each data set against what its publisher, or its card in datasets/, says of it."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from pyg_relational import datasets
from pyg_relational.datasets import MNIST, USPS, FashionMNIST, Letter

pytestmark = pytest.mark.usefixtures("published")

MNIST_COUNTS = (
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
)
USPS_COUNTS = (
    [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
    [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
)
SATIMAGE_COUNTS = ([1072, 479, 961, 415, 470, 1038], [461, 224, 397, 211, 237, 470])

# name: shape, classes, counts of the training and the test part (None: not published)
SETS = {
    "PenDigits": ((16,), [780, 779, 780, 719, 780, 720, 720, 778, 719, 719], None, (7494, 3498)),
    "OptDigits": ((64,), [376, 389, 380, 389, 387, 376, 377, 387, 380, 382], None, (3823, 1797)),
    "Letter": ((16,), None, None, (16000, 4000)),
    "Satimage": ((36,), *SATIMAGE_COUNTS, (4435, 2000)),
    "USPS": ((1, 16, 16), *USPS_COUNTS, (7291, 2007)),
    "COIL20": ((1, 32, 32), [12] * 20, [60] * 20, (240, 1200)),
    "MNIST": ((1, 28, 28), *MNIST_COUNTS, (60000, 10000)),
    "FashionMNIST": ((1, 28, 28), [6000] * 10, [1000] * 10, (60000, 10000)),
}


@pytest.mark.parametrize("name", SETS)
def test_shapes_ranges_and_counts(tmp_path, name):
    shape, train_counts, test_counts, sizes = SETS[name]
    dataset = getattr(datasets, name)(tmp_path)
    data = dataset[0]
    assert data.x.shape == (sum(sizes), *shape)
    assert data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64
    low, high = data.x.aminmax()
    assert (low, high) == ((0, 1) if name != "Satimage" else (torch.tensor(27 / 255), 157 / 255))
    assert (int(data.train_mask.sum()), int(data.test_mask.sum())) == sizes
    assert torch.equal(data.train_mask, ~data.test_mask)
    assert dataset.num_features == np.prod(shape)
    assert data.y.unique().tolist() == list(range(dataset.num_classes))
    for mask, counts in ((data.train_mask, train_counts), (data.test_mask, test_counts)):
        assert counts is None or data.y[mask].bincount().tolist() == counts


@pytest.mark.parametrize(
    ("name", "maximum", "accuracy"),
    [
        ("PenDigits", 100, 97.74),
        ("OptDigits", 16, 98.00),
        ("Letter", 15, 95.65),
        ("Satimage", 255, 89.45),
        ("USPS", None, 94.37),
        ("COIL20", None, 97.00),
    ],
)
def test_nearest_neighbour(tmp_path, name, maximum, accuracy):
    dataset = getattr(datasets, name)(tmp_path)

    def part(which: str) -> tuple[np.ndarray, np.ndarray]:
        x, y = dataset.split(which)
        x = x.flatten(1).double()
        return (x if maximum is None else (x * maximum).round()).numpy(), y.numpy()

    classifier = KNeighborsClassifier(1, algorithm="brute").fit(*part("train"))
    assert round(100 * classifier.score(*part("test")), 2) == accuracy


def test_letter_counts_of_the_documentation(tmp_path):
    data = Letter(tmp_path)[0]
    # letter-recognition.names: 789 A, 766 B, ... 734 Z; the first line is T,2,8,3,5,...
    assert data.y.bincount()[[0, 1, 25]].tolist() == [789, 766, 734]
    assert data.y[0] == ord("T") - ord("A")
    assert (data.x[0, :4] * 15).round().tolist() == [2, 8, 3, 5]


def test_optdigits_test_part_is_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    x, y = datasets.OptDigits(tmp_path).split("test")
    digits = load_digits()
    assert torch.equal(x, torch.from_numpy(digits.data).float() / 16)
    assert np.array_equal(y, digits.target)


def test_images_are_upright(tmp_path):
    """Drawn by hand from the pictures: transposed images would fail each of these."""
    for dataset in (MNIST(tmp_path), USPS(tmp_path)):
        x, y = dataset.split("train")
        one = x[y == 1].mean(0)[0]
        assert one.sum(0).max() > 2 * one.sum(1).max()  # a vertical stroke
    x, y = FashionMNIST(tmp_path).split("train")
    trousers = x[y == 1].mean(0)[0]
    assert trousers.mean(0).std() > 2 * trousers.mean(1).std()  # tall and narrow
    x, y = datasets.COIL20(tmp_path).split("train")
    car = (x[y == 2].mean(0)[0] > 0.1).float()
    assert car.any(1).sum() < car.any(0).sum()  # wider than high


def test_usps_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        USPS(tmp_path)
