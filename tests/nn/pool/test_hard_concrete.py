import pytest
import torch

from pyg_relational.nn.pool.hard_concrete import hard_concrete


def test_hard_concrete_has_the_distribution_of_the_paper():
    logits = torch.full((100_000,), 1.0, dtype=torch.float64)
    gate = hard_concrete(logits, generator=torch.Generator().manual_seed(0))
    # P(gate = 0) = sigma(beta log(-gamma/zeta) - log alpha), eq. 12; P(gate = 1) by symmetry
    zero = torch.sigmoid(2 / 3 * torch.tensor(0.1 / 1.1).log() - 1)
    one = torch.sigmoid(2 / 3 * torch.tensor(0.1 / 1.1).log() + 1)
    assert (gate == 0).double().mean().item() == pytest.approx(zero.item(), abs=0.005)
    assert (gate == 1).double().mean().item() == pytest.approx(one.item(), abs=0.005)
    logits = torch.linspace(-5, 5, 11)
    expected = (torch.sigmoid(logits) * 1.2 - 0.1).clip(0, 1)
    torch.testing.assert_close(hard_concrete(logits, noise=False), expected)
