"""The methods that are compared: one small file each, registered by name.

A file here holds one function

    @register("name")
    def name(model: Backbone, train: Samples, *, option: float = 1.0) -> Method: ...

which gets the freshly initialised backbone and the training samples (inputs on the device, labels
as the run may see them, -1 where they are hidden), and returns a :class:`Method`: what to optimise
and how to predict. Its keyword-only arguments are the options that a config may set or tune. It is
found by being here. One that adds to the loss of another takes that method as ``beside``, the third argument: the
rows of the batch are the first that the layers of the model see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from torch import Tensor, nn

from benchmarks.registry import Registry


class Samples(NamedTuple):
    """Inputs ``[n, ...]`` and labels ``[n]``."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Batch:
    """A mini-batch of labelled samples; ``index`` [n] are its rows among the training samples."""

    x: Tensor
    y: Tensor
    index: Tensor


class Attention(NamedTuple):
    """Weights ``[n, P, H]`` of one softmax, and classes ``[P]`` of what they are of; -1: the sample itself."""

    weights: Tensor
    y: Tensor


class Relations(NamedTuple):
    """What samples are related to, embeddings and classes by name, and the attention to it; both may be empty."""

    nodes: dict[str, Samples]
    attention: dict[str, Attention]


def _nothing(epoch: int, epochs: int) -> None:
    pass


@dataclass(frozen=True)
class Method:
    """What the training loop calls.

    Args:
        module: Holds all parameters; is put into training or evaluation mode.
        embed: Features ``[n, d]`` of inputs, each sample for itself in evaluation mode.
        classifier: Called in evaluation mode. Gives the function from features to logits ``[n, c]``:
            logarithms of probabilities, or of what becomes them when rows are normalised. It gets all
            samples at once and may relate them.
        loss: The loss of a batch, and its logits (for the training curve); None without training.
        on_epoch: Called before each epoch, counted from 0, with the number of all.
        relate: Called in evaluation mode with features: anchors, proxies and attention to them; None without.
    """

    module: nn.Module
    embed: Callable[[Tensor], Tensor]
    classifier: Callable[[], Callable[[Tensor], Tensor]]
    loss: Callable[[Batch], tuple[Tensor, Tensor]] | None
    on_epoch: Callable[[int, int], None] = _nothing
    relate: Callable[[Tensor], Relations] | None = None


register: Registry[Callable[..., Method]] = Registry("method")

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")
