"""Published networks as extractors: any size of picture in, one resizing rule, fixed batches."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from triptych.core.cache import cache_home
from triptych.core.device import full_precision
from triptych.core.errors import WeightsError
from triptych.metrics.extractors.base import FeatureNetwork, softmax, weights_hash
from triptych.metrics.extractors.resize import Resizing

BATCH = 32  # fixed, the last one padded; at 299 px the first layers take 6 MB a picture
NO_DOWNLOAD = "Features that need no download: auto, domain-cnn, self-supervised, random-conv"


@dataclass(frozen=True)
class Scaling:
    """How grey levels 0..255 become what a network was trained on: (x - mean) / std, per channel."""

    name: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 255] -> the same shape."""
        mean, std = (torch.tensor(x, device=pictures.device)[:, None, None] for x in (self.mean, self.std))
        return (pictures - mean) / std


class PretrainedExtractor:
    """A published network as an Extractor: float32, TF32 and autocast off, fixed batch.

    network: its features. name: of network and protocol, "inception-legacy"; "-grey" is added where
    grey pictures are repeated to three channels: such scores are no RGB scores. channels: 1 or 3, of
    the pictures. device: where the network runs; resizing and statistics stay on the processor.
    batch: pictures at once.
    """

    accuracy: float | None = None  # nobody asks it for a source's own classes

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
            raise ValueError(f"{name} sees grey or RGB pictures, got {channels} channels")
        gray = channels == 1
        self.name = f"{name}-gray" if gray else name
        self.resize = f"{resizing.name}, {scaling.name}{', gray repeated to RGB' if gray else ''}"
        self.width, self.classes, self.hash = network.width, network.classes, weights_hash(network)
        self.network = network.eval().requires_grad_(False).to(device)
        self.resizing, self.scaling, self.channels = resizing, scaling, channels
        self.device, self.batch = torch.device(device), batch

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features (N, D) float32 of pixels (N, H, W, C) uint8 of any size."""
        return self._run(pixels, self.width, self.network.features)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Logits (N, classes) float32 of pixels (N, H, W, C) uint8. ValueError without classes."""
        if not self.classes:
            raise ValueError(f"{self.name} knows no classes: class scores need inception or domain-cnn")
        return self._run(pixels, self.classes, lambda x: self.network.logits(self.network.features(x)))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities (N, classes) float64, of Inception from logits without their bias."""
        return softmax(self.logits(pixels))

    def features_and_probabilities(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both of what the calls give one by one, in one pass. ValueError without classes."""
        if not self.classes:
            raise ValueError(f"{self.name} knows no classes: class scores need inception or domain-cnn")
        both = self._run(pixels, self.width + self.classes, self.network.features_and_logits)
        return np.ascontiguousarray(both[:, : self.width]), softmax(both[:, self.width :])

    def _run(self, pixels: np.ndarray, width: int, compute: _Compute) -> np.ndarray:
        if (
            pixels.ndim != 4
            or pixels.shape[3] != self.channels
            or pixels.dtype != np.uint8
            or 0 in pixels.shape[1:]
        ):
            raise ValueError(
                f"{self.name} expects (N, H, W, {self.channels}) uint8 pictures, "
                f"got {pixels.shape} {pixels.dtype}"
            )
        out = np.empty((len(pixels), width), np.float32)
        with torch.inference_mode(), full_precision(self.device):
            for start in range(0, len(pixels), self.batch):
                resized = self.resizing(pixels[start : start + self.batch]).expand(-1, 3, -1, -1)
                full = torch.zeros(self.batch, *resized.shape[1:])
                full[: len(resized)] = resized
                found = compute(self.scaling(full.to(self.device)))
                out[start : start + len(resized)] = found[: len(resized)].cpu().numpy()
        return out


class _Compute(Protocol):
    def __call__(self, pictures: Tensor, /) -> Tensor: ...


def weight_dirs() -> list[Path]:
    """Folders in which published weights are looked for, in order."""
    own = os.environ.get("TRIPTYCH_DATA")
    return ([Path(own)] if own else []) + [cache_home() / "networks"]


def searched_dirs() -> str:
    """The places in words, for a refusal."""
    unset = "" if os.environ.get("TRIPTYCH_DATA") else " (TRIPTYCH_DATA is not set)"
    return " and ".join(map(str, weight_dirs())) + unset


def read_json(path: Path) -> dict[str, Any]:
    """An object in a JSON file. Raises WeightsError when it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path} is not one JSON object")
    return found
