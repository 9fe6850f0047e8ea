"""That ``--device`` selects, and that ``--place`` moves what tests make: the rest of the suite on a card."""

import subprocess
import sys
from pathlib import Path

import torch

from pyg_relational.nn import ProxyPoolConv
from tests.device import Counts
from tests.placed import Placed

ROOT = Path(__file__).parents[1]
CUDA = torch.device("cuda", 0)


def test_what_a_test_makes_is_placed_and_what_the_package_makes_is_not():
    with Counts(), Placed(CUDA):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
        conv = ProxyPoolConv(3, 2)
        assert x.is_cuda
        assert x.is_leaf
        assert x.requires_grad
        assert not torch.zeros(2, device="cpu").is_cuda
        assert all(p.is_cuda for p in conv.parameters())
        assert torch.tensor([1, 2]).is_cuda
        out = conv(x, x)
        assert out.is_cuda
        values = x.value.detach()
    assert torch.equal(values, torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))


def test_only_tests_that_take_the_device_are_selected():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider"]
    files = ["tests/ops/graph/test_edge_dot.py", "tests/nn/loss/test_scan.py"]
    done = subprocess.run(
        [*command, "--device=cuda", *files], cwd=ROOT, capture_output=True, text=True
    )
    names = [line for line in done.stdout.splitlines() if "::" in line]
    assert any("test_edge_dot.py" in name for name in names), done.stdout
    assert any("test_scan.py" in name for name in names), done.stdout
    assert all("[cuda" in name or "-cuda" in name or "test_cuda" in name for name in names)
