import subprocess
import sys

import pytest
import torch

from pyg_relational.visualize import relation_matrix, save_figure


def test_save_figure_writes_png_and_svg_and_nothing_else(tmp_path):
    figure = relation_matrix(torch.randn(5, 2)).figure
    files = save_figure(figure, tmp_path / "new" / "a.b")
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in files[1].read_bytes()


def test_global_state_of_matplotlib_is_left_alone():
    code = (
        "import sys, torch, pyg_relational.visualize as v;"
        "assert 'matplotlib' not in sys.modules;"
        "v.relation_matrix(torch.randn(3, 2));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        relation_matrix(torch.randn(3, 2))
