import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks.speed import main, propagation
from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import cpu_seconds, ratio
from benchmarks.speed.plot import curve
from benchmarks.speed.table import Row, to_markdown


def test_ratio_is_the_median_over_rounds():
    assert ratio([1.0, 1.0, 1.0], [2.0, 30.0, 3.0]) == 3.0


def test_rounds_alternate_after_one_that_does_not_count():
    calls: list[str] = []
    seconds = cpu_seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(rounds) for rounds in seconds.values()] == [2, 2]


def test_extra_memory_is_that_of_the_call():
    code = (
        "import torch; from benchmarks.speed.measure import extra_mib; "
        "print(extra_mib(lambda: torch.ones(2**24).sum()))"
    )  # a fresh process, whose allocator holds nothing back
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert 60 < float(done.stdout) < 130


def test_table_compares_with_the_first():
    row = Row("case", "goal", {"ours": [2.0], "peer": [5.0]}, {"ours": 10.0, "peer": 40.0}, "exact")
    assert to_markdown([row]).splitlines()[2:] == [
        "| case | ours | 2.000 |  | 10 |  | goal | exact |",
        "|  | peer | 5.000 | 2.50 | 40 | 4.00 |  |  |",
    ]


@pytest.mark.parametrize("name", [name for name in CASES if "given" not in name])
def test_a_case_builds_its_contestants(name):
    assert set(CASES[name].contestants) <= set(CASES[name].build())


def test_the_peer_of_the_layer_computes_the_same_gradient():
    x, y, mask = propagation._blobs(200)
    value, grad = propagation._ours(x, y, mask)
    peer_value, peer_grad = propagation._scipy(x, y, mask)
    assert value.item() == pytest.approx(peer_value, rel=1e-5)
    torch.testing.assert_close(grad.double(), torch.from_numpy(peer_grad), rtol=1e-3, atol=1e-6)


def test_a_contestant_that_is_not_installed_is_left_out(monkeypatch, tmp_path, capsys):
    build = CASES["GCR forward and backward n=256 d=128 c=10"]
    case = replace(build, needs={"literal dense": "no_such_package"})
    monkeypatch.setitem(CASES, "GCR forward and backward n=256 d=128 c=10", case)
    main(["--only", "n=256", "--repeat", "1", "--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert "LEFT OUT literal dense: pip install no_such_package" in out
    assert "| literal dense |" not in out


def test_the_curve_is_drawn_from_two_sizes(tmp_path):
    rows = [
        Row(
            f"{propagation.CURVE} n={n}",
            "",
            {"ours": [n / 1e6]},
            {"ours": n / 1e3},
            f"{n} edges, 9 iterations",
        )
        for n in (1000, 5000)
    ]
    curve(rows[:1], tmp_path)
    assert not list(tmp_path.iterdir())
    curve(rows, tmp_path)
    assert (tmp_path / "linear.png").stat().st_size > 5000


def test_the_command_writes_numbers_and_table(tmp_path, capsys):
    main(["--only", "n=256", "--repeat", "1", "--output", str(tmp_path)])
    assert "literal dense" in capsys.readouterr().out
    row = json.loads((tmp_path / "speed.json").read_text())["rows"][0]
    assert row["seconds"]["ours"][0] > 0


def test_an_unknown_case_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--only", "warp", "--output", str(tmp_path)])
    assert "got 'warp'" in capsys.readouterr().err
