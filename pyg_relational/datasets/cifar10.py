"""CIFAR-10."""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyg_relational.datasets.base import Array, Parsed, PartialDataset, join
from pyg_relational.datasets.raw import RawFile

__all__ = ["CIFAR10", "read_batch"]

_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_NAMES = {
    "data_batch_1": "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd",
    "data_batch_2": "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8",
    "data_batch_3": "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9",
    "data_batch_4": "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b",
    "data_batch_5": "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154",
    "test_batch": "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
}


class CIFAR10(PartialDataset):
    """Colour photographs of animals and vehicles: 60,000 x 3 x 32 x 32 in [0, 1], 10 classes.

    Five batches of 10,000 training images and 10,000 test images, published as bytes in red,
    green, blue. With ``allow_partial=True`` the test batch and any of the training batches on disk
    will do. A. Krizhevsky, `"Learning multiple layers of features from tiny images"
    <https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf>`_, University of Toronto, 2009.

    Args, Shapes and errors are those of ``PartialDataset``. All of it takes 740 MB in memory.

    >>> CIFAR10("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([60000, 3, 32, 32])
    """

    folder = "cifar-10-batches-py"
    class_count = 10
    files = tuple(
        RawFile(name, sha, _ADDRESS, f"cifar-10-batches-py/{name}") for name, sha in _NAMES.items()
    )

    @staticmethod
    def usable(found: set[str]) -> set[str]:
        """All, if the test batch and a training batch are there."""
        return found if "test_batch" in found and len(found) > 1 else set()

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        batches = [read_batch(raw[name]) for name in sorted(raw) if name != "test_batch"]
        images, labels = zip(*batches, strict=True)
        return join((np.concatenate(images), np.concatenate(labels)), read_batch(raw["test_batch"]))


def read_batch(content: bytes) -> tuple[Array, Array]:
    """Images and labels of a batch in CIFAR's Python format, with nothing but arrays unpickled.

    Raises:
        pickle.UnpicklingError: The pickle names anything else.
    """
    batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    return batch[b"data"].reshape(-1, 3, 32, 32), np.array(batch[b"labels"])


class _ArrayUnpickler(pickle.Unpickler):
    allowed = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(
                f"a batch must name nothing but numpy's array types, got {module}.{name}"
            )
        return self.allowed[module, name]
