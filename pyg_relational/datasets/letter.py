"""Letter Recognition."""

import io
from collections.abc import Mapping

import numpy as np

from pyg_relational.datasets.base import ClassificationDataset, Parsed
from pyg_relational.datasets.raw import RawFile
from pyg_relational.datasets.table import UCI

__all__ = ["Letter"]


class Letter(ClassificationDataset):
    """Printed capital letters as 16 moments and edge counts: 20,000 x 16 in [0, 1], 26 classes.

    Published as integers in 0..15. The usual split: the first 16,000 rows are training, the last
    4,000 test. `Source, 10.24432/C5ZP40 <https://archive.ics.uci.edu/dataset/59>`_, CC BY 4.0.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> Letter("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([20000, 16])
    """

    folder = "letter"
    class_count = 26
    maximum = 15
    files = (
        RawFile(
            "letter-recognition.data",
            "2b89f3602cf768d3c8355267d2f13f2417809e101fc2b5ceee10db19a60de6e2",
            f"{UCI}/letter-recognition/letter-recognition.data",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        stream = io.BytesIO(raw["letter-recognition.data"])
        table = np.loadtxt(stream, np.uint8, delimiter=",", converters={0: lambda c: ord(c) - 65})
        return table[:, 1:], table[:, 0], np.arange(len(table)) < 16000
