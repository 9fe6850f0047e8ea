import copy

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


def test_in_place_layers_behind_leave_the_features_alone():
    model, x = (
        nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
        torch.randn(5, 4),
    )
    with FeatureCapture(model, ["0"]) as capture:
        model(x).sum().backward()
    torch.testing.assert_close(capture.features[0], model[0](x))
    assert (capture.features[0] < 0).any()


def test_each_run_of_a_layer_and_each_name_counts():
    layer = nn.Linear(4, 4)
    model, x = nn.Sequential(layer, nn.Tanh(), layer), torch.randn(5, 4)
    with FeatureCapture(model, ["1", "0", "1"]) as capture:
        model(x)
    tanh, first, second, again = capture.features
    torch.testing.assert_close(first, layer(x))
    torch.testing.assert_close(tanh, first.tanh())
    torch.testing.assert_close(second, layer(tanh))
    assert again.equal(tanh)


def test_a_layer_that_is_skipped_is_an_error_not_the_last_batch():
    class Skipping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.skip = False

        def forward(self, x):
            return x if self.skip else self.layer(x)

    model = Skipping()
    capture = FeatureCapture(model, ["layer"])
    with capture:
        model(torch.randn(5, 4))
        model.skip = True
        model(torch.randn(5, 4))
        with pytest.raises(ValueError, match=r"got no output of \['layer'\] in the last pass"):
            _ = capture.features
    model.skip = False
    with capture:
        model(torch.randn(5, 4))
    assert len(capture.features) == 1  # still there behind the context
    with capture, pytest.raises(ValueError, match="got no output"):
        _ = capture.features


def test_a_deep_copy_made_inside_does_not_report():
    model, x = network(), torch.randn(5, 1, 8, 8)
    with FeatureCapture(model, ["0"]) as capture:
        model(x)
        twin = copy.deepcopy(model)
        twin(torch.randn(2, 1, 8, 8))
    assert [len(rows) for rows in capture.features] == [5]


def test_tokens_are_pooled_over_tokens():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model, x = nn.Sequential(layer, nn.Flatten()), torch.randn(3, 5, 8)
    model.eval()
    with FeatureCapture(model, ["0"], pool=True) as capture:
        model(x)
    torch.testing.assert_close(capture.features[0], layer(x).mean(1))


def test_select_takes_features_from_what_a_layer_gives():
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(2, 6, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    model, x = Recurrent(), torch.randn(4, 3, 2)
    with FeatureCapture(model, ["lstm"], select=lambda out: out[0][:, -1]) as capture:
        out = model(x)
    assert capture.features[0].equal(out[:, -1])


def test_names_of_the_model_do_behind_wrappers():
    model, x = network(), torch.randn(5, 1, 8, 8)
    wrapped = nn.DataParallel(model)  # names as DistributedDataParallel's: module.0
    for outer in (wrapped, torch.compile(wrapped, backend="eager")):
        for name in ("0", "module.0"):
            with FeatureCapture(outer, [name]) as capture:
                outer(x)
            torch.testing.assert_close(capture.features[0], model[0](x).flatten(1))


def test_a_model_compiled_before_names_its_cause():
    torch._dynamo.reset()
    model, x = network(), torch.randn(5, 1, 8, 8)
    compiled = torch.compile(model, backend="eager")
    compiled(x)
    with FeatureCapture(compiled, ["0"]) as capture:
        compiled(x)
    with pytest.raises(ValueError, match="a compiled model must be compiled, or run first, inside"):
        _ = capture.features


def test_a_vector_has_no_rows_and_a_context_no_second_entry():
    class Flat(nn.Module):
        def forward(self, x):
            return x.sum(1)

    with (
        FeatureCapture(nn.Sequential(Flat()), ["0"]) as capture,
        pytest.raises(ValueError, match=r"layer '0' must give \[n, \.\.\.\], got \[5\]"),
    ):
        capture._model(torch.randn(5, 4))
    with capture, pytest.raises(RuntimeError, match="must be left before it is entered again"):
        capture.__enter__()
