import json
import re

from benchmarks import machine
from benchmarks.cli import main
from benchmarks.page import page
from benchmarks.store import read

RESULTS = machine.ROOT / "benchmarks" / "results"


def test_page_has_the_figures_of_its_studies_and_every_run(tmp_path, capsys):
    folders = [str(RESULTS / name) for name in ("default", "pretrained_clusters")]
    file = tmp_path / "report.html"
    assert main(["report", *folders, "--output", str(file)]) == 0
    text = file.read_text()
    assert "97.78 \\u00b1 0.08" in text or "97.78 ± 0.08" in text
    for name in ("default", "pretrained_clusters", "all-runs"):
        assert f'<a href="#{name}">' in text
        assert f'<section id="{name}">' in text
    row = next(row for row in read([RESULTS / "default"]) if row["stage"] == "test")
    assert row["git_commit"] in text


def test_page_loads_nothing_from_elsewhere():
    text = page({"default": read([RESULTS / "default"])})
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "from the internet" not in text


def test_names_of_users_are_text():
    rows = [row for row in read([RESULTS / "default"]) if row["stage"] == "test"]
    evil = "<script>alert(1)</script>"
    rows = [{**row, "method": evil if row["method"] == "gcr" else row["method"]} for row in rows]
    text = page({evil: rows})
    assert evil not in text
    assert json.dumps(evil)[1:-1] not in text
