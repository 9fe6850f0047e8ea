"""The IDX format of MNIST and its kin, gzipped."""

import gzip

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_idx"]


def read_idx(content: bytes) -> NDArray[np.uint8]:
    """An array of bytes in IDX format: 0, 0, type 8, dimensions, big-endian sizes, values.

    Raises:
        ValueError: The file isn't IDX with unsigned bytes, or its size isn't what it says.

    >>> read_idx(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 6]))).tolist()
    [5, 6]
    """
    plain = gzip.decompress(content)
    if plain[:3] != b"\x00\x00\x08":
        raise ValueError(f"an IDX file of bytes must start with 00 00 08, got {plain[:3].hex(' ')}")
    start = 4 + 4 * plain[3]
    shape = tuple(np.frombuffer(plain[4:start], dtype=">u4").tolist())
    values = np.frombuffer(plain[start:], dtype=np.uint8)
    if values.size != np.prod(shape):
        raise ValueError(
            f"an IDX file of shape {shape} must have as many values, got {values.size}"
        )
    return values.reshape(shape)
