"""Training the network on a source's images alone: name and grade distortions, and tell images apart.

Naming distortions (in the spirit of denoising and of rotation prediction, Gidaris et al. 2018) makes
features that see grain, blur and wrong structure but hardly what an image shows; telling images apart
(SimCLR, Chen et al. 2020) makes features of what it shows, so that missing variety is seen too. Which tasks
serve was measured: `benchmarks/self_supervised.py`.
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
IMAGES_A_STEP = 10  # a step for so many training images, within STEPS
TOP_RATE, DECAY = 4e-3, 0.05
WEIGHTS = {"distortion": 3.0, "instance": 0.3, "rotation": 0.5}  # of the losses
TEMPERATURE = 0.2
CODE = 32  # numbers by which instances are told apart
WHITENED_ON = 4096  # images at most

Progress = Callable[[int, int], None]  # (steps done, steps in all)


def steps_for(images: int) -> int:
    """How many steps the network is trained for on so many images."""
    return int(np.clip(images // IMAGES_A_STEP, *STEPS))


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
        kinds: of DISTORTIONS, those that the task "distortion" uses.
        steps: optimizer steps; None: by the number of images.
        progress: told after every step.

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
        [*network.parameters(), *heads.parameters()], lr=TOP_RATE, weight_decay=DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TOP_RATE, max(steps + 1, 5), pct_start=0.25)
    network.train()
    for step in range(steps):
        rows = torch.randint(0, len(pixels), (BATCH,), generator=source).sort().values  # kind to a memory map
        images = network_input(np.asarray(pixels[rows.numpy()]), network)
        shown = [task.show(images, rows, source) for task in chosen]
        # all in one pass: what the normalization learns then is one distribution
        embedded = network.embed(torch.cat(shown)).split([len(views) for views in shown])
        losses = [task.loss(found) for task, found in zip(chosen, embedded, strict=True)]
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
    """What the network makes of the training images, or of an even choice of 4096: (N, width)."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), WHITENED_ON)).astype(np.int64))
    parts = [
        network.embed(network_input(np.asarray(pixels[some]), network)).numpy()
        for some in np.array_split(rows, -(-len(rows) // 256))
    ]
    return np.concatenate(parts)


class _Task(nn.Module):
    """What is asked of the network: images to show it, and how wrong its answer about them is."""

    def show(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        """(B, C, H, W), the images of these rows -> (V, C, H, W), what to show."""
        raise NotImplementedError

    def loss(self, embedded: Tensor) -> Tensor:
        """(V, width), of what was shown last -> a number."""
        raise NotImplementedError


class _NameDistortions(_Task):
    """How strongly was the image distorted in each way?"""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head, self.kinds = nn.Linear(width, len(kinds)), tuple(kinds)

    def show(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        distorted, self.strengths = distort(shifted(images, source, 16), source, self.kinds)
        return distorted

    def loss(self, embedded: Tensor) -> Tensor:
        found = self.head(embedded)  # (B, kinds)
        return WEIGHTS["distortion"] * functional.binary_cross_entropy_with_logits(found, self.strengths)


class _TellApart(_Task):
    """Which two views are of one image? An image that was drawn twice is no other image to itself."""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CODE))

    def show(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        self.rows = rows
        return torch.cat([_toned(shifted(images, source, 8), source) for _ in range(2)])

    def loss(self, embedded: Tensor) -> Tensor:
        codes = functional.normalize(self.head(embedded), dim=1)  # (2B, CODE)
        both = torch.cat([self.rows, self.rows])
        partner = torch.arange(len(both)).roll(len(self.rows))
        itself = both[:, None] == both[None]  # (2B, 2B)
        itself[torch.arange(len(both)), partner] = False
        alike = (codes @ codes.T / TEMPERATURE).masked_fill(itself, -torch.inf)
        return WEIGHTS["instance"] * functional.cross_entropy(alike, partner)


class _NameRotations(_Task):
    """By how many quarters was the image turned?"""

    def __init__(self, width: int, kinds: Sequence[str]) -> None:
        super().__init__()
        self.head = nn.Linear(width, 4)

    def show(self, images: Tensor, rows: Tensor, source: torch.Generator) -> Tensor:
        self.turns = torch.randint(0, 4, (len(images),), generator=source)
        turned = [image.rot90(int(k), (1, 2)) for image, k in zip(images, self.turns, strict=True)]
        return torch.stack(turned)

    def loss(self, embedded: Tensor) -> Tensor:
        return WEIGHTS["rotation"] * functional.cross_entropy(self.head(embedded), self.turns)


_TASKS: dict[str, Callable[[int, Sequence[str]], _Task]] = {
    "distortion": _NameDistortions,
    "instance": _TellApart,
    "rotation": _NameRotations,
}


def shifted(images: Tensor, source: torch.Generator, part: int) -> Tensor:
    """Each image moved by up to size / part pixels, its edge repeated. (B, C, H, W) -> the same shape."""
    count, _, size, _ = images.shape
    reach = max(size // part, 1)
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=source)
    rows, columns = torch.arange(size) + offsets  # each (B, size)
    index = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)  # (B, C, H, W)


def _toned(images: Tensor, source: torch.Generator) -> Tensor:
    """Each image with a contrast and a brightness that are a little different."""
    gain, shift = torch.rand(2, len(images), 1, 1, 1, generator=source)
    return ((0.8 + 0.4 * gain) * images + 0.2 * (shift - 0.5)).clamp(-1, 1)
