"""Small published data sets as PyG data: features, labels and the split, checked and cached."""

from pyg_relational.datasets.cifar10 import CIFAR10
from pyg_relational.datasets.coil20 import COIL20
from pyg_relational.datasets.emnist_letters import EMNISTLetters
from pyg_relational.datasets.fashion_mnist import FashionMNIST
from pyg_relational.datasets.letter import Letter
from pyg_relational.datasets.mnist import MNIST
from pyg_relational.datasets.optdigits import OptDigits
from pyg_relational.datasets.pendigits import PenDigits
from pyg_relational.datasets.satimage import Satimage
from pyg_relational.datasets.usps import USPS

__all__ = [
    "CIFAR10",
    "COIL20",
    "MNIST",
    "USPS",
    "EMNISTLetters",
    "FashionMNIST",
    "Letter",
    "OptDigits",
    "PenDigits",
    "Satimage",
]
