"""Features on disk: graph, propagation, clusters and mini-batches read the rows that they need.

Start with: python examples/out_of_core.py [rows]
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GraphSAGE

from pyg_relational.cluster import leiden
from pyg_relational.metrics import nmi
from pyg_relational.nn import laplace_propagation
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph

DIM, RANK, CLASSES, PART = 64, 16, 5, 10_000


@contextmanager
def told(step: str) -> Iterator[None]:
    """Print CPU seconds of a step, and the peak of the process's resident memory so far."""
    start = time.process_time()
    yield
    seconds, peak = time.process_time() - start, getrusage(RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{step}: {seconds:.1f} CPU s, peak so far {peak:.2f} GiB", flush=True)


def write(path: Path, n: int) -> Tensor:
    """Blobs in a subspace, written part by part; their classes."""
    y = torch.arange(n) % CLASSES
    subspace = torch.linalg.qr(torch.randn(DIM, RANK)).Q.T
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, DIM))
    for start in range(0, n, PART):
        part = y[start : start + PART]
        blobs = torch.randn(len(part), RANK) + 3 * torch.eye(CLASSES, RANK)[part]
        rows[start : start + PART] = blobs @ subspace
    rows.flush()
    return y


def minibatches(data: Data) -> float:
    """Accuracy of a GNN that is trained on sampled neighbourhoods of the labelled nodes."""
    model = GraphSAGE(DIM, 32, num_layers=2, out_channels=CLASSES)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    options = {"num_neighbors": [10, 10], "batch_size": 256}
    for _ in range(5):
        for batch in NeighborLoader(data, input_nodes=data.train_mask, shuffle=True, **options):
            logits = model(batch.x, batch.edge_index)[: batch.batch_size]
            loss = cross_entropy(logits, batch.y[: batch.batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    right = 0
    with torch.no_grad():
        for batch in NeighborLoader(data, input_nodes=~data.train_mask, **options):
            logits = model(batch.x, batch.edge_index)[: batch.batch_size]
            right += int((logits.argmax(1) == batch.y[: batch.batch_size]).sum())
    return right / int((~data.train_mask).sum())


def main(n: int, path: Path) -> None:
    torch.manual_seed(0)
    with told("features"):
        y = write(path, n)
    x = torch.from_numpy(np.load(path, mmap_mode="r+"))
    mask = torch.arange(n) < n // 20
    recall = 0.9 if find_spec("pynndescent") else None  # exact without the extra
    with told("graph"):
        edge_index, edge_weight = knn_graph(x, k=10, recall=recall)
    with told("propagation"):
        u = laplace_propagation(edge_index, edge_weight, y, mask, num_classes=CLASSES, tau=0.01)
    accuracy = (u.argmax(1) == y)[~mask].double().mean().item()
    with told("Leiden"):
        clusters = leiden(edge_index, edge_weight, n)
    with told("modularity"):
        q = modularity(edge_index, edge_weight, clusters).item()
    print(f"{n} rows on disk, {edge_index.shape[1]} edges, propagation {accuracy:.3f} right")
    print(f"{int(clusters.max()) + 1} clusters, modularity {q:.3f}, NMI {nmi(y, clusters):.3f}")
    if find_spec("pyg_lib") or find_spec("torch_sparse"):
        data = Data(x=x, y=y, edge_index=edge_index, train_mask=mask)
        with told("mini-batches"):
            right = minibatches(data)
        print(f"GraphSAGE on mini-batches {right:.3f} right")
    else:
        print("mini-batches need pyg-lib or torch-sparse")


if __name__ == "__main__":
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with TemporaryDirectory() as folder:
        main(rows, Path(folder) / "x.npy")
