from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.config import Train
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Batch, lcc, lcc_control
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.train import fit, predict
from pyg_relational.nn import LatentClusterCorrection
from tests.benchmarks.blobs import samples

blobs = partial(samples, distance=2.5)  # they overlap more


@pytest.fixture
def corrections(monkeypatch):
    """The corrections that methods make."""
    made = []

    def make(*args, **options):
        made.append(LatentClusterCorrection(*args, **options))
        return made[-1]

    for module in (lcc, lcc_control):
        monkeypatch.setattr(module, "LatentClusterCorrection", make)
    return made


def trained(name, epochs=4, data=None, **options):
    train = data or blobs(40)
    torch.manual_seed(0)
    model = models["mlp"]([3], 3, width=8, depth=2)
    method = methods[name](model, train, **options)
    fitted = fit(method, Problem(train, train.y, train, 3), Train(epochs, 30, lr=0.02), seed=0)
    return method, fitted, predict(method, train.x).logits


@pytest.mark.parametrize("name", ["lcc", "lcc_control"])
def test_is_the_baseline_in_the_warmup_and_with_weight_zero(name):
    _, plain, logits = trained("baseline")
    _, weightless, same = trained(name, k=5, warmup=1, loss_weight=0.0)
    assert torch.equal(logits, same)
    assert plain.curve == weightless.curve
    _, pulled, others = trained(name, k=5, warmup=2, loss_weight=10.0)
    assert pulled.curve["loss"][:2] == plain.curve["loss"][:2]
    assert pulled.curve["loss"][2] != plain.curve["loss"][2]
    assert not torch.equal(logits, others)


@pytest.mark.parametrize("layer", ["features", "head", "both"])
def test_loss_is_cross_entropy_and_the_correction_of_the_layer(layer, corrections):
    method, _, _ = trained("lcc", layer=layer, k=5, warmup=2, interval=2, loss_weight=0.5)
    train, (correction,) = blobs(40), corrections
    assert correction.epoch == 3
    whole = Batch(train.x, train.y, torch.arange(120))
    model = method.module.eval()
    features = model.embed(train.x)
    layers = {"features": [features], "head": [model.head(features)]}
    latents = layers.get(layer, [*layers["features"], *layers["head"]])
    got, logits = method.loss(whole)
    plain = cross_entropy(logits, train.y)
    assert got > plain + 1e-4
    torch.testing.assert_close(got, plain + 0.5 * correction(latents, whole.index))
    before = [info.num_samples for info in correction.info]
    method.on_epoch(4, 9)
    assert (correction.epoch, before) == (4, [120] * len(latents))


def test_options_reach_the_correction(corrections):
    options = {"k": 7, "clustering": "peer_pressure", "method": "approximate", "interval": 3}
    options |= {"kernel": "gaussian", "targets": "cluster", "tangent_dim": 2, "tangent_k": 9}
    trained("lcc", warmup=2, **options)
    (made,) = corrections
    assert made.options["targets"] == "cluster"
    assert (made.kernel, made.tangent_dim, made.tangent_k) == ("gaussian", 2, 9)
    assert (made.k, made.clustering, made.warmup, made.interval) == (7, "peer_pressure", 2, 3)
    assert made.options["method"] == "approximate"
    with pytest.raises(ValueError, match=r"layer must be .* got 'block'"):
        trained("lcc", layer="block")


def test_control_deals_the_clusters_of_a_class_to_other_samples_of_it(corrections):
    train = blobs(40)
    trained("lcc", 3, k=5, warmup=2)
    trained("lcc_control", 3, k=5, warmup=2)
    ours, dealt = (made.clusters[0] for made in corrections)
    assert not torch.equal(ours, dealt)
    for label in range(3):
        of_class = train.y == label
        assert torch.equal(ours[of_class].bincount(), dealt[of_class].bincount())
    first, second = (made.info[0] for made in corrections)
    assert first.num_misclustered == second.num_misclustered > 0


def test_control_needs_all_labels_and_all_samples():
    train = blobs(40)
    hidden = train._replace(y=train.y.where(torch.arange(120) > 1, -1))
    with pytest.raises(ValueError, match="labelled, got 2"):
        trained("lcc_control", data=hidden)
    torch.manual_seed(0)
    model = models["mlp"]([3], 3, width=8, depth=2)
    method = methods["lcc_control"](model, train, k=5, warmup=1)
    method.loss(Batch(train.x[:50], train.y[:50], torch.arange(50)))
    with pytest.raises(ValueError, match="all 120 samples were seen, got 50"):
        method.on_epoch(1, 9)
