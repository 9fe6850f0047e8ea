"""A study: tasks x methods x seeds, read from YAML into typed dataclasses and checked."""

import math
from argparse import ArgumentError
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from benchmarks import own
from benchmarks.accuracy import data, methods, models, pretrained
from benchmarks.store import identity

Value = bool | int | float | str
ADDING = ("gcr", "gcr_control")  # methods that add to the loss of any other


@dataclass(frozen=True)
class Model:
    """A backbone of ``models.py`` and its options."""

    name: str
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Train:
    """How a network is trained: AdamW or SGD with momentum .9, with a cosine or a constant learning rate.

    ``augment`` crops (4 pixels) images at random and mirrors them, unless ``flip`` is false; ``noise`` is the
    standard deviation of Gaussian noise on the inputs. ``test_curve`` measures test accuracy after each epoch,
    outside of the measured time.
    """

    epochs: int = 20
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: bool = False
    test_curve: bool = False
    noise: float = 0.0
    optimiser: Literal["adamw", "sgd"] = "adamw"
    flip: bool = True


@dataclass(frozen=True)
class Attack:
    """Attacks on ``samples`` test samples in [0, 1], with their radii: largest change of a feature, and L2."""

    radii: list[float]
    l2_radii: list[float]
    samples: int = 500
    steps: int = 20
    l2_steps: int = 100


@dataclass(frozen=True)
class Latents:
    """Every layer of ``samples`` test samples is clustered after every epoch, by ``k`` neighbours."""

    samples: int = 1000
    k: int = 20


@dataclass(frozen=True)
class Task:
    """A data set, a model, how it is trained, attacked and looked into. ``label`` names it in tables.

    ``latents`` is of the methods that have theirs set.
    """

    data: data.Source
    model: Model
    train: Train = field(default_factory=Train)
    attack: Attack | None = None
    label: str = ""
    latents: Latents | None = None


@dataclass(frozen=True)
class Other:
    """A method that another one adds to."""

    name: str
    options: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A method, its options, and the settings that are tuned; ``beside``: what it adds to, the baseline by default.

    A key of ``grid`` is an option of the method or a field of ``Train``; its settings are the
    products of the lists. ``latents``: whether its latents are looked into, as the task says.
    """

    name: str
    options: dict[str, Value] = field(default_factory=dict)
    grid: dict[str, list[Value]] = field(default_factory=dict)
    label: str = ""
    latents: bool = False
    beside: Other | None = None

    @property
    def trials(self) -> int:
        """Number of settings."""
        return math.prod(len(values) for values in self.grid.values())


@dataclass(frozen=True)
class Study:
    """Tasks x methods x seeds. The first method is the baseline that the others are paired with.

    Each of ``tune_seeds`` draws a split, a network and batches for the tuning runs. The setting of the lowest mean NLL
    on what they hold out wins, or of the highest mean ``"accuracy"``.
    """

    tasks: list[Task]
    methods: list[Method]
    seeds: list[int]
    tune_seeds: list[int] = field(default_factory=lambda: [1000, 1001, 1002])
    tune_by: Literal["nll", "accuracy"] = "nll"
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True)
class Run:
    """One training: all that its result depends on, and the names it has in tables."""

    stage: Literal["tune", "test"]
    task: Task
    method: Method
    seed: int

    @property
    def latents(self) -> Latents | None:
        """How its latents are looked into; None where they are not."""
        return self.task.latents if self.stage == "test" and self.method.latents else None

    @property
    def config(self) -> dict[str, Any]:
        """All that the result depends on; options left out are filled in."""
        task, method = self.task, self.method
        attacked = self.stage == "test" and task.attack is not None
        return {
            "stage": self.stage,
            "data": _data(task.data),
            "model": _component(task.model.name, models.register, task.model.options),
            "train": _used(task.train),
            "method": _component(method.name, methods.register, method.options),
            **({"beside": _other(method)} if method.beside else {}),
            **({"attack": asdict(task.attack)} if attacked else {}),
            **({"latents": asdict(self.latents)} if self.latents else {}),
            "seed": self.seed,
        }

    @property
    def id(self) -> str:
        """Hash of the config: the same in every process and on every machine."""
        return identity(self.config)


def settings(stage: Literal["tune", "test"], task: Task, method: Method, seed: int) -> list[Run]:
    """One run for each setting of the method's grid."""
    return [_apply(stage, task, method, seed, setting) for setting in _settings(method)]


def load(path: Path, seeds: list[int] | None = None) -> Study:
    """Read and check a study.

    Args:
        path: YAML file. Files of the user's own are looked for from its folder.
        seeds: In place of the file's.

    Raises:
        ValueError: Naming the file, the key, what was expected and what is there.
    """
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Study)
    try:
        study: Study = Study(**vars(parser.instantiate(parser.parse_path(path))))
        study = study if seeds is None else replace(study, seeds=seeds)
        study = _beside(_labelled(study), path.parent)
        _check(study)
    except (ArgumentError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return study


def _check(study: Study) -> None:
    _check_unique("tasks", [task.label for task in study.tasks])
    _check_unique("methods", [method.label for method in study.methods])
    _check_unique("seeds", [str(seed) for seed in study.seeds])
    _check_unique("tune_seeds", [str(seed) for seed in study.tune_seeds])
    if set(study.tune_seeds) & set(study.seeds):
        raise ValueError(
            f"tune_seeds must not be among seeds {study.seeds}, got {study.tune_seeds}"
        )
    trials = {method.label: method.trials for method in study.methods}
    if len(set(trials.values())) != 1:
        raise ValueError(f"every method must have the same number of grid settings, got {trials}")
    if 0 in trials.values():
        raise ValueError(f"lists of a grid must not be empty, got {study.methods}")
    for task in study.tasks:
        _check_positive(task.train)
        data.check(task.data)
        _check_blocks(task)
        if task.data.labels_per_class is not None and set(trials.values()) != {1}:
            raise ValueError(f"labels_per_class leaves no labels to tune with, got grids {trials}")
        if task.attack is not None and task.data.standardise:
            raise ValueError("attack needs inputs in [0, 1]: standardise must be false, got true")
        if task.latents is not None and task.latents.samples <= task.latents.k:
            raise ValueError(f"latents must have more samples than k, got {task.latents}")
    for task, method in product(study.tasks, study.methods):
        for run in settings("test", task, method, study.seeds[0]):
            _ = run.config


def _check_blocks(task: Task) -> None:
    """The encoder's blocks go on where its trunk ends."""
    is_encoder = task.model.name == pretrained.NAME
    blocks = models.register.complete(task.model.name, task.model.options).get("trained_blocks", 0)
    if (is_encoder and blocks < 1) or blocks != task.data.trained_blocks:
        raise ValueError(
            f"trained_blocks of data and of model {pretrained.NAME} must be the same, 1 or more, "
            f"got {task.data.trained_blocks} and {blocks} of model {task.model.name}"
        )


def _check_unique(name: str, values: list[str]) -> None:
    if not values:
        raise ValueError(f"{name} must not be empty")
    if len(set(values)) != len(values):
        raise ValueError(f"{name} must differ (give them a label), got {values}")


def _check_positive(train: Train) -> None:
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if getattr(train, name) < least:
            raise ValueError(f"{name} must be >= {least}, got {getattr(train, name)}")


def _labelled(study: Study) -> Study:
    tasks = [replace(task, label=task.label or data.describe(task.data)) for task in study.tasks]
    named = [
        replace(method, label=method.label or method.name.rpartition(":")[2])
        for method in study.methods
    ]
    return replace(study, tasks=tasks, methods=named)


def _beside(study: Study, folder: Path) -> Study:
    """With the whole paths of the user's own files, which the study gives from its folder."""

    def whole(name: str) -> str:
        return str((folder / name).resolve()) if own.is_function(name) else name

    methods = [
        replace(
            method,
            name=whole(method.name),
            beside=method.beside and replace(method.beside, name=whole(method.beside.name)),
        )
        for method in study.methods
    ]
    tasks = [
        replace(
            task,
            model=replace(task.model, name=whole(task.model.name)),
            data=_found(task.data, folder),
        )
        for task in study.tasks
    ]
    return replace(study, tasks=tasks, methods=methods)


def _found(source: data.Source, folder: Path) -> data.Source:
    if source.path is None:
        return source
    return replace(source, path=str((folder / source.path).resolve()))


def _settings(method: Method) -> Iterator[dict[str, Value]]:
    for values in product(*method.grid.values()):
        yield dict(zip(method.grid, values, strict=True))


def _apply(
    stage: Literal["tune", "test"], task: Task, method: Method, seed: int, setting: dict[str, Value]
) -> Run:
    of_train = {f.name for f in fields(Train)}
    train: dict[str, Any] = {key: value for key, value in setting.items() if key in of_train}
    options = {key: value for key, value in setting.items() if key not in of_train}
    return Run(
        stage,
        replace(task, train=replace(task.train, **train)),
        replace(method, options={**method.options, **options}),
        seed,
    )


# Newer than the first results: left out of the config while at their default, so that ids stay.
_LATER = {
    "labels_per_class": None,
    "noise": 0.0,
    "classes": None,
    "encoder": None,
    "image_size": 96,
    "trained_blocks": 0,
    "optimiser": "adamw",
    "flip": True,
    "path": None,
    "label": None,
    "split": None,
    "ignore": (),
    "outside": (),
}
_LATER_OPTIONS: dict[str, dict[str, Value]] = {
    "gcr_control": {"stage": "late", "pool": False, "center": False},
    "gll_pruned": {"softmax": 0.0},
    "cnn2graph": {"without": ""},
}


def _other(method: Method) -> dict[str, Any]:
    if method.name not in ADDING:
        raise ValueError(f"beside is for the methods {ADDING}, got it with {method.name!r}")
    assert method.beside is not None
    return _component(method.beside.name, methods.register, method.beside.options)


def _data(source: data.Source) -> dict[str, Any]:
    """Own data are known by their content, wherever they lie."""
    used = _used(source)
    path = used.pop("path", None)
    return used if path is None else {**used, "sha256": own.sha256(Path(path))}


def _used(part: data.Source | Train) -> dict[str, Any]:
    return {k: v for k, v in asdict(part).items() if k not in _LATER or v != _LATER[k]}


def _component(name: str, registry: Any, options: dict[str, Any]) -> dict[str, Any]:
    later = _LATER_OPTIONS.get(name, {})
    complete = registry.complete(name, options)
    path = Path(name.rpartition(":")[0])
    version = {"sha256": own.sha256(path)} if own.is_function(name) else {}
    return {
        "name": Path(name).name,
        **version,
        "options": {k: v for k, v in complete.items() if k not in later or v != later[k]},
    }
