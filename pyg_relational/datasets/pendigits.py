"""PenDigits."""

from collections.abc import Mapping

from pyg_relational.datasets.base import ClassificationDataset, Parsed, join
from pyg_relational.datasets.raw import RawFile
from pyg_relational.datasets.table import UCI, read_table

__all__ = ["PenDigits"]


class PenDigits(ClassificationDataset):
    """Handwritten digits as eight points of the pen: 10,992 x 16 in [0, 1], 10 classes.

    Coordinates are x1, y1, ..., x8, y8, published as integers in 0..100. 7,494 training rows;
    3,498 test rows by other writers. `Source, 10.24432/C5MG6K
    <https://archive.ics.uci.edu/dataset/81>`_, CC BY 4.0.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> dataset = PenDigits("datasets")
    >>> dataset[0]
    Data(x=[10992, 16], y=[10992], train_mask=[10992], test_mask=[10992])
    >>> x, y = dataset.split("test")
    >>> x.shape, dataset.num_classes
    (torch.Size([3498, 16]), 10)
    """

    folder = "pendigits"
    class_count = 10
    maximum = 100
    files = (
        RawFile(
            "pendigits.tra",
            "e2b9eb9f0d0467e2b64a4816a3420edf2b8043447576f4b84337aba44a9f97d3",
            f"{UCI}/pendigits/pendigits.tra",
        ),
        RawFile(
            "pendigits.tes",
            "8bd03229c5c5291fefe43e45465dd948d2645bf23328b9d993e0b777666b2015",
            f"{UCI}/pendigits/pendigits.tes",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        return join(read_table(raw["pendigits.tra"]), read_table(raw["pendigits.tes"]))
