"""Load PenDigits, which comes with the repository, and classify it by its nearest neighbours."""

from pathlib import Path

from sklearn.neighbors import KNeighborsClassifier

from pyg_relational.datasets import PenDigits

dataset = PenDigits(Path(__file__).parents[1] / "datasets")
print(dataset[0], dataset.num_classes, "classes")

classifier = KNeighborsClassifier(1).fit(*dataset.split("train"))
print(f"1-NN accuracy: {classifier.score(*dataset.split('test')):.4f}")
