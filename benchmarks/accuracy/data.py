"""What a run trains and is scored on: a data set or the user's own, cut down, made noisy and standardised by seed."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

import pyg_relational.datasets as datasets
from benchmarks import own
from benchmarks.accuracy import pretrained
from benchmarks.accuracy.methods import Samples
from benchmarks.machine import DATASETS
from pyg_relational.own_data import read_own_data

HELD_OUT = 0.2
OUTSIDE = 2000  # samples of each data set of other classes
GAUSSIAN = "Gaussian"
Splits = tuple[Samples, Samples, int]  # to train on, to score on, number of classes
DIMENSIONS, TRAIN_SAMPLES, TEST_SAMPLES = 32, 10_000, 5_000  # of Gaussian classes


@dataclass(frozen=True)
class Source:
    """A data set and what is done to it.

    ``train_size`` takes a stratified subset of the training split, ``label_noise`` moves that
    fraction of the training labels to another class, uniformly; both are drawn by the run's seed.
    ``labels_per_class`` labels of each class are kept, drawn by the seed; the rest of the training
    samples stay, with -1 for a label. ``standardise`` scales each feature by mean and standard
    deviation of the training samples. ``encoder`` puts a frozen pretrained trunk before all of that: images are
    enlarged to ``image_size`` and become what its last ``trained_blocks`` blocks get, or pooled features where none
    is trained, see ``pretrained.py``. The data set "Gaussian" is made: ``classes`` unit normal distributions
    in 32 dimensions around means that are drawn from a normal distribution of variance 1 themselves.

    ``path`` is that of the user's own rows, from the folder of the config (``pyg_relational/own_data.py``); ``label``,
    ``split`` and ``ignore`` name columns. Without ``split``, ``train_size`` labelled rows are drawn by the seed, and
    the test split is the others. Rows without a label join the training samples, with -1 for a label.

    ``outside`` names data sets of other classes, whose first test samples are scored, too: is the network less sure
    of them, and are they farther from what it was trained on?
    """

    name: str = ""
    train_size: int | None = None
    label_noise: float = 0.0
    standardise: bool = True
    allow_partial: bool = False
    labels_per_class: int | None = None
    classes: int | None = None
    encoder: str | None = None
    image_size: int = 96
    trained_blocks: int = 0
    path: str | None = None
    label: str | None = None
    split: str | None = None
    ignore: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()


class Problem(NamedTuple):
    """Training samples with the labels as given (-1: hidden), their true ones (-1: unknown), samples to score on.

    ``outside`` are inputs of none of the classes, one tensor a data set.
    """

    train: Samples
    true_y: Tensor
    test: Samples
    num_classes: int
    outside: tuple[Tensor, ...] = ()

    def to(self, device: str) -> "Problem":
        """The same on another device."""
        train, test = (Samples(s.x.to(device), s.y.to(device)) for s in (self.train, self.test))
        outside = tuple(x.to(device) for x in self.outside)
        return Problem(train, self.true_y.to(device), test, self.num_classes, outside)


def describe(source: Source) -> str:
    """Short name for tables."""
    size = f", {source.train_size} train" if source.train_size else ""
    noise = f", {source.label_noise:.0%} label noise" if source.label_noise else ""
    count = source.labels_per_class
    labels = f", {count} label{'s' * (count > 1)} a class" if count else ""
    classes = f", {source.classes} classes" if source.classes else ""
    encoder = f", {source.encoder}" if source.encoder else ""
    name = Path(source.path).name if source.path else source.name
    return f"{name}{classes}{encoder}{size}{noise}{labels}"


def check(source: Source) -> None:
    """Raise ValueError for a data set or a value that does not exist."""
    known = [*datasets.__all__, GAUSSIAN]
    _check_own(source)
    if source.path is None and source.name not in known:
        raise ValueError(f"data set must be one of {known}, got {source.name!r}")
    if (source.name == GAUSSIAN) != (source.classes is not None):
        raise ValueError(f"classes must be given for {GAUSSIAN} alone, got {source.classes}")
    if source.classes is not None and not 2 <= source.classes <= TEST_SAMPLES // 5:
        raise ValueError(f"classes must be in [2, {TEST_SAMPLES // 5}], got {source.classes}")
    if not 0 <= source.label_noise < 1:
        raise ValueError(f"label_noise must be in [0, 1), got {source.label_noise}")
    if source.labels_per_class is not None and source.labels_per_class < 1:
        raise ValueError(f"labels_per_class must be >= 1, got {source.labels_per_class}")
    _check_encoder(source)
    if unknown := [name for name in source.outside if name not in datasets.__all__]:
        raise ValueError(f"outside must be of {datasets.__all__}, got {unknown}")
    if source.allow_partial and not _can_be_partial(source.name):
        raise ValueError(f"allow_partial: {source.name} has no partial form")


def available(source: Source) -> str | None:
    """None if the data set can be loaded, and else why not; tries to download it."""
    try:
        problem(source, seed=0) if source.path else _load(source)
    except (OSError, ValueError, ImportError) as error:
        return str(error)
    return None


def problem(source: Source, seed: int, validate: bool = False) -> Problem:
    """The samples of a run.

    Args:
        source: What to load and do.
        seed: Draws the subset and the noise.
        validate: Score on a stratified fifth of the training samples, with labels as noisy as
            the others, in place of the test split, which is then not looked at.

    Raises:
        ValueError: A class has fewer samples than ``labels_per_class``; or it is given and
            ``validate``: held-out labels would be labels that the run may not have. Of own data, a class has no
            training sample.
    """
    if validate and source.labels_per_class is not None:
        raise ValueError("labels_per_class leaves no labels to hold out, got validate=True")
    train, test, num_classes = _load(source)
    (x, y), unlabelled = _apart(train)
    if source.train_size is not None:
        keep, rest = _divide(y, train_size=source.train_size, seed=seed)
        if source.path and not source.split:
            test = Samples(x[rest], y[rest])
        x, y = x[keep], y[keep]
    noisy = flip_labels(y, source.label_noise, num_classes, seed)
    if validate:
        keep, rest = _divide(y, test_size=HELD_OUT, seed=seed)
        test = Samples(x[rest], noisy[rest])
        x, y, noisy = x[keep], y[keep], noisy[keep]
    if source.labels_per_class is not None:
        noisy = hide_labels(noisy, source.labels_per_class, num_classes, seed)
    others = () if validate else source.outside
    outside = tuple(_outside(source, name, x.shape[1:]) for name in others)
    result = Problem(Samples(x, noisy), y, test, num_classes, outside)
    if source.path:
        result = _of_own(result, unlabelled, source)
    result = _standardised(result) if source.standardise else result
    return _single(result)


def flip_labels(y: Tensor, fraction: float, num_classes: int, seed: int) -> Tensor:
    """Symmetric noise: ``round(fraction * n)`` labels become another class, uniformly."""
    rng = np.random.default_rng(seed)
    flipped = torch.from_numpy(rng.permutation(len(y))[: round(fraction * len(y))])
    shift = torch.from_numpy(rng.integers(1, num_classes, len(flipped)))
    noisy = y.clone()
    noisy[flipped] = (y[flipped] + shift) % num_classes
    return noisy


def hide_labels(y: Tensor, per_class: int, num_classes: int, seed: int) -> Tensor:
    """``per_class`` labels of each class, drawn uniformly; -1 in place of the others."""
    if (least := int(y.bincount(minlength=num_classes).min())) < per_class:
        raise ValueError(f"labels_per_class must be at most {least} here, got {per_class}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    shown = torch.cat([order[y[order] == c][:per_class] for c in range(num_classes)])
    hidden = torch.full_like(y, -1)
    hidden[shown] = y[shown]
    return hidden


def _check_own(source: Source) -> None:
    columns = {"label": source.label, "split": source.split, "ignore": source.ignore}
    if source.path is None:
        if given := [name for name, value in columns.items() if value]:
            raise ValueError(f"{given} must be given with path alone, got name {source.name!r}")
    elif source.name:
        raise ValueError(
            f"data must have a name or a path, got {source.name!r} and {source.path!r}"
        )
    elif source.train_size is None and source.split is None:
        raise ValueError(f"train_size or split must be given with path, got {source.path!r} alone")


def _check_encoder(source: Source) -> None:
    encoder, trained = source.encoder, source.trained_blocks
    if encoder not in (None, pretrained.NAME):
        raise ValueError(f"encoder must be {pretrained.NAME!r} or left out, got {encoder!r}")
    if not 0 <= trained <= (pretrained.MOST_TRAINED if encoder else 0):
        raise ValueError(
            f"trained_blocks must be in [0, {pretrained.MOST_TRAINED}], 0 without encoder, got {trained}"
        )
    if source.image_size < 32:
        raise ValueError(f"image_size must be >= 32, got {source.image_size}")
    if trained and source.standardise:
        raise ValueError("standardise must be false with trained_blocks, got true")


def _divide(y: Tensor, seed: int, **size: Any) -> tuple[Tensor, Tensor]:
    parts = train_test_split(np.arange(len(y)), stratify=y.numpy(), random_state=seed, **size)
    first, second = (torch.from_numpy(np.sort(part)) for part in parts)
    return first, second


def _apart(samples: Samples) -> tuple[Samples, Tensor]:
    """Those with a label, and inputs of the others."""
    known = samples.y >= 0
    if bool(known.all()):
        return samples, samples.x[:0]
    return Samples(samples.x[known], samples.y[known]), samples.x[~known]


def _of_own(problem: Problem, unlabelled: Tensor, source: Source) -> Problem:
    """With the unlabelled rows at the end of the training samples."""
    (x, y), true_y, _, num_classes, _ = problem
    counts = true_y.bincount(minlength=num_classes)
    if int(counts.min()) == 0:
        raise ValueError(
            f"every class of {source.path} must have a labelled training row, got none of the "
            f"{int(counts.argmin()) + 1}th in order with train_size {source.train_size}"
        )
    none = y.new_full((len(unlabelled),), -1)
    train = Samples(torch.cat([x, unlabelled]), torch.cat([y, none]))
    return problem._replace(train=train, true_y=torch.cat([true_y, none]))


def _single(problem: Problem) -> Problem:
    """In single precision, once columns of any size are standardised."""
    return _mapped(problem, Tensor.float)


def _standardised(problem: Problem) -> Problem:
    mean, std = problem.train.x.mean(0), problem.train.x.std(0)
    scale = torch.where(std > 0, std, torch.ones_like(std))
    return _mapped(problem, lambda x: (x - mean) / scale)


def _mapped(problem: Problem, function: Callable[[Tensor], Tensor]) -> Problem:
    """With a function of all inputs."""
    train, test = (s._replace(x=function(s.x)) for s in (problem.train, problem.test))
    return problem._replace(train=train, test=test, outside=tuple(map(function, problem.outside)))


def _outside(source: Source, name: str, shape: torch.Size) -> Tensor:
    """Test inputs of another data set."""
    other = Source(name, allow_partial=_can_be_partial(name), encoder=source.encoder)
    other = replace(other, image_size=source.image_size, trained_blocks=source.trained_blocks)
    x = _load(other)[1].x[:OUTSIDE]
    if x.shape[1:] != shape:
        raise ValueError(
            f"outside must have inputs of shape {list(shape)}, got {list(x.shape[1:])} of {name}"
        )
    return x


def _load(source: Source) -> Splits:
    if source.classes is not None:
        return gaussian_classes(source.classes)
    load: Callable[..., Splits] = _splits
    arguments: tuple[Any, ...] = (source.name, source.allow_partial)
    if source.path is not None:
        version = own.sha256(Path(source.path))
        load, arguments = _own, (source.path, source.label, source.split, source.ignore, version)
    if source.encoder is None:
        return load(*arguments)
    return _encoded(load, arguments, source.image_size, source.trained_blocks)


@lru_cache(maxsize=4)
def _encoded(
    load: Callable[..., Splits], arguments: tuple[Any, ...], image_size: int, trained: int
) -> Splits:
    train, test, classes = load(*arguments)
    x = pretrained.encode(train.x, image_size, trained)
    test_x = pretrained.encode(test.x, image_size, trained) if len(test.x) else x[:0]
    return Samples(x, train.y), Samples(test_x, test.y), classes


@lru_cache(maxsize=4)
def gaussian_classes(classes: int) -> Splits:
    """Training and test samples of normal distributions, the same in every run; classes in turn."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(classes, DIMENSIONS, generator=generator)
    train, test = (torch.arange(size) % classes for size in (TRAIN_SAMPLES, TEST_SAMPLES))
    splits = (
        Samples(means[y] + torch.randn(len(y), DIMENSIONS, generator=generator), y)
        for y in (train, test)
    )
    return *splits, classes


@lru_cache(maxsize=4)
def _splits(name: str, allow_partial: bool) -> Splits:
    partial = {"allow_partial": True} if allow_partial else {}
    dataset = getattr(datasets, name)(root=DATASETS, **partial)
    train, test = (Samples(*dataset.split(part)) for part in ("train", "test"))
    return train, test, dataset.num_classes


@lru_cache(maxsize=4)
def _own(
    path: str, label: str | None, split: str | None, ignore: tuple[str, ...], version: str
) -> Splits:
    """The user's own rows, read again in a new version; without a split all are for training."""
    data = read_own_data(path, label, split=split, ignore=ignore)
    if not data.classes:
        raise ValueError(f"label must name the column of the labels of {path}, got none")
    train = torch.ones_like(data.y, dtype=torch.bool) if data.train is None else data.train
    parts = Samples(data.x[train], data.y[train]), Samples(data.x[~train], data.y[~train])
    if bool((parts[1].y < 0).any()):
        raise ValueError(f"rows of {path} that are test must have a label, got one without")
    return *parts, len(data.classes)


def _can_be_partial(name: str) -> bool:
    return (
        name != GAUSSIAN
        and "allow_partial" in inspect.signature(getattr(datasets, name)).parameters
    )
