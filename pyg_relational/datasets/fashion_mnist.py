"""Fashion-MNIST."""

from pyg_relational.datasets.mnist import MNIST
from pyg_relational.datasets.raw import RawFile

__all__ = ["FashionMNIST"]

_ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


class FashionMNIST(MNIST):
    """Pictures of clothes in MNIST's format: 70,000 x 1 x 28 x 28 in [0, 1], 10 classes.

    60,000 training and 10,000 test images, published as bytes; 7,000 a class. H. Xiao, K. Rasul,
    R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
    algorithms", `arXiv:1708.07747 <https://arxiv.org/abs/1708.07747>`_, MIT licence.

    Args, Shapes and errors are those of ``ClassificationDataset``.

    >>> FashionMNIST("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([70000, 1, 28, 28])
    """

    folder = "fashion-mnist"
    files = (
        RawFile(
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            f"{_ADDRESS}/train-images-idx3-ubyte.gz",
        ),
        RawFile(
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            f"{_ADDRESS}/train-labels-idx1-ubyte.gz",
        ),
        RawFile(
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            f"{_ADDRESS}/t10k-images-idx3-ubyte.gz",
        ),
        RawFile(
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            f"{_ADDRESS}/t10k-labels-idx1-ubyte.gz",
        ),
    )
