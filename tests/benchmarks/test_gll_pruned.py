import pytest
import torch

from benchmarks.accuracy.config import Train
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Batch
from benchmarks.accuracy.methods import register as methods
from benchmarks.accuracy.methods.gll_pruned import _dealt
from benchmarks.accuracy.models import register as models
from benchmarks.accuracy.train import fit, predict
from pyg_relational.transforms import knn_graph
from tests.benchmarks.blobs import samples as blobs


def built(train, **options):
    torch.manual_seed(0)
    model = models["mlp"]([3], 3, width=16, depth=2)
    return methods["gll_pruned"](model, train, k=8, **options)


@pytest.mark.parametrize("prune", ["soft", "random"])
def test_it_learns_and_predicts(prune):
    train, test = blobs(40), blobs(30, seed=1)
    method = built(train, prune=prune)
    fitted = fit(method, Problem(train, train.y, test, 3), Train(5, 30, lr=0.01), seed=0)
    assert fitted.curve["loss"][-1] < 0.7 * fitted.curve["loss"][0]
    hit = predict(method, test.x).logits.argmax(1) == test.y
    assert hit.float().mean() > (0.9 if prune == "soft" else 0.8)


def test_gates_learn_and_are_hard_in_prediction():
    train = blobs(40)
    found = []
    for keep in (0.5, 1.0):
        method = built(train, keep=keep, loss_weight=10.0)
        method.on_epoch(0, 9)
        for _ in range(80):
            loss, _ = method.loss(Batch(train.x, train.y, torch.arange(120)))
            loss.backward()
        found.append(predict(method, train.x).logits)
        assert torch.equal(predict(method, train.x).logits, found[-1])  # no noise
    assert not torch.allclose(*found)


def test_gates_are_dealt_to_pairs():
    x = blobs(20).x
    edge_index, _ = knn_graph(x, 5)
    gate = (x @ x.T)[tuple(edge_index)]
    dealt = _dealt(gate, edge_index, 60, torch.Generator().manual_seed(0))
    torch.testing.assert_close(dealt.sort()[0], gate.sort()[0])
    assert not torch.equal(dealt, gate)
    dense = torch.zeros(60, 60).index_put(tuple(edge_index), dealt)
    assert torch.equal(dense, dense.T)


def test_unknown_pruning_is_refused():
    with pytest.raises(ValueError, match="prune must be 'soft' or 'random', got 'hard'"):
        built(blobs(5), prune="hard")
