import json
import subprocess
import sys

import pytest
import torch

from benchmarks.cli import main
from benchmarks.gpu import measure, run, training
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.part import Part, of_json, of_pytest, perform
from benchmarks.machine import ROOT

ELSEWHERE = {"faiss", "cuvs", "torch_cluster"}  # on CUDA alone


@pytest.mark.parametrize("name", CASES)
def test_contestants_agree(name, monkeypatch):
    monkeypatch.setattr(measure, "ROUNDS", 1)
    case = CASES[name]
    found = list(measure.measure(case.build("cpu", *case.small), "cpu"))
    assert found[0]["name"] == "ours"
    for entry in found:
        assert entry["ms"] > 0, entry
        assert entry["off"] <= (0.1 if "bf16" in entry["name"] else 1e-4), entry
    assert str(case.full[0]) in case.title("cuda")
    assert str(case.full[0]) not in case.title("cpu")


def test_what_fails_and_what_is_not_there_stops_nobody():
    def missing():
        import a_package_that_is_not_there  # noqa: F401

    def large():
        raise torch.cuda.OutOfMemoryError("no room")

    def wrong():
        raise ZeroDivisionError("zero")

    functions = {"ours": lambda: torch.ones(2), "a": missing, "b": large, "ours, c": large}
    functions |= {"d": wrong, "e": lambda: 2 * torch.ones(2)}
    first, *found, last = measure.measure(functions, "cpu")
    assert first["off"] == 0
    assert last["off"] == pytest.approx(1)
    missed, left_out, ours, failed = found
    assert "a_package" in missed["left_out"][0]
    assert left_out["left_out"] == ["no room"]
    assert ours["error"].endswith("no room")
    assert failed["error"] == "ZeroDivisionError: zero"


def python(code, limit=60):
    return Part([sys.executable, "-c", code], limit, of_json, goal="quick")


def test_parts_that_fail_are_rows_and_stop_no_other(tmp_path, monkeypatch, capsys):
    said = json.dumps({"name": "ours", "ms": 2.0, "mib": 1.0, "off": 0.0})
    peer = json.dumps({"name": "peer", "ms": 5.0, "mib": 9.0, "off": 0.25})
    parts = {
        "well": python(f"print('{said}'); print('{peer}')"),
        "slow": python(f"print('{said}', flush=True); import time; time.sleep(60)", 0.8),
        "bad": python("print('before'); 1 / 0"),
        "silent": python("print('nothing')"),
        "wrong": python("""print('{"name": "ours", "error": "Boom: it did"}')"""),
    }
    monkeypatch.setattr(run, "parts", lambda device: parts)
    assert main(["gpu", "--device", "cpu", "--output", str(tmp_path)]) == 0
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    rows = {row["part"]: row for row in map(json.loads, lines)}
    assert [name for name, row in rows.items() if row["ok"]] == ["well"]
    assert rows["slow"]["found"][0]["ms"] == 2
    assert "ended after 1 s" in rows["slow"]["error"]
    assert rows["bad"]["error"].endswith("ZeroDivisionError: division by zero")
    assert {"torch", "python"} <= set(rows["well"]["versions"])
    table = (tmp_path / "table.md").read_text()
    assert "| well " in table
    assert "2.50" in table
    assert "3e-01" in table or "2e-01" in table
    assert "ZeroDivisionError" in table
    assert "Boom: it did" in table
    assert "FAILED" in capsys.readouterr().out
    assert main(["gpu", "--only", "warp", "--output", str(tmp_path)]) == 1


def test_no_part_begins_when_the_time_is_over():
    row = perform(python("print(1)"), 0)
    assert not row["ok"]
    assert "no time was left" in row["error"]


def test_what_pytest_says():
    output = (
        "..F.s\n"
        "FAILED tests/test_a.py::test_b - assert 1 == 2\n"
        "ERROR tests/test_c.py - ModuleNotFoundError: No module named 'igraph'\n"
        "SKIPPED [1] tests/test_d.py:3: needs triton\n"
        "1 failed, 3 passed, 1 skipped, 1 error in 0.10s"
    )
    (found,) = of_pytest(output)
    assert found["passed"] == 3
    assert found["failed"] == 1
    assert found["error"].startswith("FAILED tests/test_a.py")
    assert len(found["left_out"]) == 2
    assert "error" not in of_pytest(output.replace("FAILED", "passed"))[0]
    assert of_pytest("killed") == []


def test_parts_of_a_gpu_are_within_its_time():
    on_cuda = run.parts("cuda")
    assert list(on_cuda)[:2] == list(run.parts("cpu"))[:2]
    assert len(on_cuda) == len(CASES) + 4
    assert run.SECONDS < 9 * 60
    for part in on_cuda.values():
        assert part.limit <= 120
    assert any("TRITON_INTERPRET" in part.environment for part in run.parts("cpu").values())
    assert not any(part.environment for part in on_cuda.values())


def test_training_is_of_every_method_of_the_config(capsys):
    training.main("cpu")
    rows = of_json(capsys.readouterr().out)
    assert len(rows) == 2 * len(list(training.methods())) == 8
    for row in rows:
        assert row["ms"] > 0, row
        assert row["accuracy"] > (0.3 if "PenDigits" in row["name"] else 0), row


def test_it_starts_without_what_a_machine_with_a_gpu_may_lack():
    names = ["igraph", "jsonargparse", "faiss", "pyamg", "pynndescent", "graphlearning"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({names}))\n"
        "import benchmarks.cli, benchmarks.gpu.training"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
