import pytest
import torch
from torch import Tensor, nn

from pyg_relational.nn import (
    CNN2Graph,
    CNN2GraphLoss,
    CNN2GraphOutput,
    ProxyContrastiveLoss,
    proxy_contrastive_loss,
)
from tests import oracles


def output(b: int, a: int, p: int, c: int = 3, f: int = 4) -> CNN2GraphOutput:
    """``a`` anchors, ``p`` proxies; every floating tensor a leaf that keeps its gradient."""
    g = torch.Generator().manual_seed(0)
    sizes = {
        "logits": (b, c),
        "embedding": (b, f),
        "anchors": (a, f),
        "proxies": (p, f),
        "anchor_logits": (a, c),
        "proxy_logits": (p, c),
    }
    tensors = {
        name: torch.randn(size, generator=g, dtype=torch.float64).requires_grad_()
        for name, size in sizes.items()
    }
    return CNN2GraphOutput(**tensors, anchor_y=torch.arange(a) % c, proxy_y=torch.arange(p) % c)


def leaves(out: CNN2GraphOutput) -> list[Tensor]:
    return list(out[:6])


def contrastive(out: CNN2GraphOutput, y: Tensor) -> Tensor:
    sets = (out.anchors, out.anchor_y, out.proxies, out.proxy_y)
    return proxy_contrastive_loss(out.embedding, y, *sets)


@pytest.mark.parametrize("class_weights", [(1.0, 1.0, 1.0), (0.5, 0.0, 2.0)])
@pytest.mark.parametrize("weight", [0, 0.3, 1.0])
@pytest.mark.parametrize(("b", "a", "p"), [(7, 6, 3), (7, 0, 6), (7, 6, 0), (1, 3, 3), (0, 3, 3)])
def test_equals_oracle_in_value_and_gradient(b, a, p, weight, class_weights):
    y = torch.arange(b) % 3
    y[1::3] = -1
    ours, theirs = output(b, a, p), output(b, a, p)
    got = CNN2GraphLoss(weight=weight, class_weights=class_weights)(ours, y)
    want = oracles.cnn2graph(theirs, y, weight, contrastive(theirs, y), class_weights)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    got.backward()
    want.backward()
    for x, z in zip(leaves(ours), leaves(theirs), strict=True):
        zero = torch.zeros_like(x)
        grads = [zero if t.grad is None else t.grad for t in (x, z)]
        torch.testing.assert_close(*grads, rtol=1e-10, atol=1e-12)


def test_unlabelled_batch_leaves_anchors_and_proxies():
    out = output(5, 6, 3)
    loss = CNN2GraphLoss()(out, torch.full((5,), -1))
    empty = output(5, 6, 3)
    none = empty._replace(logits=empty.logits[:0], embedding=empty.embedding[:0])
    want = CNN2GraphLoss()(none, torch.empty(0, dtype=torch.int64))
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=1e-12)
    loss.backward()
    assert not out.logits.grad.any()
    assert not out.embedding.grad.any()
    assert out.proxies.grad.any()
    assert out.anchor_logits.grad.any()


def test_nothing_labelled_is_0_with_gradient_0():
    out = output(5, 6, 3)
    out = out._replace(anchor_y=torch.full((6,), -1), proxy_y=torch.full((3,), -1))
    loss = CNN2GraphLoss()(out, torch.full((5,), -1))
    loss.backward()
    assert loss == 0
    assert all(x.grad.equal(torch.zeros_like(x)) for x in leaves(out))


def test_gradcheck():
    out, y = output(5, 6, 3), torch.tensor([0, 1, 2, -1, 0])

    def f(*tensors: Tensor) -> Tensor:
        return CNN2GraphLoss(weight=0.7)(
            CNN2GraphOutput(*tensors, anchor_y=out.anchor_y, proxy_y=out.proxy_y), y
        )

    assert torch.autograd.gradcheck(f, tuple(leaves(out)))


def test_other_contrastive_losses_fit():
    out, y = output(7, 6, 3), torch.arange(7) % 3
    semihard = ProxyContrastiveLoss(mining="semihard")
    base = CNN2GraphLoss(weight=0)(out, y)
    sets = (out.embedding, y, out.anchors, out.anchor_y, out.proxies, out.proxy_y)
    torch.testing.assert_close(
        CNN2GraphLoss(semihard, weight=2)(out, y), base + 2 * semihard(*sets)
    )


def test_half_precision_and_autocast_are_computed_in_float32():
    out, y = output(7, 6, 3), torch.arange(7) % 3
    half = CNN2GraphOutput(*(x.detach().bfloat16() for x in leaves(out)), *out[6:])
    full = CNN2GraphOutput(*(x.float() for x in leaves(half)), *out[6:])
    want = CNN2GraphLoss()(full, y)
    assert want.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert CNN2GraphLoss()(half, y) == want
        assert CNN2GraphLoss()(full, y) == want


@pytest.mark.parametrize("mining", ["all", "semihard", "random"])
def test_trains_the_model(mining):
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(3, 5)[y] * 2 + torch.randn(60, 5) * 0.3
    model = CNN2Graph(
        nn.Linear(5, 8), channels=8, num_classes=3, anchors_per_class=2, proxies_per_class=2
    )
    model.sets.choose(x, y)
    loss = CNN2GraphLoss(ProxyContrastiveLoss(mining=mining))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": torch.full((4, 3), torch.inf)}, ValueError, "logits must be finite, got inf"),
        ({"anchor_logits": torch.ones(3)}, ValueError, r"anchor_logits must have shape \[n, d\]"),
        ({"proxy_logits": torch.ones(3, 3).long()}, TypeError, "proxy_logits must be floating"),
        ({"anchor_y": torch.tensor([0, 3, 1])}, ValueError, r"anchor_y must be -1 or a class in \[0, 3\), got 3"),
        ({"proxy_y": torch.tensor([0, -2, 1])}, ValueError, r"proxy_y must be -1 or a class in \[0, 3\), got -2"),
        ({"proxy_y": torch.arange(2)}, ValueError, r"proxy_y must have shape \[3\], got \[2\]"),
        ({"anchors": torch.ones(3, 5)}, ValueError, "anchors must have the 4 columns of embedding"),
    ],
)  # fmt: skip
def test_errors_name_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        CNN2GraphLoss()(output(4, 3, 3)._replace(**change), torch.zeros(4, dtype=torch.int64))


def test_classes_of_images_are_checked():
    with pytest.raises(ValueError, match=r"y must be -1 or a class in \[0, 3\), got 3"):
        CNN2GraphLoss()(output(4, 3, 3), torch.tensor([0, 3, 1, 1]))
    with pytest.raises(TypeError, match=r"y must be int64, got torch\.float32"):
        CNN2GraphLoss()(output(4, 3, 3), torch.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"weight": -0.1}, ValueError, "weight must be finite and >= 0, got -0.1"),
        ({"class_weights": (1, 1)}, ValueError, "class_weights must be 3 finite numbers >= 0"),
        ({"class_weights": (1, 1, -1)}, ValueError, "class_weights must be 3 finite numbers >= 0"),
        ({"weight": "1"}, TypeError, "weight must be a number or a Tensor, got str"),
        (
            {"contrastive": 3},
            TypeError,
            r"contrastive must be a torch\.nn\.Module or None, got int",
        ),
    ],
)
def test_options_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        CNN2GraphLoss(**arguments)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    out, y = output(30, 6, 3), torch.arange(30) % 3
    there = CNN2GraphOutput(*(x.detach().cuda() for x in out))
    torch.testing.assert_close(
        CNN2GraphLoss()(there, y.cuda()).cpu(), CNN2GraphLoss()(out, y).detach()
    )
