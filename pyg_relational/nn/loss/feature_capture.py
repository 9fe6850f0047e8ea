"""Features of inner layers of an unchanged model."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class FeatureCapture:
    """Context manager that keeps the outputs of named layers, by forward hooks.

    Every forward pass inside the context replaces the features of the one before.

    Args:
        model: Any module.
        layers: Names as in ``model.named_modules()``, from shallow to deep.
        pool: Average over everything behind the channels, where there is such; without it, features are flattened.

    Attributes:
        features: One Tensor ``[n, d]`` a layer, of the last forward pass.

    Raises:
        ValueError: If the model has no layer of that name, or a layer was not run.
        TypeError: If a layer's output is not a Tensor.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import FeatureCapture
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> with FeatureCapture(model, ["0", "1"]) as capture:
        ...     logits = model(torch.randn(3, 4))
        >>> [list(x.shape) for x in capture.features]
        [[3, 8], [3, 8]]
    """

    def __init__(self, model: nn.Module, layers: Sequence[str], pool: bool = False) -> None:
        if isinstance(layers, str):
            raise TypeError(f"layers must be a sequence of names, got the str {layers!r}")
        known = dict(model.named_modules())
        for name in layers:
            if name not in known:
                raise ValueError(
                    f"layers must name modules of the model, {list(known)[1:]}, got {name!r}"
                )
        self._modules = {name: known[name] for name in layers}
        self._pool = pool
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}

    def __enter__(self) -> "FeatureCapture":
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

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"layer {name!r} must give a Tensor, got {type(output).__name__}")
            self._outputs[name] = output

        return keep

    @property
    def features(self) -> list[Tensor]:
        """One Tensor ``[n, d]`` a layer, of the last forward pass."""
        missing = [name for name in self._modules if name not in self._outputs]
        if missing:
            raise ValueError(
                f"layers must run before features are read, got no output of {missing}"
            )
        return [self._flat(self._outputs[name]) for name in self._modules]

    def _flat(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2) if self._pool and x.dim() > 2 else x.flatten(1)
