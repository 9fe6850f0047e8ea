from pathlib import Path

import pytest
import torch

from benchmarks.accuracy.config import Train, load
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Batch
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.train import fit, predict
from pyg_relational.nn import GroupContrastiveLoss
from tests.benchmarks.test_gll import blobs, encoder, hide

CONFIGS = sorted((Path(__file__).parents[2] / "benchmarks" / "configs").glob("study_group_*.yaml"))


def loss(train, epoch, **options):
    torch.manual_seed(0)
    method = methods["group_contrast"](encoder(), train, **options)
    method.on_epoch(epoch, 9)
    index = torch.arange(3)
    return method.loss(Batch(train.x[index], train.y[index], index))[0].item()


def test_the_warm_up_is_the_baseline_and_the_rest_adds_the_loss(monkeypatch):
    train = hide(blobs(20), 3)
    added = []

    def forward(self, a, b, *groups):
        added.append((a, b, *groups))
        return a.sum() * 0 + 7

    monkeypatch.setattr(GroupContrastiveLoss, "forward", forward)
    alone = loss(train, 0)
    assert not added
    assert abs(loss(train, 5, unlabelled=11) - alone - 7) < 1e-5
    a, b, *groups = added[0]
    assert len(a) == len(b) == 11
    assert not torch.equal(a, b)
    assert all(g.equal(x.argmax(1)) for g, x in zip(groups, (a, b), strict=True))


def test_shuffled_groups_have_the_sizes_of_the_others(monkeypatch):
    train = hide(blobs(20), 3)
    seen = []
    monkeypatch.setattr(
        GroupContrastiveLoss, "forward", lambda self, a, b, *g: seen.append((a, *g)) or a.sum()
    )
    loss(train, 5, unlabelled=40, shuffled=True)
    a, groups, _ = seen[0]
    assert groups.bincount().tolist() == a.argmax(1).bincount().tolist()
    assert not groups.equal(a.argmax(1))


def test_hidden_labels_are_never_read():
    samples, results = blobs(20), []
    for true_y in (samples.y, samples.y.flip(0)):
        train = hide(samples, 6)
        torch.manual_seed(0)
        built = methods["group_contrast"](encoder(), train, unlabelled=10)
        fit(built, Problem(train, true_y, samples, 3), Train(3, 30), seed=0)
        results.append(predict(built, samples.x).logits)
    assert torch.equal(*results)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_study_names_every_method_and_a_control(config):
    study = load(config)
    assert "groups, shuffled" in {method.label for method in study.methods}
    assert {method.trials for method in study.methods} == {1}
