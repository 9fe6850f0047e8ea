"""What docs/command_line.md shows of the command, and its pictures: ``python docs/plot_command_line.py``."""

import os
import shutil
import tempfile
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_digits, make_blobs

from pyg_relational.cli.main import main

IMAGES = Path(__file__).parent / "images"
COMMANDS = (
    "propagate digits.csv --label target",
    "cluster digits.csv --label target --clusters 10 --prune",
    "graph digits.csv --label target",
)


def write_digits() -> pd.Series:
    """Write digits.csv as the page does, and return the true classes."""
    frame = load_digits(as_frame=True).frame.sample(frac=1, random_state=0)
    true = frame["target"].reset_index(drop=True)
    frame.loc[frame.groupby("target").cumcount() >= 10, "target"] = None
    frame.to_csv("digits.csv", index=False)
    return true


def run() -> None:
    """Run the commands in an empty folder, and keep their pictures."""
    true = write_digits()
    for command in COMMANDS:
        print(f"$ pyg-relational {command}")
        assert main(command.split()) == 0
        print()
    predicted = pd.read_csv("digits-propagate/predictions.csv")
    hidden = predicted["given"] == "no"
    hits = (predicted["class"] == true)[hidden].mean()
    print(f"of the {hidden.sum():,} hidden labels, {100 * hits:.1f} % are met")
    for name in ("propagate/graph", "propagate/label_rate"):
        target = IMAGES / f"command_line_{Path(name).name}.png"
        shutil.copy(f"digits-{name}.png", target)


def measure() -> None:
    """CPU seconds of each command on 5,000 rows, 64 features and 50 labels, imports left out."""
    x, y = make_blobs(5000, 64, centers=10, cluster_std=6.0, random_state=0)
    frame = pd.DataFrame(x).add_prefix("x").assign(target=y.astype(str))
    frame.loc[frame.groupby("target").cumcount() >= 5, "target"] = None
    frame.to_csv("blobs.csv", index=False)
    for command in COMMANDS:
        start = time.process_time()
        with redirect_stdout(StringIO()):
            assert main(command.replace("digits", "blobs").split()) == 0
        print(f"{command.split()[0]} of 5,000 rows: {time.process_time() - start:.1f} s of CPU")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run()
        measure()
