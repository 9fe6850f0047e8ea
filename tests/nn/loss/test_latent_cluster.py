import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pyg_relational.cluster import leiden
from pyg_relational.nn import latent_cluster_loss, latent_cluster_targets
from pyg_relational.ops import modularity, tangent_basis
from pyg_relational.transforms import knn_graph
from tests import oracles

F64 = torch.float64


def problem(n=40, d=3, seed=0, classes=3, clusters=5, unlabelled=0.1):
    """Clusters that agree with the classes on about two of three samples."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=g, dtype=F64)
    y = torch.randint(classes, (n,), generator=g)
    c = torch.randint(clusters, (n,), generator=g)
    c = torch.where(torch.rand(n, generator=g) < 0.5, y, c)
    y[torch.rand(n, generator=g) < unlabelled] = -1
    return z, y, c


problems = st.builds(
    problem,
    n=st.integers(1, 40),
    d=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    classes=st.integers(1, 4),
    clusters=st.integers(1, 6),
    unlabelled=st.sampled_from([0, 0.3]),
)


@pytest.fixture(scope="module")
def blobs(reference_root):
    data = np.load(reference_root / "lcc_blobs.npz")
    return {name: torch.from_numpy(data[name]) for name in data}


@pytest.mark.parametrize("targets", ["class", "cluster"])
def test_the_authors_numbers(blobs, targets):
    z, y, clusters = blobs["x"].clone().requires_grad_(), blobs["y"], blobs["y_clst"]
    loss = latent_cluster_loss(z, y, clusters, k=50, targets=targets)
    loss.backward()
    assert loss.item() == pytest.approx(0.883567, abs=1e-6)
    assert z.grad.norm().item() == pytest.approx(0.0055735, abs=1e-7)
    found = latent_cluster_targets(z, y, clusters, k=50, targets=targets)
    assert found.misclustered.equal(blobs["mc"].bool())
    assert found.label.equal(blobs["alpha"])
    assert found.index.equal(found.misclustered.nonzero()[:, 0])
    assert len(found.index) == 503


def test_leiden_on_the_binary_graph_reaches_the_authors_modularity(blobs):
    graph = knn_graph(blobs["x"], 50, kernel="binary")
    assert modularity(*graph, leiden(*graph, 5000)) >= 0.385


@settings(deadline=None, max_examples=60)
@given(problems, st.integers(1, 5), st.sampled_from(["class", "cluster"]))
def test_equals_the_literal_form(args, k, targets):
    z, y, c = args
    z.requires_grad_()
    expected = oracles.latent_cluster_targets(z.detach(), y.tolist(), c.tolist(), k, targets)
    found = latent_cluster_targets(z, y, c, k=k, targets=targets)
    assert found.index.tolist() == list(expected)
    torch.testing.assert_close(list(found.target), list(expected.values()))
    loss = latent_cluster_loss(z, y, c, k=k, targets=targets)
    literal = oracles.latent_cluster(z, expected)
    torch.testing.assert_close(loss, literal)
    if expected:
        ours, theirs = (torch.autograd.grad(x, z)[0] for x in (loss, literal))
        torch.testing.assert_close(ours, theirs)


@settings(deadline=None, max_examples=30)
@given(problems, st.integers(1, 4), st.sampled_from(["class", "cluster"]))
def test_duplicates_and_ties_go_to_the_lower_index(args, k, targets):
    z, y, c = args
    z = z.round()
    expected = oracles.latent_cluster_targets(z, y.tolist(), c.tolist(), k, targets)
    loss = latent_cluster_loss(z, y, c, k=k, targets=targets)
    torch.testing.assert_close(loss, oracles.latent_cluster(z, expected))


@settings(deadline=None, max_examples=40)
@given(problems, st.integers(1, 3), st.integers(0, 9))
def test_approximate_draws_from_every_matched_cluster(args, s, seed):
    z, y, c = args
    found = latent_cluster_targets(z, y, c, method="approximate", samples_per_cluster=s, seed=seed)
    again = latent_cluster_targets(z, y, c, method="approximate", samples_per_cluster=s, seed=seed)
    assert found.target.equal(again.target)
    every = latent_cluster_targets(z, y, c, k=1)
    assert found.index.equal(every.index)
    drawn = (found.target[:, None] == z).all(2).nonzero()[:, 1]
    assert y[drawn].equal(y[found.index])
    assert found.label[c[drawn]].equal(y[drawn])
    for cluster in c.unique():
        assert len(drawn[c[drawn] == cluster].unique()) <= s
    for i, j in zip(found.index.tolist(), drawn.tolist(), strict=True):
        clusters_of_class = (found.label == y[i]).sum()
        rivals = drawn[y[drawn] == y[i]].unique()
        assert len(rivals) <= s * clusters_of_class
        assert (z[i] - z[j]).norm() <= (z[i] - z[rivals]).norm(dim=1).min() + 1e-12


def test_approximate_with_all_samples_is_the_nearest_one():
    z, y, c = problem()
    every = latent_cluster_targets(z, y, c, method="approximate", samples_per_cluster=99)
    nearest = latent_cluster_targets(z, y, c, k=1)
    torch.testing.assert_close(every.target, nearest.target)


def test_another_seed_draws_others():
    z, y, c = problem()
    a, b = (latent_cluster_targets(z, y, c, method="approximate", seed=s).target for s in (0, 1))
    assert not a.equal(b)


def test_draws_are_uniform():
    z = torch.arange(7.0)[:, None]
    y, c = torch.tensor([0, 0, 0, 0, 1, 1, 0]), torch.tensor([0, 0, 0, 0, 1, 1, 1])
    drawn = [
        int(latent_cluster_targets(z, y, c, method="approximate", seed=seed).target)
        for seed in range(400)
    ]
    assert all(70 < drawn.count(i) < 130 for i in range(4)), drawn


@pytest.mark.parametrize("targets", ["class", "cluster"])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_gradcheck_with_constant_targets(targets, orthogonal):
    z, y, c = problem()
    g = problem(seed=1)[0] if orthogonal else None
    wrong = latent_cluster_targets(z, y, c, k=2).misclustered
    assert wrong.sum() > 3

    def loss(x):
        moved = x.where(wrong[:, None], z)
        return latent_cluster_loss(moved, y, c, k=2, targets=targets, orthogonal_to=g)

    assert gradcheck(loss, z.clone().requires_grad_())


def test_orthogonal_correction_leaves_the_task_alone():
    z, y, c = problem()
    z.requires_grad_()
    g = problem(seed=1)[0].requires_grad_()
    expected = oracles.latent_cluster_targets(z.detach(), y.tolist(), c.tolist(), 2, "class")
    loss = latent_cluster_loss(z, y, c, k=2, orthogonal_to=g)
    torch.testing.assert_close(loss, oracles.latent_cluster(z, expected, g))
    loss.backward()
    assert g.grad is None
    pulled = z.grad.any(1)
    assert pulled.nonzero()[:, 0].tolist() == list(expected)
    assert ((z.grad * g).sum(1).abs() < 1e-15).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(
    "kind", ["random", "zero column", "copied column", "tiny", "nearly parallel"]
)
def test_a_basis_is_left_whatever_its_columns(kind, dtype):
    z, y, c = problem(d=6)
    g = torch.randn(40, 6, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    if kind == "zero column":
        g[..., 1] = 0
    if kind == "copied column":
        g[..., 2] = -8 * g[..., 0]  # exact in every dtype
    if kind == "tiny":
        g *= 1e-30
    if kind == "nearly parallel":
        g[..., 2] = g[..., 0] + 1e-3 * g[..., 2]
    expected = oracles.latent_cluster_targets(z, y.tolist(), c.tolist(), 2, "class")
    z = z.to(dtype).requires_grad_()
    loss = latent_cluster_loss(z, y, c, k=2, orthogonal_to=g.to(dtype))
    literal = oracles.latent_cluster(z.detach().double(), expected, g.to(dtype).double())
    tolerance = {"atol": 1e-9, "rtol": 1e-9} if dtype == F64 else {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(loss.double(), literal, **tolerance)
    loss.backward()
    assert z.grad.any()
    unit = g / g.norm(dim=1, keepdim=True).clamp(min=1e-300)
    assert (unit.mT @ z.grad.double()[..., None]).abs().max() < (1e-14 if dtype == F64 else 1e-6)


def test_a_full_basis_leaves_nothing_and_an_empty_one_everything():
    z, y, c = problem()
    z.requires_grad_()
    g = torch.randn(40, 3, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    nothing = latent_cluster_loss(z, y, c, k=2, orthogonal_to=g)
    (grad,) = torch.autograd.grad(nothing, z)
    assert nothing == 0
    assert not grad.any()
    whole = latent_cluster_loss(z, y, c, k=2, orthogonal_to=g[..., :0])
    assert whole.equal(latent_cluster_loss(z, y, c, k=2))


def test_planar_classes_leave_their_planes():
    """A sample in the plane of another class is pulled along the normal only."""
    g = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 3
    z = torch.zeros(120, 6, dtype=F64)
    z[:, :2] = torch.randn(120, 2, generator=g, dtype=F64)
    clusters = y.clone()
    clusters[:6] = (y[:6] + 1) % 3
    z[:, 2] = 3.0 * clusters
    z.requires_grad_()
    basis = tangent_basis(z.detach(), 20, 2)
    latent_cluster_loss(z, y, clusters, k=5, orthogonal_to=basis).backward()
    assert z.grad[:, :2].abs().max() < 1e-12
    assert z.grad[:6, 2].abs().min() > 0.01


def test_direction_of_zero_leaves_the_pull_and_a_parallel_one_nothing():
    z, y, c = problem()
    z.requires_grad_()
    whole = latent_cluster_loss(z, y, c, k=2)
    same = latent_cluster_loss(z, y, c, k=2, orthogonal_to=torch.zeros_like(z))
    torch.testing.assert_close(same, whole)
    found = latent_cluster_targets(z, y, c, k=2)
    along = torch.zeros_like(z)
    along[found.index] = 3 * (found.target - z.detach()[found.index])
    nothing = latent_cluster_loss(z, y, c, k=2, orthogonal_to=along)
    nothing.backward()
    assert nothing == 0
    assert not z.grad.any()


def test_fewer_than_k_cannot_be_corrected():
    z = torch.arange(8.0)[:, None]
    y = torch.tensor([0, 0, 0, 1, 1, 1, 0, 1])  # 6 among the ones, 7 among the zeros
    c = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    assert latent_cluster_targets(z, y, c, k=3).index.tolist() == [6, 7]
    few = latent_cluster_targets(z, y, c, k=4)
    assert few.index.tolist() == []
    assert few.misclustered.nonzero()[:, 0].tolist() == [6, 7]
    c = torch.tensor([0, 0, 2, 1, 1, 1, 1, 0])  # class 0 in clusters of two and one
    assert latent_cluster_targets(z, y, c, k=3).index.tolist() == [6, 7]
    assert latent_cluster_targets(z, y, c, k=3, targets="cluster").index.tolist() == [7]
    assert latent_cluster_targets(z, y, c, k=2, targets="cluster").target.tolist() == [[0.5], [4.5]]


@pytest.mark.parametrize("method", ["exact", "approximate"])
def test_nothing_to_correct_is_zero_with_zero_gradient(method):
    z, y, _ = problem(unlabelled=0)
    alone = torch.zeros(len(y), dtype=torch.int64)  # the other classes have no cluster
    for labels, clusters in [(y, y), (y, alone), (y, alone - 1), (alone - 1, y), (alone, y)]:
        x = z.clone().requires_grad_()
        loss = latent_cluster_loss(x, labels, clusters, method=method)
        loss.backward()
        assert loss == 0
        assert x.grad.equal(torch.zeros_like(x))
    none = torch.empty(0, dtype=torch.int64)
    assert latent_cluster_loss(torch.empty(0, 3), none, none, method=method) == 0


def test_a_sample_on_its_target_has_gradient_zero():
    z = torch.ones(6, 2).requires_grad_()
    y, c = torch.tensor([0, 0, 1, 1, 1, 0]), torch.tensor([0, 0, 1, 1, 1, 1])
    for g in (None, torch.ones(6, 2)):
        loss = latent_cluster_loss(z, y, c, k=2, orthogonal_to=g)
        (grad,) = torch.autograd.grad(loss, z)
        assert loss == 0
        assert not grad.any()


def test_unlabelled_samples_and_those_of_no_cluster_take_no_part():
    z, y, c = problem(unlabelled=0.3)
    c[::7] = -1
    part = (y >= 0) & (c >= 0)
    found = latent_cluster_targets(z, y, c, k=2)
    inside = latent_cluster_targets(z[part], y[part], c[part], k=2)
    assert not found.misclustered[~part].any()
    assert found.index.equal(part.nonzero()[:, 0][inside.index])
    assert found.target.equal(inside.target)


def test_all_samples_in_no_cluster():
    found = latent_cluster_targets(torch.randn(4, 2), torch.zeros(4).long(), torch.full((4,), -1))
    assert len(found.index) == len(found.label) == 0
    assert not found.misclustered.any()


def test_choice_of_classes_and_clusters():
    z, y, c = problem()
    every = latent_cluster_targets(z, y, c, k=2)
    some = latent_cluster_targets(z, y, c, k=2, classes=torch.tensor([0, 2]))
    kept = torch.isin(y[every.index], torch.tensor([0, 2]))
    assert 0 < len(some.index) < len(every.index)
    assert some.index.equal(every.index[kept])
    assert some.target.equal(every.target[kept])
    assert some.misclustered.equal(every.misclustered)
    from_one = latent_cluster_targets(z, y, c, k=2, from_clusters=torch.tensor([1]))
    assert from_one.index.equal(every.index[c[every.index] == 1])
    assert len(from_one.index)


def test_order_of_rows_does_not_matter():
    z, y, c = problem()
    mixed = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    loss = latent_cluster_loss(z[mixed], y[mixed], c[mixed], k=3)
    torch.testing.assert_close(loss, latent_cluster_loss(z, y, c, k=3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_precisions(dtype):
    z, y, c = problem()
    rounded = z.to(dtype).requires_grad_()
    loss = latent_cluster_loss(rounded, y, c, k=3, orthogonal_to=problem(seed=1)[0].to(dtype))
    assert loss.dtype == torch.float32
    exact = latent_cluster_loss(
        rounded.double(), y, c, k=3, orthogonal_to=problem(seed=1)[0].to(dtype)
    )
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-6)
    loss.backward()
    assert rounded.grad.dtype == dtype
    with torch.autocast("cpu", torch.bfloat16):
        again = latent_cluster_loss(rounded, y, c, k=3, orthogonal_to=problem(seed=1)[0].to(dtype))
    torch.testing.assert_close(again, loss, rtol=1e-6, atol=0)


Z, Y, C = problem(6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"z": Z.long()}, TypeError, "z must be floating point"),
        ({"z": Z * torch.nan}, ValueError, "z must be finite, got nan"),
        ({"y": Y.float()}, TypeError, "y must be int64"),
        ({"y": Y[:5]}, ValueError, r"y must have shape \[6\], got \[5\]"),
        ({"clusters": C[:5]}, ValueError, r"clusters must have shape \[6\], got \[5\]"),
        ({"clusters": C - 9}, ValueError, "clusters must be in -1"),
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 2.0}, TypeError, "k must be an int, got float"),
        ({"samples_per_cluster": 0}, ValueError, "samples_per_cluster must be >= 1, got 0"),
        ({"targets": "sample"}, ValueError, "targets must be one of"),
        ({"method": "fast"}, ValueError, "method must be one of"),
        ({"classes": [0]}, TypeError, "classes must be a Tensor, got list"),
        ({"from_clusters": C.float()}, TypeError, "from_clusters must be int64"),
        (
            {"orthogonal_to": Z[:5]},
            ValueError,
            r"orthogonal_to must have shape \[6, 3\] or \[6, 3, r\]",
        ),
        ({"orthogonal_to": Z[:, :2, None]}, ValueError, r"or \[6, 3, r\], got \[6, 2, 1\]"),
        ({"orthogonal_to": Z[..., None] * torch.nan}, ValueError, "orthogonal_to must be finite"),
        ({"orthogonal_to": Z * torch.inf}, ValueError, "orthogonal_to must be finite"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        latent_cluster_loss(**{"z": Z, "y": Y, "clusters": C, "k": 2} | change)
