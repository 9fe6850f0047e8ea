"""Image-text cluster graph matching: which of its terms help under a shift of the test samples, with controls.

``python docs/measure_image_text.py``: minutes. PenDigits, whose eight pen points are the local features of a sample in
place of a grid of an image: an encoder learns from 500 digits and one made text each, and is tested without texts on
digits of other writers as they are and in three shifted domains. Five seeds; samples, weights and batches of a seed are
the same for all rows, and nothing is tuned.
"""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from measure_hypergraph import difference
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import ImageTextMatching

SEEDS, TRAIN, EPOCHS, BATCH, WIDTH = range(5), 500, 10, 50, 64
TEXTS = (  # what is seen of each class: words are shared
    "round closed loop empty wide one",
    "straight line down one narrow thin",
    "bow above line below flat slope",
    "two bows open left above below",
    "open corner line down cross above",
    "line above bow below open left",
    "slope down loop below closed right",
    "line above slope down corner cross",
    "two loops closed above below cross",
    "loop above closed tail down right",
)
FILLERS = ["a", "the", "with", "pen", "of", "this"]
VOCABULARY = sorted({word for text in TEXTS for word in text.split()} | set(FILLERS))
NUMBERS = [[VOCABULARY.index(word) for word in text.split()] for text in TEXTS]
NUMBERS_OF_FILLERS = [VOCABULARY.index(word) for word in FILLERS]


def texts(y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Words, by number, of one text a sample: four or five of its class and two fillers; and their sample."""
    words, owner = [], []
    for i, k in enumerate(y.tolist()):
        own = rng.permutation(NUMBERS[k])[: rng.integers(4, 6)]
        text = [*own, *rng.permutation(NUMBERS_OF_FILLERS)[:2]]
        words += text
        owner += [i] * len(text)
    return torch.as_tensor(np.array(words)), torch.tensor(owner)


def noise(x: Tensor) -> Tensor:
    """Gaussian, of standard deviation .2 of the pad's width."""
    return x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def turned(x: Tensor) -> Tensor:
    """By 30 degrees about the middle of the pad."""
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    return (((x.view(-1, 8, 2) - 0.5) @ x.new_tensor([[c, s], [-s, c]])) + 0.5).flatten(1)


def slanted(x: Tensor) -> Tensor:
    """Sheared by .6."""
    return (((x.view(-1, 8, 2) - 0.5) @ x.new_tensor([[1, 0], [0.6, 1]])) + 0.5).flatten(1)


DOMAINS: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda x: x,
    "noise": noise,
    "rotated": turned,
    "slanted": slanted,
}
TERMS = ("alignment", "modularity", "matching", "auxiliary")
ROWS: dict[str, tuple[tuple[str, ...], str]] = {  # terms, and what is done to them
    "cross-entropy alone": ((), ""),
    "global": (TERMS[:1], ""),
    "local": (TERMS[1:3], ""),
    "all": (TERMS, ""),
    "all, texts of other samples": (TERMS, "texts"),
    "all, clusters matched at random": (TERMS, "matching"),
}


class Network(nn.Module):
    """Local features of pen points, each seen with the others, and their mean as the global one."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (19, WIDTH), (WIDTH, WIDTH)
        self.local = nn.Sequential(*(nn.Sequential(nn.Linear(*s), nn.ReLU()) for s in sizes))
        self.classifier = nn.Linear(WIDTH, len(TEXTS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and local features."""
        time = torch.linspace(-1, 1, 8).expand(len(x), 8)
        points = [x.view(-1, 8, 2), time[..., None], x[:, None].expand(-1, 8, -1)]
        local = self.local(torch.cat(points, 2))
        return self.classifier(local.mean(1)), local


def at_random(cost: Tensor) -> Tensor:
    """A matching that knows nothing of costs."""
    return torch.rand(cost.shape[:-1]).argsort(-1)[..., : cost.shape[-1]]


def train(x: Tensor, y: Tensor, terms: tuple[str, ...], control: str, seed: int) -> Network:
    """The network after its training, with some of the terms."""
    torch.manual_seed(seed)
    network, order, rng = Network(), np.random.default_rng(seed), np.random.default_rng(seed)
    embedding = nn.Embedding(len(VOCABULARY), 32)
    matching = ImageTextMatching((WIDTH, 32), WIDTH, len(TEXTS))
    modules = nn.ModuleList([network, embedding, matching])
    optimizer = torch.optim.Adam(modules.parameters(), 1e-2)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(order.permutation(len(x))).split(BATCH):
            logits, local = network(x[rows])
            loss = cross_entropy(logits, y[rows])
            if terms:
                words, owner = texts(y[rows].roll(int(control == "texts")), rng)
                batch = torch.arange(len(rows)).repeat_interleave(8)
                nodes = local.flatten(0, 1)
                losses = matching(local.mean(1), nodes, batch, embedding(words), owner, y[rows])
                loss = loss + sum(getattr(losses, term) for term in terms)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


@torch.no_grad()
def scores(network: Network, x: Tensor, y: Tensor) -> Mapping[str, float]:
    """Accuracy in % by domain."""
    return {
        name: 100 * (network(shift(x))[0].argmax(1) == y).float().mean().item()
        for name, shift in DOMAINS.items()
    }


def main() -> None:
    """The table: accuracy of the first row, differences to it of the others, paired by seed."""
    torch.set_num_threads(1)
    data = PenDigits(Path(__file__).parents[1] / "datasets")
    (x, y), test = data.split("train"), data.split("test")
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, (terms, control) in ROWS.items():
        patched = {"_assignment": at_random} if control == "matching" else {"_MOST": 5040}
        rows = []
        with patch.multiple("pyg_relational.nn.loss.cluster_matching", **patched):
            for seed in SEEDS:
                some = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:TRAIN]
                rows.append(scores(train(x[some], y[some], terms, control, seed), *test))
        found[name] = {d: np.array([row[d] for row in rows]) for d in DOMAINS}
        print(name, {d: v.round(1).tolist() for d, v in found[name].items()}, file=sys.stderr)
    first, *others = found
    print("| |", " | ".join(DOMAINS), "|")
    print("| --- |" + " ---: |" * len(DOMAINS))
    print(f"| {first} |", " | ".join(f"{v.mean():.1f}" for v in found[first].values()), "|")
    for name in others:
        cells = [difference(found[name][d], found[first][d]) for d in DOMAINS]
        print(f"| {name} |", " | ".join(cells), "|")
    print()
    for control in ("all, texts of other samples", "all, clusters matched at random"):
        cells = [difference(found["all"][d], found[control][d]) for d in DOMAINS]
        print(f"| all, over {control[5:]} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
