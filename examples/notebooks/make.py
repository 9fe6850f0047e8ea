"""Makes the notebooks of the scripts beside it, outputs included: ``python examples/notebooks/make.py [NAME ...]``.

Cells begin with ``# %%``, text with ``# %% [markdown]``. What a cell prints is its output, and the picture it leaves in ``ax``.
"""

import contextlib
import io
import json
import re
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def cells(script: str) -> list[tuple[str, str]]:
    """Kind and text of each cell."""
    found = re.findall(r"^# %%( \[markdown\])?\n(.*?)(?=^# %%|\Z)", script, re.M | re.S)
    return [
        ("markdown", re.sub(r"^# ?", "", text.strip(), flags=re.M))
        if kind
        else ("code", text.strip())
        for kind, text in found
    ]


def outputs(code: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints and draws, run with the names that are there."""
    names.pop("ax", None)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    found: list[dict[str, Any]] = []
    if text := printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": text})
    if "ax" in names:
        picture = io.BytesIO()
        names["ax"].figure.savefig(picture, format="png", dpi=80)
        data = {"image/png": b64encode(picture.getvalue()).decode()}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    return found


def notebook(script: str) -> dict[str, Any]:
    """The notebook, run."""
    made: list[dict[str, Any]] = []
    names: dict[str, Any] = {}
    for number, (kind, text) in enumerate(cells(script)):
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": str(number),
            "metadata": {},
            "source": text,
        }
        if kind == "code":
            ran = sum(other["cell_type"] == "code" for other in made) + 1
            cell |= {"execution_count": ran, "outputs": outputs(text, names)}
        made.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def main(chosen: list[str]) -> None:
    """Every notebook, or those that are named."""
    for path in sorted(HERE.glob("*.py")):
        if path.name != "make.py" and (not chosen or path.stem in chosen):
            made = json.dumps(notebook(path.read_text()), indent=1, ensure_ascii=False)
            path.with_suffix(".ipynb").write_text(made + "\n")
            print(path.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main(sys.argv[1:])
