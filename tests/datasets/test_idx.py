import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pyg_relational.datasets.idx import read_idx


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, kind, array.ndim]) + sizes + array.tobytes()


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4), elements=st.integers(0, 255)))
def test_round_trip(array):
    assert np.array_equal(read_idx(gzip.compress(idx(array))), array)


def test_other_type_of_values():
    with pytest.raises(ValueError, match="00 00 08, got 00 00 0d"):
        read_idx(gzip.compress(idx(np.zeros(4, np.float32), 0x0D)))


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"\0"])
def test_other_size_than_stated(damage):
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        read_idx(gzip.compress(damage(idx(np.zeros((2, 3), np.uint8)))))
