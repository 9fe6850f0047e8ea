"""Does a graph of classes that come together refine the scores of samples of several classes? With controls.

``python docs/measure_multi_label.py``: minutes. A sample is three images laid over each other, of three classes that
are near each other on a ring: which come together can be learned. A network learns from 300 or 2,000 samples with
binary cross-entropy, with and without graph convolution over its scores, trained together. With ``losses``, the
asymmetric loss and its weights of classes in its place, where some classes are rare. Five seeds; samples, weights and
batches of a seed are the same for all rows, and nothing is tuned.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from measure_hypergraph import difference
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from pyg_relational.datasets import EMNISTLetters, OptDigits
from pyg_relational.nn import CoOccurrenceGCN, asymmetric_loss
from pyg_relational.transforms import label_graph

ROOT = Path(__file__).parents[1] / "datasets"
SEEDS, TRAIN, TEST, EPOCHS, BATCH, WIDTH = range(5), (300, 2000), 2000, 40, 50, 128
Samples = tuple[Tensor, Tensor]


def digits() -> tuple[Samples, Samples]:
    """Digits of 8 x 8 pixels, 10 classes."""
    data = OptDigits(ROOT)
    return data.split("train"), data.split("test")


def letters() -> tuple[Samples, Samples]:
    """Letters at 14 x 14 pixels, 26 classes."""
    data = EMNISTLetters(ROOT, allow_partial=True)
    (x, y), (x_test, y_test) = data.split("train"), data.split("test")
    return (avg_pool2d(x, 2).flatten(1), y), (avg_pool2d(x_test, 2).flatten(1), y_test)


def together(
    classes: int, count: int, rng: np.random.Generator, apart: bool, rare: bool = False
) -> Tensor:
    """Three different classes a sample: one by chance, two within two steps of it, or by chance, too (``apart``).

    The one is seldom of the later classes, if these are ``rare``: as one over their place.
    """
    chance = 1 / np.arange(1, classes + 1)
    first = (
        rng.choice(classes, count, p=chance / chance.sum())
        if rare
        else rng.integers(classes, size=count)
    )
    near = np.array([-2, -1, 1, 2])
    rows = []
    for a in first:
        others = np.delete(np.arange(classes), a) if apart else (a + near) % classes
        rows.append([a, *rng.permutation(others)[:2]])
    return torch.tensor(np.array(rows))


def overlaid(samples: Samples, classes: Tensor, rng: np.random.Generator) -> Samples:
    """The brightest of three images at every pixel, and which classes they are of."""
    x, y = samples
    images = [np.flatnonzero(y.numpy() == c) for c in range(int(y.max()) + 1)]
    chosen = [[rng.choice(images[c]) for c in row] for row in classes.tolist()]
    several = torch.zeros(len(classes), len(images)).scatter(1, classes, 1.0)
    return x[torch.tensor(chosen)].amax(1), several


def graph(y: Tensor, kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Of the training samples; of loops alone, with classes dealt anew, or with .8 at loops and .2 at the others."""
    edge_index, edge_weight = label_graph(y)
    loop = edge_index[0] == edge_index[1]
    if kind == "loops":
        return edge_index[:, loop], edge_weight[loop]
    if kind == "damped":
        others = edge_weight.new_zeros(y.shape[1])
        others.index_add_(0, edge_index[1, ~loop], edge_weight[~loop])
        edge_weight = (0.2 * edge_weight / others[edge_index[1]]).where(~loop, 0.8)
    if kind == "shuffled":
        dealt = torch.randperm(y.shape[1], generator=torch.Generator().manual_seed(seed))
        edge_index = dealt[edge_index]
    return edge_index, edge_weight


ROWS = {  # graph, if any; "dense": a linear map of all scores in its place
    "network alone": "",
    "co-occurrence": "given",
    "control: classes of the graph shuffled": "shuffled",
    "control: no edges but loops": "loops",
    "linear map of the scores, no graph": "dense",
}
PLAIN = {"gamma_positive": 0.0, "gamma_negative": 0.0, "margin": 0.0}
Loss = tuple[Mapping[str, float], bool]  # options, and whether classes have weights
LOSSES: dict[str, tuple[str, Loss]] = {  # graph, if any, and loss
    "network alone": ("", (PLAIN, False)),
    "weights of classes": ("", (PLAIN, True)),
    "asymmetric": ("", ({}, False)),
    "asymmetric, weights of classes": ("", ({}, True)),
    "the same, co-occurrence": ("given", ({}, True)),
    "the same, co-occurrence, .8 at loops": ("damped", ({}, True)),
    "control: the same, no edges but loops": ("loops", ({}, True)),
}


class Network(nn.Module):
    """Scores of the classes, refined along a graph, by a linear map of all of them, or not."""

    def __init__(
        self, channels: int, classes: int, kind: str, edges: tuple[Tensor, Tensor]
    ) -> None:
        super().__init__()
        layers = [nn.Linear(channels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(WIDTH, classes))
        self.dense = nn.Linear(classes, classes) if kind == "dense" else None
        self.refine = CoOccurrenceGCN() if kind not in ("", "dense") else None
        self.edges = edges

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        scores: Tensor = self.network(x)
        if self.dense is not None:
            scores = scores + self.dense(scores)
        if self.refine is not None:
            scores = self.refine(scores, *self.edges)
        return scores


def train(samples: Samples, kind: str, seed: int, loss: Loss | None = None) -> Network:
    """The network after its training: with binary cross-entropy, or a ``loss``."""
    x, y = samples
    options, weighted = loss or ({}, False)
    counts = y.sum(0).long().clamp(min=1) if weighted else None
    torch.manual_seed(seed)
    network = Network(x.shape[1], y.shape[1], kind, graph(y, kind, seed))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    order = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(order.permutation(len(x))).split(BATCH):
            scores = network(x[rows])
            value = (
                asymmetric_loss(scores, y[rows], counts, **options)
                if loss
                else binary_cross_entropy_with_logits(scores, y[rows])
            )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    return network


@torch.no_grad()
def score(network: nn.Module, samples: Samples) -> float:
    """Mean average precision over classes in %."""
    x, y = samples
    return 100 * float(average_precision_score(y, network(x), average="macro"))


def measured(
    given: Samples, new: Samples, size: int, seed: int, rare: bool
) -> dict[str, list[float]]:
    """Of every row, on samples whose classes come as in training, and by chance."""
    classes, rng = int(given[1].max()) + 1, np.random.default_rng(seed)
    samples = overlaid(given, together(classes, size, rng, False, rare), rng)
    tests = [overlaid(new, together(classes, TEST, rng, a, rare), rng) for a in (False, True)]
    found = {}
    plain = {name: (kind, None) for name, kind in ROWS.items()}
    for name, (kind, loss) in (LOSSES if rare else plain).items():
        network = train(samples, kind, seed, loss)
        found[name] = [score(network, test) for test in tests]
    return found


def show(
    title: str, rows: list[dict[str, list[float]]], over: Mapping[str, tuple[str, str]]
) -> None:
    """Mean average precision of the first row, differences to it of the others and of pairs, paired by seed."""
    first, *others = rows[0]
    found = {name: np.array([row[name] for row in rows]).T for name in rows[0]}
    print(f"| **{title}** | | |")
    print(f"| {first} |", " | ".join(f"{v.mean():.1f}" for v in found[first]), "|")
    for name, (a, b) in {**{name: (name, first) for name in others}, **over}.items():
        both = zip(found[a], found[b], strict=True)
        print(f"| {name} |", " | ".join(difference(*pair) for pair in both), "|", flush=True)


def main() -> None:
    """The table."""
    torch.set_num_threads(1)
    rare = sys.argv[1:] == ["losses"]
    over = {"co-occurrence over shuffled": ([*ROWS][1], [*ROWS][2])}
    if rare:
        given, scaled, loops = [*LOSSES][4:]
        over = {
            "co-occurrence over loops": (given, loops),
            "the same, .8 at loops": (scaled, loops),
        }
    print("| | classes come as in training | by chance |")
    print("| --- | ---: | ---: |")
    for name, load in {"digits": digits, "letters": letters}.items():
        old, new = load()
        for size in TRAIN[:1] if rare else TRAIN:
            rows = []
            for seed in SEEDS:
                rows.append(measured(old, new, size, seed, rare))
                print(name, size, seed, rows[-1], file=sys.stderr)
            show(f"{name}, {size:,} samples", rows, over)


if __name__ == "__main__":
    main()
