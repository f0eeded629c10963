"""Self-supervised training on a source's images: identify and grade distortions, and discriminate instances.

Identifying distortions (similar to denoising and to rotation prediction, Gidaris et al. 2018) yields features
that respond to grain, blur and wrong structure but hardly to content; instance discrimination (SimCLR, Chen
et al. 2020) yields features of the content, so that missing diversity is seen too. The choice of tasks was
measured: `benchmarks/self_supervised.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import rng
from triptych.metrics.extractors.base import Pixels, network_input
from triptych.metrics.extractors.self_supervised.distortions import DISTORTIONS, distort
from triptych.metrics.extractors.self_supervised.network import VERSION, SelfSupervised

TASKS = ("distortion", "instance")
BATCH = 64
STEPS = (300, 600)
IMAGES_PER_STEP = 10  # training images per step, within STEPS
MAX_LR, WEIGHT_DECAY = 4e-3, 0.05
WEIGHTS = {"distortion": 3.0, "instance": 0.3, "rotation": 0.5}  # of the losses
TEMPERATURE = 0.2
PROJECTION = 32  # width of the projection head for instance discrimination
WHITENING_IMAGES = 4096  # at most

Progress = Callable[[int, int], None]  # (steps done, steps in all)


def steps_for(images: int) -> int:
    """Number of training steps for a source with this many images."""
    return int(np.clip(images // IMAGES_PER_STEP, *STEPS))


def fit(
    network: SelfSupervised,
    pixels: Pixels,
    fingerprint: str,
    tasks: Sequence[str] = TASKS,
    kinds: Sequence[str] = tuple(DISTORTIONS),
    steps: int | None = None,
    progress: Progress | None = None,
) -> SelfSupervised:
    """Train a network on images without labels, and whiten its features on them.

    Args:
        network: trained in place.
        pixels: (N, H, W, C) uint8, N >= 2.
        fingerprint: of the source: all randomness comes from it.
        tasks: of "distortion", "instance" and "rotation".
        kinds: names of the DISTORTIONS that the task "distortion" uses.
        steps: optimizer steps; None: by the number of images.
        progress: called after every step with the steps done and in total.

    Returns:
        The network, ready to use.

    References:
        Chen et al. 2020, "A Simple Framework for Contrastive Learning", eq. 1; Gidaris et al. 2018,
        "Unsupervised Representation Learning by Predicting Image Rotations".
    """
    steps = steps_for(len(pixels)) if steps is None else steps
    source = rng.generator(fingerprint, "self-supervised", VERSION)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.mix(fingerprint, "self-supervised heads", VERSION))
        chosen = [_TASKS[name](network.width, kinds) for name in tasks]
    heads = nn.ModuleList(chosen)
    optimizer = torch.optim.AdamW(
        [*network.parameters(), *heads.parameters()], lr=MAX_LR, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, max(steps + 1, 5), pct_start=0.25)
    network.train()
    for step in range(steps):
        rows = torch.randint(0, len(pixels), (BATCH,), generator=source).sort().values  # for memory maps
        images = network_input(np.asarray(pixels[rows.numpy()]), network)
        views = [task.make_views(images, rows, source) for task in chosen]
        # all in one pass, so that batch norm sees one distribution
        embedded = network.embed(torch.cat(views)).split([len(x) for x in views])
        losses = [task.loss(own) for task, own in zip(chosen, embedded, strict=True)]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()
    network.whiten(_embedded(network, pixels))
    return network


@torch.no_grad()
def _embedded(network: SelfSupervised, pixels: Pixels) -> np.ndarray:
    """Embeddings, (N, width), of the training images, or of 4096 evenly spaced ones."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), WHITENING_IMAGES)).astype(np.int64))
    parts = [
        network.embed(network_input(np.asarray(pixels[part]), network)).numpy()
        for part in np.array_split(rows, -(-len(rows) // 256))
    ]
    return np.concatenate(parts)


class _Task(nn.Module):
    """A training task: views of the images, and a loss on their embeddings."""

    def make_views(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        """Images of these rows, (B, C, H, W) -> views, (V, C, H, W)."""
        raise NotImplementedError

    def loss(self, embedded: Tensor) -> Tensor:
        """Loss on the embeddings, (V, width), of the last views."""
        raise NotImplementedError


class _DistortionTask(_Task):
    """Predict the strength of each distortion."""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head, self.kinds = nn.Linear(width, len(kinds)), tuple(kinds)

    def make_views(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        distorted, self.strengths = distort(shifted(images, source, 16), source, self.kinds)
        return distorted

    def loss(self, embedded: Tensor) -> Tensor:
        logits = self.head(embedded)  # (B, kinds)
        return WEIGHTS["distortion"] * functional.binary_cross_entropy_with_logits(logits, self.strengths)


class _InstanceTask(_Task):
    """Find the other view of the same image (SimCLR). An image drawn twice is no negative of itself."""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION))

    def make_views(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        self.rows = rows
        return torch.cat([_toned(shifted(images, source, 8), source) for _ in range(2)])

    def loss(self, embedded: Tensor) -> Tensor:
        codes = functional.normalize(self.head(embedded), dim=1)  # (2B, PROJECTION)
        both = torch.cat([self.rows, self.rows])
        partner = torch.arange(len(both)).roll(len(self.rows))
        same = both[:, None] == both[None]  # (2B, 2B)
        same[torch.arange(len(both)), partner] = False
        similarity = (codes @ codes.T / TEMPERATURE).masked_fill(same, -torch.inf)
        return WEIGHTS["instance"] * functional.cross_entropy(similarity, partner)


class _RotationTask(_Task):
    """Predict by how many quarter turns the image was rotated."""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head = nn.Linear(width, 4)

    def make_views(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        self.turns = torch.randint(0, 4, (len(images),), generator=source)
        turned = [image.rot90(int(k), (1, 2)) for image, k in zip(images, self.turns, strict=True)]
        return torch.stack(turned)

    def loss(self, embedded: Tensor) -> Tensor:
        return WEIGHTS["rotation"] * functional.cross_entropy(self.head(embedded), self.turns)


_TASKS: dict[str, Callable[[int, Sequence[str]], _Task]] = {
    "distortion": _DistortionTask,
    "instance": _InstanceTask,
    "rotation": _RotationTask,
}


def shifted(images: Tensor, source: torch.Generator, part: int) -> Tensor:
    """Shift each image by a random offset, repeating its edge.

    Args:
        images: (B, C, H, W).
        source: random generator.
        part: shifts are up to H / part pixels, at least 1, in each direction.

    Returns:
        The shifted images, (B, C, H, W).
    """
    count, _, size, _ = images.shape
    reach = max(size // part, 1)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=source)
    rows, columns = torch.arange(size) + offsets  # each (B, size)
    index = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)  # (B, C, H, W)


def _toned(images: Tensor, source: torch.Generator) -> Tensor:
    """Jitter contrast and brightness of each image."""
    gain, shift = torch.rand(2, len(images), 1, 1, 1, generator=source)
    return ((0.8 + 0.4 * gain) * images + 0.2 * (shift - 0.5)).clamp(-1, 1)
