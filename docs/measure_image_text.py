"""Image-text cluster graph matching: which of its parts help under a shift of the test samples, with controls.

``python docs/measure_image_text.py``: minutes. Rows are those of the text's Tables 3 and 5, and controls. PenDigits,
whose eight pen points are the local features of a sample in place of a grid of an image: an encoder learns from 500
digits and one made text each, and is tested without texts on digits of other writers as they are and in three shifted
domains. Five seeds; samples, weights and batches of a seed are the same for all rows, and nothing is tuned.
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
from torch_geometric.nn import global_mean_pool

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
GLOBAL, LOCAL = ("alignment",), ("modularity", "matching", "auxiliary")  # eqs. 3 and 7
BOTH = GLOBAL + LOCAL
ROWS: dict[str, tuple[tuple[str, ...], str]] = {  # terms, and what is done to them
    "cross-entropy alone": ((), ""),
    "neither alignment, both graphs": ((), "graph"),
    "global, no graph": (GLOBAL, "no visual textual"),
    "global, visual graph": (GLOBAL, "no textual"),
    "global, textual graph": (GLOBAL, "no visual"),
    "global, both graphs": (GLOBAL, ""),
    "local": (LOCAL, ""),
    "all": (BOTH, ""),
    "all, matched greedily": (BOTH, "greedy"),
    "control: all, texts of other samples": (BOTH, "texts"),
    "control: all, matched at random": (BOTH, "random"),
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


class Mean(nn.Module):
    """A modality without its graph: the mean of its nodes, in a linear map."""

    def __init__(self, channels: int, num_clusters: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels, WIDTH)
        self.assign = nn.Linear(channels, num_clusters)

    def forward(self, x: Tensor, batch: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Feature, soft clusters, and no loss of them."""
        mean = global_mean_pool(self.project(x), batch, count)
        return mean, self.assign(x).softmax(1), x.new_zeros(())


def at_random(cost: Tensor) -> Tensor:
    """A matching that knows nothing of costs."""
    return torch.rand(cost.shape[:-1]).argsort(-1)[..., : cost.shape[-1]]


def greedy(cost: Tensor) -> Tensor:
    """To each textual cluster the nearest visual one, whoever else has it."""
    return cost.argmin(-2)


def train(x: Tensor, y: Tensor, terms: tuple[str, ...], control: str, seed: int) -> Network:
    """The network after its training, with some of the terms."""
    torch.manual_seed(seed)
    network, order, rng = Network(), np.random.default_rng(seed), np.random.default_rng(seed)
    embedding = nn.Embedding(len(VOCABULARY), 32)
    matching = ImageTextMatching((WIDTH, 32), WIDTH, len(TEXTS))
    for name, channels, clusters in (("visual", WIDTH, 5), ("textual", 32, 3)):
        if control.startswith("no") and name in control:
            setattr(matching, name, Mean(channels, clusters))
    modules = nn.ModuleList([network, embedding, matching])
    optimizer = torch.optim.Adam(modules.parameters(), 1e-2)
    for _ in range(EPOCHS):
        for rows in torch.from_numpy(order.permutation(len(x))).split(BATCH):
            logits, local = network(x[rows])
            loss = cross_entropy(logits, y[rows])
            batch, nodes = torch.arange(len(rows)).repeat_interleave(8), local.flatten(0, 1)
            if control == "graph":  # its classifier, which is no alignment
                feature = matching.visual(nodes, batch, len(rows))[0]
                loss = loss + 0.1 * cross_entropy(matching.heads[2](feature), y[rows])
            if terms:
                words, owner = texts(y[rows].roll(int(control == "texts")), rng)
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


def measured(terms: tuple[str, ...], control: str) -> dict[str, np.ndarray]:
    """Accuracies in % of all seeds, by domain."""
    data = PenDigits(Path(__file__).parents[1] / "datasets")
    (x, y), test = data.split("train"), data.split("test")
    rows = []
    matchings = {"greedy": greedy, "random": at_random}
    own = {"_assignment": matchings[control]} if control in matchings else {"_MOST": 5040}
    with patch.multiple("pyg_relational.nn.loss.cluster_matching", **own):
        for seed in SEEDS:
            some = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:TRAIN]
            rows.append(scores(train(x[some], y[some], terms, control, seed), *test))
    return {d: np.array([row[d] for row in rows]) for d in DOMAINS}


def main() -> None:
    """The table: accuracy of the first row, differences to it of the others, paired by seed."""
    torch.set_num_threads(1)
    found = {}
    for name, row in ROWS.items():
        found[name] = measured(*row)
        print(name, {d: v.round(1).tolist() for d, v in found[name].items()}, file=sys.stderr)
    first, *others = found
    print("| |", " | ".join(DOMAINS), "|")
    print("| --- |" + " ---: |" * len(DOMAINS))
    print(f"| {first} |", " | ".join(f"{v.mean():.1f}" for v in found[first].values()), "|")
    pairs = {name: (name, first) for name in others}
    for name in ("all, matched greedily", *(name for name in ROWS if "control" in name)):
        pairs[f"all, over {name.removeprefix('control: ').removeprefix('all, ')}"] = ("all", name)
    for name, (a, b) in pairs.items():
        cells = [difference(found[a][d], found[b][d]) for d in DOMAINS]
        print(f"| {name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
