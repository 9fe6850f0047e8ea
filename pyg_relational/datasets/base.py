"""What the data sets share: checked raw files, a cache of tensors, one PyG graph."""

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from pyg_relational.datasets.raw import ENVIRONMENT, RawFile, download, find, read, temporary_path

__all__ = ["Array", "ClassificationDataset", "Parsed", "PartialDataset", "Transform", "join"]

Array = NDArray[Any]
Parsed = tuple[Array, Array, Array]
Transform = Callable[[Data], Data]


class ClassificationDataset(InMemoryDataset):  # type: ignore[misc]
    r"""A labelled set of vectors or images with a training and a test part, as one PyG graph.

    ``dataset[0]`` is a :class:`torch_geometric.data.Data` without edges, which a transform may
    add: ``PenDigits(transform=KNNGraph(10))[0]``. Features are float32, the published values
    divided by the published maximum, so that they lie in :math:`[0, 1]`; labels start at 0.

    Raw files are read where they are, from ``<root>/raw/<folder>`` or from
    ``$PYG_RELATIONAL_RAW/<folder>``, and downloaded into the former if they are in neither. Each
    is checked by sha256 before it is parsed. The tensors are cached, images as bytes, in
    ``<root>/processed/<Name>``; the cache is written atomically, holds no pickled code and is checked by sha256 at
    each start.

    Args:
        root: Folder of raw files and caches.
        transform: Applied to the data at each access.
        pre_transform: Applied once; the result is cached under the transform's pickled state, so
            it has to be picklable. A function that was edited needs ``force_reload``.
        force_reload: Build the cache anew.

    Shapes:
        - **x:** :math:`(n, d)`, or :math:`(n, c, h, w)` for images, upright.
        - **y:** :math:`(n)`, int64.
        - **train_mask, test_mask:** :math:`(n)`, bool; each row is in exactly one.

    Raises:
        FileNotFoundError: A raw file is missing and its address can't be reached.
        ValueError: A raw file has another sha256 than the published one.
        OSError: The cache can't be written into ``root``.
    """

    folder: ClassVar[str]
    files: ClassVar[tuple[RawFile, ...]]
    class_count: ClassVar[int]
    maximum: ClassVar[int] = 255

    def __init__(
        self,
        root: str | os.PathLike[str] = "datasets",
        transform: Transform | None = None,
        pre_transform: Transform | None = None,
        force_reload: bool = False,
    ) -> None:
        super().__init__(os.fspath(root), transform, pre_transform, force_reload=force_reload)
        self.selected = self._select()
        cache = Path(self.processed_paths[0])
        if cache.is_dir():
            raise ValueError(f"{cache} must be the file of a cache, got a folder: remove it")
        if force_reload or not cache.is_file():
            _save(self._build(), cache)
        self.data = _load(cache)

    @staticmethod
    def parse(raw: Mapping[str, bytes]) -> Parsed:
        """Checked raw files by name, to x (uint8, or float32 in [0, 1]), y and train mask."""
        raise NotImplementedError

    @property
    def raw_dir(self) -> str:
        """Folder into which missing raw files are downloaded."""
        return str(Path(self.root, "raw", self.folder))

    @property
    def raw_file_names(self) -> list[str]:
        """Names of the raw files that this data set is made from."""
        return [file.name for file in self.selected]

    @property
    def raw_paths(self) -> list[str]:
        """Where each raw file is, or would be put."""
        return [str(self._find(file) or Path(self.raw_dir, file.name)) for file in self.selected]

    @property
    def processed_dir(self) -> str:
        """Folder of the cached tensors."""
        return str(Path(self.root, "processed", type(self).__name__))

    @property
    def processed_file_names(self) -> list[str]:
        """Name of the cache, one for each selection of raw files and each pre_transform."""
        return [f"{self.variant}{_key(self.pre_transform)}.pt"]

    @property
    def variant(self) -> str:
        """Name of the selection of raw files."""
        return "full"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.class_count

    @property
    def num_node_features(self) -> int:
        """Values a sample: d, or c h w for images."""
        return int(self._data.x[0].numel())

    def split(self, part: Literal["train", "test"]) -> tuple[Tensor, Tensor]:
        """The features and labels of one part, as copies.

        Args:
            part: "train" or "test".

        Raises:
            ValueError: Another part is asked for.
        """
        if part not in ("train", "test"):
            raise ValueError(f'part must be "train" or "test", got {part!r}')
        mask = self._data[f"{part}_mask"]
        return self._data.x[mask], self._data.y[mask]

    def _select(self) -> tuple[RawFile, ...]:
        return self.files

    def _find(self, file: RawFile) -> Path | None:
        folders = [Path(self.raw_dir)]
        if extra := os.environ.get(ENVIRONMENT):
            folders.append(Path(extra, self.folder))
        return find(file.name, folders)

    def _build(self) -> dict[str, Any]:
        missing = [file for file in self.selected if self._find(file) is None]
        download(missing, Path(self.raw_dir))
        raw = {f.name: read(f, Path(p)) for f, p in zip(self.selected, self.raw_paths, strict=True)}
        x, y, train = (torch.from_numpy(np.ascontiguousarray(array)) for array in self.parse(raw))
        content = {
            "maximum": self.maximum if x.dtype == torch.uint8 else None,
            "data": {"x": x, "y": y.long(), "train_mask": train, "test_mask": ~train},
        }
        if self.pre_transform is None:
            return content
        return {"maximum": None, "data": self.pre_transform(_to_data(content)).to_dict()}


class PartialDataset(ClassificationDataset):
    """A data set that may be made from a part of its raw files, if one asks for it.

    Args:
        root: Folder of raw files and caches.
        transform: Applied to the data at each access.
        pre_transform: Applied once, before the result is cached.
        force_reload: Build the cache anew.
        allow_partial: Make do with the raw files on disk and warn, which says what is there.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "datasets",
        transform: Transform | None = None,
        pre_transform: Transform | None = None,
        force_reload: bool = False,
        allow_partial: bool = False,
    ) -> None:
        self.allow_partial = allow_partial
        super().__init__(root, transform, pre_transform, force_reload)
        if self.is_partial:
            warnings.warn(f"partial data set: {self!r}", stacklevel=2)

    def _select(self) -> tuple[RawFile, ...]:
        found = {file.name for file in self.files if self._find(file)}
        usable = self.usable(found) if self.allow_partial else set()
        return tuple(file for file in self.files if file.name in usable) or self.files

    @staticmethod
    def usable(found: set[str]) -> set[str]:
        """The raw files on disk that a partial set is made from; none if they don't do."""
        raise NotImplementedError

    @property
    def is_partial(self) -> bool:
        """Whether raw files are left out."""
        return self.selected != self.files

    @property
    def variant(self) -> str:
        """Name of the selection of raw files."""
        return "-".join(["partial", *self.raw_file_names]) if self.is_partial else "full"

    def __repr__(self) -> str:
        """The class and, of a partial set, what it is made from."""
        if not self.is_partial:
            return super().__repr__()  # type: ignore[no-any-return]
        train, test = (int(self._data[f"{part}_mask"].sum()) for part in ("train", "test"))
        names = ", ".join(self.raw_file_names)
        return f"{type(self).__name__}({train} train + {test} test, only {names})"


def join(train: tuple[Array, Array], test: tuple[Array, Array]) -> Parsed:
    """Training rows, then test rows, and the mask that tells which is which."""
    x, y = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    return x, y, np.arange(len(y)) < len(train[1])


def _key(pre_transform: Transform | None) -> str:
    if pre_transform is None:
        return ""
    try:
        state = pickle.dumps(pre_transform, protocol=4)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            "pre_transform must be picklable (a transform object or a function of a module), since "
            f"its cache is named by its state, got {pre_transform!r}"
        ) from error
    return f"-{hashlib.sha256(state).hexdigest()[:16]}"


def _save(content: dict[str, Any], path: Path) -> None:
    """Write the cache, its sha256 in front: one file, so that both are of one moment."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    with temporary_path(path) as part:
        part.write_bytes(hashlib.sha256(payload).digest() + payload)
        os.replace(part, path)


def _load(path: Path) -> Data:
    stored = path.read_bytes()
    digest, payload = stored[:32], stored[32:]
    try:
        if hashlib.sha256(payload).digest() != digest:
            raise ValueError("another sha256 than the one that it was written with")
        return _to_data(torch.load(io.BytesIO(payload), weights_only=True))
    except (
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        raise ValueError(
            f"{path} must hold tensors, numbers and text only, got a damaged or another file: pass "
            "force_reload=True to build it anew, and store nothing else in a pre_transform"
        ) from error


def _to_data(content: dict[str, Any]) -> Data:
    data = Data.from_dict(content["data"])
    if content["maximum"] is not None:
        data.x = data.x.float() / content["maximum"]
    return data
