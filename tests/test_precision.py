"""Every loss and head trains in mixed precision, and its value there is that of float32 up to the inputs' rounding.

On the CPU a few steps; all 200, as on CUDA, with ``PYG_RELATIONAL_STEPS=200``.
"""

import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._pytree import tree_leaves

from tests.test_device import CALLS, C, D, Inputs, inputs

ROWS = 80
STEPS = {"cpu": int(os.environ.get("PYG_RELATIONAL_STEPS", "12")), "cuda": 200}
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)
TRAINED = list(CALLS)[: list(CALLS).index("SparseDMoN") + 1]
GRAPHS = ("knn", "dense_graph", "dissimilarity_graph", "label_graph")
TRAINED = [name for name in TRAINED if not name.startswith(GRAPHS)]


class Training(nn.Module):
    """A network whose features, scores, edge weights and proxies a function is called with; the modules it makes."""

    def __init__(self, name: str, device: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.call, self.device = CALLS[name], device
        self.data = Inputs(*(t.detach().to(device) for t in inputs(ROWS)))
        self.body = nn.Sequential(nn.Linear(D, 32), nn.ReLU(), nn.Linear(32, D))
        self.head, self.proxies = nn.Linear(D, C), nn.Linear(D, D)
        self.made: nn.Module | None = None
        self.to(device)

    def place(self, module: nn.Module) -> nn.Module:
        """The first that was made is kept and trained."""
        self.made = self.made or module.to(self.device)
        return self.made

    def forward(self) -> tuple[Tensor, Tensor]:
        """What is minimised, and the function's own part."""
        d = self.data
        x = self.body(d.x)
        z, (i, j) = self.head(x), d.edges
        weight = torch.exp(-(x[i] - x[j]).square().mean(1) / 8)
        proxies = self.proxies(d.proxies)
        torch.manual_seed(0)
        given = Inputs(x, z, d.y, d.mask, d.edges, weight, proxies, d.proxy_y, d.clusters)
        parts = [part for part in tree_leaves(self.call(given, self.place)) if part.requires_grad]
        own = sum(part if part.dim() == 0 else part.float().square().mean() for part in parts)
        return cross_entropy(z.float(), d.y) + own, own


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.filterwarnings("ignore")
def test_training_in_mixed_precision(name, device, dtype):
    model: Any = Training(name, device)
    exact = float(model()[1].detach())
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10, enabled=dtype == torch.float16)
    totals, skipped = [], 0
    for step in range(STEPS[device]):
        with torch.autocast(device, dtype):
            total, own = model()
        if not step:
            assert own.dtype == torch.float32
            assert own.item() == pytest.approx(exact, rel=3e-2, abs=3e-3)
        totals.append(total.item())
        optimiser.zero_grad()
        scaler.scale(total).backward()
        if dtype == torch.bfloat16:
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(g.isfinite().all() for g in grads)
        before = scaler.get_scale()
        scaler.step(optimiser)
        scaler.update()
        skipped += scaler.get_scale() < before
    assert torch.tensor(totals).isfinite().all()
    assert all(p.isfinite().all() for p in model.parameters())
    assert sum(totals[-5:]) < sum(totals[:5])
    assert skipped < 3
