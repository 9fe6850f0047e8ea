from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import read, table

PNG = b"\x89PNG"


def test_every_row_gets_a_class_and_pictures_are_drawn(command):
    status, out, _ = command("propagate pets.csv --label kind", table())
    assert status == 0
    folder = Path("pets-propagate")
    rows = read(folder / "predictions.csv")
    assert [row["row"] for row in rows] == [str(i) for i in range(300)]
    assert [row["class"] for row in rows] == ["cat", "dog", "owl"] * 100
    assert [row["given"] for row in rows] == ["yes"] * 40 + ["no"] * 260
    assert all(0.9 < float(row["probability"]) <= 1 for row in rows)
    for name in ("graph.png", "label_rate.png"):
        assert (folder / name).read_bytes().startswith(PNG)
        assert f"pets-propagate/{name}" in out
    assert "pets.csv: 300 rows, 6 features; 40 with a label of 3 classes" in out
    assert "cat       14         86" in out
    assert "accuracy on the 40 labelled rows: 100.0 % [91.2, 100.0] (95 % interval)" in out
    assert "Rows that no label reaches: 0\n" in out


def test_the_same_seed_writes_the_same(command):
    for folder in ("a", "b"):
        line = f"propagate pets.csv --label kind --method poisson --output {folder}"
        assert command(line, table())[0] == 0
    for name in ("predictions.csv", "graph.png", "label_rate.png"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_rows_that_no_label_reaches_have_no_class(command):
    columns = table()
    columns["kind"] = np.where(columns["kind"] == "owl", "", columns["kind"])
    _, out, _ = command("propagate pets.csv --label kind", columns)
    rows = read("pets-propagate/predictions.csv")
    assert [row["class"] for row in rows] == ["cat", "dog", ""] * 100
    assert [row["probability"] for row in rows[2::3]] == [""] * 100
    assert "Rows that no label reaches: 100; a larger --k joins more" in out


def test_names_of_classes_are_shown_as_they_are(command, monkeypatch):
    from matplotlib.figure import Figure

    shown = []
    drawn = Figure.savefig

    def look(figure, *args, **kwargs):
        shown.extend(text.get_text() for legend in figure.legends for text in legend.get_texts())
        return drawn(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", look)
    names = np.array(["$5 to 10$_", "_other", "a" * 30, ""])
    columns = table() | {"kind": names[np.where(np.arange(300) < 40, np.arange(300) % 3, 3)]}
    assert command("propagate pets.csv --label kind", columns)[0] == 0
    long = f"{'a' * 23}… (100)"
    assert shown == [r"\$5 to 10\$_ (100)", " _other (100)", long, "label was given"]


def test_few_labels_are_told(command):
    _, out, _ = command("propagate pets.csv --label kind", table(labelled=3))
    assert "Accuracy is not known: no class has two labels" in out
    assert "it takes four labels in every class" in out
    assert not Path("pets-propagate/label_rate.png").exists()


def test_duplicate_rows_and_numbered_classes(command):
    columns = {name: np.tile(values[:100], 3) for name, values in table(300).items()}
    columns["kind"] = np.where(np.arange(300) < 100, np.arange(300) % 3 + 7, -1)
    assert command("propagate pets.csv --label kind --k 5", columns)[0] == 0
    assert [row["class"] for row in read("pets-propagate/predictions.csv")] == (
        ["7", "8", "9"] * 33 + ["7"]
    ) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": np.full(300, "")}, "label 'kind' must label some row"),
        ({"kind": np.full(300, "cat")}, "labels must be of two classes or more, got 'cat' alone"),
        ({"name": [f"Rex {i}" for i in range(300)]}, "column 'name' must hold numbers or at most 100"),
        ({"width": [*range(299), "nan"]}, "column 'width' must have a finite number in every row"),
    ],
)  # fmt: skip
def test_mistakes_in_the_table_are_one_line(fails, change, message):
    assert message in fails("propagate pets.csv --label kind", table() | change)
    assert not Path("pets-propagate").exists()


def test_a_column_can_be_left_out(command):
    columns = table() | {"name": [f"Rex {i}" for i in range(300)], "age": [""] * 300}
    line = "propagate pets.csv --label kind --ignore name --ignore age"
    assert command(line, columns)[0] == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("propagate pets.csv", "--label must name the column of the labels"),
        ("propagate pets.csv --label kin", "label must be a column of pets.csv, got 'kin'"),
        ("propagate pats.csv --label kind", "pats.csv does not exist"),
        ("propagate pets.csv --label kind --k 300", "k must be less than the number of rows"),
        ("propagate pets.csv --label kind --k 0", "k must be"),
        ("propagate pets.csv --label kind --method p", "invalid choice: 'p'"),
        ("propagate", "required: data"),
        ("spread pets.csv", "invalid choice: 'spread'"),
    ],
)
def test_mistakes_in_the_line_are_one_line(fails, line, message):
    assert message in fails(line, table())


def test_files_are_overwritten_by_force_alone(command, fails):
    line = "propagate pets.csv --label kind"
    assert command(line, table())[0] == 0
    kept = Path("pets-propagate/predictions.csv")
    kept.write_text("mine")
    assert "pets-propagate/predictions.csv is there: --force overwrites it" in fails(line)
    assert kept.read_text() == "mine"
    assert command(f"{line} --force")[0] == 0
    assert len(read(kept)) == 300


def test_a_folder_of_images(command):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for i in range(30):
        dark = i % 2
        path = Path("photos", *(["dark" if dark else "light"] if i < 10 else []), f"{i:02}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (4, 4)) + 100 * (not dark)
        image.fromarray(pixels.astype(np.uint8)).save(path)
    assert command("propagate photos --k 3")[0] == 0
    rows = read("photos-propagate/predictions.csv")
    by_file = {Path(row["file"]).name: row["class"] for row in rows}
    assert by_file == {f"{i:02}.png": "dark" if i % 2 else "light" for i in range(30)}
