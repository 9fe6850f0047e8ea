import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_relational.cluster.contract import contract
from pyg_relational.ops import modularity


@given(seed=st.integers(0, 1000), loops=st.booleans())
def test_modularity_stays(seed, loops):
    generator = torch.Generator().manual_seed(seed)
    n, k = 12, 5
    upper = torch.rand(n, n, generator=generator).triu(0 if loops else 1)
    upper = upper * (torch.rand(n, n, generator=generator) < 0.4)
    dense = upper + upper.triu(1).T
    edges = dense.nonzero().T
    weight = dense[edges[0], edges[1]].double()
    groups = torch.randint(k, (n,), generator=generator)
    groups = groups.unique(return_inverse=True)[1]
    of_group = torch.randint(3, (int(groups.max()) + 1,), generator=generator)
    between, total = contract(edges, weight[:, None], groups)
    expected = modularity(edges, weight, of_group[groups])
    torch.testing.assert_close(modularity(between, total[:, 0], of_group), expected)


def test_kinds_of_weights_do_not_mix():
    path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    index, total = contract(path, torch.tensor([[1.0, 5.0]]).expand(4, 2), torch.tensor([0, 0, 1]))
    assert index.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert total.tolist() == [[1.0, 5.0]] * 3
