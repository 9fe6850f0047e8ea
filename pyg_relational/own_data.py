"""The user's own rows: a CSV or parquet file, NumPy arrays, or a folder of images."""

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["OwnData", "read_own_data"]

_Array = NDArray[Any]

_NO_LABEL = ("", "-1", "NA", "NaN", "nan")
_MOST_CATEGORIES = 100
_MOST_FRACTIONS = 50  # different labels that are no whole numbers
_SHOWN = 5  # rows or values that an error names
_WHOLE = re.compile(r"^(-?\d+)\.0+$")  # as pandas writes whole numbers of a column with empty cells
_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class OwnData(NamedTuple):
    """What was read.

    Args:
        x: Features ``[n, ...]``, floating point.
        y: Class of every row, -1 where it has no label.
        classes: Their names, by number.
        train: Whether the split column says "train" and not "test" ``[n]``; None without one.
        columns: Names of the features of a table, one-hot ones as ``colour=red``; else empty.
        files: Name of every image; else empty.
    """

    x: Tensor
    y: Tensor
    classes: list[str]
    train: Tensor | None
    columns: list[str]
    files: list[str]


def read_own_data(
    path: str | os.PathLike[str],
    label: str | None = None,
    *,
    split: str | None = None,
    ignore: Sequence[str] = (),
) -> OwnData:
    r"""Features and labels from a file or a folder, by the ending of its name. No code in it is ever run.

    - ``.csv`` (commas, a header) and ``.parquet``: every column but those named here is a feature. Numbers stay as they
      are; a cell without one is an error, nothing is filled in. Text becomes a column of zeros and ones for each
      category; cells without one are a category, too.
    - ``.npz``: the one array ``[n, ...]`` that is not named here.
    - a folder: images of one size, one subfolder for each class, in [0, 1]; those beside the subfolders have no label.

    Args:
        path: The file or folder.
        label: Column or array of the labels, ``None`` for none. A row has no label where it is empty, NA, NaN or -1.
        split: Column or array that says "train" or "test" of every row, ``None`` for none.
        ignore: Columns or arrays to leave out.

    Raises:
        ValueError: If a named column is not there, a value is missing or not finite, or nothing is labelled.
        FileNotFoundError: If there is no such file.
        ImportError: If pandas, pyarrow or Pillow is needed and not installed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "pets.csv")
        ...     _ = file.write_text("weight,fur,kind\n4,long,cat\n9,short,dog\n5,short,\n")
        ...     data = read_own_data(file, "kind")
        >>> data.columns, data.x.tolist()
        (['weight', 'fur=long', 'fur=short'], [[4.0, 1.0, 0.0], [9.0, 0.0, 1.0], [5.0, 0.0, 1.0]])
        >>> data.classes, data.y.tolist()
        (['cat', 'dog'], [0, 1, -1])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir():
        if label or split or ignore:
            raise ValueError(f"label, split and ignore are not for a folder of images, got {path}")
        return _images(path)
    readers = {".csv": _csv, ".parquet": _parquet, ".npz": _arrays}
    if path.suffix.lower() not in readers:
        raise ValueError(f"data must be {', '.join(readers)} or a folder of images, got {path}")
    named = [name for name in (label, split) if name is not None]
    columns = readers[path.suffix.lower()](path, named)
    _check_names(path, list(columns), label, split, ignore)
    _check_shapes(path, columns, named)
    y, classes = _labels(columns, label)
    train = None if split is None else _is_train(columns[split], split)
    left = [name for name in columns if name not in {*named, *ignore}]
    if not left:
        raise ValueError(f"{path} must have a column of features, got {list(columns)}")
    if path.suffix.lower() == ".npz":
        return OwnData(_array_features(path, columns, left), y, classes, train, [], [])
    parts = [_column(columns[name], name) for name in left]
    x = torch.from_numpy(np.concatenate([values for values, _ in parts], axis=1))
    return OwnData(x, y, classes, train, [name for _, names in parts for name in names], [])


def _csv(path: Path, as_text: list[str]) -> dict[str, Any]:
    pandas = _pandas()
    as_they_are = dict.fromkeys(as_text, str.strip)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        try:
            frame = pandas.read_csv(
                path,
                converters=as_they_are,
                encoding="utf-8-sig",
                index_col=False,
                low_memory=False,
            )
        except (ValueError, pandas.errors.ParserWarning) as error:
            raise ValueError(f"{path} must be a CSV file with a header: {error}") from error
    return dict(frame.items())


def _parquet(path: Path, as_text: list[str]) -> dict[str, Any]:
    pandas = _pandas()
    try:
        return dict(pandas.read_parquet(path).items())
    except ImportError as error:
        raise ImportError("parquet files need pyarrow: pip install pyarrow") from error


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError("tables need pandas: pip install pandas") from error
    return pandas


def _arrays(path: Path, as_text: list[str]) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, TypeError, BadZipFile) as error:
        raise ValueError(f"{path} must hold arrays of numbers or text: {error}") from error


def _check_names(
    path: Path, there: list[str], label: str | None, split: str | None, ignore: Sequence[str]
) -> None:
    for option, names in (("label", [label]), ("split", [split]), ("ignore", ignore)):
        for name in names:
            if name is not None and name not in there:
                raise ValueError(
                    f"{option} must be a column of {path}, got {name!r}; it has {_some(there, 20)}"
                )


def _check_shapes(path: Path, columns: dict[str, Any], named: list[str]) -> None:
    shapes = {name: list(column.shape) for name, column in columns.items()}
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"{path} must hold rows, as many in every array, got shapes {shapes}")
    for name in named:
        if len(shapes[name]) > 1:
            raise ValueError(f"array {name!r} must be one value a row, got shape {shapes[name]}")


def _labels(columns: dict[str, Any], label: str | None) -> tuple[Tensor, list[str]]:
    if label is None:
        return torch.full((len(next(iter(columns.values()))),), -1), []
    return _codes(["" if v in _NO_LABEL else v for v in _texts(columns[label])], label)


def _codes(texts: list[str], label: str) -> tuple[Tensor, list[str]]:
    """Number of every text among the classes, in the order of numbers where they are all; -1 of the empty ones."""
    known = sorted(set(texts) - {""})
    if not known:
        raise ValueError(f"label {label!r} must label some row, got {len(texts)} rows without one")
    values = [_number(name) for name in known]
    if all(value is not None for value in values):
        known.sort(key=float)
        whole = all(float(name).is_integer() for name in known)
        if not whole and len(known) > _MOST_FRACTIONS:
            raise ValueError(
                f"label {label!r} must hold classes, got {len(known)} different numbers, "
                f"as {_some(known)}"
            )
    place = {name: number for number, name in enumerate(known)} | {"": -1}
    return torch.tensor([place[text] for text in texts]), known


def _is_train(column: Any, split: str) -> Tensor:
    texts = _texts(column)
    if wrong := [i for i, text in enumerate(texts) if text not in ("train", "test")]:
        raise ValueError(
            f"split {split!r} must say train or test, got {texts[wrong[0]]!r} in {_rows(wrong)}"
        )
    return torch.tensor([text == "train" for text in texts])


def _texts(values: Any) -> list[str]:
    return [_text(value) for value in values.tolist()]


def _text(value: Any) -> str:
    """As in a CSV file: whole numbers without a point, nothing for what is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode().strip()
    return _WHOLE.sub(r"\1", str(value).strip())


def _column(column: "Series[Any]", name: str) -> tuple[_Array, list[str]]:
    """Numbers ``[n, 1]``, or a column for each category."""
    if column.dtype.kind in "biuf":
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        _check_finite(np.isfinite(numbers), f"column {name!r}")
        return numbers[:, None], [name]
    if column.dtype.kind in "mM":
        raise ValueError(f"column {name!r} must hold numbers or text, got {column.dtype}")
    texts = _texts(column)
    filled = [row for row, text in enumerate(texts) if text]
    odd = [row for row in filled if _number(texts[row]) is None]
    if 0 < len(odd) < len(filled) / 2:
        raise ValueError(
            f"column {name!r} must hold numbers or text, got numbers and {texts[odd[0]]!r} in {_rows(odd)}"
        )
    categories = sorted(set(texts))
    if len(categories) > _MOST_CATEGORIES:
        raise ValueError(
            f"column {name!r} must hold numbers or at most {_MOST_CATEGORIES} different texts, "
            f"got {len(categories)}, as {_some(categories)}: leave it out (--ignore)"
        )
    hot = np.array(texts)[:, None] == np.array(categories)
    return hot.astype(np.float64), [f"{name}={category}" for category in categories]


def _array_features(path: Path, arrays: dict[str, Any], left: list[str]) -> Tensor:
    if len(left) > 1:
        raise ValueError(
            f"{path} must hold one array of features, got {left}: leave out the others (--ignore)"
        )
    x = arrays[left[0]]
    if x.dtype.kind not in "biuf":
        raise ValueError(f"array {left[0]!r} must hold numbers, got {x.dtype}")
    x = x.astype(np.result_type(x.dtype, np.float32)).reshape(len(x), *(x.shape[1:] or (1,)))
    _check_finite(np.isfinite(x).reshape(len(x), -1).all(1), f"array {left[0]!r}")
    return torch.from_numpy(x)


def _check_finite(good: Any, what: str) -> None:
    if not good.all():
        raise ValueError(
            f"{what} must have a finite number in every row, got none in "
            f"{_rows(np.flatnonzero(~good).tolist())}: fill it in or leave it out (--ignore)"
        )


def _images(path: Path) -> OwnData:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images need Pillow: pip install pillow") from error
    found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    names = [file.relative_to(path) for file in found]
    for name in names:
        if name.suffix.lower() not in _IMAGES or len(name.parts) > 2:
            raise ValueError(f"{path} must hold images in one subfolder a class, got {name}")
    texts = [name.parts[0] if len(name.parts) == 2 else "" for name in names]
    y, classes = _codes(texts, str(path))
    images = []
    for file in found:
        with Image.open(file) as image:
            if image.mode[0] in "IF":
                raise ValueError(
                    f"images must have 8 bits a channel, got mode {image.mode} of {file}"
                )
            images.append(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    sizes = {image.size: file for image, file in zip(images, found, strict=True)}
    if len(sizes) > 1:
        got = [f"{w} x {h} of {file}" for (w, h), file in sizes.items()]
        raise ValueError(f"images must have one size, got {_some(got, 2)}")
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    pixels = np.stack([np.array(image.convert(mode), np.float32) / 255 for image in images])
    x = torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1)).movedim(-1, 1).contiguous()
    return OwnData(x, y, classes, None, [], [name.as_posix() for name in names])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _rows(rows: list[int]) -> str:
    """``row 3`` or ``rows 3, 17 and 5 more``."""
    return f"row{'s' * (len(rows) > 1)} {_some(map(str, rows))} (counted from 0)"


def _some(values: Iterable[str], most: int = _SHOWN) -> str:
    every = [str(value) for value in values]
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
