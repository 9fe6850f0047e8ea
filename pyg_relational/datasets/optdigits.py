"""OptDigits."""

from collections.abc import Mapping

from pyg_relational.datasets.base import ClassificationDataset, Parsed, join
from pyg_relational.datasets.raw import RawFile
from pyg_relational.datasets.table import UCI, read_table

__all__ = ["OptDigits"]


class OptDigits(ClassificationDataset):
    """Handwritten digits, 8 x 8 counts of ink: 5,620 x 64 in [0, 1], 10 classes.

    Row-major; published as integers in 0..16. 3,823 training rows; 1,797 test rows by other
    writers (scikit-learn's ``load_digits``). `Source, 10.24432/C50P49
    <https://archive.ics.uci.edu/dataset/80>`_, CC BY 4.0.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> OptDigits("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([5620, 64])
    """

    folder = "optdigits"
    class_count = 10
    maximum = 16
    files = (
        RawFile(
            "optdigits.tra",
            "e1b683cc211604fe8fd8c4417e6a69f31380e0c61d4af22e93cc21e9257ffedd",
            f"{UCI}/optdigits/optdigits.tra",
        ),
        RawFile(
            "optdigits.tes",
            "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
            f"{UCI}/optdigits/optdigits.tes",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        return join(read_table(raw["optdigits.tra"]), read_table(raw["optdigits.tes"]))
