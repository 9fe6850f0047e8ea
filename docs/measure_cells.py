"""CPU seconds of exact neighbours with cells and without: ``python docs/measure_cells.py [ROOT]``.

Clusters of growing width, and the 64 hidden features of a small network on Fashion-MNIST, read from or downloaded to
``ROOT`` (``datasets``); one thread, k = 10.
"""

import importlib
import sys
import time
from pathlib import Path

import faiss
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1]))

from pyg_relational.datasets import FashionMNIST
from pyg_relational.ops import knn
from pyg_relational.ops.neighbors.candidates import prepare
from pyg_relational.ops.neighbors.cells import cells_apart

K = 10
SIZES = (10_000, 50_000)
WIDTHS = (0.3, 0.6, 1.0, 1.2, 1.5)
EPOCHS = (3, 15)
ROWS = (10_000, 20_000, 60_000)


def clusters(n: int, width: float) -> Tensor:
    """Normal clusters in 64 dimensions, their centres of three times unit variance."""
    generator = torch.Generator().manual_seed(0)
    centre = 3 * torch.randn(max(20, n // 500), 64, generator=generator)
    cluster = torch.randint(len(centre), (n,), generator=generator)
    return centre[cluster] + width * torch.randn(n, 64, generator=generator)


def features(root: str = "datasets") -> dict[int, Tensor]:
    """Hidden features of the training images after some of the epochs."""
    data = FashionMNIST(root)[0]
    x, y = data.x[:60_000].flatten(1), data.y[:60_000]
    torch.manual_seed(0)
    hidden = nn.Sequential(nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU())
    head = nn.Linear(64, 10)
    optimiser = torch.optim.Adam([*hidden.parameters(), *head.parameters()], 1e-3)
    found = {}
    for epoch in range(1, max(EPOCHS) + 1):
        for batch in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            cross_entropy(head(hidden(x[batch])), y[batch]).backward()
            optimiser.step()
        if epoch in EPOCHS:
            found[epoch] = hidden(x).detach()
    return found


def told(name: str, x: Tensor) -> None:
    """A line of the table: the median of three rounds in turn."""
    search = importlib.import_module("pyg_relational.ops.neighbors.knn")
    array, taken = x.numpy(), cells_apart(prepare(x, None, False), K) is not None
    times: list[list[float]] = [[], [], []]
    for _ in range(3):
        for kept, spent in zip((cells_apart, lambda *_: None, None), times, strict=True):
            start = time.process_time()
            if kept is None:
                faiss.knn(array, array, K + 1)
            else:
                search.cells_apart = kept  # type: ignore[attr-defined]
                knn(x, K)
            spent.append(time.process_time() - start)
    search.cells_apart = cells_apart  # type: ignore[attr-defined]
    ours, without, flat = (sorted(spent)[1] for spent in times)
    print(
        f"| {name} | {'yes' if taken else 'no'} | {ours:.2f} | {without:.2f} | {flat:.2f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(
        "| points | cells | ours | without cells | faiss flat |\n| --- | --- | ---: | ---: | ---: |"
    )
    for n in SIZES:
        for width in WIDTHS:
            told(f"clusters of width {width:g}, {n:,}", clusters(n, width))
    for epoch, x in features(*sys.argv[1:]).items():
        for rows in ROWS:
            told(f"Fashion-MNIST features, {epoch} epochs, {rows:,}", x[:rows].clone())


if __name__ == "__main__":
    main()
