import json

import pytest
import torch

from benchmarks.speed import main
from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import cpu_seconds, extra_mib, ratio
from benchmarks.speed.table import Row, to_markdown


def test_ratio_is_the_median_over_rounds():
    assert ratio([1.0, 1.0, 1.0], [2.0, 30.0, 3.0]) == 3.0


def test_rounds_alternate_after_one_that_does_not_count():
    calls: list[str] = []
    seconds = cpu_seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(rounds) for rounds in seconds.values()] == [2, 2]


def test_extra_memory_is_that_of_the_call():
    assert 60 < extra_mib(lambda: torch.ones(2**24).sum()) < 130


def test_table_compares_with_the_first():
    row = Row("case", "goal", {"ours": [2.0], "peer": [5.0]}, {"ours": 10.0, "peer": 40.0}, "exact")
    assert to_markdown([row]).splitlines()[2:] == [
        "| case | ours | 2.000 |  | 10 |  | goal | exact |",
        "|  | peer | 5.000 | 2.50 | 40 | 4.00 |  |  |",
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_case_builds_its_contestants(name):
    assert set(CASES[name].contestants) <= set(CASES[name].build())


def test_the_command_writes_numbers_and_table(tmp_path, capsys):
    main(["--only", "n=256", "--repeat", "1", "--output", str(tmp_path)])
    assert "literal dense" in capsys.readouterr().out
    row = json.loads((tmp_path / "speed.json").read_text())["rows"][0]
    assert row["seconds"]["ours"][0] > 0


def test_an_unknown_case_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--only", "warp", "--output", str(tmp_path)])
    assert "got 'warp'" in capsys.readouterr().err
