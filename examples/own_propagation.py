"""A layer of your own: an equation that is not in the library, solved and differentiated by it."""

import torch
from torch import Tensor

from pyg_relational.nn import propagation
from pyg_relational.transforms import knn_graph

torch.manual_seed(0)
y = torch.arange(60) % 2
x = (torch.randn(60, 2) + 1.5 * y[:, None]).requires_grad_()
mask = torch.arange(60) < 6
tau = torch.tensor(0.1, requires_grad=True)


def phi(q: Tensor, w: Tensor, i: Tensor, j: Tensor, tau: Tensor) -> Tensor:
    """Flux of an edge: large differences flow faster."""
    return w * (q + q**3)


def sigma(u: Tensor, i: Tensor, tau: Tensor) -> Tensor:
    """What a node loses."""
    return tau * u + u**3


edge_index, edge_weight = knn_graph(x, k=8)
u = propagation(edge_index, edge_weight, y, mask, phi=phi, sigma=sigma, parameters=(tau,))
loss = -(u[~mask].gather(1, y[~mask, None]).clamp(min=0) + 1e-8).log().mean()
of_tau, of_x = torch.autograd.grad(loss, (tau, x))  # exact: to the features through the weights

accuracy = (u.argmax(1) == y)[~mask].float().mean()
print(f"accuracy {accuracy.item():.2f}, gradient of tau {of_tau.item():+.3f}")
print(f"norm of the features' gradient {of_x.norm().item():.4f}")
