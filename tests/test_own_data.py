import sys

import numpy as np
import pytest
import torch

from pyg_relational.own_data import read_own_data

pandas = pytest.importorskip("pandas")


@pytest.fixture
def csv(tmp_path):
    """Writes a CSV file and gives its path."""

    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_numbers_stay_and_text_is_one_hot(csv):
    data = read_own_data(csv("a,b,y\n1.5,x,dog\n2,,cat\n1e9,x,\n"), "y")
    assert data.columns == ["a", "b=", "b=x"]
    assert data.x.tolist() == [[1.5, 0, 1], [2, 1, 0], [1e9, 0, 1]]
    assert (data.classes, data.y.tolist()) == (["cat", "dog"], [1, 0, -1])
    assert (data.train, data.files) == (None, [])


@pytest.mark.parametrize("none", ["", "NA", "NaN", "-1", "-1.0", " "])
def test_what_is_no_label(csv, none):
    data = read_own_data(csv(f"a,y\n1,3\n2,{none}\n3,x\n"), "y")
    assert (data.classes, data.y.tolist()) == (["3", "x"], [0, -1, 1])


def test_numbered_classes_are_in_the_order_of_numbers_and_whole(csv):
    data = read_own_data(csv("y,a\n10.0,1\n9,2\n10,3\n2.0,4\n"), "y")
    assert (data.classes, data.y.tolist()) == (["2", "9", "10"], [2, 1, 2, 0])


def test_without_a_label_every_column_is_a_feature(csv):
    data = read_own_data(csv("\ufeffa,b\n1,2\n3,4\n"))
    assert data.columns == ["a", "b"]
    assert (data.classes, data.y.tolist()) == ([], [-1, -1])


def test_a_split_column_and_ignored_ones_are_no_features(csv):
    data = read_own_data(csv("id,a,s,y\nu,1,train,p\nv,2,test,q\n"), "y", split="s", ignore=["id"])
    assert data.columns == ["a"]
    assert data.train.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,y\n1,p\n2,q\nx,q\n", r"column 'a' must hold numbers or text, got numbers and 'x' in row 2"),
        ("a,y\n1,p\n,q\n", "column 'a' must have a finite number in every row, got none in row 1 "),
        ("a,y\ninf,p\n2,q\n", "got none in row 0 "),
        ("a,y\n" + "1,p\n" + ",p\n" * 7, "in rows 1, 2, 3, 4, 5 and 2 more"),
        ("a,y\n1,\n2,\n", "label 'y' must label some row, got 2 rows without one"),
        ("a,y\n", "must hold rows"),
        ("", "must be a CSV file with a header"),
        ("a,y\n1,p,7\n", "must be a CSV file with a header"),
        ("y\np\n", "must have a column of features"),
        ("a,z\n1,p\n", "label must be a column of .*, got 'y'; it has a, z"),
        ("a,y\n" + "".join(f"n{i},p\n" for i in range(101)), "at most 100 different texts, got 101"),
        ("a,y\n" + "".join(f"1,{i}.5\n" for i in range(51)), "hold classes, got 51 different numb"),
    ],
)  # fmt: skip
def test_mistakes_in_a_table_are_named(csv, text, message):
    with pytest.raises(ValueError, match=message):
        read_own_data(csv(text), "y")


def test_other_mistakes_are_named(csv, tmp_path):
    path = csv("a,s\n1,train\n2,tset\n")
    with pytest.raises(ValueError, match="split 's' must say train or test, got 'tset' in row 1"):
        read_own_data(path, split="s")
    with pytest.raises(ValueError, match="ignore must be a column"):
        read_own_data(path, ignore=["b"])
    with pytest.raises(ValueError, match=r"must be .csv, .parquet, .npz or a folder"):
        read_own_data(csv("a\n1\n", "data.txt"))
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv does not exist"):
        read_own_data(tmp_path / "nothing.csv")


def test_arrays_keep_their_shape(tmp_path):
    path = tmp_path / "data.npz"
    x = np.arange(24, dtype=np.uint8).reshape(3, 2, 2, 2)
    np.savez(path, pixels=x, y=np.array([5, -1, 2]), s=np.array(["train", "test", "train"]))
    data = read_own_data(path, "y", split="s")
    assert data.x.dtype == torch.float32
    assert np.array_equal(data.x, x)
    assert (data.classes, data.y.tolist()) == (["2", "5"], [1, -1, 0])
    assert data.train.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2)), "z": np.ones(3), "y": np.ones(3)}, "one array of features"),
        ({"x": np.ones((3, 2)), "y": np.ones(2)}, "as many in every array"),
        ({"x": np.array([[1.0], [np.nan]]), "y": np.ones(2)}, "got none in row 1"),
        ({"x": np.array(["a", "b"]), "y": np.ones(2)}, "'x' must hold numbers"),
        ({"x": np.ones((2, 2)), "y": np.ones((2, 2))}, "'y' must be one value a row"),
        ({"x": np.array([{}, {}], object), "y": np.ones(2)}, "must hold arrays of numbers or text"),
    ],
)
def test_mistakes_in_arrays_are_named_and_pickles_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_own_data(tmp_path / "data.npz", "y")


def test_a_file_of_something_else_is_no_npz(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ValueError, match="must hold arrays of numbers or text"):
        read_own_data(tmp_path / "data.npz", "y")


FRAME = {"a": [1, 2, 3], "b": ["x", None, "x"], "y": [1.0, None, 0.0]}


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    pandas.DataFrame(FRAME).to_parquet(tmp_path / "data.parquet")
    _check_frame(read_own_data(tmp_path / "data.parquet", "y"))


@pytest.mark.parametrize("nullable", [False, True])
def test_columns_of_a_frame_are_as_in_a_csv(tmp_path, monkeypatch, nullable):
    frame = pandas.DataFrame(FRAME)
    frame = frame.convert_dtypes() if nullable else frame
    monkeypatch.setattr(pandas, "read_parquet", lambda _: frame)
    (tmp_path / "data.parquet").touch()
    _check_frame(read_own_data(tmp_path / "data.parquet", "y"))


def _check_frame(data):
    assert data.columns == ["a", "b=", "b=x"]
    assert data.x.tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert (data.classes, data.y.tolist()) == (["0", "1"], [1, -1, 0])


def test_dates_are_refused(tmp_path, monkeypatch):
    frame = pandas.DataFrame({"a": pandas.to_datetime(["2020-01-01"]), "y": [1]})
    monkeypatch.setattr(pandas, "read_parquet", lambda _: frame)
    (tmp_path / "data.parquet").touch()
    with pytest.raises(ValueError, match="column 'a' must hold numbers or text, got datetime64"):
        read_own_data(tmp_path / "data.parquet", "y")


@pytest.mark.parametrize(
    ("missing", "name", "line"),
    [
        ("pandas", "data.csv", "tables need pandas: pip install pandas"),
        ("pyarrow", "data.parquet", "pip install pyarrow"),
        ("PIL", "folder", "pip install pillow"),
    ],
)
def test_missing_packages_are_told_with_the_line_that_installs_them(
    tmp_path, monkeypatch, missing, name, line
):
    monkeypatch.setitem(sys.modules, missing, None)
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_text("a\n1\n")
    with pytest.raises(ImportError, match=line):
        read_own_data(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey images, and one without a label."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for name, add in (("cat/a.png", 0), ("cat/b.png", 100), ("dog/a.png", 200), ("c.png", 50)):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels + np.uint8(add)).save(path)
    return tmp_path / "images"


def test_images(folder):
    data = read_own_data(folder)
    assert data.files == ["c.png", "cat/a.png", "cat/b.png", "dog/a.png"]
    assert (data.classes, data.y.tolist()) == (["cat", "dog"], [-1, 0, 0, 1])
    assert data.x.shape == (4, 1, 2, 3)
    torch.testing.assert_close(data.x[2, 0] * 255, torch.arange(6.0).reshape(2, 3) + 100)


def test_one_image_in_colour_makes_all_so(folder):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (3, 2), (255, 0, 51)).save(folder / "dog" / "z.png")
    data = read_own_data(folder)
    assert data.x.shape == (5, 3, 2, 3)
    torch.testing.assert_close(data.x[4, :, 0, 0], torch.tensor([1, 0, 0.2]))


def test_mistakes_in_a_folder_are_named(folder):
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match="label, split and ignore are not for a folder"):
        read_own_data(folder, "kind")
    image.new("I;16", (3, 2)).save(folder / "dog" / "deep.png")
    with pytest.raises(ValueError, match="8 bits a channel, got mode I"):
        read_own_data(folder)
    image.new("L", (5, 5)).save(folder / "dog" / "deep.png")
    with pytest.raises(ValueError, match=r"one size, got 3 x 2 of .*, 5 x 5 of .*deep.png"):
        read_own_data(folder)
    (folder / "dog" / "deep.png").rename(folder / "dog" / "notes.txt")
    with pytest.raises(ValueError, match=r"images in one subfolder a class, got dog.notes.txt"):
        read_own_data(folder)
