from dataclasses import replace

import pytest
import torch

from benchmarks import machine
from benchmarks.accuracy import config
from benchmarks.accuracy.build import build
from benchmarks.accuracy.config import Train, load, settings
from benchmarks.accuracy.data import Problem, problem
from benchmarks.accuracy.methods import Batch, Method, Samples
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.train import add_noise, crop_and_flip, fit, predict, score
from benchmarks.registry import Registry


@pytest.fixture
def study(study_file):
    return load(study_file())


def trained(study, method, seed=0, **options):
    task = study.tasks[0]
    run = settings("test", task, study.methods[method], seed)[0]
    run = replace(run, method=replace(run.method, options=options))
    data = problem(task.data, seed)
    built = build(run, data, "cpu")
    return built, fit(built, data, task.train, seed), data


def test_gcr_of_weight_zero_is_the_baseline_bit_for_bit(study):
    base, base_fit, _ = trained(study, 0)
    gcr, gcr_fit, _ = trained(study, 1, loss_weight=0.0)
    assert base_fit.curve == gcr_fit.curve
    for a, b in zip(base.module.parameters(), gcr.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gcr_changes_training_and_lowers_the_similarity_between_classes(study):
    base, _, data = trained(study, 0)
    gcr, _, _ = trained(study, 1, loss_weight=10.0)
    assert score(gcr, data)["inter_similarity"] < score(base, data)["inter_similarity"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gll", {"k": 4, "base": 3, "softmax": 0.5}),
        ("gll_pruned", {"k": 4, "base": 3}),
        ("lcc", {"k": 5, "warmup": 1}),
        ("cnn2graph", {}),
    ],
)
def test_gcr_adds_to_the_loss_of_any_method(study, name, options):
    data = problem(study.tasks[0].data, 0)
    rows = torch.arange(40)
    batch = Batch(data.train.x[rows], data.train.y[rows], rows)
    losses = []
    for method in (
        config.Method(name, options),
        config.Method("gcr", {"loss_weight": 0.0}, beside=config.Other(name, options)),
        config.Method("gcr", {"loss_weight": 2.0}, beside=config.Other(name, options)),
    ):
        run = settings("test", study.tasks[0], study.methods[0], 0)[0]
        built = build(replace(run, method=method), data, "cpu")
        for epoch in range(2):
            built.on_epoch(epoch, 2)
            value, logits = built.loss(batch)
        losses.append(value.item())
        assert logits.shape == (40, data.num_classes)
    assert losses[0] == losses[1] < losses[2] - 1e-4


def test_gcr_refuses_what_is_not_trained(study):
    method = config.Method("gcr", beside=config.Other("logistic"))
    run = replace(settings("test", study.tasks[0], study.methods[0], 0)[0], method=method)
    with pytest.raises(ValueError, match="beside must be a method that is trained, got 'logistic'"):
        build(run, problem(study.tasks[0].data, 0), "cpu")


def test_training_is_reproducible_and_depends_on_the_seed(study):
    first, again, other = (trained(study, 1, seed)[1].curve for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_training_learns_and_is_measured(study):
    method, fitted, data = trained(study, 0)
    assert fitted.curve["loss"][1] < fitted.curve["loss"][0]
    assert fitted.steps == 2 * 300 // 50
    assert fitted.wall > 0
    assert fitted.cpu > 0
    assert score(method, data)["knn_accuracy"] > 0.5


def test_a_method_sees_every_full_batch_with_its_rows_and_each_epoch(study):
    _, _, data = trained(study, 0)
    data = data._replace(train=Samples(data.train.x[:130], data.train.y[:130]))
    model = models["mlp"]([16], 10, width=8, depth=1)
    base = methods["baseline"](model, data.train)
    seen, epochs = [], []

    def loss(batch):
        assert torch.equal(batch.x, data.train.x[batch.index])
        assert torch.equal(batch.y, data.train.y[batch.index])
        seen.append(batch.index)
        return base.loss(batch)

    fit(
        replace(base, loss=loss, on_epoch=lambda *of: epochs.append(of)), data, Train(2, 50), seed=0
    )
    assert [len(index) for index in seen] == [50] * 4
    assert len(torch.cat(seen[:2]).unique()) == 100
    assert epochs == [(0, 2), (1, 2)]


def test_test_curve_does_not_change_training(study):
    task = study.tasks[0]
    plain = trained(study, 0)[1].curve
    task = replace(task, train=replace(task.train, test_curve=True))
    curve = trained(replace(study, tasks=[task]), 0)[1].curve
    assert len(curve.pop("test_accuracy")) == 2
    assert curve == plain


def test_scores_of_a_known_predictor():
    y = torch.arange(40) % 2
    y_wrong = y.clone()
    y_wrong[:10] = 1 - y_wrong[:10]
    features = torch.nn.functional.one_hot(y, 2).float()
    logits = torch.nn.functional.one_hot(y_wrong, 2) * 2.0
    method = Method(
        torch.nn.Identity(), lambda x: features[: len(x)], lambda: lambda z: logits, None
    )
    got = score(method, Problem(Samples(logits, y), y, Samples(logits, y), 2))
    confidence = torch.sigmoid(torch.tensor(2.0)).item()
    assert got["accuracy"] == pytest.approx(0.75)
    assert got["ece"] == pytest.approx(confidence - 0.75, abs=1e-6)
    expected = torch.nn.functional.cross_entropy(logits, y).item()
    assert got["nll"] == pytest.approx(expected)
    assert got["knn_accuracy"] == 1
    assert (got["intra_similarity"], got["inter_similarity"]) == (1, 0)


def test_other_classes_are_told_apart_by_confidence_and_by_distance():
    x = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(20, 1) + 0.1 * torch.rand(40, 2)
    y = torch.arange(40) % 2
    method = Method(torch.nn.Identity(), lambda x: x, lambda: lambda z: z, None)
    sure_and_far = torch.tensor([[-9.0, 0.0]]).repeat(10, 1)
    unsure_and_near = x[:10] * 0.1
    samples = Samples(x, y)
    assert "auroc_distance" not in score(method, Problem(samples, y, samples, 2))
    got = score(method, Problem(samples, y, samples, 2, (sure_and_far,)))
    assert (got["auroc_confidence"], got["auroc_distance"]) == pytest.approx((0, 1))
    got = score(method, Problem(samples, y, samples, 2, (unsure_and_near,)))
    assert got["auroc_confidence"] == pytest.approx(1)
    assert 0.3 < got["auroc_distance"] < 0.7
    both = score(method, Problem(samples, y, samples, 2, (sure_and_far, unsure_and_near)))
    assert both["auroc_confidence"] == pytest.approx(0.5)


def test_others_are_predicted_among_the_samples_of_the_classes():
    x = torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(20, 1)
    samples = Samples(x, torch.arange(40) % 2)

    def by_the_company(z):  # sure of all where the first is among the scored, else of none
        return (z if torch.equal(z[0], x[0]) else 0 * z) * torch.ones(len(z), 1)

    method = Method(torch.nn.Identity(), lambda x: x, lambda: by_the_company, None)
    got = score(method, Problem(samples, samples.y, samples, 2, (x[:10].flip(0),)))
    assert got["auroc_confidence"] == pytest.approx(0.5)


def test_augmentation_shifts_and_mirrors_whole_images():
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
    out = crop_and_flip(image.repeat(200, 3, 1, 1), torch.Generator().manual_seed(0))
    assert out.shape == (200, 3, 8, 8)
    centre = out[:, 0, 3:5, 3:5]
    step = centre[:, 0, 1] - centre[:, 0, 0]
    assert 60 < (step == -1).sum() < 140
    assert ((step.abs() == 1) | (centre == 0).any(-1).any(-1)).all()
    assert torch.equal(out[:, 0], out[:, 2])
    shifted = {tuple(o.flatten().tolist()) for o in out[:, 0]}
    assert len(shifted) > 80


def test_noise_has_its_deviation_and_generator():
    x = torch.ones(100, 50)
    noisy, again = (add_noise(x, 0.3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(noisy, again)
    assert noisy.mean().item() == pytest.approx(1, abs=0.02)
    assert noisy.std().item() == pytest.approx(0.3, abs=0.01)


def test_noise_is_trained_with_and_not_predicted_with(study):
    task = study.tasks[0]
    plain = trained(study, 0)[1].curve
    task = replace(task, train=replace(task.train, noise=0.5))
    method, fitted, data = trained(replace(study, tasks=[task]), 0)
    assert fitted.curve["loss"] != plain["loss"]
    first, again = (predict(method, data.test.x[:50]).logits for _ in range(2))
    assert torch.equal(first, again)


def test_only_labelled_samples_are_in_batches(study):
    task = replace(study.tasks[0], data=replace(study.tasks[0].data, labels_per_class=3))
    data = problem(task.data, 0)
    model = models["mlp"]([16], 10, width=8, depth=1)
    base = methods["baseline"](model, data.train)
    seen = []

    def loss(batch):
        seen.append(batch)
        return base.loss(batch)

    fitted = fit(replace(base, loss=loss), data, Train(epochs=2, batch_size=128), seed=0)
    assert fitted.steps == len(seen) == 2
    for batch in seen:
        assert torch.equal(batch.index.sort().values, (data.train.y >= 0).nonzero().flatten())
        assert torch.equal(batch.y, data.true_y[batch.index])


def test_a_method_without_a_loss_is_not_trained(study):
    data = problem(study.tasks[0].data, 0)
    model = models["mlp"]([16], 10, width=8, depth=1)
    before = [p.clone() for p in model.parameters()]
    method = replace(methods["baseline"](model, data.train), loss=None)
    assert fit(method, data, Train(2, 50), seed=0) == ({}, 0.0, 0.0, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mlp", [16]), ("mlp", [1, 8, 8]), ("cnn", [1, 28, 28]), ("resnet18", [3, 32, 32])],
)
def test_models(name, shape):
    model = models[name](shape, 7, width=8).eval()
    x = torch.randn(2, *shape)
    features = model.embed(x)
    assert features.shape == (2, model.channels)
    assert torch.equal(model(x), model.head(features))
    modules = dict(model.named_modules())
    assert all(layer in modules for layer in model.layers)
    with torch.no_grad():
        outputs = []
        modules[model.layers[-1]].register_forward_hook(lambda *args: outputs.append(args[2]))
        model(x)
    assert outputs[0].shape[0] == 2


def test_registry_names_what_it_knows():
    register = Registry("thing")
    register("one")(lambda a, *, b=2: a + b)
    assert register["one"](1) == 3
    assert register.complete("one", {}) == {"b": 2}
    with pytest.raises(ValueError, match=r"thing must be one of \['one'\], got 'two'"):
        register["two"]
    with pytest.raises(ValueError, match="registered twice"):
        register("one")(lambda: 0)


def test_peak_memory_is_that_of_the_run_not_of_the_process():
    big = torch.ones(2**26)
    del big
    machine.reset_peak_memory("cpu")
    before = machine.peak_memory("cpu")
    big = torch.ones(2**25)
    assert 100 < machine.peak_memory("cpu") - before < 200
    del big


def test_letters_are_shifted_and_not_mirrored():
    image = torch.arange(1.0, 65).reshape(1, 1, 8, 8).repeat(100, 1, 1, 1)
    both, shifted = (
        crop_and_flip(image, torch.Generator().manual_seed(0), flip=f) for f in (True, False)
    )
    step = shifted[:, 0, 3:5, 3:5].diff(dim=-1)
    assert not (step == -1).any()
    same = (both == shifted).flatten(1).all(1)
    assert 20 < same.sum() < 80


def test_sgd_takes_the_steps_of_its_formula():
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    module = torch.nn.ParameterList([weight])
    method = Method(
        module, lambda x: x, lambda: lambda z: z, lambda b: (2 * weight.sum(), torch.zeros(2, 2))
    )
    rows = Samples(torch.zeros(4, 1), torch.zeros(4).long())
    train = Train(1, 2, lr=0.1, weight_decay=0.5, schedule="constant", optimiser="sgd")
    fit(method, Problem(rows, rows.y, rows, 2), train, seed=0)
    first = 2 + 0.5 * 3
    after = 3 - 0.1 * first
    second = 2 + 0.5 * after + 0.9 * first
    assert weight.item() == pytest.approx(after - 0.1 * second)
