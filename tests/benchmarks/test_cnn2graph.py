import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.attention import STAGES, Relating, attention_at
from benchmarks.accuracy.config import Train
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Batch
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.train import fit, predict
from pyg_relational.nn import (
    CNN2Graph,
    CNN2GraphLoss,
    GraphConsistencyLoss,
    ProxyContrastiveLoss,
)
from tests.benchmarks.blobs import samples as blobs


def built(train, seed=0, **options):
    torch.manual_seed(seed)
    model = models["mlp"]([3], 3, width=16, depth=2)
    return methods["cnn2graph"](model, train, **options), model


def whole(samples):
    return Batch(samples.x, samples.y, torch.arange(len(samples.y)))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer": "attention", "self_loop": "none", "softmax": "joint"},
        {"layer": "gatv2", "self_loop": "per_set", "proxies_per_class": 0},
        {"layer": "max", "anchors_per_class": 0},
        {"layer": "mean", "anchor_grad": False, "mining": "semihard"},
        {"gcr_weight": 0.1},
    ],
)
def test_learns_and_predicts_as_the_model_does(options):
    train, test = blobs(40), blobs(30, seed=1)
    method, _ = built(train, **options)
    fit(method, Problem(train, train.y, test, 3), Train(10, 30, lr=0.01), seed=0)
    got = predict(method, test.x)
    assert (got.logits.argmax(1) == test.y).float().mean() > 0.9
    with torch.no_grad():
        expected = method.module.eval()(test.x)
    torch.testing.assert_close(got.logits, expected.logits.log_softmax(1))
    torch.testing.assert_close(got.features, expected.embedding)


def test_pooled_proxies_say_nothing_of_a_sample_without_itself():
    train = blobs(10)
    method, _ = built(train, layer="mean", self_loop="none")
    logits = predict(method, train.x).logits
    torch.testing.assert_close(logits, logits[:1].expand_as(logits))


def test_all_parameters_are_in_the_module_and_the_backbones_head_is_not():
    method, model = built(blobs(10))
    assert isinstance(method.module, CNN2Graph)
    own = {id(p) for p in method.module.parameters()}
    assert all(id(p) in own for p in model.blocks.parameters())
    assert not any(id(p) in own for p in model.head.parameters())
    assert method.module.conv.heads * method.module.conv.out_channels == 16


def test_the_backbone_starts_as_the_baselines():
    train = blobs(10)
    torch.manual_seed(3)
    plain = baseline(models["mlp"]([3], 3, width=16, depth=2), train)
    method, _ = built(train, seed=3)
    torch.testing.assert_close(
        plain.module.eval().embed(train.x), predict(method, train.x).features
    )


def test_anchors_are_training_samples_drawn_by_the_seed():
    train = blobs(20)
    anchors = [built(train, seed, anchors_per_class=2)[0].module.sets.inputs for seed in (0, 0, 1)]
    assert torch.equal(anchors[0], anchors[1])
    assert not torch.equal(anchors[0], anchors[2])
    rows = [(train.x == anchor).all(1).nonzero().item() for anchor in anchors[0]]
    assert train.y[rows].tolist() == [0, 0, 1, 1, 2, 2]


def test_loss_is_the_models_and_gcr_comes_on_top_of_the_images_features():
    train = blobs(10)
    plain, _ = built(train, contrastive_weight=0.5, margin=0.3)
    more, model = built(train, contrastive_weight=0.5, margin=0.3, gcr_weight=2.0)
    base, logits = plain.loss(whole(train))
    output = more.module.train()(train.x)
    expected = CNN2GraphLoss(ProxyContrastiveLoss(0.3), 0.5)(output, train.y)
    torch.testing.assert_close(base, expected)
    torch.testing.assert_close(logits, output.logits)
    joined = torch.cat([train.x, more.module.sets.inputs])
    first = model.blocks[:2](joined)
    features = [first[:30], model.blocks[2](first)[:30]]
    gcr = GraphConsistencyLoss(stage="late")(features, output.logits, train.y)
    got, _ = more.loss(whole(train))
    torch.testing.assert_close(got, expected + 2 * gcr)
    assert gcr > 1e-3


def test_without_contrast_the_cross_entropies_are_left():
    train = blobs(10)
    method, _ = built(train, contrastive_weight=0.0)
    loss, logits = method.loss(whole(train))
    output = method.module(train.x)
    both = ((output.anchor_logits, output.anchor_y), (output.proxy_logits, output.proxy_y))
    expected = cross_entropy(logits, train.y) + sum(cross_entropy(z, y) for z, y in both)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "gat"}, "layer must be .* got 'gat'"),
        ({"heads": 3}, "heads must divide the 16 channels of the model, got 3"),
        ({"layer": "max", "self_loop": "per_set"}, "self_loop must be"),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        built(blobs(10), **options)


@pytest.mark.parametrize(
    ("options", "sets"),
    [
        ({}, {"anchors": 3, "proxies": 3}),
        ({"softmax": "joint", "proxies_per_class": 2}, {"joint": 9}),
        ({"self_loop": "per_set", "anchors_per_class": 0}, {"proxies": 4}),
        ({"layer": "mean"}, {}),
    ],
)
def test_attention_is_told_by_set(options, sets):
    train = blobs(10)
    method, _ = built(train, **options)
    features = predict(method, train.x).features
    made = method.relate(features).attention
    assert {name: len(y) for name, (_, y) in made.items()} == sets
    for weights, y in made.values():
        assert weights.shape == (30, len(y), 4)
        torch.testing.assert_close(weights.sum(1), torch.ones(30, 4))
        assert y.min() == (-1 if "self_loop" in options else 0)


def test_looking_at_attention_leaves_training_as_it_is():
    train, test = blobs(20), blobs(20, seed=1)
    problem = Problem(train, train.y, test, 3)
    curves, rows = [], []
    for looked in (False, True):
        for grad in (False, True):
            method, _ = built(train, anchor_grad=grad)
            relating = Relating(method, problem, torch.arange(60), 20)
            look = relating.look if looked else lambda stage: None
            look("start")
            fitted = fit(method, problem, Train(4, 30), 0, lambda look=look: look("middle"))
            look("end")
            curves.append(fitted.curve)
            rows.append(relating.row)
    assert curves[:2] == curves[2:]
    assert rows[0] == {}
    relations = rows[3]["relations"]
    assert relations["num_classes"] == 3
    for measures in relations["sets"].values():
        assert all(len(values) == len(STAGES) for values in measures.values())
        assert 0.9 < measures["entropy"][0] <= 1
        assert len(set(measures["entropy"])) == 3
    assert attention_at(relations, "own_class") == relations["sets"]["proxies"]["own_class"]
    names = {"images", "anchors", "proxies", "attention_anchors", "attention_proxies"}
    expected = {f"{name}_{stage}" for name in names for stage in STAGES}
    assert set(relating.arrays) == expected | {"images_y", "anchors_y", "proxies_y"}
    assert len(relating.arrays["images_y"]) == 20


def test_methods_without_relations_are_not_looked_at():
    train = blobs(10)
    plain = baseline(models["mlp"]([3], 3, width=4, depth=1), train)
    relating = Relating(plain, Problem(train, train.y, train, 3), torch.arange(30), 10)
    relating.look("start")
    assert relating.row == {}
    assert relating.arrays == {}


def test_proxies_come_before_anchors_and_no_attention_is_none():
    made = {"sets": {"anchors": {"entropy": [0.1]}, "proxies": {"entropy": [0.2]}}}
    assert attention_at(made, "entropy") == [0.2]
    del made["sets"]["proxies"]
    assert attention_at(made, "entropy") == [0.1]
    pooled = {"sets": {"proxies": {"effective_rank": [3.0]}}}
    assert attention_at(pooled, "entropy") is None
    assert attention_at(float("nan"), "entropy") is None


@pytest.mark.parametrize(
    ("without", "terms", "entropies"),
    [("at", (0, 1, 1, 1), (1, 1, 1)), ("ap proxies", (1, 1, 0, 1), (1, 1, 0))],
)
def test_terms_left_out_have_no_part(without, terms, entropies):
    train = blobs(10)
    method, _ = built(train, without=without, proxies_per_class=2)
    objective = CNN2GraphLoss(ProxyContrastiveLoss(term_weights=terms), class_weights=entropies)
    batch = whole(train)
    assert method.loss(batch)[0].equal(objective(method.module(batch.x), batch.y))
    with pytest.raises(ValueError, match=r"without must be of .*got \['l_at'\]"):
        built(train, without="l_at")
