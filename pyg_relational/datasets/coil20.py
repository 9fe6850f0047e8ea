"""COIL-20."""

import io
from collections.abc import Mapping

import numpy as np

from pyg_relational.datasets.base import ClassificationDataset, Parsed
from pyg_relational.datasets.raw import RawFile

__all__ = ["COIL20"]


class COIL20(ClassificationDataset):
    """20 objects on a turntable, 72 views each: 1,440 x 1 x 32 x 32 in [0, 1], 20 classes.

    Rows are ordered by object, then by angle in steps of 5 degrees. There is no official split;
    here every 6th view (0, 30, 60, ... degrees) is training: 240 / 1,200. The 32 x 32 version
    that clustering papers use, as distributed with scikit-feature. S. A. Nene, S. K. Nayar,
    H. Murase, "Columbia Object Image Library (COIL-20)", `CUCS-005-96, 1996
    <https://www.cs.columbia.edu/CAVE/software/softlib/coil-20.php>`_, for non-commercial research.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> COIL20("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([1440, 1, 32, 32])
    """

    folder = "coil20"
    class_count = 20
    files = (
        RawFile(
            "COIL20.mat",
            "4595ebdda07f47b0eb014fcfaddc22b452f9aed9c1d9261a0d5bc336c1ee1344",
            "https://raw.githubusercontent.com/jundongl/scikit-feature/"
            "48cffad4e88ff4b9d2f1c7baffb314d1b3303792/skfeature/data/COIL20.mat",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        from scipy.io import loadmat  # here, as it takes as long as the rest

        table = loadmat(io.BytesIO(raw["COIL20.mat"]))  # type: ignore[arg-type]
        columns_first = table["X"].astype(np.float32).reshape(-1, 1, 32, 32)
        y = table["Y"].ravel().astype(np.int64) - 1
        return columns_first.swapaxes(2, 3), y, np.arange(len(y)) % 6 == 0
