"""Feature extractors: the protocol, and the batched runner behind every extractor that is a network."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import images as image_tools
from triptych.core.device import full_precision

BATCH = 256  # images in a batch
LARGEST_PX = 64  # larger images are averaged down to this size before the network


@runtime_checkable
class Extractor(Protocol):
    """Maps images to features; name and hash say exactly which features."""

    @property
    def name(self) -> str:
        """Name, as it appears in the names of scores: "digits-cnn"."""

    @property
    def hash(self) -> str:
        """SHA-256 of the weights, in hex."""

    @property
    def width(self) -> int:
        """Number of features of an image, D."""

    @property
    def classes(self) -> int:
        """Number of classes it predicts; 0: none."""

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the source's test images, in [0, 1]; None without classes."""

    @property
    def resize(self) -> str:
        """How images are resized for the network."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, D) float32 of pixels (N, H, W, C) uint8."""

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, classes) float64 of (N, H, W, C) uint8. ValueError without classes."""


class Pixels(Protocol):
    """Stored images: an array (N, H, W, C) uint8, or an object indexed like one by sorted rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


class FeatureNetwork(nn.Module):
    """A network with a feature layer and, optionally, a classifier on top of it.

    Args:
        channels: of the images.
        width: number of features.
        classes: number of classes; 0: none.
        repeat_gray: whether gray images are accepted and repeated to `channels` channels.
    """

    def __init__(self, channels: int, width: int, classes: int, repeat_gray: bool = False) -> None:
        super().__init__()
        self.channels, self.width, self.classes, self.repeat_gray = channels, width, classes, repeat_gray

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width)."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        """(B, width) -> (B, classes)."""
        raise NotImplementedError

    def features_and_logits(self, images: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1] -> (B, width + classes), features first."""
        features = self.features(images)
        return torch.cat([features, self.logits(features)], 1)


class BatchedExtractor(ABC):
    """Runs a FeatureNetwork in float32 without autocast, on batches of a fixed size.

    The last batch is padded: the features of an image then do not depend on the other images.

    Args:
        network: moved to the device and set to evaluation mode.
        name: name of network and preprocessing.
        resize: how images are resized, in words.
        batch: images in a batch.
        device: where the network runs; preprocessing stays on the CPU.
    """

    classes_hint = "class scores need a source with labels"  # end of the message where there are no classes
    accuracy: float | None = None

    def __init__(
        self, network: FeatureNetwork, name: str, resize: str, batch: int, device: torch.device | str = "cpu"
    ) -> None:
        self.name, self.resize = name, resize
        self.width, self.classes, self.hash = network.width, network.classes, weights_hash(network)
        self.network = network.eval().requires_grad_(False).to(device)
        self.batch, self.device = batch, torch.device(device)

    @abstractmethod
    def check(self, pixels: np.ndarray) -> None:
        """Raise ValueError if the network does not accept these pixels."""

    @abstractmethod
    def preprocess(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, channels, h, w) float32 on the CPU, before `scale`."""

    def scale(self, images: Tensor) -> Tensor:
        """Last step of the preprocessing, on the device; nothing by default."""
        return images

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, D) float32 of pixels (N, H, W, C) uint8."""
        return self._run(pixels, self.width, self.network.features)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits (N, classes) float32 of pixels (N, H, W, C) uint8. ValueError without classes."""
        self._check_classes()
        return self._run(pixels, self.classes, lambda x: self.network.logits(self.network.features(x)))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, classes) float64, summing to 1. ValueError without classes."""
        return softmax(self.logits(pixels))

    def features_and_probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and class probabilities in one pass of the network. ValueError without classes."""
        self._check_classes()
        both = self._run(pixels, self.width + self.classes, self.network.features_and_logits)
        return np.ascontiguousarray(both[:, : self.width]), softmax(both[:, self.width :])

    def _check_classes(self) -> None:
        if not self.classes:
            raise ValueError(f"{self.name} predicts no classes: {self.classes_hint}")

    def _run(self, pixels: np.ndarray, width: int, compute: Callable[[Tensor], Tensor]) -> np.ndarray:
        self.check(pixels)
        out = np.empty((len(pixels), width), np.float32)
        with torch.inference_mode(), full_precision(self.device):
            for start in range(0, len(pixels), self.batch):
                images = self.preprocess(pixels[start : start + self.batch])
                padded = torch.zeros(self.batch, *images.shape[1:])
                padded[: len(images)] = images
                result = compute(self.scale(padded.to(self.device)))
                out[start : start + len(images)] = result[: len(images)].cpu().numpy()
        return out


class NetworkExtractor(BatchedExtractor):
    """A network made for one image size, on the CPU.

    Args:
        network: its features.
        name: name of the extractor.
        size_px: side of the images.
        accuracy: accuracy on the source's test images, in [0, 1]; None without classes.
    """

    def __init__(
        self, network: FeatureNetwork, name: str, size_px: int, accuracy: float | None = None
    ) -> None:
        super().__init__(network, name, f"area {LARGEST_PX}" if size_px > LARGEST_PX else "none", BATCH)
        self.size_px, self.accuracy = size_px, accuracy
        self.images: int | None = None  # number of images that the features were learned from, if known

    def check(self, pixels: np.ndarray) -> None:
        """Raise ValueError unless pixels have the size and channels of the network."""
        channels = (1, 3) if self.network.repeat_gray else (self.network.channels,)
        size = (self.size_px, self.size_px)
        if pixels.ndim != 4 or pixels.shape[1:3] != size or pixels.shape[3] not in channels:
            raise ValueError(
                f"{self.name} expects (N, {size[0]}, {size[1]}, {' or '.join(map(str, channels))}) images, "
                f"got {pixels.shape}"
            )

    def preprocess(self, pixels: np.ndarray) -> Tensor:
        """See `network_input`."""
        return network_input(pixels, self.network)


def network_input(pixels: np.ndarray, network: FeatureNetwork) -> Tensor:
    """Convert stored pixels to the input of a network.

    Args:
        pixels: (B, H, W, C) uint8.
        network: decides whether gray images are repeated.

    Returns:
        (B, network.channels, h, w) float32 in [-1, 1]; images above 64 px are averaged down to 64 px.
    """
    images = image_tools.to_float(np.array(pixels))  # a copy: torch warns about read-only memory maps
    if network.repeat_gray and images.shape[1] == 1:
        images = images.expand(-1, network.channels, -1, -1)
    if images.shape[-1] > LARGEST_PX:
        images = functional.interpolate(images, (LARGEST_PX, LARGEST_PX), mode="area")
    return images


def softmax(logits: np.ndarray) -> np.ndarray:
    """(N, classes) logits -> (N, classes) float64 probabilities."""
    logits = logits.astype(np.float64)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def weights_hash(network: nn.Module) -> str:
    """SHA-256, in hex, of all tensors of a network with their names, dtypes and shapes."""
    return tensors_hash(network.state_dict())


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, of tensors with their names, dtypes and shapes, independent of their order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
