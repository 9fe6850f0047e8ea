import pytest
import torch

from benchmarks.accuracy import data
from benchmarks.accuracy.data import Source, available, describe, flip_labels, hide_labels, problem


def test_whole_split_as_published():
    p = problem(Source("PenDigits", standardise=False), seed=0)
    assert (len(p.train.y), len(p.test.y), p.num_classes) == (7494, 3498, 10)
    assert torch.equal(p.train.y, p.true_y)
    assert p.train.x.min() == 0
    assert p.train.x.max() == 1


def test_standardised_by_the_training_samples_alone():
    p = problem(Source("PenDigits", train_size=500), seed=0)
    torch.testing.assert_close(p.train.x.mean(0), torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(p.train.x.std(0), torch.ones(16))
    assert p.test.x.mean(0).abs().max() > 1e-3


def test_subset_is_stratified_and_drawn_by_seed():
    first, again, other = (problem(Source("PenDigits", train_size=500), seed=s) for s in (0, 0, 1))
    counts = first.train.y.bincount()
    assert len(first.train.y) == 500
    assert counts.min() >= 47
    assert torch.equal(first.train.x, again.train.x)
    assert not torch.equal(first.train.x, other.train.x)
    assert torch.equal(first.test.y, other.test.y)


def test_validation_never_sees_the_test_split(monkeypatch):
    x, y = torch.arange(100.0)[:, None], torch.arange(100) % 2
    poison = data.Samples(torch.full((5, 1), torch.nan), torch.zeros(5).long())
    monkeypatch.setattr(data, "_splits", lambda *_: (data.Samples(x, y), poison, 2))
    p = problem(Source("PenDigits", standardise=False), seed=3, validate=True)
    assert len(p.test.y) == 20
    assert p.test.y.bincount().tolist() == [10, 10]
    together = torch.cat([p.train.x, p.test.x]).flatten().sort().values
    assert torch.equal(together, x.flatten())


def test_noise_moves_the_said_share_of_labels_elsewhere():
    y = torch.arange(1000) % 5
    noisy = flip_labels(y, 0.3, 5, seed=0)
    moved = noisy != y
    assert moved.sum() == 300
    assert (noisy[moved] - y[moved]).remainder(5).unique().tolist() == [1, 2, 3, 4]
    assert torch.equal(noisy, flip_labels(y, 0.3, 5, seed=0))
    assert not torch.equal(noisy, flip_labels(y, 0.3, 5, seed=1))
    assert torch.equal(flip_labels(y, 0.0, 5, seed=0), y)


def test_noise_is_in_training_and_validation_labels_but_not_in_test_labels():
    clean = problem(Source("PenDigits"), seed=0)
    noisy = problem(Source("PenDigits", label_noise=0.4), seed=0)
    assert (noisy.train.y != noisy.true_y).float().mean() == pytest.approx(0.4, abs=1e-3)
    assert torch.equal(noisy.true_y, clean.train.y)
    assert torch.equal(noisy.test.y, clean.test.y)
    held = problem(Source("PenDigits", label_noise=0.4), seed=0, validate=True)
    true = problem(Source("PenDigits"), seed=0, validate=True)
    assert (held.test.y != true.test.y).float().mean() > 0.3


def test_some_labels_of_each_class_are_kept_and_the_rest_hidden():
    y = torch.arange(1000) % 5
    hidden = hide_labels(y, 3, 5, seed=0)
    shown = hidden >= 0
    assert hidden[shown].bincount().tolist() == [3] * 5
    assert torch.equal(hidden[shown], y[shown])
    assert (hidden[~shown] == -1).all()
    assert torch.equal(hidden, hide_labels(y, 3, 5, seed=0))
    assert not torch.equal(hidden, hide_labels(y, 3, 5, seed=1))
    with pytest.raises(ValueError, match="labels_per_class must be at most 200 here, got 201"):
        hide_labels(y, 201, 5, seed=0)


def test_hidden_labels_stay_true_elsewhere_and_more_labels_hold_the_fewer():
    few, more, full = (
        problem(Source("PenDigits", train_size=500, labels_per_class=n), seed=0)
        for n in (2, 5, None)
    )
    assert (few.train.y >= 0).sum() == 20
    assert (more.train.y[few.train.y >= 0] >= 0).all()
    assert torch.equal(few.true_y, full.train.y)
    assert torch.equal(few.train.x, full.train.x)
    assert torch.equal(few.test.y, full.test.y)


def test_hidden_labels_are_not_held_out():
    with pytest.raises(ValueError, match="no labels to hold out"):
        problem(Source("PenDigits", labels_per_class=2), seed=0, validate=True)


def test_names_say_how_many_labels():
    assert describe(Source("PenDigits", labels_per_class=1)) == "PenDigits, 1 label a class"
    assert describe(Source("PenDigits", labels_per_class=5)) == "PenDigits, 5 labels a class"


def test_gaussian_classes_are_balanced_the_same_each_time_and_told_apart_by_their_means():
    p = problem(Source("Gaussian", classes=50, standardise=False), seed=0)
    assert p.num_classes == 50
    assert p.train.y.bincount().tolist() == [200] * 50
    assert p.test.y.bincount().tolist() == [100] * 50
    means = torch.stack([p.train.x[p.train.y == c].mean(0) for c in range(50)])
    hits = torch.cdist(p.test.x, means).argmin(1) == p.test.y
    assert hits.float().mean() > 0.95
    own = p.test.x - means[p.test.y]
    assert own.std().item() == pytest.approx(1, abs=0.02)
    again = data.gaussian_classes.__wrapped__(50)
    assert torch.equal(again[1].x, p.test.x)
    assert describe(Source("Gaussian", classes=50)) == "Gaussian, 50 classes"
    assert available(Source("Gaussian", classes=50)) is None


def test_says_why_a_data_set_is_missing(monkeypatch):
    def missing(*_):
        raise FileNotFoundError("optdigits.tra: not on disk")

    assert available(Source("PenDigits")) is None
    monkeypatch.setattr(data, "_splits", missing)
    assert available(Source("OptDigits")) == "optdigits.tra: not on disk"


def test_samples_of_other_classes_are_scaled_as_the_others(monkeypatch):
    def load(name, partial):
        x = torch.arange(100.0)[:, None] * (2 if name == "USPS" else 1)
        return data.Samples(x, torch.arange(100) % 2), data.Samples(x, torch.arange(100) % 2), 2

    monkeypatch.setattr(data, "_splits", load)
    monkeypatch.setattr(data, "OUTSIDE", 7)
    source = Source("PenDigits", outside=("USPS", "MNIST"))
    p = problem(source, seed=0)
    assert [len(x) for x in p.outside] == [7, 7]
    mean, std = 49.5, torch.arange(100.0).std()
    torch.testing.assert_close(p.outside[0][:, 0], (torch.arange(7) * 2 - mean) / std)
    torch.testing.assert_close(p.outside[1], p.train.x[:7])
    assert problem(source, seed=0, validate=True).outside == ()
    assert problem(Source("PenDigits"), seed=0).outside == ()


def test_other_classes_must_be_known_and_of_the_same_shape(monkeypatch):
    with pytest.raises(ValueError, match=r"outside must be of .*, got \['Digits'\]"):
        data.check(Source("PenDigits", outside=("MNIST", "Digits")))
    y = torch.arange(40) % 2

    def load(name, partial):
        samples = data.Samples(torch.ones(40, len(name)), y)
        return samples, samples, 2

    monkeypatch.setattr(data, "_splits", load)
    with pytest.raises(ValueError, match=r"shape \[9\], got \[8\] of Satimage"):
        problem(Source("PenDigits", outside=("Satimage",)), seed=0)
