import pytest
import torch

from benchmarks.accuracy.build import build
from benchmarks.accuracy.config import Train, load, settings
from benchmarks.accuracy.data import Problem, problem
from benchmarks.accuracy.methods import Batch, Samples
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.methods.propagation import spread
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.train import fit, predict
from pyg_relational.nn import GraphLearningLayer
from tests.benchmarks.blobs import samples as blobs


def hide(samples, shown):
    return Samples(samples.x, torch.where(torch.arange(len(samples.y)) < shown, samples.y, -1))


def encoder(seed=0):
    torch.manual_seed(seed)
    return models["mlp"]([3], 3, width=16, depth=2)


def accuracy(method, samples):
    return (predict(method, samples.x).logits.argmax(1) == samples.y).float().mean().item()


def test_gll_learns_and_predicts():
    train, test = blobs(40), blobs(30, seed=1)
    method = methods["gll"](encoder(), train, k=8)
    fitted = fit(method, Problem(train, train.y, test, 3), Train(5, 30, lr=0.01), seed=0)
    assert fitted.curve["loss"][-1] < 0.7 * fitted.curve["loss"][0]
    assert accuracy(method, test) > 0.9


def test_softmax_trains_the_head_for_its_share_of_the_epochs():
    train = blobs(10)
    model = encoder()
    method = methods["gll"](model, train, k=6, base=3, softmax=0.5)
    batch = Batch(train.x, train.y, torch.arange(30))
    moved = []
    for epoch in range(4):
        method.on_epoch(epoch, 4)
        model.zero_grad()
        method.loss(batch)[0].backward()
        grad = model.head.weight.grad
        moved.append(grad is not None and bool(grad.any()))
    assert moved == [True, True, False, False]


def test_loss_is_the_papers_on_rows_outside_of_the_base():
    train = blobs(10)
    model = encoder().eval()
    method = methods["gll"](model, train, k=6, base=3)
    method.on_epoch(0, 9)
    seen = {}
    embed = model.embed

    def record(x):
        seen["x"] = x
        return embed(x)

    model.embed = record
    index = torch.arange(30)
    loss, logits = method.loss(Batch(train.x, train.y, index))
    base = torch.stack([(train.x == x).all(1).nonzero()[0, 0] for x in seen["x"][-9:]])
    assert train.y[base].bincount().tolist() == [3, 3, 3]
    y = torch.cat([train.y[base], train.y])
    rows = torch.arange(39).roll(9)
    u = GraphLearningLayer(6)(embed(seen["x"][rows]), y, torch.arange(39) < 9, num_classes=3)[9:]
    others = torch.tensor([i for i in range(30) if i not in base.tolist()])
    expected = -(u[others, train.y[others]] + 1e-8).log().mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits, (u + 1e-8).log())
    loss.backward()
    assert all(p.grad is not None for p in model.blocks.parameters())


def test_base_is_drawn_anew_each_epoch_and_by_the_seed():
    def drawn(seed, epochs):
        torch.manual_seed(seed)
        train = blobs(20)
        model = models["mlp"]([3], 3, width=4, depth=1)
        torch.manual_seed(seed)
        method = methods["gll"](model, train, base=2)
        inputs = []
        embed = model.embed
        model.embed = lambda x: inputs.append(x[-6:]) or embed(x)
        for epoch in range(epochs):
            method.on_epoch(epoch, 9)
            method.loss(Batch(train.x[:12], train.y[:12], torch.arange(12)))
        return inputs

    first, second = drawn(0, 2)
    assert not torch.equal(first, second)
    assert torch.equal(first, drawn(0, 1)[0])
    assert not torch.equal(first, drawn(1, 1)[0])


def test_half_of_few_labels_is_left_to_learn_from_and_one_a_class_is_used_twice():
    for shown, expected in ((3, [1, 1, 1]), (12, [2, 2, 2])):
        train = hide(blobs(20), shown)
        model = encoder()
        method = methods["gll"](model, train, base=10)
        sizes = []
        embed = model.embed
        model.embed = lambda x, embed=embed, sizes=sizes: sizes.append(len(x)) or embed(x)
        method.on_epoch(0, 9)
        index = torch.arange(shown)
        loss, _ = method.loss(Batch(train.x[index], train.y[index], index))
        assert sizes == [sum(expected) + shown]
        assert torch.isfinite(loss)


def test_hidden_labels_are_never_read():
    samples = blobs(20)
    results = []
    every = ("gll", "gll_control", "knn_control", "pseudo_label", "propagation", "prototypes")
    for method in every:
        for true_y in (samples.y, samples.y.flip(0)):
            train = hide(samples, 6)
            options = {"unlabelled": 10} if method in ("gll", "pseudo_label") else {}
            torch.manual_seed(0)
            built = methods[method](encoder(), train, **options)
            fit(built, Problem(train, true_y, samples, 3), Train(3, 30), seed=0)
            results.append(predict(built, samples.x).logits)
        assert torch.equal(results[-1], results[-2])


def test_prediction_is_propagation_from_base_over_hidden_and_test():
    samples, test = blobs(20), blobs(10, seed=1)
    train = hide(samples, 12)
    model = encoder()
    method = methods["gll"](model, train, k=5)
    got = predict(method, test.x).logits
    model.eval()
    x = torch.cat([train.x, test.x])
    y = torch.cat([train.y, torch.full_like(test.y, -1)])
    with torch.no_grad():
        u = GraphLearningLayer(5)(model.embed(x), y, num_classes=3)[len(train.y) :]
    torch.testing.assert_close(got, (u + 1e-8).log(), atol=1e-3, rtol=1e-3)


def test_the_control_is_trained_as_the_baseline_and_predicts_as_gll():
    train, test = blobs(40), blobs(30, seed=1)
    problem = Problem(train, train.y, test, 3)
    trained = [methods[m](encoder(), train) for m in ("baseline", "gll_control")]
    curves = [fit(m, problem, Train(3, 30), seed=0).curve for m in trained]
    assert curves[0] == curves[1]
    base, control = (predict(m, test.x) for m in trained)
    assert torch.equal(base.features, control.features)
    assert not torch.equal(base.logits, control.logits)
    torch.manual_seed(0)
    gll = methods["gll"](trained[1].module, train)
    torch.manual_seed(0)
    again = methods["gll_control"](trained[1].module, train)
    assert torch.equal(predict(gll, test.x).logits, predict(again, test.x).logits)


def test_the_vote_of_the_voters_is_by_inverse_distance_of_unit_rows():
    train, test = blobs(20), blobs(10, seed=1)
    method = methods["knn_control"](encoder(), train, k=3, test_base=7)
    logits, features = predict(method, test.x)
    classify = method.classifier()
    torch.testing.assert_close(classify(features), classify(4 * features))
    votes = logits.exp() - 1e-8
    torch.testing.assert_close(votes.sum(1), torch.ones(len(test.y)))
    assert ((votes > 1e-6).sum(1) <= 3).all()
    assert accuracy(method, test) > 0.9


@pytest.mark.parametrize("kind", ["laplace", "poisson"])
def test_labels_spread_over_inputs_without_training(kind):
    samples, test = blobs(30), blobs(20, seed=1)
    train = hide(samples, 3)
    method = methods["propagation"](encoder(), train, kind=kind)
    assert method.loss is None
    assert accuracy(method, test) > 0.9


@pytest.mark.parametrize("kind", ["laplace", "poisson"])
def test_samples_that_no_label_reaches_have_a_prediction(kind):
    x = torch.cat([torch.rand(20, 2), torch.rand(20, 2) + 100])
    y = torch.where(torch.arange(40) < 2, torch.arange(40), -1)
    scores = spread(x, y, 2, kind=kind, k=5)
    assert torch.isfinite(scores).all()
    assert torch.equal(scores[20:], scores[20].expand(20, 2))


def test_unknown_kind_is_named():
    with pytest.raises(ValueError, match="kind must be 'laplace' or 'poisson', got 'page'"):
        methods["propagation"](encoder(), blobs(5), kind="page")


def test_spread_labels_are_those_of_the_blobs():
    samples = blobs(30)
    guess = spread(samples.x, hide(samples, 3).y, 3, tau=0.07).argmax(1)
    assert (guess == samples.y).float().mean() > 0.9


@pytest.mark.parametrize("method", ["gll", "pseudo_label"])
def test_pseudo_labels_teach_what_three_labels_do_not(method):
    samples, test = blobs(40), blobs(30, seed=1)
    train = hide(samples, 3)
    built = methods[method](encoder(), train, unlabelled=40)
    fitted = fit(built, Problem(train, samples.y, test, 3), Train(60, 30, lr=0.01), seed=0)
    assert fitted.curve["loss"][-1] < fitted.curve["loss"][0] / 2
    assert accuracy(built, test) > 0.9


def test_gll_runs_from_a_config_reproducibly(study_file):
    study = load(
        study_file(
            "name: gcr\n  grid: {loss_weight: [0.1, 1]}", "name: gll\n  grid: {lr: [0.01, 0.02]}"
        )
    )
    task = study.tasks[0]
    curves = []
    for seed in (0, 0, 1):
        run = settings("test", task, study.methods[1], seed)[0]
        data = problem(task.data, seed)
        curves.append(fit(build(run, data, "cpu"), data, task.train, seed).curve)
    assert curves[0] == curves[1]
    assert curves[0] != curves[2]


def test_attacks_get_gradients_through_the_graph():
    train, test = blobs(40), blobs(10, seed=1)
    method = methods["gll"](encoder(), train, k=5)
    fit(method, Problem(train, train.y, test, 3), Train(3, 30, lr=0.01), seed=0)
    x = test.x.double().requires_grad_()
    method = methods["gll"](method.module.double(), Samples(train.x.double(), train.y), k=5)
    method.module.eval()
    classify = method.classifier()

    def loss(x):
        return classify(method.embed(x)).gather(1, test.y[:, None]).sum()

    (gradient,) = torch.autograd.grad(loss(x), x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    step = 1e-5
    numeric = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    assert gradient.abs().max() > 0
    torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-3, atol=1e-6)
