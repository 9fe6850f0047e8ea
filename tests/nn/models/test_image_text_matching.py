import pytest
import torch
from torch.autograd import gradcheck

from pyg_relational.nn import ImageTextMatching
from tests import oracles


def build(**options):
    torch.manual_seed(0)
    return ImageTextMatching((3, 4), 5, 3, **({"k": (2, 2)} | options)).double()


def batch_of(sizes=(6, 4, 5), lengths=(3, 5, 4), seed=0):
    g = torch.Generator().manual_seed(seed)

    def rows(n, d):
        return torch.randn(n, d, generator=g, dtype=torch.float64, requires_grad=True)

    def owner(counts):
        return torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))

    return {
        "image": rows(len(sizes), 3),
        "nodes": rows(sum(sizes), 3),
        "batch": owner(sizes),
        "words": rows(sum(lengths), 4),
        "words_batch": owner(lengths),
        "y": torch.tensor([2, -1, 0])[: len(sizes)],
    }


@pytest.mark.parametrize("clusters", [(4, 2), (3, 3), (1, 1)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_term_equals_the_oracle_in_value_and_gradient(clusters, shuffled):
    model, given = build(num_clusters=clusters, margin=1.5), batch_of()
    if shuffled:
        for rows, owner in (("nodes", "batch"), ("words", "words_batch")):
            order = torch.randperm(len(given[rows]))
            given[rows] = given[rows].detach()[order].requires_grad_()
            given[owner] = given[owner][order]
    found = model(**given)
    wanted = oracles.image_text_matching(model, *given.values())
    wanted = {k: w * wanted[k] for k, w in zip(wanted, (1, 1, 0.1, 0.1), strict=True)}
    leaves = [given["image"], given["nodes"], given["words"], *model.parameters()]
    for name, term in found._asdict().items():
        torch.testing.assert_close(term, wanted[name], msg=name)
        grads = [
            torch.autograd.grad(
                part, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for part in (term, wanted[name])
        ]
        torch.testing.assert_close(*grads)


def test_weights_switch_terms_off():
    names = ("modularity", "matching", "auxiliary")
    off = build(**dict.fromkeys((f"{name}_weight" for name in names), 0.0))(**batch_of())
    assert all(getattr(off, name) == 0 for name in names)
    assert off.alignment > 0


def test_derivatives():
    model, given = build(num_clusters=(3, 2)).eval(), batch_of()
    rest = {k: v for k, v in given.items() if not v.requires_grad}

    def losses(image, nodes, words):
        return torch.stack(list(model(image=image, nodes=nodes, words=words, **rest)))

    assert gradcheck(losses, [given[name] for name in ("image", "nodes", "words")])


def test_without_a_label_the_classifiers_add_nothing():
    given = batch_of() | {"y": torch.full((3,), -1)}
    losses = build()(**given)
    assert losses.auxiliary == 0
    assert all(term.isfinite() for term in losses)


def test_dropout_is_of_the_mean_alone_and_of_training_alone():
    model, plain = build(dropout=0.5), build()
    torch.testing.assert_close(model(**batch_of())[1:3], plain(**batch_of())[1:3])
    assert model(**batch_of()).alignment != plain(**batch_of()).alignment
    given = batch_of()
    torch.testing.assert_close(model.eval()(**given), model.eval()(**given))


def test_state_is_saved():
    model, other = build(), ImageTextMatching((3, 4), 5, 3, k=(2, 2)).double()
    other.load_state_dict(model.state_dict())
    given = batch_of()
    torch.testing.assert_close(other.eval()(**given), model.eval()(**given))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_clusters": (2, 3)}, ValueError, "num_clusters must not be more of a text"),
        ({"num_clusters": 3}, ValueError, "num_clusters must be two ints"),
        ({"k": (2, 0)}, ValueError, "k must be >= 1, got 0"),
        ({"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\), got 1.0"),
        ({"margin": -1.0}, ValueError, "margin must be finite and >= 0"),
        ({"matching_weight": -1.0}, ValueError, "matching_weight must be finite and >= 0"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": torch.ones(3, 2)}, ValueError, "image must have 3 channels, got 2"),
        ({"image": torch.ones(0, 3)}, ValueError, "image must have a row or more"),
        ({"words": torch.ones(12, 3)}, ValueError, "words must have 4 channels, got 3"),
        ({"nodes": torch.full((15, 3), torch.nan)}, ValueError, "nodes must be finite"),
        (
            {"batch": torch.zeros(15).long()},
            ValueError,
            "batch must have nodes of all 3 samples, got those of 1",
        ),
        ({"words_batch": torch.zeros(12)}, TypeError, "words_batch must be int64"),
        ({"y": torch.tensor([0, 1, 3])}, ValueError, "y must be < 3, got 3"),
        ({"y": torch.tensor([0, 1])}, ValueError, r"y must have shape \[3\]"),
    ],
)
def test_bad_input(change, error, message):
    model = build()
    given = {k: v.detach() for k, v in batch_of().items()} | change
    with pytest.raises(error, match=message):
        model.float()(
            **{
                k: v.float() if v.is_floating_point() and k != "words_batch" else v
                for k, v in given.items()
            }
        )


def test_a_text_of_too_few_words_is_named():
    with pytest.raises(ValueError, match="k must be >= 1 and < 2, the size of graph 1, got 2"):
        build()(**batch_of(lengths=(3, 2, 4)))
