"""From pictures to features: what an extractor is, and two that need no download."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import images

BATCH = 256  # fixed, the last one padded: a picture's features depend on no other picture
LARGEST_PX = 64  # larger pictures are averaged down to this before the network


@runtime_checkable
class Extractor(Protocol):
    """Pictures to features, with a name and a hash that say exactly which features."""

    @property
    def name(self) -> str:
        """In a score's name: "digits-cnn"."""

    @property
    def hash(self) -> str:
        """SHA-256 of the weights, in hex."""

    @property
    def width(self) -> int:
        """D, how many features a picture has."""

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0: none."""

    @property
    def accuracy(self) -> float | None:
        """Share of the source's test pictures it classifies rightly; None without classes."""

    @property
    def resize(self) -> str:
        """How pictures are brought to its size."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, D) float32 of pixels (N, H, W, C) uint8."""

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, classes) float64 of (N, H, W, C) uint8. ValueError without classes."""


class Pixels(Protocol):
    """Stored images: an array (N, H, W, C) uint8, or what is indexed like one by sorted rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class FeatureNetwork(nn.Module):
    """A network with a feature layer. `repeat_gray`: grey pictures are repeated to `channels` channels."""

    def __init__(self, channels: int, width: int, classes: int, repeat_gray: bool = False) -> None:
        super().__init__()
        self.channels, self.width, self.classes, self.repeat_gray = channels, width, classes, repeat_gray

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width)."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        """(B, width) -> (B, classes)."""
        raise NotImplementedError

    def features_and_logits(self, pictures: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width + classes), features first."""
        features = self.features(pictures)
        return torch.cat([features, self.logits(features)], 1)


class NetworkExtractor:
    """A FeatureNetwork as an Extractor: float32 on the CPU, no autocast, fixed batch."""

    def __init__(
        self, network: FeatureNetwork, name: str, size_px: int, accuracy: float | None = None
    ) -> None:
        self.network, self.name, self.accuracy = network.eval().requires_grad_(False), name, accuracy
        self.size_px, self.width, self.classes = size_px, network.width, network.classes
        self.hash = weights_hash(network)
        self.images: int | None = None  # that its features were learned from; None: nobody asks
        self.resize = f"area {LARGEST_PX}" if size_px > LARGEST_PX else "none"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, D) float32 of pixels (N, H, W, C) uint8 of the size the extractor was made for."""
        return self._run(pixels, self.width, self.network.features)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits (N, classes) float32 of pixels (N, H, W, C) uint8. ValueError without classes."""
        if not self.classes:
            raise ValueError(f"{self.name} knows no classes: class scores need a source with labels")
        return self._run(pixels, self.classes, lambda x: self.network.logits(self.network.features(x)))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, classes) float64, summing to 1. ValueError without classes."""
        return softmax(self.logits(pixels))

    def features_and_probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both of what the calls give one by one, in one pass. ValueError without classes."""
        if not self.classes:
            raise ValueError(f"{self.name} knows no classes: class scores need a source with labels")
        both = self._run(pixels, self.width + self.classes, self.network.features_and_logits)
        return np.ascontiguousarray(both[:, : self.width]), softmax(both[:, self.width :])

    def _run(self, pixels: np.ndarray, width: int, compute: _Compute) -> np.ndarray:
        wanted = (1, 3) if self.network.repeat_gray else (self.network.channels,)
        size = (self.size_px, self.size_px)
        if pixels.ndim != 4 or pixels.shape[1:3] != size or pixels.shape[3] not in wanted:
            raise ValueError(
                f"{self.name} expects (N, {size[0]}, {size[1]}, {' or '.join(map(str, wanted))}) pictures, "
                f"got {pixels.shape}"
            )
        out = np.empty((len(pixels), width), np.float32)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            for start in range(0, len(pixels), BATCH):
                batch = network_input(pixels[start : start + BATCH], self.network)
                full = torch.zeros(BATCH, *batch.shape[1:])
                full[: len(batch)] = batch
                out[start : start + len(batch)] = compute(full)[: len(batch)].numpy()
        return out


class _Compute(Protocol):
    def __call__(self, pictures: Tensor, /) -> Tensor: ...


def network_input(pixels: np.ndarray, network: FeatureNetwork) -> Tensor:
    """Stored pixels, (B, H, W, C) uint8, as `network` sees them: (B, network.channels, h, w) in [-1, 1]."""
    pictures = images.to_float(np.array(pixels))  # a copy: torch warns of read-only memory maps
    if network.repeat_gray and pictures.shape[1] == 1:
        pictures = pictures.expand(-1, network.channels, -1, -1)
    if pictures.shape[-1] > LARGEST_PX:
        pictures = functional.interpolate(pictures, (LARGEST_PX, LARGEST_PX), mode="area")
    return pictures


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, classes) logits -> (N, classes) float64 probabilities."""
    logits = logits.astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def weights_hash(network: nn.Module) -> str:
    """SHA-256, in hex, of every tensor of a network with its name, type and shape."""
    return tensors_hash(network.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, of tensors with their names, types and shapes, whatever their order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
