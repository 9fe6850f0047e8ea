"""A batch of latents at the door of latent cluster correction: checked, flattened, agreed on by all processes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import described
from pyg_relational.distributed.gather import gather
from pyg_relational.nn.loss.latent_layer import LatentLayer
from pyg_relational.ops.checks import check_labels

__all__ = ["batch_facts", "check_finite", "checked_latents", "gathered", "local_bases"]


def checked_latents(
    layers: list[LatentLayer],
    kept: list[LatentLayer],
    features: Tensor | Sequence[Tensor],
    index: Tensor,
) -> list[Tensor]:
    """The layers' features as matrices.

    Args:
        layers: What is known of all samples.
        kept: Where latents are recorded.
        features: Latents of each layer.
        index: Samples that the rows are of.

    Shapes:
        ``features``: :math:`[B, *]` each, ``index``: :math:`[B]`, output: :math:`[B, d]` each.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree or a value is out of range.
    """
    zs = _tensors(features)
    if len(zs) != len(layers):
        raise ValueError(f"features must hold {len(layers)} layers, got {len(zs)}")
    for number, (layer, memory, z) in enumerate(zip(layers, kept, zs, strict=True)):
        known = layer.target if memory.latents is None else memory.latents
        _check_layer(known, z, f"features[{number}]")
        check_labels(index, len(z), "index")
    n = len(layers[0].recorded)
    if index.device.type == "cpu" and len(index):  # elsewhere, looking would wait
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= n:
            raise ValueError(
                f"index must be in 0..{n - 1} for {n} samples, got {low if low < 0 else high}"
            )
    zs = [z.flatten(1) for z in zs]
    for number, z in enumerate(zs):
        if z.device.type == "cpu":
            check_finite(z.detach(), index, f"features[{number}]")
    return zs


def _tensors(features: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else list(features)


def _check_layer(known: Tensor | None, z: Any, name: str) -> None:
    if not isinstance(z, Tensor) or not z.is_floating_point():
        got = z.dtype if isinstance(z, Tensor) else type(z).__name__
        raise TypeError(f"{name} must be a floating-point Tensor, got {got}")
    if z.dim() < 2:
        raise ValueError(f"{name} must have shape [B, ...], got {list(z.shape)}")
    d = z.shape[1:].numel()
    if known is not None and known.shape[1] != d:
        raise ValueError(f"{name} must have {known.shape[1]} values a row as before, got {d}")


def check_finite(z: Tensor, samples: Tensor, name: str) -> None:
    """Raise at a value that is not finite.

    Args:
        z: Latents.
        samples: Samples that they are of.
        name: How the caller's signature names them.

    Raises:
        ValueError: If one is not finite.
    """
    if not torch.isfinite(z.sum()) and len(bad := (~torch.isfinite(z)).nonzero()):
        row, column = bad[0].tolist()
        value, sample = z[row, column].item(), int(samples[row])
        raise ValueError(f"{name} must be finite, got {value} in sample {sample}, column {column}")


def batch_facts(zs: list[Tensor], gs: list[Tensor | None]) -> dict[str, object]:
    """What all processes must have alike in a batch.

    Args:
        zs: Latents of each layer.
        gs: Basis for each layer, or none.

    Shapes:
        ``zs``: :math:`[B, d]` each, ``gs``: :math:`[B, d, r]` each.
    """
    rows = {f"features[{number}]": described(z) for number, z in enumerate(zs)}
    along = {
        f"orthogonal_to[{number}]": None if g is None else described(g)
        for number, g in enumerate(gs)
    }
    return {**rows, **along}


def local_bases(orthogonal_to: Tensor | Sequence[Tensor], zs: list[Tensor]) -> list[Tensor]:
    """A basis for each layer, of the rows here.

    Args:
        orthogonal_to: A basis or a direction for each layer.
        zs: Latents of each layer.

    Shapes:
        ``zs``: :math:`[B, d]` each, output: :math:`[B, d, r]` each.
    """
    given = _tensors(orthogonal_to)
    if len(given) != len(zs):
        raise ValueError(f"orthogonal_to must hold {len(zs)} layers, got {len(given)}")
    return [_basis(g, z, number) for number, (g, z) in enumerate(zip(given, zs, strict=True))]


def _basis(g: Any, z: Tensor, number: int) -> Tensor:
    if not isinstance(g, Tensor):
        raise TypeError(f"orthogonal_to[{number}] must be a Tensor, got {type(g).__name__}")
    if g.dim() == 3 and g.shape[:2] == z.shape:
        return g
    if g.shape[:1] != z.shape[:1] or g.numel() != z.numel():
        raise ValueError(
            f"orthogonal_to[{number}] must have the shape of features[{number}], flattened "
            f"{list(z.shape)}, or [{len(z)}, {z.shape[1]}, r], got {list(g.shape)}"
        )
    return g.flatten(1)[..., None]


def gathered(zs: list[Tensor], index: Tensor) -> tuple[list[Tensor], Tensor]:
    """The global batch.

    Args:
        zs: Latents of each layer.
        index: Samples that they are of.

    Shapes:
        ``zs``: :math:`[B, d]` each, ``index``: :math:`[B]`.
    """
    return [gather(z) for z in zs], gather(index.to(zs[0].device))
