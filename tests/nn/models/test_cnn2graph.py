import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close

from pyg_relational.nn import (
    CNN2Graph,
    CNN2GraphLoss,
    ProxyAttentionConv,
    ProxyGATv2Conv,
    ProxyPoolConv,
)

F64 = torch.float64
X = torch.randn(12, 5, dtype=F64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)
CONVS = {
    "default": lambda: None,
    "gatv2": lambda: ProxyGATv2Conv(6, 3, 2, softmax="joint", self_loop="per_set", dropout=0.5),
    "attention": lambda: ProxyAttentionConv(6, 6, combine="max"),
    "max": lambda: ProxyPoolConv(6, 6, "max"),
    "cat": lambda: ProxyAttentionConv(6, 3, 2, self_loop="raw", combine="cat"),
}


def backbone():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6))


def build(conv=None, chosen=True, **options):
    model = CNN2Graph(backbone(), 6, 3, conv, **options).double()
    if chosen:
        model.sets.choose(X, Y)
    return model


def predict(model, x=X):
    with torch.no_grad():
        return model(x).logits


def literal(model, x=X):
    """Without cache, in evaluation mode."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        groups = model.backbone(model.sets.inputs), model.sets.proxies
        features = model.conv(model.backbone(x), tuple(g for g in groups if len(g)))
        return model.classifier(features)


def learn(model):
    """Gradients of the whole loss."""
    model.zero_grad()
    CNN2GraphLoss()(model(X), Y).backward()
    return torch.optim.SGD(model.parameters(), 0.3)


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("anchor_grad", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 2)])
def test_one_at_a_time_gives_what_a_batch_gives(conv, anchor_grad, sizes):
    model = build(
        CONVS[conv](),
        proxies_per_class=sizes[0],
        anchors_per_class=sizes[1],
        anchor_grad=anchor_grad,
    )
    learn(model).step()
    model.eval()
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            batch, alone = model(X), [model(row[None]) for row in X]
        assert_close(batch.logits, literal(model), rtol=1e-12, atol=1e-12)
        for name in ("logits", "embedding"):
            each = torch.cat([getattr(out, name) for out in alone])
            assert_close(each, getattr(batch, name), rtol=1e-12, atol=1e-12)
        assert model(X[:0]).logits.shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("sizes", [(2, 3), (0, 2), (2, 0)])
@pytest.mark.parametrize("anchor_grad", [True, False])
def test_output(sizes, training, anchor_grad):
    proxies, anchors = sizes
    model = build(proxies_per_class=proxies, anchors_per_class=anchors, anchor_grad=anchor_grad)
    out = model.train(training)(X)
    shapes = [tuple(t.shape) for t in out]
    p, a = 3 * proxies, 3 * anchors
    assert shapes == [(12, 3), (12, 6), (a, 6), (p, 6), (a, 3), (p, 3), (a,), (p,)]
    assert out.proxies is model.sets.proxies
    assert out.anchor_y.equal(torch.arange(3).repeat_interleave(anchors))
    assert out.proxy_y.equal(torch.arange(3).repeat_interleave(proxies))
    assert_close(out.anchor_logits, model.classifier(out.anchors))
    assert_close(out.proxy_logits, model.classifier(out.proxies))
    sets = tuple(t for t in (out.anchors, out.proxies) if len(t))
    assert_close(out.logits, model.classifier(model.conv(out.embedding, sets)))
    CNN2GraphLoss()(out, Y).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.numel())


def step_in_training(model):
    model.train()
    learn(model).step()
    model.eval()


def step_in_evaluation(model):
    learn(model).step()


def fused_step_in_evaluation(model):
    learn(model)
    torch.optim.Adam(model.parameters(), 0.3, fused=True).step()


def step_after_a_prediction(model):
    optimizer = learn(model)
    predict(model)
    optimizer.step()


def step_of_a_parent(model):
    parent = nn.ModuleDict({"child": model}).train()
    learn(model).step()
    parent.eval()


def scale_weights(model):
    with torch.no_grad():
        for p in model.backbone.parameters():
            p.mul_(1.5)


def new_statistics(model):
    model.backbone.train()
    predict(model)
    model.backbone(X + 1)
    model.backbone.eval()


def load_part(model):
    state = {k: v * 1.5 for k, v in model.state_dict().items() if k.startswith("backbone.0")}
    model.load_state_dict(state, strict=False)


CHANGES = {
    "a step in training": step_in_training,
    "a step in evaluation mode": step_in_evaluation,
    "a fused step in evaluation mode": fused_step_in_evaluation,
    "a prediction between gradient and step": step_after_a_prediction,
    "a step of a module around it": step_of_a_parent,
    "weights scaled": scale_weights,
    "statistics of BatchNorm": new_statistics,
    "the backbone's weights loaded": lambda m: m.backbone.load_state_dict(backbone().state_dict()),
    "a few weights loaded": load_part,
    "all weights loaded, none of whose anchors were embedded": lambda m: m.load_state_dict(
        build(chosen=False).state_dict()
    ),
    "another backbone": lambda m: setattr(m, "backbone", backbone().double().eval()),
    "other anchors": lambda m: m.sets.choose(X + 1, Y),
    "embeddings overwritten": lambda m: (scale_weights(m), predict(m), m.sets.anchors.zero_()),
    "saved": lambda m: (scale_weights(m), m.state_dict()),
    "single precision and back": lambda m: m.float().double(),
    "a copy's step": lambda m: step_in_training(copy.deepcopy(m)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("anchor_grad", [True, False])
def test_no_prediction_by_stale_anchors(change, anchor_grad):
    model = build(anchor_grad=anchor_grad).eval()
    before = predict(model)
    CHANGES[change](model)
    exact = literal(model)
    assert_close(predict(model), exact, rtol=1e-12, atol=1e-12)
    assert_close(model(X).logits.detach(), exact, rtol=1e-12, atol=1e-12)
    assert before.equal(exact) == (change == "a copy's step")


@pytest.mark.parametrize("anchor_grad", [True, False])
@pytest.mark.parametrize("use_buffers", [True, False])
def test_averaged_weights_have_their_own_anchors(anchor_grad, use_buffers):
    model = build(anchor_grad=anchor_grad)
    mean = AveragedModel(model, use_buffers=use_buffers).eval()
    for _ in range(3):
        step_in_training(model)
        predict(model)
        mean.update_parameters(model)
        assert_close(predict(mean), literal(mean.module), rtol=1e-12, atol=1e-12)


def test_anchors_are_embedded_once_without_gradients():
    model, seen = build().eval(), []
    model.backbone.register_forward_hook(lambda m, inputs, out: seen.append(len(out)))
    for _ in range(3):
        predict(model)
    model.state_dict()
    with torch.inference_mode():
        model(X)
    assert seen == [3, 12, 12, 12, 12]
    model(X)
    assert seen.pop() == 15


def test_anchors_are_embedded_once_an_epoch_in_training_without_anchor_grad():
    model = build(anchor_grad=False)
    for _ in range(2):
        model.train()
        start = copy.deepcopy(model).eval().backbone(model.sets.inputs)
        for _ in range(3):
            out = model(X)
            assert_close(out.anchors, start)
            assert not out.anchors.requires_grad
            learn(model).step()


@pytest.mark.parametrize("training", [True, False])
def test_gradient_through_the_anchors_only_with_anchor_grad(training):
    for anchor_grad in (True, False):
        model = build(anchor_grad=anchor_grad).train(training)
        anchors = model(X).anchors
        assert anchors.requires_grad == anchor_grad
        if anchor_grad:
            anchors.sum().backward()
            assert all(p.grad is not None for p in model.backbone.parameters())
    model = build(anchor_grad=False).eval()
    out = model(X)
    ours = torch.autograd.grad(out.logits.square().sum(), model.backbone[0].weight)[0]
    constant = out.anchors.clone()
    logits = model.classifier(model.conv(model.backbone(X), (constant, model.sets.proxies)))
    exact = torch.autograd.grad(logits.square().sum(), model.backbone[0].weight)[0]
    assert_close(ours, exact)


@pytest.mark.parametrize("anchor_grad", [True, False])
def test_anchors_count_in_the_statistics_only_with_anchor_grad(anchor_grad):
    model = build(anchor_grad=anchor_grad)
    norm, first = model.backbone[1], model.backbone[0]
    out = model(X)
    counted = torch.cat([X, model.sets.inputs]) if anchor_grad else X
    assert_close(norm.running_mean, 0.1 * first(counted).mean(0).detach())
    assert norm.num_batches_tracked == 1
    if anchor_grad:
        assert_close(
            torch.cat([out.embedding, out.anchors]), copy.deepcopy(model).backbone(counted)
        )
    before = copy.deepcopy(norm.state_dict())
    model.eval()
    model(X), predict(model), model.state_dict()
    model.train().state_dict()
    for name, value in norm.state_dict().items():
        assert value.equal(before[name])
    assert norm.training


@pytest.mark.parametrize("anchor_grad", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_saved_right_after_a_step_it_predicts_the_same(anchor_grad, nested):
    model = build(anchor_grad=anchor_grad)
    learn(model).step()
    outer, fresh = (nn.Sequential(m) for m in (model, build(chosen=False, anchor_grad=anchor_grad)))
    saved, loaded = (outer, fresh) if nested else (model, fresh[0])
    file = io.BytesIO()
    torch.save(saved.state_dict(), file)
    file.seek(0)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    loaded.eval()
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            assert_close(fresh[0](X).logits, literal(model), rtol=1e-12, atol=1e-12)
    loaded.train()
    with pytest.raises(RuntimeError, match=r"anchors must be chosen first, with ProxySet.choose"):
        fresh[0](X)
    fresh[0].sets.choose(X + 1, Y)
    learn(fresh[0]).step()
    loaded.eval()
    assert_close(predict(fresh[0]), literal(fresh[0]), rtol=1e-12, atol=1e-12)


def test_autocast_leaves_no_rounded_anchors():
    torch.manual_seed(0)
    model = build().float().eval()
    with torch.autocast("cpu", torch.bfloat16):
        low = predict(model, X.float())
    exact = literal(model, X.float())
    assert_close(low.float(), exact, rtol=5e-2, atol=5e-2)
    assert_close(predict(model, X.float()), exact, rtol=1e-6, atol=1e-6)


def test_the_first_prediction_in_inference_mode():
    model = build().eval()
    with torch.inference_mode():
        logits = model(X).logits.clone()
    assert_close(logits, literal(model), rtol=1e-12, atol=1e-12)
    step_in_training(model)
    assert_close(predict(model), literal(model), rtol=1e-12, atol=1e-12)
    with torch.inference_mode():
        model = build().eval()
        assert_close(model(X).logits, literal(model))


def test_copies_are_independent():
    model = build()
    learn(model).step()
    exact = literal(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        step_in_training(twin)
        assert not predict(twin).equal(exact)
        assert_close(predict(twin), literal(twin), rtol=1e-12, atol=1e-12)
        assert_close(predict(model.eval()), exact, rtol=1e-12, atol=1e-12)


def test_without_chosen_anchors():
    for mode in (True, False):
        model = build(chosen=False).train(mode)
        with pytest.raises(RuntimeError, match=r"anchors must be chosen first"):
            model(X)
        model.load_state_dict(model.state_dict())
        with pytest.raises(RuntimeError, match=r"anchors must be chosen first"):
            predict(model)
    assert build(chosen=False, anchors_per_class=0)(X).logits.isfinite().all()


def test_layers_that_are_frozen_stay_so():
    model = build(anchor_grad=False)
    model.backbone[1].eval()
    learn(model).step()
    model.state_dict()
    assert model.training
    assert not model.backbone[1].training
    assert model.backbone[1].num_batches_tracked == 0


class Scaled(nn.Module):
    """From images of bytes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.net(x.to(self.net[0].weight) / 255)


@pytest.mark.parametrize("anchor_grad", [True, False])
def test_images_of_bytes_in_any_precision(anchor_grad):
    images = torch.randint(256, (12, 1, 6, 6), dtype=torch.uint8)
    model = CNN2Graph(Scaled(), 6, 3, anchor_grad=anchor_grad)
    model.sets.choose(images, Y)
    model.double()
    assert model.sets.inputs.dtype == torch.uint8
    CNN2GraphLoss()(model(images), Y).backward()
    model.eval()
    assert_close(predict(model, images), literal(model, images))
    assert model(images).logits.dtype == F64


def test_it_learns():
    torch.manual_seed(0)
    x = torch.randn(60, 5, dtype=F64)
    y = x[:, :3].argmax(1)
    model = build(chosen=False)
    model.sets.choose(x, y)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        cross_entropy(model(x).logits, y).backward()
        optimizer.step()
    assert (predict(model.eval(), x).argmax(1) == y).double().mean() > 0.95


@pytest.mark.parametrize("anchor_grad", [True, False])
def test_compiled_it_trains_and_predicts_the_same(anchor_grad):
    model = build(anchor_grad=anchor_grad)
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, backend="aot_eager")
    for _ in range(2):
        for m in (model, compiled):
            m.train()
            optimizer = torch.optim.SGD(m.parameters(), 0.1)
            cross_entropy(m(X).logits, Y).backward()
            optimizer.step()
            optimizer.zero_grad()
            m.eval()
        assert_close(predict(compiled), literal(twin), rtol=1e-10, atol=1e-10)
        assert_close(predict(compiled), predict(model), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"conv": ProxyPoolConv(6, 5), "out_channels": 6},
            r"conv must give \[B, 6\], got \[12, 5\]",
        ),
        ({"backbone": nn.Linear(5, 7)}, r"backbone must give \[B, 6\], got \[\d+, 7\]"),
        ({"backbone": nn.Flatten(0)}, r"backbone must give \[B, 6\], got \[\d+\]"),
    ],
)
def test_wrong_widths(change, message):
    model = CNN2Graph(**{"backbone": nn.Linear(5, 6), "channels": 6, "num_classes": 3, **change})
    model.sets.choose(X, Y)
    with pytest.raises(ValueError, match=message):
        model.double()(X)
    if "backbone" in change:
        model.eval()
        with pytest.raises(ValueError, match=r"\w+ must give \[\w+, 6\], got \["):
            predict(model)


@pytest.mark.parametrize("anchor_grad", [True, False])
def test_new_inputs_of_the_anchors_are_used_at_once(anchor_grad):
    model = build(anchor_grad=anchor_grad)
    model(X)
    other = model.sets.inputs + 1
    for change in ("set", "choose", "in place"):
        if change == "set":
            model.sets.inputs = other
        elif change == "choose":
            model.sets.choose(X + 3, Y)
        else:
            model.sets.inputs.mul_(2)
        if anchor_grad:
            want = model.backbone(torch.cat([X, model.sets.inputs]))[len(X) :]
            assert_close(model(X).anchors, want)
        elif change != "in place":  # without gradient they are embedded once an epoch, or when set
            want = model.backbone.eval()(model.sets.inputs)
            model.backbone.train()
            assert_close(model(X).anchors, want)
        model.eval()
        with torch.no_grad():
            assert_close(model(X[:1]).anchors, model.backbone(model.sets.inputs))
        model.train()
    with pytest.raises(ValueError, match="inputs must be a Tensor of 3 rows, got"):
        model.sets.inputs = X


def test_cat_classifies_anchors_and_proxies_behind_the_layer():
    model = build(ProxyAttentionConv(6, 3, 2, self_loop="raw", combine="cat")).eval()
    out = model(X)
    assert model.classifier.in_features == 18
    features = model.conv(out.proxies, (out.anchors, out.proxies))
    assert_close(out.proxy_logits, model.classifier(features))
    assert out.anchor_logits.shape == (3, 3)
    CNN2GraphLoss()(model.train()(X), Y).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_classes": 0}, "num_classes must be"),
        ({"channels": 0}, "channels must be"),
        ({"anchors_per_class": 0, "proxies_per_class": 0}, "must not both be 0"),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        CNN2Graph(**{"backbone": nn.Linear(5, 6), "channels": 6, "num_classes": 3, **args})


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("anchor_grad", [True, False])
def test_cuda_equals_cpu(device, anchor_grad):
    model = build(anchor_grad=anchor_grad)
    twin = copy.deepcopy(model).to(device)
    for m, x, y in ((model, X, Y), (twin, X.to(device), Y.to(device))):
        CNN2GraphLoss()(m(x), y).backward()
        torch.optim.SGD(m.parameters(), 0.1).step()
        m.eval()
    assert_close(predict(twin, X.to(device)).cpu(), predict(model), rtol=1e-8, atol=1e-8)
