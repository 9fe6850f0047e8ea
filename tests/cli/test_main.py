import subprocess
import sys

import pytest

from pyg_relational.cli.main import main


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("propagate", "cluster", "graph"))


def test_an_error_is_one_line_and_status_2_in_a_process_of_its_own(tmp_path):
    code = "import sys; from pyg_relational.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "graph", str(tmp_path / "none.csv")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"pyg-relational: error: {tmp_path / 'none.csv'} does not exist\n"


def test_a_missing_matplotlib_is_told(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    (tmp_path / "a.csv").write_text("a\n1\n2\n3\n")
    for name in ("matplotlib.backends.backend_agg", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["graph", str(tmp_path / "a.csv"), "--k", "1"]) == 2
    assert "pictures need matplotlib: pip install matplotlib" in capsys.readouterr().err
