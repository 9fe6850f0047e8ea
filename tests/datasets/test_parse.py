"""Parsers on files of a few rows, made here in the published formats."""

import gzip
import io

import h5py
import numpy as np
from scipy.io import savemat

from pyg_relational.datasets import COIL20, MNIST, USPS, FashionMNIST, Letter, OptDigits, Satimage


def test_optdigits():
    row = ",".join(map(str, range(64)))
    raw = {"optdigits.tra": f"{row},7\n{row},0\n".encode(), "optdigits.tes": f"{row},9\n".encode()}
    x, y, train = OptDigits.parse(raw)
    assert np.array_equal(x, np.tile(np.arange(64), (3, 1)))
    assert y.tolist() == [7, 0, 9]
    assert train.tolist() == [True, True, False]


def test_satimage_classes_are_consecutive():
    row = " ".join(map(str, range(36)))
    raw = {"sat.trn": "".join(f"{row} {c}\n" for c in (1, 2, 3, 4, 5, 7)), "sat.tst": f"{row} 7\n"}
    x, y, train = Satimage.parse({name: text.encode() for name, text in raw.items()})
    assert x.shape == (7, 36)
    assert y.tolist() == [0, 1, 2, 3, 4, 5, 5]
    assert train.sum() == 6


def test_letter():
    row = ",".join(map(str, range(16)))
    text = "".join(f"{'ATZ'[i % 3]},{row}\n" for i in range(16002))
    x, y, train = Letter.parse({"letter-recognition.data": text.encode()})
    assert x[5].tolist() == list(range(16))
    assert y[:3].tolist() == [0, 19, 25]
    assert np.flatnonzero(~train).tolist() == [16000, 16001]


def test_usps():
    stream = io.BytesIO()
    images = np.random.default_rng(0).random((3, 256), dtype=np.float32)
    with h5py.File(stream, "w") as file:
        for name, rows in (("train", slice(2)), ("test", slice(2, 3))):
            file[f"{name}/data"], file[f"{name}/target"] = images[rows], np.arange(3)[rows]
    x, y, train = USPS.parse({"usps.h5": stream.getvalue()})
    assert x.shape == (3, 1, 16, 16)
    assert np.array_equal(x.reshape(3, 256), images)
    assert y.tolist() == [0, 1, 2]
    assert train.tolist() == [True, True, False]


def test_coil20_is_turned_upright():
    stream = io.BytesIO()
    images = np.random.default_rng(0).random((12, 32, 32))
    columns_first = images.transpose(0, 2, 1).reshape(12, 1024)
    savemat(stream, {"X": columns_first, "Y": np.repeat([[1], [20]], 6, axis=0)})
    x, y, train = COIL20.parse({"COIL20.mat": stream.getvalue()})
    assert np.array_equal(x[:, 0], images.astype(np.float32))
    assert y.tolist() == [0] * 6 + [19] * 6
    assert np.flatnonzero(train).tolist() == [0, 6]


def test_mnist_and_fashion_mnist():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    raw = {}
    for name, rows in (("train", slice(2)), ("t10k", slice(2, 3))):
        n = len(images[rows])
        head = bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 28, 0, 0, 0, 28])
        raw[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(head + images[rows].tobytes())
        labels = bytes([0, 0, 8, 1, 0, 0, 0, n]) + bytes(range(10)[rows])
        raw[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(labels)
    for dataset in (MNIST, FashionMNIST):
        x, y, train = dataset.parse(raw)
        assert np.array_equal(x[:, 0], images)
        assert y.tolist() == [0, 1, 2]
        assert train.tolist() == [True, True, False]
