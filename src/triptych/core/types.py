"""What models and machinery exchange: image specifications, batches, conditions, sampling steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels


@dataclass(frozen=True)
class ImageSpec:
    """What the data set fixes about the images of a model."""

    channels: int  # 1 or 3
    size: int  # side in pixels: images are square
    classes: int = 0  # 0 where there are no labels, and where the training is unconditional
    captions: bool = False  # whether there are captions


@dataclass(frozen=True)
class Batch:
    """One batch, or micro-batch, of training images."""

    images: Tensor  # (B, C, H, W) float32 in [-1, 1]: always pixels, also for latent diffusion
    labels: Tensor | None  # (B,) int64 in [0, classes)
    captions: tuple[str, ...] | None
    rows: Tensor  # (B,) int64: row numbers within the global batch of this step
    global_size: int  # images in the global batch

    def to(self, device: torch.device) -> Batch:
        """The same batch with images and labels on `device`; row numbers stay on the CPU."""
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, images=self.images.to(device, non_blocking=True), labels=labels)

    def cut(self, start: int, stop: int) -> Batch:
        """Cut out a micro-batch.

        Args:
            start: The first row.
            stop: The row after the last.

        Returns:
            Views of these rows.
        """
        return replace(
            self,
            images=self.images[start:stop],
            labels=None if self.labels is None else self.labels[start:stop],
            captions=None if self.captions is None else self.captions[start:stop],
            rows=self.rows[start:stop],
        )


@dataclass(frozen=True)
class Condition:
    """What guides the images of a batch; None: not guided by it."""

    labels: Tensor | None = None  # (B,) int64
    captions: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None  # captions to guide away from
    image: Tensor | None = None  # (B, C, H, W) float32 in [-1, 1]
    mask: Tensor | None = None  # (B, 1, H, W) float32: 1 where pixels are to be generated

    def cut(self, rows: Sequence[int]) -> Condition:
        """Select rows, in the order given; a row may be selected twice."""
        index = torch.as_tensor(list(rows), dtype=torch.int64)

        def pick(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[index.to(value.device)]
            return None if value is None else tuple(value[int(i)] for i in index)

        return Condition(**{f.name: pick(getattr(self, f.name)) for f in fields(self)})

    def to(self, device: torch.device) -> Condition:
        """The same condition with its tensors on `device`."""
        moved: dict[str, Any] = {
            f.name: value.to(device)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class LikelihoodQuery:
    """The images whose likelihood a model bounds, and how: the argument of `GenerativeModel.bits_per_dim`."""

    pixels: Tensor  # (B, H, W, C) uint8, on the device of the weights
    condition: Condition
    bound: str  # one of the model's `likelihood_bounds`
    draws: int  # samples per image, at least 1
    seeds: Sequence[int]  # (B,): an image's draws depend on its seed, not on the batch
    box: Box | None = None  # the pixels that count (a padded image's own); None: all


@dataclass(frozen=True)
class GenerationStep:
    """One step of sampling."""

    step: int  # steps done
    steps: int  # steps in all
    noisy: Tensor  # (B, *noise shape)
    image: Callable[[], Tensor]  # (B, C, H, W): the image predicted at this step, computed when called
