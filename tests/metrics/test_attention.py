import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import attention_entropy, class_attention


def distributions(n, proxies, heads, seed):
    scores = torch.randn(n, proxies, heads, generator=torch.Generator().manual_seed(seed))
    return (3 * scores).double().softmax(1)


@settings(deadline=None)
@given(n=st.integers(1, 4), proxies=st.integers(2, 5), heads=st.integers(1, 3))
def test_attention_entropy_is_the_mean_over_samples_and_heads(n, proxies, heads):
    weights = distributions(n, proxies, heads, n)
    literal = [
        -sum(a * math.log(a) for a in weights[i, :, h].tolist()) / math.log(proxies)
        for i in range(n)
        for h in range(heads)
    ]
    assert attention_entropy(weights).item() == pytest.approx(sum(literal) / len(literal))
    assert attention_entropy(weights[:, :, 0]).item() == pytest.approx(
        sum(literal[::heads]) / n, abs=1e-12
    )


@settings(deadline=None)
@given(seed=st.integers(0, 99))
def test_class_attention_is_the_sum_over_proxies_and_the_mean_over_samples(seed):
    generator = torch.Generator().manual_seed(seed)
    weights = distributions(9, 6, 2, seed)
    y = torch.randint(-1, 3, (9,), generator=generator)
    proxy_y = torch.randint(-1, 4, (6,), generator=generator)
    got = class_attention(weights, y, proxy_y, 4)
    for a in range(4):
        mine = [i for i in range(9) if y[i] == a]
        for b in range(4):
            of_b = [j for j in range(6) if proxy_y[j] == b]
            total = sum(weights[i, j, h].item() for i in mine for j in of_b for h in range(2))
            if mine:
                assert got[a, b].item() == pytest.approx(total / (2 * len(mine)), abs=1e-12)
            else:
                assert got[a, b].isnan()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: attention_entropy([0.5, 0.5]), TypeError, "floating-point Tensor, got list"),
        (lambda: attention_entropy(torch.ones(2, 1)), ValueError, r"two proxies .* \[2, 1\]"),
        (
            lambda: attention_entropy(torch.ones(2)),
            ValueError,
            r"\[n, P\] or \[n, P, H\], got \[2\]",
        ),
        (lambda: attention_entropy(torch.ones(2, 3)), ValueError, "sums off by 2"),
        (lambda: attention_entropy(torch.tensor([[2.0, -1.0]])), ValueError, "got min -1"),
        (lambda: attention_entropy(torch.full((1, 2), math.nan)), ValueError, "sums off by nan"),
        (
            lambda: class_attention(torch.eye(2), torch.arange(2), torch.arange(2) + 1, 2),
            ValueError,
            r"proxy_y must be in \[-1, 2\), got 1 to 2",
        ),
        (
            lambda: class_attention(torch.eye(2), torch.arange(3), torch.arange(2), 2),
            ValueError,
            r"y must have shape \[2\]",
        ),
    ],
)
def test_rejects_what_has_no_value(call, error, message):
    with pytest.raises(error, match=message):
        call()
