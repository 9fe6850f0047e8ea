"""Load PenDigits, which comes with the repository, and classify it by its nearest neighbours."""

from pathlib import Path

from sklearn.neighbors import KNeighborsClassifier

from pyg_relational.datasets import PenDigits

dataset = PenDigits(Path(__file__).parents[1] / "datasets")
print(dataset[0], dataset.num_classes, "classes")

(x, y), (new_x, new_y) = ([t.numpy() for t in dataset.split(part)] for part in ("train", "test"))
print(f"1-NN accuracy: {KNeighborsClassifier(1).fit(x, y).score(new_x, new_y):.4f}")
