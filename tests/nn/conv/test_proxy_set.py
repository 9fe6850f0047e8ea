import copy
import io
import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyg_relational.nn import ProxySet
from pyg_relational.nn.conv import proxy_set

Y = torch.tensor([2, -1, 0, 1, 0, 2, 2, -1, 1, 2])
X = torch.arange(10.0)[:, None]
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_anchors_are_drawn_uniformly_in_each_class_and_never_unlabelled():
    sets, g, draws = ProxySet(3, 4, anchors_per_class=2), seeded(), 3000
    count = dict.fromkeys(itertools.combinations([0, 5, 6, 9], 2), 0)
    for _ in range(draws):
        sets.choose(X, Y, g)
        drawn = sets.inputs[:, 0].long()
        assert Y[drawn].equal(sets.anchor_y)
        assert len(drawn.unique()) == 6
        count[tuple(sorted(drawn[4:].tolist()))] += 1
    expected = draws / len(count)
    chi_square = sum((n - expected) ** 2 / expected for n in count.values())
    assert chi_square < 20.5  # 5 degrees of freedom, 0.1 %


def test_the_same_seed_draws_the_same_anchors():
    sets, again, other = (ProxySet(3, 4, anchors_per_class=2) for _ in range(3))
    x, y = torch.randn(300, 2, 3), torch.arange(300) % 3
    for s, seed in ((sets, 0), (again, 0), (other, 1)):
        s.choose(x, y, seeded(seed))
    assert sets.inputs.equal(again.inputs)
    assert not sets.inputs.equal(other.inputs)
    assert sets.inputs.shape == (6, 2, 3)


def test_anchors_are_a_copy_without_gradient():
    sets, x = ProxySet(3, 4), X.clone().requires_grad_()
    sets.choose(x, Y)
    before = sets.inputs.clone()
    with torch.no_grad():
        x.zero_()
    assert sets.inputs.equal(before)
    assert not sets.inputs.requires_grad


def test_proxies_are_drawn_as_he_et_al_do():
    sets = ProxySet(10, 512, proxies_per_class=20)
    assert sets.proxies.shape == (200, 512)
    assert sets.proxy_y.equal(torch.arange(10).repeat_interleave(20))
    assert_close(sets.proxies.std().item(), math.sqrt(2 / 512), rtol=0.02, atol=0)
    before = sets.proxies.clone()
    sets.reset_parameters()
    assert (sets.proxies != before).all()


class Fails(nn.Module):
    def forward(self, x):
        raise ArithmeticError


def encoder(*more):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), *more)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_refresh_embeds_in_eval_mode_and_leaves_the_encoder_as_it_was(fails, frozen):
    sets, net = ProxySet(3, 4), encoder(*[Fails()] * fails)
    net[1].train(not frozen)
    state, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    sets.choose(X, Y)
    if fails:
        with pytest.raises(ArithmeticError):
            sets.refresh(net)
        assert sets.stale
        assert sets.anchors.isnan().all()
    else:
        sets.refresh(net)
        assert not sets.stale
        assert_close(sets.anchors, copy.deepcopy(net).eval()(sets.inputs))
        assert not sets.anchors.requires_grad
    assert [m.training for m in net.modules()] == modes
    for name, value in net.state_dict().items():
        assert value.equal(state[name])


def test_many_anchors_are_embedded_in_parts(monkeypatch):
    sets, sizes, y = ProxySet(2, 4, anchors_per_class=5), [], torch.arange(40) % 2
    sets.choose(torch.randn(40, 1), y)
    net = encoder().eval()
    net.register_forward_hook(lambda m, inputs, out: sizes.append(len(out)))
    monkeypatch.setattr(proxy_set, "CHUNK", 4)
    sets.refresh(lambda x: net(x))
    assert sizes == [4, 4, 2]
    assert_close(sets.anchors, net(sets.inputs))


def test_without_anchors_or_without_proxies():
    sets = ProxySet(3, 4, anchors_per_class=0)
    sets.choose(X, Y)
    sets.refresh(Fails())
    assert sets.inputs is None
    assert sets.anchors.shape == (0, 4)
    assert not sets.stale
    assert ProxySet(3, 4, proxies_per_class=0).proxies.shape == (0, 4)


def test_the_state_holds_embeddings_not_inputs():
    sets, fresh = ProxySet(3, 4), ProxySet(3, 4)
    sets.choose(X, Y)
    sets.refresh(encoder())
    file = io.BytesIO()
    torch.save(sets.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert set(state) == {"proxies", "anchors", "proxy_y", "anchor_y"}
    fresh.load_state_dict(state)
    assert not fresh.stale
    assert fresh.anchors.equal(sets.anchors)
    fresh.load_state_dict({"proxies": state["proxies"]}, strict=False)
    assert fresh.stale
    fresh.load_state_dict(ProxySet(3, 4).state_dict())
    assert fresh.stale
    with pytest.raises(RuntimeError, match=r"anchors must be chosen first, with ProxySet.choose"):
        fresh.refresh(encoder())


def test_inputs_follow_the_dtype_unless_they_are_integers():
    for x, dtype in ((X, torch.float64), (X.byte(), torch.uint8)):
        sets = ProxySet(3, 4)
        sets.choose(x, Y)
        assert sets.double() is sets
        assert sets.chosen().dtype == dtype
        assert sets.anchors.dtype == sets.proxies.dtype == torch.float64


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 4), "num_classes must be >= 1, got 0"),
        ((3, 4.0), "channels must be an int, got float"),
        ((3, 4, -1), "proxies_per_class must be >= 0, got -1"),
        ((3, 4, 1, -1), "anchors_per_class must be >= 0, got -1"),
        ((3, 4, 0, 0), "proxies_per_class and anchors_per_class must not both be 0"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ProxySet(*sizes)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (Y[:9], ValueError, r"y must have shape \[10\], got \[9\]"),
        (Y.float(), TypeError, "y must be int64, got torch.float32"),
        (Y.tolist(), TypeError, "y must be a Tensor, got list"),
        (Y + 1, ValueError, "y must be < 3, got 3"),
        (Y.where(Y != 1, -1), ValueError, "y must hold 2 samples of every class, got 0 of class 1"),
        (Y.where(X[:, 0] != 4, -1), ValueError, "y must hold 2 samples .* got 1 of class 0"),
        (Y * 0 - 1, ValueError, "y must hold 2 samples of every class, got 0 of class 0"),
    ],
)
def test_bad_labels(y, error, message):
    with pytest.raises(error, match=message):
        ProxySet(3, 4, anchors_per_class=2).choose(X, y)


@pytest.mark.parametrize("wrong", [nn.Linear(1, 1), lambda x: x.mean(0).expand(4), nn.Linear(1, 5)])
def test_embeddings_of_another_shape_are_refused(wrong):
    sets = ProxySet(3, 4)
    sets.choose(X, Y)
    with pytest.raises(ValueError, match=r"encoder must give \[3, 4\], got \["):
        sets.refresh(wrong)


@pytest.mark.parametrize("device", [CUDA])
def test_cuda(device):
    sets = ProxySet(3, 4)
    sets.choose(X.to(device), Y, seeded())
    here = ProxySet(3, 4)
    here.choose(X, Y, seeded())
    assert sets.inputs.cpu().equal(here.inputs)
    sets.to(device).refresh(nn.Linear(1, 4).to(device))
    here.to(device).refresh(nn.Linear(1, 4).to(device))
    assert here.inputs.is_cuda
    assert here.anchors.is_cuda
