"""A training step of graph consistency and attention to proxies can be captured in a CUDA graph: by the rule.

What is captured must not wait for the device and must be the same operators of the same sizes for all data.
"""

from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.nn import (
    CNN2Graph,
    CNN2GraphLoss,
    GraphConsistencyLoss,
    ProxyAttentionConv,
    ProxyGATv2Conv,
    ProxyPoolConv,
)
from pyg_relational.ops.checks import at_least, finite, settle
from pyg_relational.ops.pairs import consistency
from pyg_relational.ops.pairs.consistency import PairWeights, pair_consistency
from tests.device import Counts, pretend

B, D, C = 24, 8, 3
CONVS = {
    "gatv2": lambda: ProxyGATv2Conv(D, 4, heads=2, self_loop="per_set", dropout=0.25),
    "attention": lambda: ProxyAttentionConv(D, 4, heads=2, self_loop="residual"),
    "pool": lambda: ProxyPoolConv(D, D, "max"),
}


class Operators(Counts):
    """The same, and every operator with the shapes that it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[Any] = []

    def _count(self, func: Any, name: str, args: Any, tensors: list[Tensor], *rest: Any) -> None:
        self.called.append((str(func), [tuple(t.shape) for t in tensors]))
        super()._count(func, name, args, tensors, *rest)


class Model(nn.Module):
    """Backbone, attention to two sets of proxies, classifier, and the loss of a batch."""

    def __init__(self, conv: str, method: str = "auto") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.conv = nn.Linear(5, D), CONVS[conv]()
        self.sets = nn.ParameterList([torch.randn(7, D), torch.randn(4, D)])
        self.classifier, self.consistency = nn.Linear(D, C), GraphConsistencyLoss(method=method)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.backbone(x)
        z = self.classifier(self.conv(h, tuple(self.sets)))
        return cross_entropy(z, y, ignore_index=-1) + self.consistency(h, z, y)


class Whole(nn.Module):
    """CNN2Graph with its loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model, self.loss = CNN2Graph(nn.Linear(5, D), D, C), CNN2GraphLoss()
        self.model.sets.choose(torch.randn(9, 5), torch.arange(9) % C)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.loss(self.model(x), y)


MODELS = {
    **{name: (lambda name=name: Model(name)) for name in CONVS},
    "tiled": lambda: Model("attention", "tiled"),
    "CNN2Graph": Whole,
}


def batch(seed: int) -> tuple[Tensor, Tensor]:
    """Other labels and numbers of them for every seed."""
    g = torch.Generator().manual_seed(seed)
    return torch.randn(B, 5, generator=g), torch.randint(-1, C, (B,), generator=g)


@pytest.fixture
def capturing(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)


def step(model: nn.Module, x: Tensor, y: Tensor, optimiser: Any) -> Operators:
    with Operators() as seen:
        optimiser.zero_grad()
        model(x, y).backward()
        optimiser.step()
    return seen


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize("name", MODELS)
def test_a_step_waits_for_nothing_and_is_the_same_for_all_data(name):
    with Counts():
        model = pretend(MODELS[name]())
        batches = [tuple(map(pretend, batch(seed))) for seed in range(3)]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    _, first, second = (step(model, x, y, optimiser) for x, y in batches)
    assert not first.reads + second.reads
    assert not first.copies + second.copies
    assert first.called == second.called
    assert first.launches.total() > 50


@torch._dynamo.config.patch(error_on_recompile=True)
@pytest.mark.parametrize("name", [*CONVS, "tiled"])
def test_a_step_is_one_graph_of_the_compiler(name):
    torch._dynamo.reset()
    model = MODELS[name]().eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for seed in range(2):
        x, y = batch(seed)
        found, wanted = (
            torch.autograd.grad(f(x, y), list(model.parameters())) for f in (compiled, model)
        )
        torch.testing.assert_close(found, wanted)


@pytest.mark.usefixtures("capturing")
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.tensor([[1.0, torch.nan]]), torch.tensor([0]), "x must be finite"),
        (torch.ones(1, 2), torch.tensor([-2]), "y must be >= -1"),
    ],
)
def test_checks_are_asserted_on_the_device_while_capturing(x, y, message):
    with pytest.raises(RuntimeError, match=message):
        settle(finite(x, "x"), at_least(y, -1, "y"))
    assert settle(finite(torch.ones(1, 2), "x"), at_least(torch.tensor([3]), -1, "y")) == []


def test_tiles_whose_classes_are_not_read_have_the_same_value_and_gradient(monkeypatch):
    g = torch.Generator().manual_seed(0)
    u, q = (torch.randn(23, 4, generator=g, dtype=torch.float64) for _ in "uq")
    y, weights = torch.randint(4, (23,), generator=g), PairWeights(2.0, 3.0)

    def run():
        leaves = u.clone().requires_grad_(), q.clone().requires_grad_()
        value = pair_consistency(*leaves, y, weights, tile=5)
        return value, *torch.autograd.grad(value, leaves)

    wanted = run()
    monkeypatch.setattr(consistency, "may_read", lambda: False)
    torch.testing.assert_close(run(), wanted)
