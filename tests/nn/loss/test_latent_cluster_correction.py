import io
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.cluster import leiden
from pyg_relational.nn import LatentClusterCorrection, latent_cluster_loss, latent_cluster_targets
from pyg_relational.ops import modularity, tangent_basis
from pyg_relational.transforms import knn_graph
from tests.distributed.test_gather import spawn

N = 90


def blobs(seed=0, d=4, classes=3) -> tuple[Tensor, Tensor]:
    """Classes that overlap."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(N) % classes
    centre = 3 * torch.eye(classes, d)
    return centre[y] + torch.randn(N, d, generator=g), y


def updated(x, y, **options) -> LatentClusterCorrection:
    correction = LatentClusterCorrection(y, **options)
    correction.record(x, torch.arange(len(y)))
    correction.update()
    return correction


def test_a_batch_of_everything_has_the_loss_of_the_function():
    x, y = blobs()
    x.requires_grad_()
    correction = updated(x.detach(), y)
    graph = knn_graph(x.detach(), 5, kernel="binary")
    clusters = leiden(*graph, N)
    expected = latent_cluster_loss(x, y, clusters)
    loss = correction(x, torch.arange(N))
    torch.testing.assert_close(loss, expected)
    grads = [torch.autograd.grad(value, x)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads)
    found = latent_cluster_targets(x, y, clusters)
    assert correction.clusters[0].equal(clusters)
    info = correction.info[0]
    assert info.num_samples == N
    assert info.num_clusters == clusters.max() + 1
    assert info.num_misclustered == found.misclustered.sum() > 0
    assert info.num_correctible == len(found.index) > 0
    assert info.modularity == pytest.approx(modularity(*graph, clusters).item())


def test_the_authors_numbers_row_by_row(reference_root):
    data = np.load(reference_root / "lcc_blobs.npz")
    x, y, clusters = (torch.from_numpy(data[name]) for name in ("x", "y", "y_clst"))
    correction = updated(x, y, k=50, clustering=lambda edge_index, edge_weight, z: clusters)
    batches = torch.randperm(5000, generator=torch.Generator().manual_seed(0)).split(700)
    parts = [
        (correction(x[b], b), torch.isin(b, torch.from_numpy(data["mc"]).nonzero()).sum())
        for b in batches
    ]
    assert sum(loss * m for loss, m in parts) / 503 == pytest.approx(0.883567, abs=1e-6)
    assert correction.info[0].num_correctible == 503
    assert correction.info[0].modularity == pytest.approx(0.38584, abs=1e-5)


def test_a_batch_averages_over_its_own_correctible_samples():
    x, y = blobs()
    correction = updated(x, y)
    found = latent_cluster_targets(x, y, correction.clusters[0])
    length = (x[found.index] - found.target).norm(dim=1) / 2
    for batch in torch.randperm(N).split(20):
        mine = torch.isin(found.index, batch)
        expected = length[mine].sum() / max(1, int(mine.sum()))
        torch.testing.assert_close(correction(x[batch], batch), expected)


@pytest.mark.parametrize("method", ["exact", "approximate"])
@pytest.mark.parametrize("memory", ["running", "fresh"])
def test_shuffled_loaders_give_the_targets_of_ordered_ones(method, memory):
    x, y = blobs()
    states = []
    for order in (torch.arange(N), torch.randperm(N, generator=torch.Generator().manual_seed(1))):
        correction = LatentClusterCorrection(y, method=method, memory=memory)
        for batch in order.split(16):
            (correction if memory == "running" else correction.record)(x[batch], batch)
        correction.step()
        states.append(vars(correction._layers[0]))
    assert all(
        a.equal(b) if isinstance(a, Tensor) else a == b
        for a, b in zip(*(state.values() for state in states), strict=True)
    )
    assert states[0]["info"].num_correctible


@pytest.mark.parametrize(
    ("warmup", "interval", "expected"),
    [
        (1, 1, [1, 2, 3, 4, 5, 6]),
        (0, 1, [1, 2, 3, 4, 5, 6]),
        (3, 1, [3, 4, 5, 6]),
        (2, 3, [2, 5]),
        (0, 2, [2, 4, 6]),
    ],
)
def test_warm_up_and_interval(warmup, interval, expected):
    x, y = blobs()
    updates = []

    def clustering(edge_index, edge_weight, z):
        updates.append(correction.epoch)
        return leiden(edge_index, edge_weight, len(z))

    correction = LatentClusterCorrection(y, clustering=clustering, warmup=warmup, interval=interval)
    for epoch in range(1, 7):
        loss = correction(x, torch.arange(N))
        assert (loss > 0) == bool(updates), "0 before the first update, targets stay after it"
        assert correction.due == (epoch in expected)
        correction.step()
        assert correction.epoch == epoch
    assert updates == expected


def train(model, correction, optimizer, x, y, epochs, start=0):
    for epoch in range(start, epochs):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(16):
            hidden = model[:2](x[batch])
            loss = cross_entropy(model[2](hidden), y[batch]) + correction(hidden, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        correction.step()


def setup(y, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    options = {"warmup": 2, "interval": 2, "method": "approximate"} | options
    return model, LatentClusterCorrection(y, **options), torch.optim.SGD(model.parameters(), 0.1)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resume_equals_no_interruption(stop):
    x, y = blobs()
    whole = setup(y)
    train(*whole, x, y, epochs=5)
    first = setup(y)
    train(*first, x, y, epochs=stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = setup(y)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*second, x, y, epochs=5, start=stop)
    for a, b in zip(whole[0].parameters(), second[0].parameters(), strict=True):
        assert a.equal(b)
    assert whole[1].info == second[1].info
    assert whole[1].clusters[0].equal(second[1].clusters[0])
    assert whole[1].info[0].num_correctible


def test_a_loaded_state_is_a_copy():
    x, y = blobs()
    first, second = updated(x, y), LatentClusterCorrection(y)
    second.load_state_dict(first.state_dict())
    before = second(x, torch.arange(N))
    first.record(0 * x, torch.arange(N))
    second.update()
    assert second(x, torch.arange(N)) == before > 0


def test_a_state_of_something_else_is_refused():
    x, y = blobs()
    state = updated(x, y).state_dict()
    with pytest.raises(ValueError, match="state must hold 80 samples, got 90"):
        LatentClusterCorrection(y[:80]).load_state_dict(state)
    with pytest.raises(ValueError, match="state must hold 2 layers, got 1"):
        LatentClusterCorrection(y, layers=2).load_state_dict(state)


def test_running_memory_records_in_training_only():
    x, y = blobs()
    correction = LatentClusterCorrection(y).eval()
    assert correction(x, torch.arange(N)) == 0
    with pytest.raises(RuntimeError, match="an update needs latents, got none: call forward"):
        correction.step()
    correction.train()
    correction(x, torch.arange(N))
    correction.eval()(x + torch.randn(N, 4), torch.arange(N))
    correction.step()
    torch.testing.assert_close(correction.clusters, updated(x, y).clusters)
    assert correction(x, torch.arange(N)) == updated(x, y)(x, torch.arange(N)) > 0


def test_running_memory_keeps_the_last_latents():
    x, y = blobs()
    correction = LatentClusterCorrection(y)
    correction(torch.randn(N, 4), torch.arange(N))
    for batch in torch.arange(N).split(30):
        correction(x[batch], batch)
    correction.step()
    assert correction.clusters[0].equal(updated(x, y).clusters[0])


def test_fresh_memory_is_what_was_recorded_since_the_last_update():
    x, y = blobs()
    correction = LatentClusterCorrection(y, memory="fresh", interval=2)
    correction(x, torch.arange(N))
    with pytest.raises(RuntimeError, match=r"an update needs latents, got none: call record\(\)"):
        correction.update()
    correction.record(x, torch.arange(N))
    correction.step()
    assert correction.clusters[0].equal(updated(x, y).clusters[0])
    with pytest.raises(ValueError, match="must have 4 values a row as before, got 3"):
        correction(x[:, :3], torch.arange(N))
    correction.step()  # not due, needs nothing
    assert correction.due
    with pytest.raises(RuntimeError, match="an update needs latents"):
        correction.step()
    half = torch.arange(0, N, 2)
    correction.record(x[half], half)
    correction.update()
    assert (correction.clusters[0] >= 0).nonzero()[:, 0].equal(half)


def test_samples_never_recorded_are_left_out():
    x, y = blobs()
    seen = torch.randperm(N, generator=torch.Generator().manual_seed(0))[:60].sort().values
    correction = LatentClusterCorrection(y)
    correction.record(x[seen], seen)
    correction.update()
    alone = updated(x[seen], y[seen])
    assert correction.info == alone.info
    assert correction.info[0].num_samples == 60
    assert correction.clusters[0][seen].equal(alone.clusters[0])
    assert (correction.clusters[0] >= 0).sum() == 60
    every = correction.eval()(x, torch.arange(N))
    torch.testing.assert_close(every, alone(x[seen], torch.arange(60)))


def test_unlabelled_samples_are_clustered_but_not_corrected():
    x, y = blobs()
    some = y.clone()
    some[::4] = -1
    correction = updated(x, some)
    assert correction.clusters[0].equal(updated(x, y).clusters[0])
    x.requires_grad_()
    correction(x, torch.arange(N)).backward()
    assert x.grad.any()
    assert not x.grad[::4].any()
    none = updated(x.detach(), torch.full_like(y, -1))
    assert none(x, torch.arange(N)) == 0
    assert none.info[0].num_misclustered == 0


def test_layers_add_up_and_feature_maps_are_flattened():
    x, y = blobs()
    maps = blobs(1, d=12)[0].view(N, 3, 2, 2)
    index = torch.arange(N)
    both = LatentClusterCorrection(y, layers=2)
    both.record([x, maps], index)
    both.update()
    a, b = updated(x, y), updated(maps.flatten(1), y)
    torch.testing.assert_close(both([x, maps], index), a(x, index) + b(maps.flatten(1), index))
    assert both.info == a.info + b.info
    g = torch.randn_like(maps)
    torch.testing.assert_close(
        both([x, maps], index, [torch.zeros_like(x), g]),
        a(x, index) + b(maps.flatten(1), index, g.flatten(1)),
    )


def test_options_reach_the_targets():
    x, y = blobs()
    wide = {"targets": "cluster", "k": 3, "classes": torch.tensor([0, 1])}
    drawn = {"method": "approximate", "samples_per_cluster": 2, "seed": 5}
    for options in (wide, drawn):
        correction = updated(x, y, **options)
        clusters = correction.clusters[0]
        torch.testing.assert_close(
            correction(x, torch.arange(N)), latent_cluster_loss(x, y, clusters, **options)
        )
        assert correction.info[0].num_correctible


def test_draws_differ_from_epoch_to_epoch():
    x, y = blobs()
    correction = LatentClusterCorrection(y, method="approximate")
    losses = []
    for _ in range(4):
        losses.append(correction(x, torch.arange(N)).item())
        correction.step()
    assert len(set(losses)) == 4


def test_orthogonal_to_the_task():
    x, y = blobs()
    correction = updated(x, y)
    head = nn.Linear(4, 3)
    z = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(head(z), y), z)
    (pull,) = torch.autograd.grad(correction(z, torch.arange(N), g), z)
    assert pull.any()
    cosine = torch.cosine_similarity(pull, g)
    assert cosine.abs().max() < 1e-6


def test_peer_pressure():
    from pyg_relational.cluster import peer_pressure

    x, y = blobs()
    correction = updated(x, y, clustering="peer_pressure", seed=3)
    expected = peer_pressure(*knn_graph(x, 5, kernel="binary"), N, seed=3)
    assert correction.clusters[0].equal(expected)


def test_no_sample_correctly_clustered_gives_zero():
    """Every cluster's majority is unlabelled or elsewhere: nothing to pull to, gradient 0."""
    x, y = blobs()
    x.requires_grad_()
    correction = updated(
        x.detach(), y, k=40, clustering=lambda edge_index, edge_weight, z: torch.arange(len(z)) // 3
    )
    loss = correction(x, torch.arange(N))
    loss.backward()
    assert correction.info[0].num_misclustered == 60
    assert correction.info[0].num_correctible == 0
    assert loss == 0
    assert x.grad.equal(torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_precisions(dtype):
    x, y = blobs()
    x = x.to(dtype)
    correction = updated(x, y)
    loss = correction(x, torch.arange(N))
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(
        loss, updated(x.double(), y)(x.double(), torch.arange(N)).to(loss), rtol=1e-5, atol=0
    )


def test_duplicate_samples():
    x = torch.ones(N, 3).requires_grad_()
    y = blobs()[1]
    correction = updated(x.detach(), y)
    loss = correction(x, torch.arange(N))
    loss.backward()
    assert loss == 0
    assert not x.grad.any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_named_by_sample(value):
    x, y = blobs()
    correction, index = updated(x, y), torch.arange(N).flip(0)
    bad = x.clone()
    bad[3, 2] = value
    for call in (correction, correction.record, correction.eval()):
        with pytest.raises(
            ValueError, match=r"features\[0\] must be finite, got .* in sample 86, "
        ):
            call(bad, index)
    assert updated(x, y).info == correction.info
    part = LatentClusterCorrection(y)
    part.record(x[10:], torch.arange(10, N))
    part._layers[0].latents[17, 1] = value  # as recorded on a GPU, where looking would wait
    with pytest.raises(
        ValueError, match=r"features\[0\] must be finite, got .* sample 17, column 1"
    ):
        part.step()


def test_the_largest_values_of_half_precision_are_finite():
    x, y = blobs()
    big = (x.sign() * 6e4).half()
    assert LatentClusterCorrection(y)(big, torch.arange(N)) == 0


def test_gaussian_weights_are_those_of_the_text():
    x, y = blobs()
    seen = []

    def clustering(edge_index, edge_weight, z):
        seen.append((edge_index, edge_weight, z))
        return leiden(edge_index, edge_weight, len(z))

    rows = torch.arange(5, N)
    correction = LatentClusterCorrection(y, kernel="gaussian", clustering=clustering)
    correction.record(x[rows], rows)
    correction.update()
    (((row, col), weight, z),) = seen
    assert z.equal(x[rows])
    torch.testing.assert_close(weight, (-(z[row] - z[col]).square().sum(1)).exp())
    own = LatentClusterCorrection(y, kernel="gaussian")
    own.record(x[rows], rows)
    own.update()
    assert own.clusters[0].equal(correction.clusters[0])
    assert own.info == correction.info
    with pytest.raises(ValueError, match=r"all weights exp\(-d\^2\) of features\[0\] are 0"):
        updated(100 * x, y, kernel="gaussian")


def test_the_tangent_space_is_left():
    x, y = blobs(d=6)
    index = torch.arange(N).flip(0)
    correction = updated(x, y, tangent_dim=2, tangent_k=20)
    z = x[index].requires_grad_()
    loss = correction(z, index)
    basis = tangent_basis(x, 20, 2)[index]
    clusters = correction.clusters[0]
    expected = latent_cluster_loss(z, y[index], clusters[index], orthogonal_to=basis)
    torch.testing.assert_close(loss, expected)
    whole = updated(x, y)(z, index, basis)
    torch.testing.assert_close(loss, whole)
    (pull,) = torch.autograd.grad(loss, z)
    assert pull.any()
    assert (basis.mT @ pull[..., None]).abs().max() < 1e-7
    g = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    (both,) = torch.autograd.grad(correction(z, index, g), z)
    assert both.any()
    assert (torch.cat([basis, g[..., None]], 2).mT @ both[..., None]).abs().max() < 1e-6
    again = LatentClusterCorrection(y, tangent_dim=2, tangent_k=20)
    again.load_state_dict(correction.state_dict())
    assert again(z, index).equal(loss)


@pytest.mark.parametrize("memory", ["running", "fresh"])
def test_recording_and_stepping_in_inference_mode(memory):
    x, y = blobs()
    correction, index = LatentClusterCorrection(y, memory=memory), torch.arange(N)
    for _ in range(2):
        with torch.inference_mode():
            correction.record(x[:50], index[:50])
        correction.record(x[50:], index[50:])
        with torch.inference_mode():
            correction.step()
        z = x.clone().requires_grad_()
        correction(z, index).backward()
        assert z.grad.any()
    assert correction.info == updated(x, y).info


def test_of_a_sample_that_is_twice_in_a_batch_the_last_row_is_kept():
    y = blobs()[1]
    batch = torch.randint(N, (4 * N,), generator=torch.Generator().manual_seed(0))
    rows = torch.randn(4 * N, 4, generator=torch.Generator().manual_seed(1))
    correction = LatentClusterCorrection(y)
    correction.record(rows, batch)
    for i, kept in enumerate(correction._layers[0].latents):
        mine = (batch == i).nonzero()[:, 0]
        assert kept.equal(rows[mine[-1]] if len(mine) else torch.zeros(4))


def test_recorded_latents_keep_the_digits_of_later_batches():
    x, y = blobs()
    correction = LatentClusterCorrection(y)
    correction(x[:45].bfloat16(), torch.arange(45))
    correction(x.double() * 1e6, torch.arange(N))
    correction.step()
    assert correction.info == updated(x.double() * 1e6, y).info
    assert correction._layers[0].target.dtype == torch.float64


X, Y = blobs()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": Y.float()}, TypeError, "y must be int64"),
        ({"y": Y.tolist()}, TypeError, "y must be a Tensor"),
        ({"layers": 0}, ValueError, "layers must be >= 1, got 0"),
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 5.0}, TypeError, "k must be an int, got float"),
        ({"samples_per_cluster": 0}, ValueError, "samples_per_cluster must be >= 1"),
        ({"warmup": -1}, ValueError, "warmup must be >= 0, got -1"),
        ({"interval": 0}, ValueError, "interval must be >= 1, got 0"),
        ({"clustering": "kmeans"}, ValueError, "clustering must be one of"),
        ({"targets": "sample"}, ValueError, "targets must be one of"),
        ({"method": "fast"}, ValueError, "method must be one of"),
        ({"memory": "none"}, ValueError, "memory must be one of"),
        ({"classes": [1]}, TypeError, "classes must be a Tensor, got list"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        LatentClusterCorrection(**{"y": Y} | options)


@pytest.mark.parametrize(
    ("features", "index", "error", "message"),
    [
        ([X, X], Y, ValueError, "features must hold 1 layers, got 2"),
        (
            [Y[:, None]],
            Y,
            TypeError,
            r"features\[0\] must be a floating-point Tensor, got torch.int64",
        ),
        ([None], Y, TypeError, r"features\[0\] must be a floating-point Tensor, got NoneType"),
        (X[0], Y[:4], ValueError, r"features\[0\] must have shape \[B, ...\], got \[4\]"),
        (X[:, :3], Y, ValueError, r"features\[0\] must have 4 values a row as before, got 3"),
        (X, Y[:5], ValueError, r"index must have shape \[90\], got \[5\]"),
        (X, Y.float(), TypeError, "index must be int64"),
        (X, Y - 1, ValueError, "index must be in 0..89 for 90 samples, got -1"),
        (X, Y + 88, ValueError, "index must be in 0..89 for 90 samples, got 90"),
    ],
)
def test_bad_batches_are_named(features, index, error, message):
    correction = updated(X, Y)
    for call in (correction, correction.record):
        with pytest.raises(error, match=message):
            call(features, index)


def test_bad_directions_clusters_and_k_are_named():
    index = torch.arange(N)
    correction = updated(X, Y)
    with pytest.raises(ValueError, match="orthogonal_to must hold 1 layers, got 2"):
        correction(X, index, [X, X])
    with pytest.raises(
        ValueError, match=r"orthogonal_to\[0\] must have the shape of features\[0\]"
    ):
        correction(X, index, X[:, :2])
    with pytest.raises(ValueError, match=r"or \[90, 4, r\], got \[90, 3, 2\]"):
        correction(X, index, torch.zeros(N, 3, 2))
    with pytest.raises(TypeError, match=r"orthogonal_to\[0\] must be a Tensor, got NoneType"):
        correction(X, index, [None])
    with pytest.raises(ValueError, match=r"clusters must have shape \[90\], got \[89\]"):
        updated(X, Y, clustering=lambda edge_index, edge_weight, z: torch.arange(len(z) - 1))
    with pytest.raises(ValueError, match=r"k must be in 1\.\.n - 1 = 89"):
        updated(X, Y, k=90)


def test_says_what_it_is():
    assert repr(LatentClusterCorrection(Y, k=7)).startswith(
        "LatentClusterCorrection(90, layers=1, k=7, kernel='binary', clustering='leiden', targets='class'"
    )


def global_step(rank: int, world: int) -> dict[str, Tensor]:
    """Two epochs; the loss and the averaged gradient of the last batch, and the targets' samples."""
    x, y = blobs()
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    correction = LatentClusterCorrection(y)
    for _ in range(2):
        for batch in torch.arange(N).split(20):
            mine = batch[: len(batch) * 2 // 3] if rank == 0 else batch[len(batch) * 2 // 3 :]
            mine = batch if world == 1 else mine
            loss = correction(layer(x[mine]), mine)
        correction.step()
    loss = correction(layer(x[mine]), mine)
    loss.backward()
    grad = layer.weight.grad
    if world > 1:
        dist.all_reduce(grad)
    return {
        "loss": loss.detach(),
        "grad": grad / world,
        "clusters": correction.clusters[0],
        "target": correction._layers[0].target,
    }


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save(global_step(rank, 2), f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # gloo's destructor can wait for the GIL forever


def test_two_processes_do_what_one_does(tmp_path):
    expected = global_step(0, 1)
    assert expected["loss"] > 0
    spawn(work, (str(tmp_path),), processes=2)
    for rank in range(2):
        got = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(got, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu_and_a_batch_does_not_wait():
    x, y = blobs()
    index = torch.arange(N, device="cuda")
    correction = updated(x.cuda(), y)
    correction(x.cuda(), index)
    z = x.cuda()
    try:
        torch.cuda.set_sync_debug_mode("error")
        loss = correction(z, index, z)
        loss = correction(z, index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(loss.cpu(), updated(x, y)(x, torch.arange(N)))
    here = LatentClusterCorrection(y)
    here.load_state_dict(correction.state_dict())
    torch.testing.assert_close(here(x, torch.arange(N)), loss.cpu())
