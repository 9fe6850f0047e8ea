"""Features of inner layers of an unchanged model."""

import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from pyg_relational.ops.options import show_options

__all__ = ["FeatureCapture"]

_WRAPPERS = re.compile(r"^((module|_orig_mod)\.)+")  # DistributedDataParallel, torch.compile


class FeatureCapture:
    """Context manager that keeps the outputs of named layers, by forward hooks.

    Every call of ``model`` inside the context replaces the features of the one before; where only its parts are
    called, take a context a pass. Features are copies: what runs in place behind the layer leaves them alone.

    Args:
        model: Any module, wrapped in ``DistributedDataParallel`` or not. One that ``torch.compile`` has already run
            does not see hooks that come later: compile it inside the context.
        layers: Names as in ``model.named_modules()``, from shallow to deep; those of the unwrapped model will do.
        pool: Average maps ``[n, c, ...]`` over everything behind the channels, and tokens ``[n, tokens, d]`` over
            the tokens; without it, features are flattened. (default: ``False``)
        select: Takes the features ``[n, ...]`` from what a layer gives, ``lambda out: out[0]`` of a tuple, say.
            (default: the output itself)

    Attributes:
        features: One Tensor ``[n, d]`` for every time that a layer ran in the last pass, in the order of ``layers``.

    Raises:
        ValueError: If the model has no layer of that name, a layer did not run in the last pass, or gives no rows.
        TypeError: If a layer's output is not a Tensor.
        RuntimeError: If the context is entered inside itself.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import FeatureCapture
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> with FeatureCapture(model, ["0", "1"]) as capture:
        ...     logits = model(torch.randn(3, 4))
        >>> [list(x.shape) for x in capture.features]
        [[3, 8], [3, 8]]
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        pool: bool = False,
        select: Callable[[Any], Tensor] | None = None,
    ) -> None:
        if isinstance(layers, str):
            raise TypeError(f"layers must be a sequence of names, got the str {layers!r}")
        if not (select is None or callable(select)):
            raise TypeError(f"select must be callable or None, got {type(select).__name__}")
        known = dict(model.named_modules())
        plain = {_WRAPPERS.sub("", name): module for name, module in known.items()} | known
        names = {name: name if name in plain else _WRAPPERS.sub("", name) for name in layers}
        for name, inner in names.items():
            if inner not in plain:
                raise ValueError(
                    f"layers must name modules of the model, {list(known)[1:]}, got {name!r}"
                )
        self._model = model
        self._layers = list(layers)
        self._modules = {name: plain[inner] for name, inner in names.items()}
        self._pool = pool
        self._select = select
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, list[Tensor]] = {}

    def __repr__(self) -> str:
        options = show_options({"pool": self._pool, "select": self._select})
        return f"{type(self).__name__}({type(self._model).__name__}, {self._layers}, {options})"

    def __enter__(self) -> "FeatureCapture":
        if self._handles:
            raise RuntimeError("a FeatureCapture must be left before it is entered again")
        self._outputs.clear()
        self._handles.append(self._model.register_forward_pre_hook(self._cleaner()))
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._keeper(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _cleaner(self) -> Any:
        def clear(module: nn.Module, args: Any) -> None:
            if module is self._model:
                self._outputs.clear()

        return clear

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if module is self._modules[name]:  # not a deep copy, which takes the hooks along
                self._outputs.setdefault(name, []).append(self._rows(name, output))

        return keep

    def _rows(self, name: str, output: Any) -> Tensor:
        x = output if self._select is None else self._select(output)
        if not isinstance(x, Tensor):
            raise TypeError(
                f"layer {name!r} must give a Tensor, got {type(x).__name__}: take one with select="
            )
        if x.dim() < 2:
            raise ValueError(f"layer {name!r} must give [n, ...], got {list(x.shape)}")
        if not self._pool or x.dim() == 2:
            return x.clone().flatten(1)
        return x.mean(1) if x.dim() == 3 else x.flatten(2).mean(2)

    @property
    def features(self) -> list[Tensor]:
        """One Tensor ``[n, d]`` for every run of a layer in the last pass."""
        missing = [name for name in self._modules if name not in self._outputs]
        if missing:
            raise ValueError(
                f"layers must run before features are read, got no output of {missing} in the last pass"
                + self._compiled()
            )
        return [x for name in self._layers for x in self._outputs[name]]

    def _compiled(self) -> str:
        """What to do if the model is a compiled one."""
        some = any(
            hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None)
            for module in self._model.modules()
        )
        hint = ": a compiled model must be compiled, or run first, inside the context"
        return hint if some else ""
