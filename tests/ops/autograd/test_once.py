import pytest
import torch

from pyg_relational.ops.autograd.once import scaled


@pytest.mark.parametrize("keep_graph", [True, False])
def test_is_the_product_with_and_without_a_graph(keep_graph):
    with torch.set_grad_enabled(keep_graph):
        found = scaled(torch.tensor([2.0, -1.0]), torch.tensor(3.0), torch.ones(2))
    assert found.tolist() == [6.0, -3.0]


def test_its_derivative_raises():
    x = torch.ones(2, requires_grad=True)
    product = scaled(torch.ones(2), torch.tensor(3.0), x)
    with pytest.raises(RuntimeError, match="no second derivative"):
        product.sum().backward()
