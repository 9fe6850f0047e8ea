import pytest

from benchmarks.store import Store, read


def test_rows_come_back(tmp_path):
    path = tmp_path / "new" / "runs.jsonl"
    Store(path).append({"id": "a", "x": 1.5})
    Store(path).append({"id": "b", "x": None})
    assert Store(path).rows == {"a": {"id": "a", "x": 1.5}, "b": {"id": "b", "x": None}}
    assert [row["id"] for row in read([tmp_path / "new"])] == ["a", "b"]


@pytest.mark.parametrize("torn", ['{"id": "b", "x"', '{"id": "b"}', "{"])
def test_a_torn_last_line_is_removed_with_a_notice(tmp_path, capsys, torn):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"id": "a"}\n' + torn)
    store = Store(path)
    assert "cut short" in capsys.readouterr().err
    store.append({"id": "c"})
    assert path.read_text() == '{"id": "a"}\n{"id": "c"}\n'


def test_a_whole_file_is_left_alone(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"id": "a"}\n')
    Store(path)
    assert path.read_text() == '{"id": "a"}\n'
    assert capsys.readouterr().err == ""


def test_the_last_row_of_an_id_counts_in_the_place_of_the_first(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    for name, x in (("a", 1), ("b", 2), ("a", 3)):
        store.append({"id": name, "x": x})
    expected = [{"id": "a", "x": 3}, {"id": "b", "x": 2}]
    assert list(store.rows.values()) == read([tmp_path]) == expected
    assert len(store.path.read_text().splitlines()) == 3


def test_rows_take_the_order_that_they_are_given(tmp_path):
    store = Store(tmp_path / "runs.jsonl")
    for name in "abcd":
        store.append({"id": name})
    store.arrange("ca")
    assert [row["id"] for row in read([tmp_path])] == list(store.rows) == list("cabd")
    assert [file.name for file in tmp_path.iterdir()] == ["runs.jsonl"]
    store.append({"id": "e"})
    assert [row["id"] for row in read([tmp_path])] == list("cabde")


def test_files_of_several_processes_are_joined_and_the_same_run_counts_once(tmp_path):
    for name, text in (("a", '{"id": "1"}\n{"id": "2"}\n'), ("b", '{"id": "2"}\n{"id": "3"}\n')):
        (tmp_path / name).write_text(text)
    assert [row["id"] for row in read([tmp_path / "a", tmp_path / "b"])] == ["1", "2", "3"]


@pytest.mark.parametrize("line", ["not json", "[]", '{"seed": 1}', "3"])
def test_another_file_is_an_error(tmp_path, line):
    (tmp_path / "x.jsonl").write_text('{"id": "a"}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"x.jsonl:2 must be the row of a run"):
        read([tmp_path / "x.jsonl"])
