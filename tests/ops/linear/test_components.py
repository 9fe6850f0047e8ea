import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from pyg_relational.ops import both_directions
from pyg_relational.ops.linear.components import ground
from pyg_relational.ops.linear.operator import ShiftedLaplacian


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
