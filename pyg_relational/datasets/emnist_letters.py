"""EMNIST Letters."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from pyg_relational.datasets.base import Array, Parsed, PartialDataset, join
from pyg_relational.datasets.idx import read_idx
from pyg_relational.datasets.raw import RawFile

__all__ = ["EMNISTLetters", "stratified_mask"]

_ADDRESS = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
_NAMES = {
    "emnist-letters-train-images-idx3-ubyte.gz": (
        "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f"
    ),
    "emnist-letters-train-labels-idx1-ubyte.gz": (
        "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c"
    ),
    "emnist-letters-test-images-idx3-ubyte.gz": (
        "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d"
    ),
    "emnist-letters-test-labels-idx1-ubyte.gz": (
        "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb"
    ),
}
_TEST = {name for name in _NAMES if "-test-" in name}


class EMNISTLetters(PartialDataset):
    """Handwritten letters, either case: 145,600 x 1 x 28 x 28 in [0, 1], 26 classes.

    124,800 training and 20,800 test images, upright (they are published transposed); a is 0.
    With only the test files at hand, ``allow_partial=True`` splits these 20,800 images 3:1,
    stratified by class (600 / 200 each) with seed 0: not an official split, and figures on it are
    not comparable with published ones. G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an
    extension of MNIST to handwritten letters", `arXiv:1702.05373
    <https://arxiv.org/abs/1702.05373>`_. The download is all of EMNIST, 560 MB.

    Args, Shapes and errors are those of ``PartialDataset``.

    >>> EMNISTLetters("datasets", allow_partial=True)  # doctest: +SKIP
    EMNISTLetters(15600 train + 5200 test, only emnist-letters-test-images-idx3-ubyte.gz, ...)
    """

    folder = "emnist-letters"
    class_count = 26
    files = tuple(RawFile(name, sha, _ADDRESS, f"gzip/{name}") for name, sha in _NAMES.items())

    @staticmethod
    def usable(found: set[str]) -> set[str]:
        """All, or the test images and labels if both are there."""
        return found if found == _NAMES.keys() else _TEST if found >= _TEST else set()

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""

        def part(name: str) -> tuple[Array, Array]:
            images = read_idx(raw[f"emnist-letters-{name}-images-idx3-ubyte.gz"])
            labels = read_idx(raw[f"emnist-letters-{name}-labels-idx1-ubyte.gz"])
            return images[:, None].swapaxes(2, 3), labels - 1

        if len(raw) == len(_NAMES):
            return join(part("train"), part("test"))
        x, y = part("test")
        return x, y, stratified_mask(y)


def stratified_mask(y: Array) -> NDArray[np.bool_]:
    """True for three quarters of each class, drawn with seed 0.

    >>> stratified_mask(np.array([0, 0, 1, 0, 1, 0, 1, 1])).sum()
    np.int64(6)
    """
    generator = torch.Generator().manual_seed(0)
    mask = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        order = torch.randperm(len(rows), generator=generator).numpy()
        mask[rows[order[: 3 * len(rows) // 4]]] = True
    return mask
