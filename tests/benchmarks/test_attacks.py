import pytest
import torch
from torch import nn

from benchmarks.accuracy.attacks import (
    carlini_wagner,
    fgsm,
    linear_margin,
    log_likelihood,
    margin,
    noise,
    pgd,
)
from benchmarks.accuracy.config import Attack
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Method, Samples
from benchmarks.accuracy.robustness import NORMS, nearest_mean, robustness

ONE = torch.tensor([1.0, -1.0])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plane(x):
    """Class 1 where x_0 > 0.5."""
    score = 10 * (x[:, 0] - 0.5)
    return torch.stack([-score, score], dim=1).log_softmax(1)


@pytest.fixture(scope="module")
def network():
    """A network fitted to a curved boundary, inputs of which half are near it."""
    torch.manual_seed(0)
    x = torch.rand(600, 6)
    y = ((x - 0.5).square().sum(1) > 0.5).long()
    f = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimiser = torch.optim.Adam(f.parameters(), lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        nn.functional.cross_entropy(f(x), y).backward()
        optimiser.step()
    f.append(nn.LogSoftmax(1)).requires_grad_(False)
    return f, x[:200], y[:200]


def accuracy(f, x, y):
    return (f(x).argmax(1) == y).float().mean().item()


def test_margin_is_true_less_best_other():
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    y = torch.tensor([1, 2])
    assert margin(logits, y).tolist() == [1, -1]
    torch.testing.assert_close(linear_margin(logits.exp().log(), y)[0], logits.exp()[0, 1:] @ ONE)
    expected = logits.log_softmax(1)[[0, 1], y]
    torch.testing.assert_close(log_likelihood(logits, y), expected)


def test_fgsm_goes_the_radius_towards_the_boundary():
    x, y = torch.tensor([[0.7, 0.2], [0.2, 0.8], [0.95, 0.5]]), torch.tensor([1, 0, 0])
    moved = fgsm(plane, x, y, 0.1)
    torch.testing.assert_close(moved[:, 0], torch.tensor([0.6, 0.3, 1.0]))
    assert torch.equal(moved[:, 1], x[:, 1])


def test_signs_survive_a_saturated_softmax():
    x, y = torch.tensor([[1.0, 0.5]]), torch.tensor([1])

    def saturated(x):
        return (100 * plane(x)).log_softmax(1)

    assert fgsm(saturated, x, y, 0.1)[0, 0].item() == pytest.approx(0.9)
    assert torch.equal(fgsm(saturated, x, y, 0.1, log_likelihood), x)


@pytest.mark.parametrize("objective", [margin, linear_margin, log_likelihood])
@pytest.mark.parametrize("radius", [0.02, 0.1, 0.3])
def test_attacks_stay_in_the_ball_and_in_the_box(network, radius, objective):
    f, x, y = network
    for moved in (
        fgsm(f, x, y, radius, objective),
        pgd(f, x, y, radius, 10, generator(), objective),
        noise(x, radius, generator()),
    ):
        assert 0 < (moved - x).abs().max() <= radius + 1e-6
        assert moved.min() >= 0
        assert moved.max() <= 1


def test_pgd_fools_more_than_fgsm_and_that_more_than_noise(network):
    f, x, y = network
    for radius in (0.05, 0.1):
        by_pgd = accuracy(f, pgd(f, x, y, radius, 20, generator()), y)
        by_fgsm = accuracy(f, fgsm(f, x, y, radius), y)
        by_noise = accuracy(f, noise(x, radius, generator()), y)
        assert by_pgd <= by_fgsm < by_noise <= accuracy(f, x, y)


def test_pgd_keeps_the_iterate_that_fools_most():
    steps = iter([0.0, 0.9, 0.1, 0.3])

    def wavering(x):
        return plane(x - next(steps))

    x = torch.tensor([[0.7, 0.5], [0.8, 0.5], [0.9, 0.5]])
    best = pgd(wavering, x, torch.ones(3).long(), 0.01, 3, generator())
    first = (x + 0.01 * (2 * torch.rand(x.shape, generator=generator()) - 1)).clamp(0, 1)
    expected = (first - torch.tensor([[0.01 / 2, 0.0]])).clamp(x - 0.01, x + 0.01)
    torch.testing.assert_close(best, expected)


def test_pgd_and_noise_depend_on_the_generator_alone(network):
    f, x, y = network
    for attack in (lambda g: pgd(f, x, y, 0.1, 5, g), lambda g: noise(x, 0.1, g)):
        assert torch.equal(attack(generator()), attack(generator()))
        assert not torch.equal(attack(generator()), attack(generator(1)))


def test_carlini_wagner_finds_the_distance_to_a_plane():
    x = torch.tensor([[0.7, 0.2], [0.1, 0.8], [0.9, 0.5], [0.6, 0.5]])
    y = torch.tensor([1, 0, 1, 0])
    moved, distance = carlini_wagner(plane, x, y, steps=100)
    torch.testing.assert_close(distance, torch.tensor([0.2, 0.4, 0.4, 0.0]), atol=0.02, rtol=0)
    assert (distance[:3] >= torch.tensor([0.2, 0.4, 0.4]) - 1e-5).all()
    assert (margin(plane(moved), y) <= 0).all()
    torch.testing.assert_close((moved - x).norm(dim=1), distance)


def test_carlini_wagner_says_when_nothing_was_found():
    x, y = torch.rand(5, 2, generator=generator()), torch.zeros(5).long()
    _, distance = carlini_wagner(
        lambda x: torch.stack([1 + x[:, 0], x[:, 1] - 2], 1), x, y, steps=5
    )
    assert distance.isinf().all()


def test_robustness_has_a_curve_for_each_attack(network):
    f, x, y = network
    method = Method(nn.Identity(), lambda x: x, lambda: f, None)
    other = Method(nn.Identity(), lambda x: x, lambda: plane, None)
    attack = Attack(radii=[0.05, 0.2], l2_radii=[0.1, 0.5, 1.0], samples=100, steps=10, l2_steps=20)
    samples = Samples(x, y)
    problem = Problem(samples, y, samples, 2)
    curves = robustness(method, other, problem, attack, seed=0)
    assert list(curves) == list(NORMS)
    assert curves["PGD"]["radius"] == [0, 0.05, 0.2]
    assert curves["CW"]["radius"] == [0, 0.1, 0.5, 1]
    assert len({curve["accuracy"][0] for curve in curves.values()}) == 1
    for name in ("FGSM", "PGD", "CW"):
        accuracies = curves[name]["accuracy"]
        assert accuracies == sorted(accuracies, reverse=True)
        assert accuracies[-1] < 0.5
    assert curves["PGD of another network"]["accuracy"][1] > curves["PGD"]["accuracy"][1]
    assert robustness(method, other, problem, attack, seed=0) == curves


def test_nearest_mean_knows_labelled_samples_alone():
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 3.0], [9.0, 9.0]])
    train = Samples(x, torch.tensor([0, 1, 1, -1]))
    method = Method(nn.Identity(), lambda x: x, lambda: plane, None)
    scores = nearest_mean(method, Problem(train, train.y, train, 2))(torch.tensor([[5.0, 0.0]]))
    torch.testing.assert_close(scores, torch.tensor([[1.0, 0.0]]))


def test_pgd_sees_through_a_classifier_without_gradients():
    hidden = Method(nn.Identity(), lambda x: x, lambda: lambda z: plane(z).round(), None)
    x = torch.rand(200, 2, generator=generator())
    samples = Samples(x, plane(x).argmax(1))
    attack = Attack(radii=[0.3], l2_radii=[0.1], samples=200, l2_steps=2)
    curves = robustness(hidden, hidden, Problem(samples, samples.y, samples, 2), attack, seed=0)
    assert curves["FGSM"]["accuracy"][0] == curves["FGSM"]["accuracy"][1]
    assert curves["PGD"]["accuracy"][1] < 0.9
