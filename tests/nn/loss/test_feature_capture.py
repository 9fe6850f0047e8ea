import pytest
import torch
from torch import nn

from pyg_relational.nn import FeatureCapture


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def test_captures_outputs_in_the_order_asked_for():
    model, x = network(), torch.randn(5, 1, 8, 8)
    with FeatureCapture(model, ["2", "0"]) as capture:
        model(x)
    first, second = capture.features
    torch.testing.assert_close(first, model[:3](x))
    torch.testing.assert_close(second, model[0](x).flatten(1))


def test_pool_averages_over_space():
    model, x = network(), torch.randn(5, 1, 8, 8)
    with FeatureCapture(model, ["0", "2"], pool=True) as capture:
        model(x)
    torch.testing.assert_close(capture.features[0], model[0](x).mean((2, 3)))
    assert capture.features[1].shape == (5, 4 * 36)


def test_gradient_passes_and_output_is_unchanged():
    model, x = network(), torch.randn(5, 1, 8, 8)
    with FeatureCapture(model, ["0"]) as capture:
        out = model(x)
    torch.testing.assert_close(out, model(x))
    capture.features[0].sum().backward()
    assert model[0].weight.grad.any()


def test_hooks_are_removed_also_after_an_error():
    model = network()
    with FeatureCapture(model, ["0"]):
        assert model[0]._forward_hooks
    assert not model[0]._forward_hooks
    with pytest.raises(RuntimeError), FeatureCapture(model, ["0"]):
        model(torch.randn(3))
    assert not model[0]._forward_hooks


def test_every_forward_pass_replaces_the_last():
    model = network()
    with FeatureCapture(model, ["0"]) as capture:
        model(torch.randn(5, 1, 8, 8))
        model(torch.randn(2, 1, 8, 8))
    assert capture.features[0].shape[0] == 2


def test_errors():
    with pytest.raises(ValueError, match=r"layers must name modules of the model, .*got 'layer4'"):
        FeatureCapture(network(), ["layer4"])
    with pytest.raises(TypeError, match="layers must be a sequence of names, got the str '0'"):
        FeatureCapture(network(), "0")
    with pytest.raises(ValueError, match=r"got no output of \['0'\]"):
        _ = FeatureCapture(network(), ["0"]).features
    lstm = nn.Sequential(nn.LSTM(2, 2))
    with (
        FeatureCapture(lstm, ["0"]),
        pytest.raises(TypeError, match="layer '0' must give a Tensor, got tuple"),
    ):
        lstm(torch.ones(1, 1, 2))
