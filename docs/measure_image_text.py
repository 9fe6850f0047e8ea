"""Image-text cluster graph matching: which of its terms help under a shift of the test images, with controls.

``python docs/measure_image_text.py FOLDER``: FashionMNIST, whose raw files are in FOLDER; a quarter of an hour. A small
CNN learns from 500 images and one made text each; it is tested without texts, on images as they are and in three
shifted domains. Five seeds; images, weights and batches of a seed are the same for all rows, and nothing is tuned.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from measure_hypergraph import difference
from scipy.ndimage import rotate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import FashionMNIST
from pyg_relational.nn import ImageTextMatching

SEEDS, TRAIN, TEST, EPOCHS, BATCH, WIDTH = range(5), 500, 1000, 20, 50, 48
TEXTS = (  # what is seen of each class: words are shared
    "short sleeves round neck cotton top light",
    "two long straight legs waist open between",
    "long sleeves round neck knit warm top",
    "long narrow one piece waist skirt light",
    "long sleeves open front collar warm zip",
    "open straps flat shoe heel sole light",
    "long sleeves collar buttons cotton top front",
    "flat shoe laces rubber sole low sport",
    "square handle flap buckle wide leather strap",
    "high shoe ankle heel leather sole warm",
)
FILLERS = ["a", "the", "with", "photo", "of", "this"]
VOCABULARY = sorted({word for text in TEXTS for word in text.split()} | set(FILLERS))


def texts(y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Words, by number, of one text a sample: four to six of its class and two fillers; and their sample."""
    words, owner = [], []
    for i, k in enumerate(y.tolist()):
        own = rng.choice(TEXTS[k].split(), rng.integers(4, 7), replace=False)
        text = [*own, *rng.choice(FILLERS, 2, replace=False)]
        words += [VOCABULARY.index(word) for word in text]
        owner += [i] * len(text)
    return torch.tensor(words), torch.tensor(owner)


def noise(x: Tensor) -> Tensor:
    """Gaussian, of standard deviation .3."""
    return x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def turned(x: Tensor) -> Tensor:
    """By 30 degrees."""
    return torch.from_numpy(rotate(x.numpy(), 30, axes=(2, 3), reshape=False, order=1))


DOMAINS: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda x: x,
    "noise": noise,
    "rotated": turned,
    "negatives": lambda x: 1 - x,
}
TERMS = ("alignment", "modularity", "matching", "auxiliary")
ROWS: dict[str, tuple[tuple[str, ...], str]] = {  # terms, and what is done to them
    "cross-entropy alone": ((), ""),
    "auxiliary classifiers": (TERMS[3:], ""),
    "global": (TERMS[:1], ""),
    "local": (TERMS[1:3], ""),
    "global and local": (TERMS[:3], ""),
    "all": (TERMS, ""),
    "all, texts of other samples": (TERMS, "texts"),
    "all, clusters matched at random": (TERMS, "matching"),
}


class Network(nn.Module):
    """A CNN whose last maps are the local features, and their mean the global one."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            *(nn.Conv2d(1, 24, 5, 2, 2), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, WIDTH, 3, 2, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()),
        )
        self.classifier = nn.Linear(WIDTH, len(TEXTS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and maps."""
        maps = self.maps(x)
        return self.classifier(maps.mean((2, 3))), maps


def at_random(cost: Tensor) -> Tensor:
    """A matching that knows nothing of costs."""
    return torch.rand(cost.shape[:-2] + cost.shape[-2:-1]).argsort(-1)[..., : cost.shape[-1]]


def train(x: Tensor, y: Tensor, terms: tuple[str, ...], control: str, seed: int) -> Network:
    """The network after its training, with some of the terms."""
    torch.manual_seed(seed)
    network, order, rng = Network(), np.random.default_rng(seed), np.random.default_rng(seed)
    embedding = nn.Embedding(len(VOCABULARY), 32)
    matching = ImageTextMatching((WIDTH, 32), WIDTH, len(TEXTS))
    modules = nn.ModuleList([network, embedding, matching])
    optimizer = torch.optim.Adam(modules.parameters(), 3e-3)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(order.permutation(len(x))).split(BATCH):
            logits, maps = network(x[rows])
            loss = cross_entropy(logits, y[rows])
            described = y[rows].roll(1) if control == "texts" else y[rows]
            words, owner = texts(described, rng)
            if terms:
                nodes = maps.flatten(2).mT.flatten(0, 1)
                batch = torch.arange(len(rows)).repeat_interleave(maps[0, 0].numel())
                global_ = maps.mean((2, 3))
                losses = matching(global_, nodes, batch, embedding(words), owner, y[rows])
                loss = loss + sum(getattr(losses, term) for term in terms)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def scores(network: Network, x: Tensor, y: Tensor) -> Mapping[str, float]:
    """Accuracy in % by domain."""
    return {
        name: 100 * (network(shift(x))[0].argmax(1) == y).float().mean().item()
        for name, shift in DOMAINS.items()
    }


def main() -> None:
    """The table."""
    torch.set_num_threads(1)
    data = FashionMNIST(Path(sys.argv[1]))
    (x, y), (x_test, y_test) = data.split("train"), data.split("test")
    found: dict[str, dict[str, list[float]]] = {}
    for name, (terms, control) in ROWS.items():
        module = "pyg_relational.nn.loss.cluster_matching._assignment"
        for seed in SEEDS:
            g = torch.Generator().manual_seed(seed)
            rows = torch.randperm(len(x), generator=g)[:TRAIN]
            tested = torch.randperm(len(x_test), generator=g)[:TEST]
            if control == "matching":
                with patch(module, at_random):
                    network = train(x[rows], y[rows], terms, control, seed)
            else:
                network = train(x[rows], y[rows], terms, control, seed)
            for domain, value in scores(network, x_test[tested], y_test[tested]).items():
                found.setdefault(name, {}).setdefault(domain, []).append(value)
        print(name, found[name], file=sys.stderr, flush=True)
    base = {domain: np.array(value) for domain, value in found[next(iter(ROWS))].items()}
    print("| |", " | ".join(DOMAINS), "|")
    print("| --- |" + " ---: |" * len(DOMAINS))
    for name, row in found.items():
        first = name == next(iter(ROWS))
        cells = [
            f"{np.mean(row[d]):.1f}" if first else difference(np.array(row[d]), base[d])
            for d in DOMAINS
        ]
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
