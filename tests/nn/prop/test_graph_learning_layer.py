import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import GraphLearningLayer
from pyg_relational.ops import Direct
from tests.oracles import dense_laplacian, gaussian_weights, knn, knn_adjacency, laplace

F64 = torch.float64


@pytest.mark.parametrize("solver", [None, Direct()])
@pytest.mark.parametrize("name", ["selftuning_tau0", "selftuning_tau007", "eps1_unitrows"])
def test_value_loss_and_gradient_of_the_authors_layer(reference_root, name, solver):
    data = np.load(reference_root / f"gll_{name}.npz")
    x = torch.from_numpy(data["X"]).requires_grad_()
    y, m = torch.from_numpy(data["y"]), int(data["m"])
    bandwidth = "self_tuning" if str(data["epsilon"]) == "auto" else float(data["epsilon"])
    layer = GraphLearningLayer(
        int(data["k_true"]), float(data["tau"]), bandwidth, unit=False, solver=solver
    )
    u = layer(x, y, torch.arange(len(y)) < m, 10)
    loss = -(u[m:].gather(1, y[m:, None]) + 1e-8).log().mean()
    (grad,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(u[m:], torch.from_numpy(data["u"]), rtol=0, atol=1e-8)
    torch.testing.assert_close(loss.item(), float(data["loss"]), rtol=0, atol=1e-8)
    torch.testing.assert_close(grad, torch.from_numpy(data["grad_X"]), rtol=0, atol=1e-8)


@pytest.mark.parametrize("tau", [0.0, 0.07])
def test_equals_the_literal_form_with_its_gradient(tau):
    torch.manual_seed(0)
    x = torch.randn(25, 3, dtype=F64, requires_grad=True)
    y, mask = torch.arange(25) % 3, torch.arange(25) < 6
    slope = torch.randn(25, 3, dtype=F64)
    ours = GraphLearningLayer(4, tau, "self_tuning", unit=False)(x, y, mask)
    adjacent = knn_adjacency(knn(x.detach(), 4, "euclidean")[0], mutual=False)
    w = gaussian_weights(x, 4) * adjacent
    dense = laplace(w, one_hot(y, 3).to(F64), mask, tau)
    assert dense_laplacian(w).shape == (25, 25)
    torch.testing.assert_close(ours, dense)
    grads = [torch.autograd.grad((u * slope).sum(), x)[0] for u in (ours, dense)]
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-9)


def test_first_and_second_derivatives_in_features_and_tau():
    torch.manual_seed(0)
    x = torch.randn(7, 2, dtype=F64, requires_grad=True)
    tau = torch.tensor(0.3, dtype=F64, requires_grad=True)
    y, mask = torch.arange(7) % 2, torch.arange(7) < 3

    def f(x, tau):
        return GraphLearningLayer(3, tau, 1.0, solver=Direct())(x, y, mask)

    assert gradcheck(f, (x, tau))
    assert gradgradcheck(f, (x, tau))


@pytest.mark.parametrize("bandwidth", ["self_tuning", 1.0])
def test_degenerate_batches_give_finite_values_and_gradients(bandwidth):
    same = torch.ones(12, 3)
    duplicates = torch.cat([torch.zeros(9, 3), torch.randn(4, 3)])
    for points in (same, duplicates, torch.randn(2, 3)):
        x = points.clone().requires_grad_()
        y = torch.arange(len(x)) % 2
        u = GraphLearningLayer(3, 0.07, bandwidth, unit=False)(x, y, torch.arange(len(x)) < 2)
        u.square().sum().backward()
        assert u.isfinite().all()
        assert x.grad.isfinite().all()


def test_identical_points_hold_the_mean_of_the_labels():
    x = torch.ones(8, 2)
    u = GraphLearningLayer(7, 0.0, "self_tuning")(x, torch.arange(8) % 2, torch.arange(8) < 2)
    torch.testing.assert_close(u[2:], torch.full((6, 2), 0.5))


def test_small_batches_take_all_other_rows_as_neighbours():
    x = torch.randn(5, 2)
    y, mask = torch.arange(5) % 2, torch.arange(5) < 2
    a, b = (GraphLearningLayer(k)(x, y, mask) for k in (4, 24))
    torch.testing.assert_close(a, b)


def test_the_smallest_graph_of_a_batch_bounds_the_neighbours():
    x, y = torch.randn(12, 2), torch.arange(12) % 2
    mask, batch = torch.arange(12) % 6 < 3, (torch.arange(12) > 8).long()
    u = GraphLearningLayer(24)(x, y, mask, 2, batch=batch)
    torch.testing.assert_close(u, GraphLearningLayer(2)(x, y, mask, 2, batch=batch))


def test_a_union_of_no_batches_has_no_label():
    x, none = torch.randn(0, 2), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(
        ValueError, match="mask must mark at least one labelled node, got none of 0"
    ):
        GraphLearningLayer(24)(x, none, batch=none)


def test_a_union_of_batches_is_each_batch():
    x, y = torch.randn(40, 3, dtype=F64), torch.arange(40) % 2
    mask, batch = torch.arange(40) % 20 < 6, torch.arange(40) // 20
    layer = GraphLearningLayer(5)
    parts = [layer(x[i], y[i], mask[i], 2) for i in (batch == 0, batch == 1)]
    torch.testing.assert_close(layer(x, y, mask, 2, batch=batch), torch.cat(parts))


def test_learned_tau_and_bad_k():
    layer = GraphLearningLayer(5, torch.nn.Parameter(torch.tensor(0.1)))
    y = torch.arange(20) % 2
    layer(torch.randn(20, 3), y, torch.arange(20) < 4).sum().backward()
    assert layer.tau.raw.grad is not None
    with pytest.raises(ValueError, match="k must be >= 1, got 0"):
        GraphLearningLayer(0)


@pytest.mark.parametrize("start", [1e-6, 0.07, 50.0])
def test_no_step_makes_a_learned_tau_negative(start):
    torch.manual_seed(0)
    layer = GraphLearningLayer(5, torch.nn.Parameter(torch.tensor(start)))
    x, y, mask = torch.randn(20, 3), torch.arange(20) % 2, torch.arange(20) < 4
    fixed = GraphLearningLayer(5, start)(x, y, mask)
    torch.testing.assert_close(layer(x, y, mask), fixed, rtol=1e-5, atol=1e-6)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e4)
    for sign in (1, -1):
        optimizer.zero_grad()
        (sign * layer(x, y, mask)[~mask].sum()).backward()
        optimizer.step()
        assert layer.tau() > 0
        assert layer(x, y, mask).isfinite().all()


def test_tau_to_be_learned_must_be_positive():
    with pytest.raises(ValueError, match=r"tau must be in \(0, inf\) to be learned, got 0.0"):
        GraphLearningLayer(5, torch.nn.Parameter(torch.tensor(0.0)))


def test_a_class_without_a_visible_label_has_a_column_of_zeros():
    torch.manual_seed(0)
    x, y = torch.randn(60, 4, requires_grad=True), torch.arange(60) % 3
    mask = y < 2
    u = GraphLearningLayer(k=5)(x, y, mask)
    assert u.shape == (60, 3)
    assert (u[:, 2] == 0).all()
    loss = -(u[~mask].gather(1, y[~mask, None]) + 1e-8).log().mean()
    loss.backward()
    assert x.grad.isfinite().all()


def test_compiled_gives_the_value_and_the_errors_of_eager():
    x, y, mask = torch.randn(20, 3), torch.arange(20) % 2, torch.arange(20) < 4
    layer = GraphLearningLayer(5)
    compiled = torch.compile(layer, backend="eager")
    torch.testing.assert_close(compiled(x, y, mask), layer(x, y, mask))
    with pytest.raises(ValueError, match="at least one labelled node, got none of 20"):
        compiled(x, y, mask & False)
    with pytest.raises((ValueError, RuntimeError), match="x must be finite"):
        compiled(x.index_fill(0, torch.tensor([3]), torch.nan), y, mask)
