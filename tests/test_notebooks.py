import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "make.py")

spec = spec_from_file_location("make", FOLDER / "make.py")
make = module_from_spec(spec)
spec.loader.exec_module(make)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_has_the_cells_of_its_script_with_outputs(path):
    notebook = json.loads(path.with_suffix(".ipynb").read_text())
    found = [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]
    assert found == make.cells(path.read_text()), "python examples/notebooks/make.py"
    shown = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    assert {out["output_type"] for out in shown} == {"stream", "display_data"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs(path, tmp_path):
    pytest.importorskip("matplotlib")
    done = subprocess.run([sys.executable, path], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr, done.stderr


def test_cells_are_text_and_code():
    script = "# %% [markdown]\n# # A\n#\n# b\n\n# %%\nx = 1\n\n\n# %%\nprint(x)\n"
    assert make.cells(script) == [("markdown", "# A\n\nb"), ("code", "x = 1"), ("code", "print(x)")]
    made = make.notebook(script)["cells"]
    assert [cell.get("execution_count") for cell in made] == [None, 1, 2]
    assert made[2]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "1\n"}]
