import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import effective_rank


@settings(deadline=None)
@given(values=st.lists(st.floats(0.1, 10), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_effective_rank_is_that_of_the_singular_values(values, seed):
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        torch.linalg.qr(torch.randn(7, len(values), generator=generator, dtype=torch.float64))[0]
        for _ in range(2)
    )
    p = [value / sum(values) for value in values]
    expected = math.exp(-sum(q * math.log(q) for q in p))
    x = left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T
    assert effective_rank(x).item() == pytest.approx(expected, rel=1e-9)
    assert effective_rank(3 * x.T).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: effective_rank(torch.zeros(2, 2)), ValueError, "x must not be zero"),
        (lambda: effective_rank(torch.ones(2).long()), TypeError, "x must be floating point"),
    ],
)
def test_rejects_what_has_no_value(call, error, message):
    with pytest.raises(error, match=message):
        call()
