"""Distances to prototype graphs, computed and learned, as features of small graphs.

``python docs/measure_dissimilarity.py``: minutes; ``500`` behind it are epochs, in place of 40. Graphs of four kinds,
of 6 to 10 nodes, made here: a ring, a tree, two groups and a grid, nodes of three colours by turns, with an edge moved.
Five seeds, each with graphs of its own; nothing is tuned.
"""

import sys
import warnings

import networkx as nx
import numpy as np
import torch
from measure_hypergraph import difference
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch_geometric.data import Batch, Data
from torch_geometric.utils import degree, from_networkx, to_networkx

from pyg_relational.metrics import edit_distance
from pyg_relational.nn import GATEmbedding, dissimilarity_loss

SEEDS, TRAIN, TEST, MOVED, EPOCHS, BATCH, WIDTH, DEGREES = range(5), 60, 100, 1, 40, 20, 16, 8


def graph(kind: int, rng: np.random.Generator) -> Data:
    """One graph; the colour of a node is its feature."""
    n, seed = int(rng.integers(6, 11)), int(rng.integers(1 << 30))
    made = (
        lambda: nx.cycle_graph(n),
        lambda: nx.random_labeled_tree(n, seed=seed),
        lambda: nx.barbell_graph(n // 2, n % 2),
        lambda: nx.grid_2d_graph(2, n // 2),
    )[kind]()
    made = nx.convert_node_labels_to_integers(nx.Graph(made))
    for _ in range(MOVED):
        edges, gaps = list(made.edges), list(nx.non_edges(made))
        if gaps:
            made.remove_edge(*edges[rng.integers(len(edges))])
            made.add_edge(*gaps[rng.integers(len(gaps))])
    colour = one_hot(torch.arange(len(made)) % 3, 3).float()
    return Data(x=colour, edge_index=from_networkx(made).edge_index, y=torch.tensor([kind]))


def batch_of(graphs: list[Data]) -> Batch:
    """With degrees as further features."""
    batch = Batch.from_data_list(graphs)
    degrees = degree(batch.edge_index[0], batch.num_nodes).long().clamp(max=DEGREES - 1)
    batch.x = torch.cat([batch.x, one_hot(degrees, DEGREES)], 1)
    return batch


def fit(outputs: int, graphs: list[Data], wanted: Tensor, seed: int, epochs: int) -> GATEmbedding:
    """The network that learns rows of distances, or classes."""
    torch.manual_seed(seed)
    model = GATEmbedding(3 + DEGREES, WIDTH, outputs)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(graphs)).split(BATCH):
            found = predict(model, [graphs[i] for i in rows])
            loss = (
                dissimilarity_loss(found, wanted[rows])
                if wanted.is_floating_point()
                else cross_entropy(found, wanted[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def predict(model: nn.Module, graphs: list[Data]) -> Tensor:
    """Outputs of graphs."""
    batch = batch_of(graphs)
    found: Tensor = model(batch.x, batch.edge_index, batch.batch)
    return found


def support_vectors(train: Tensor, y: Tensor, test: Tensor) -> np.ndarray:
    """Classes by an SVM on standardised embeddings."""
    scale = StandardScaler().fit(train)
    return SVC(C=10).fit(scale.transform(train), y).predict(scale.transform(test))


def run(seed: int, epochs: int) -> dict[str, float]:
    """Accuracies in %, and the error of the learned distances."""
    rng = np.random.default_rng(seed)
    graphs = [graph(i % 4, rng) for i in range(TRAIN + TEST)]
    train, test = graphs[:TRAIN], graphs[TRAIN:]
    y, y_test = (torch.cat([g.y for g in part]) for part in (train, test))
    distances = torch.tensor([[edit_distance(g, p) for p in train] for g in graphs])
    near, far = distances[:TRAIN], distances[TRAIN:]

    neighbours = KNeighborsClassifier(3, metric="precomputed").fit(near, y).predict(far)
    learned = fit(TRAIN, train, near, seed, epochs)
    shuffled = fit(TRAIN, train, near[torch.randperm(TRAIN)], seed, epochs)
    torch.manual_seed(seed)
    untrained = GATEmbedding(3 + DEGREES, WIDTH, TRAIN)
    classifier = fit(4, train, y, seed, epochs)
    with torch.no_grad():
        found = {
            "3 nearest neighbours by edit distance": neighbours,
            "edit distances, SVM": support_vectors(near, y, far),
            "network of classes": predict(classifier, test).argmax(1).numpy(),
        }
        for name, model in (
            ("learned distances, SVM", learned),
            ("control: untrained, SVM", untrained),
            ("control: learned from other graphs' rows, SVM", shuffled),
        ):
            found[name] = support_vectors(predict(model, train), y, predict(model, test))
        gap = (predict(learned, test) - far)[far > 0] / far[far > 0]
    accuracy = {name: 100 * float((v == y_test.numpy()).mean()) for name, v in found.items()}
    return accuracy | {"error": 100 * float(gap.square().mean().sqrt())}


def bound(pairs: int = 20) -> tuple[float, float]:
    """Share of pairs of graphs whose bound is the exact distance, in %, and its mean excess in %."""
    rng = np.random.default_rng(0)
    found = []
    while len(found) < pairs:
        a, b = (graph(int(rng.integers(4)), rng) for _ in "ab")
        if max(a.num_nodes, b.num_nodes) <= 7:
            pair = [to_networkx(g, node_attrs=["x"], to_undirected=True) for g in (a, b)]
            exact = nx.graph_edit_distance(*pair, node_match=lambda u, v: u["x"] == v["x"])
            found.append((edit_distance(a, b), exact))
    ours, exact = np.array(found).T
    return 100 * float((ours == exact).mean()), 100 * float(ours.sum() / exact.sum() - 1)


def main() -> None:
    """The table: accuracy, and the paired difference to the network of classes."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print("bound: exact in {:.0f} %, {:.0f} % above in the mean".format(*bound()))
    epochs, rows = int(sys.argv[1]) if sys.argv[1:] else EPOCHS, []
    for seed in SEEDS:
        rows.append(run(seed, epochs))
        print(rows[-1], file=sys.stderr, flush=True)
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    print(f"error of learned distances: {found.pop('error').mean():.0f} %")
    base = found["network of classes"]
    for name, values in found.items():
        gap = "" if values is base else difference(values, base)
        print(f"| {name} | {values.mean():.1f} | {gap} |")
    learned, *controls = [*found][3:]
    for name in controls:
        print(f"| learned, over {name} | | {difference(found[learned], found[name])} |")


if __name__ == "__main__":
    main()
