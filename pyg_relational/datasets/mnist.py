"""MNIST."""

from collections.abc import Mapping

from pyg_relational.datasets.base import Array, ClassificationDataset, Parsed, join
from pyg_relational.datasets.idx import read_idx
from pyg_relational.datasets.raw import RawFile

__all__ = ["MNIST"]

_ADDRESS = "https://ossci-datasets.s3.amazonaws.com/mnist"


class MNIST(ClassificationDataset):
    """Handwritten digits: 70,000 x 1 x 28 x 28 in [0, 1], 10 classes.

    60,000 training and 10,000 test images, published as bytes. Y. LeCun, L. Bottou, Y. Bengio,
    P. Haffner, "Gradient-based learning applied to document recognition", `Proc. IEEE 86(11),
    1998 <https://doi.org/10.1109/5.726791>`_. Downloaded from PyTorch's copy, as the original
    address no longer serves it.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> MNIST("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([70000, 1, 28, 28])
    """

    folder = "mnist"
    class_count = 10
    files = (
        RawFile(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            f"{_ADDRESS}/train-images-idx3-ubyte.gz",
        ),
        RawFile(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            f"{_ADDRESS}/train-labels-idx1-ubyte.gz",
        ),
        RawFile(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            f"{_ADDRESS}/t10k-images-idx3-ubyte.gz",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""

        def part(name: str) -> tuple[Array, Array]:
            images = read_idx(raw[f"{name}-images-idx3-ubyte.gz"])
            return images[:, None], read_idx(raw[f"{name}-labels-idx1-ubyte.gz"])

        return join(part("train"), part("t10k"))
