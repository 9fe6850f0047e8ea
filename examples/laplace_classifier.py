"""Classify 10,992 digits from five labels a class."""

from pathlib import Path

import numpy as np

from pyg_relational.datasets import PenDigits
from pyg_relational.estimators import LaplaceClassifier, PoissonClassifier

data = PenDigits(Path(__file__).parents[1] / "datasets")[0]
x, y = data.x.numpy(), data.y.numpy()

generator = np.random.default_rng(0)
partial = np.full(len(y), -1)  # -1: no label
for k in range(10):
    partial[generator.choice(np.flatnonzero(y == k), 5, replace=False)] = k

unlabelled = partial < 0
for model in (LaplaceClassifier(), PoissonClassifier()):
    found = model.fit_predict(x, partial)
    print(f"{model}: {(found == y)[unlabelled].mean():.3f} of the other rows right")

model = LaplaceClassifier().fit(x[:7494], partial[:7494])
print(f"rows of later writers: {model.score(x[7494:], y[7494:]):.3f} right")
