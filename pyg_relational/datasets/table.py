"""Tables of numbers in text, as the UCI Machine Learning Repository has them."""

import io

import numpy as np
from numpy.typing import NDArray

__all__ = ["UCI", "read_table"]

UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases"


def read_table(
    content: bytes, delimiter: str | None = ","
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    r"""All columns but the last, and the last, of a table of integers in 0..255.

    >>> read_table(b"0,100,7\n3,4,1\n")[1].tolist()
    [7, 1]
    """
    table = np.loadtxt(io.BytesIO(content), dtype=np.uint8, delimiter=delimiter, ndmin=2)
    return table[:, :-1], table[:, -1]
