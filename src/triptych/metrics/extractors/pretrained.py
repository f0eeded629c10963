"""Published networks as extractors: images of any size, one resizing rule, batches of a fixed size."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.core.cache import cache_home
from triptych.core.errors import WeightsError
from triptych.metrics.extractors.base import BatchedExtractor, FeatureNetwork
from triptych.metrics.extractors.resize import Resizing

BATCH = 32  # images in a batch; at 299 px the first layers take 6 MB an image
NO_DOWNLOAD = "Features that need no download: auto, domain-cnn, self-supervised, random-conv"


@dataclass(frozen=True)
class Scaling:
    """Normalization of pixel values 0..255 to what a network was trained on: (x - mean) / std by channel."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 255] -> the same shape."""
        mean, std = (torch.tensor(x, device=images.device)[:, None, None] for x in (self.mean, self.std))
        return (images - mean) / std


class PretrainedExtractor(BatchedExtractor):
    """A published network as an extractor, for images of any size.

    Args:
        network: its features.
        name: name of network and protocol, "inception-legacy"; "-gray" is appended where gray images are
            repeated to three channels, because such scores are not RGB scores.
        resizing: rule by which images are resized, on the CPU.
        scaling: normalization of pixel values.
        channels: of the images, 1 or 3.
        device: where the network runs.
        batch: images in a batch.

    Raises:
        ValueError: if `channels` is neither 1 nor 3.
    """

    classes_hint = "class scores need inception or domain-cnn"

    def __init__(
        self,
        network: FeatureNetwork,
        name: str,
        resizing: Resizing,
        scaling: Scaling,
        channels: int = 3,
        device: torch.device | str = "cpu",
        batch: int = BATCH,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f"{name} accepts gray or RGB images, got {channels} channels")
        gray = channels == 1
        resize = f"{resizing.name}, {scaling.name}{', gray repeated to RGB' if gray else ''}"
        super().__init__(network, f"{name}-gray" if gray else name, resize, batch, device)
        self.resizing, self.scaling, self.channels = resizing, scaling, channels

    def check(self, pixels: np.ndarray) -> None:
        """Raise ValueError unless pixels are uint8 images with the right number of channels."""
        if (
            pixels.ndim != 4
            or pixels.shape[3] != self.channels
            or pixels.dtype != np.uint8
            or 0 in pixels.shape[1:]
        ):
            raise ValueError(
                f"{self.name} expects (N, H, W, {self.channels}) uint8 images, "
                f"got {pixels.shape} {pixels.dtype}"
            )

    def preprocess(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) uint8 -> (B, 3, size, size) float32 in [0, 255]."""
        return self.resizing(pixels).expand(-1, 3, -1, -1)

    def scale(self, images: Tensor) -> Tensor:
        """(B, 3, size, size) in [0, 255] -> normalized, the same shape."""
        return self.scaling(images)


def weight_dirs() -> list[Path]:
    """Folders that are searched for published weights, in order."""
    data = os.environ.get("TRIPTYCH_DATA")
    return ([Path(data)] if data else []) + [cache_home() / "networks"]


def searched_dirs() -> str:
    """The searched folders in words, for error messages."""
    unset = "" if os.environ.get("TRIPTYCH_DATA") else " (TRIPTYCH_DATA is not set)"
    return " and ".join(map(str, weight_dirs())) + unset


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises WeightsError if the file cannot be read or holds something else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(record, dict):
        raise WeightsError(f"{path} must contain one JSON object")
    return record
