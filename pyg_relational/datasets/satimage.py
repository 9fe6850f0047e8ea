"""Satimage."""

from collections.abc import Mapping

import numpy as np

from pyg_relational.datasets.base import ClassificationDataset, Parsed, join
from pyg_relational.datasets.raw import RawFile
from pyg_relational.datasets.table import UCI, read_table

__all__ = ["Satimage"]


class Satimage(ClassificationDataset):
    """Statlog Landsat, the soil under 3 x 3 pixels: 6,435 x 36 in [0, 1], 6 classes.

    Each of the nine pixels, from top left, has four spectral bands, published as integers in
    0..255. Classes are published as 1 2 3 4 5 7 and are 0..5 here. 4,435 training rows, 2,000
    test rows. `Source, 10.24432/C55887 <https://archive.ics.uci.edu/dataset/146>`_, CC BY 4.0.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> Satimage("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([6435, 36])
    """

    folder = "satimage"
    class_count = 6
    files = (
        RawFile(
            "sat.trn",
            "e896dc88a960fa2404160fc4c3cb3dc53fcf4afd80ba920bf2d261bd42d12613",
            f"{UCI}/statlog/satimage/sat.trn",
        ),
        RawFile(
            "sat.tst",
            "4b9167b8a92baafafed7c8809aef86d0683a5e685c19d98d119fa6974f0f2479",
            f"{UCI}/statlog/satimage/sat.tst",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        x, y, train = join(read_table(raw["sat.trn"], None), read_table(raw["sat.tst"], None))
        return x, np.searchsorted([1, 2, 3, 4, 5, 7], y), train
