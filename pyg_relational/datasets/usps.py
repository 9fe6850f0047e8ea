"""USPS."""

import io
from collections.abc import Mapping

from pyg_relational.datasets.base import Array, ClassificationDataset, Parsed, join
from pyg_relational.datasets.raw import RawFile

__all__ = ["USPS"]


class USPS(ClassificationDataset):
    """Handwritten digits of US zip codes: 9,298 x 1 x 16 x 16 in [0, 1], 10 classes.

    7,291 training and 2,007 test images, the split of LeCun et al. (1990). The values are those
    of ``usps.h5``, which are (v + 1) / 2 of the original -1..1. Its publisher offers only text
    files, so a missing ``usps.h5`` is downloaded from a public copy, checked by sha256 as any
    other. J. J. Hull, "A database for handwritten text recognition research", `IEEE TPAMI 16(5),
    1994 <https://doi.org/10.1109/34.291440>`_.

    Args, Shapes and errors are those of ``ClassificationDataset``. Needs h5py.

    >>> USPS("datasets")[0].x.shape  # doctest: +SKIP
    torch.Size([9298, 1, 16, 16])
    """

    folder = "usps"
    class_count = 10
    files = (
        RawFile(
            "usps.h5",
            "734f88c541104a956d88be2c95d03b4a463ffd74ccc2ba9c80841fb98e3fcb36",
            "https://raw.githubusercontent.com/niuers/Learning-From-Data-A-Short-Course/"
            "879a698b960e5867f7c2b11f8938fa89c3d21839/data/usps.h5",
        ),
    )

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Raw files to x, y and train mask."""
        try:
            import h5py
        except ImportError as error:
            raise ImportError("USPS needs h5py: pip install h5py") from error

        def part(name: str) -> tuple[Array, Array]:
            return file[name]["data"][:].reshape(-1, 1, 16, 16), file[name]["target"][:]

        with h5py.File(io.BytesIO(raw["usps.h5"]), "r") as file:
            return join(part("train"), part("test"))
