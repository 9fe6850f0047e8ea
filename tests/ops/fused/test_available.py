import importlib
import importlib.util

import pytest
import torch

from pyg_relational.ops.fused import available
from tests.device import Counts, pretend


@pytest.fixture
def is_fused(monkeypatch):
    """Of the module imported anew, with or without triton and the variable."""

    def imported(installed=True, variable=None):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
        if variable is None:
            monkeypatch.delenv("PYG_RELATIONAL_FUSED", raising=False)
        else:
            monkeypatch.setenv("PYG_RELATIONAL_FUSED", variable)
        return importlib.reload(available).is_fused

    yield imported
    monkeypatch.undo()
    importlib.reload(available)


@pytest.mark.parametrize(
    ("installed", "variable", "fused"),
    [(True, None, True), (True, "1", True), (True, "0", False), (False, "1", False)],
)
def test_kernels_run_on_cuda_unless_they_are_turned_off(is_fused, installed, variable, fused):
    f = is_fused(installed, variable)
    with Counts():
        x = pretend(torch.ones(2))
        assert f(x, x) == fused
        assert not f(x, torch.ones(2))
        assert not f(x, pretend(torch.ones(0)))
        assert not f(pretend(torch.ones(2, dtype=torch.float64)))
