import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn.pool.soft_assignment import check_assignment, soft_assignment


def features(n, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def test_soft_assignment_is_its_formula_and_keeps_its_digits_far_from_the_origin():
    x, mu = features(7), features(4, seed=1)
    expected = (-torch.cdist(x, mu).square() / 0.3).softmax(1)
    torch.testing.assert_close(soft_assignment(x, mu, 0.3), expected)
    far = soft_assignment((x + 512).float(), (mu + 512).float(), 0.3)
    torch.testing.assert_close(far, expected.float(), atol=2e-3, rtol=0)


def test_several_partitions_are_assigned_each_for_itself():
    x, mu = features(7), features(8, seed=1).view(2, 4, 3)
    c = soft_assignment(x, mu, 0.3)
    assert c.shape == (7, 2, 4)
    for p in range(2):
        torch.testing.assert_close(c[:, p], soft_assignment(x, mu[p], 0.3))


def test_derivatives():
    x, mu = features(5).requires_grad_(), features(6, seed=5).view(2, 3, 3).requires_grad_()
    assert gradcheck(lambda x, mu: soft_assignment(x, mu, 0.8), (x, mu))
    assert gradgradcheck(lambda x, mu: soft_assignment(x, mu, 0.8), (x, mu))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (torch.ones(3, 1), r"assignment must have shape \[2, k\]"),
        (torch.ones(2, 3, 0), r"got \[2, 3, 0\]"),
        (torch.ones(2, 2, 2), "rows that sum to 1"),
        (torch.tensor([[2.0, -1.0]] * 2), "got min -1"),
    ],
)
def test_what_is_no_assignment_is_refused(assignment, message):
    with pytest.raises(ValueError, match=message):
        check_assignment(assignment, 2)


@pytest.mark.parametrize(
    ("centroids", "error", "message"),
    [
        (
            torch.ones(3),
            ValueError,
            r"centroids must have shape \[k, d\] or \[P, k, d\], got \[3\]",
        ),
        ([[1.0]], TypeError, "centroids must be a Tensor, got list"),
    ],
)
def test_what_are_no_centroids_is_refused(centroids, error, message):
    with pytest.raises(error, match=message):
        soft_assignment(torch.ones(2, 3), centroids, 1.0)
