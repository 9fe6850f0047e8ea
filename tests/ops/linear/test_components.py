import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from pyg_relational.ops import both_directions
from pyg_relational.ops.linear.components import ground, in_reach
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from tests.device import Counts, pretend


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.floats(0, 0.4), st.integers(0, 2**31))
def test_what_floats_is_a_component_with_neither_a_label_nor_a_shift(n, share, seed):
    g = torch.Generator().manual_seed(seed)
    adjacent = (torch.rand(n, n, generator=g) < share).triu(1)
    edges, pair = both_directions(adjacent.nonzero().T, n)
    weight = (torch.rand(int(adjacent.sum()), generator=g).double() + 0.5)[pair]
    fixed, shifted = torch.rand(2, n, generator=g) < 0.2
    found = ground(ShiftedLaplacian(edges, weight, shifted.double(), fixed))
    component = connected_components(adjacent.numpy(), directed=False)[1].tolist()
    held = {c for c, holds in zip(component, (fixed | shifted).tolist(), strict=True) if holds}
    assert found.floating.tolist() == [c not in held for c in component]
    assert found.floats == bool(found.floating.any())
    assert not found.weak
    x = torch.randn(n, 2, generator=g)
    expected = x.clone()
    for c in set(component) - held:
        members = torch.tensor(component) == c
        expected[members] -= x[members].mean(0)
    torch.testing.assert_close(found.centred(x), expected)


@pytest.mark.parametrize(("bridge", "weak"), [(0.1, False), (1e-5, True)])
def test_a_part_behind_a_light_edge_is_held_weakly(bridge, weak):
    edges, pair = both_directions(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    weight = torch.tensor([1.0, bridge, 1.0]).double()[pair]
    found = ground(ShiftedLaplacian(edges, weight, torch.zeros(4).double(), torch.arange(4) == 0))
    assert found.weak == weak
    assert not found.floats


@pytest.mark.parametrize("held", ["nothing", "a label", "a label of each", "shifts"])
def test_a_device_finds_what_the_cpu_finds(held):
    edges, pair = both_directions(torch.tensor([[0, 1, 3, 4], [1, 2, 4, 5]]), 7)
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0]).double()[pair]
    fixed = torch.zeros(7, dtype=torch.bool)
    fixed[{"a label": [0], "a label of each": [0, 3, 6]}.get(held, [])] = True
    shift = torch.full((7,), 0.25 if held == "shifts" else 0.0).double()
    wanted = ground(ShiftedLaplacian(edges, weight, shift, fixed))
    with Counts():
        given = map(pretend, (edges, weight, shift, fixed))
        found = ground(ShiftedLaplacian(*given))
        assert torch.equal(found.component.cpu(), wanted.component)
        assert torch.equal(found.floating.cpu(), wanted.floating)
    assert (found.weak, found.floats) == (wanted.weak, wanted.floats)
    share = {"a label of each": 0.0, "shifts": 0.25 / 3.25, "nothing": math.inf}.get(held)
    assert found.share == (share if share is None else pytest.approx(share))


@pytest.mark.parametrize(("steps", "sure"), [(8, True), (9, False)])
def test_all_are_in_reach_of_a_few_steps(steps, sure):
    n = steps + 1
    edges, _ = both_directions(torch.stack([torch.arange(n - 1), torch.arange(1, n)]), n)
    one = torch.ones(edges.shape[1]).double()
    operator = ShiftedLaplacian(edges, one, torch.ones(n).double(), torch.zeros(n).bool())
    assert in_reach(operator, torch.arange(n) == 0) == sure
