"""Two-sample accuracy: how often a small network distinguishes held-out real images from samples.

A classifier two-sample test (C2ST), cross-fitted: a network is trained on one half of the images and tested
on the other, then the other way round, so that all count. It works on pixels at their own resolution and gets
their fine detail amplified, so it sees noise, checkerboards and blur, to which networks that were trained for
classes are blind. Every test takes the same steps of the same network. Its training loop is its own: the
loop of `training/trainer.py` is for generative models.

References:
    Lopez-Paz, Oquab (2017): Revisiting classifier two-sample tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.core import images, rng
from triptych.core.images import is_points
from triptych.core.threads import one_thread
from triptych.evaluation.scoring import score_of
from triptych.metrics.extractors.base import weights_hash
from triptych.metrics.score import Card, Score
from triptych.metrics.stats.intervals import MIN_IMAGES
from triptych.metrics.two_sample import align_near_duplicates, cross_fit_accuracy, distinct_rows, matched_rows

VERSION = 1  # of network and training: raised when either changes
METRIC = "two-sample accuracy"
MAX_IMAGES = 1000  # images of each set
FEW = 250  # held-out images below which training images count as real, too
STEPS = 150  # of each of two networks: with more they would see JPEG artifacts as well as noise
HALF_BATCH = 32  # images of each set in a step
MAX_LR, WEIGHT_DECAY = 3e-3, 0.05
WIDTH = 24
VIEW = 32  # pixels: larger images are seen as a crop of this size beside the whole at this size
WHOLE_UP_TO = 48  # pixels: images up to this size are seen whole
MIN_PX = 8
DETAIL_GAIN = 2.0  # of what a 3 x 3 average removes; at 4, JPEG of quality 90 counts as noise

Labels = tuple[np.ndarray, np.ndarray]


@one_thread()
def two_sample_score(
    real: np.ndarray,
    fake: np.ndarray,
    card: Mapping[str, Any],
    *,
    train: np.ndarray | None = None,
    labels: Labels | None = None,
    train_labels: np.ndarray | None = None,
) -> Score | None:
    """How often held-out real images and samples are distinguished: 0.5 is perfect, 1 is always.

    Where fewer than 250 real images are held out, training images count as real, too, and a model that
    copied them looks perfect; the card's `split` and a note say so.

    Args:
        real: Real images (N, H, W, C) uint8 that the model did not see.
        fake: Samples (M, H, W, C) uint8.
        card: The fields that all cards of this evaluation share.
        train: Training images (K, H, W, C) uint8; None: there are none.
        labels: Classes that samples were drawn for and those of real images, (N,) and (M,) int: as many
            images of each class are compared. None: classes are part of what is compared.
        train_labels: (K,) int, needed where `labels` are.

    Returns:
        The score, or None for images too small or too few (under 20 unlike real images or samples).
    """
    card, notes = dict(card), []
    if train is not None and len(real) < FEW and (labels is None or train_labels is not None):
        if labels is not None and train_labels is not None:
            labels = np.concatenate([labels[0], train_labels]), labels[1]
        real, train = np.concatenate([real, train]), None
        card["split"] = f"{card['split']} and training"
        notes.append(
            f"{METRIC}: training images count as real, because few are held out; copies would look perfect"
        )
    rows = distinct_rows(real)  # one that recurs in both halves would be known by heart
    real, labels = real[rows], None if labels is None else (labels[0][rows], labels[1])
    if min(real.shape[1:3]) < MIN_PX or is_points(real) or min(len(real), len(fake)) < MIN_IMAGES:
        return None
    estimate = cross_fit_accuracy(right_of(real, fake, labels))
    count = min(len(real), len(fake), MAX_IMAGES)
    floor, floor_n = _floor(real, train)
    notes.insert(0, how_to_read(estimate.value, estimate.low, estimate.high))
    resize = "none" if real.shape[1] <= WHOLE_UP_TO else f"parts of {VIEW} px beside area {VIEW}"
    changed = {
        "metric": METRIC,
        "parameters": {"folds": 2, "steps": STEPS, "batch": 2 * HALF_BATCH, "width": WIDTH},
        "n_real": count,
        "n_fake": count,
        "extractor": "trained-anew",
        "extractor_hash": weights_hash(untrained(real.shape[3], real.shape[1], 0)),
        "resize": resize,
        "version": VERSION,
    }
    score_card = Card(**{**card, **changed})
    return score_of(estimate, score_card, floor=floor, floor_n=floor_n, notes=tuple(notes))


def how_to_read(value: float, low: float, high: float) -> str:
    """A sentence that explains the score to people who see it for the first time.

    Args:
        value: accuracy, in [0, 1].
        low: lower end of its interval.
        high: upper end.

    Returns:
        The sentence.
    """
    accuracy = (
        f"{METRIC}: a small network classifies {value:.0%} of held-out real images and samples correctly"
    )
    if low <= 0.5 <= high:
        return f"{accuracy}, like chance (0.5 is perfect, 1 is always distinguished)"
    if low > 0.9:
        return f"{accuracy}: they are easy to distinguish (0.5 would be perfect)"
    return f"{accuracy} (0.5 is perfect, 1 is always distinguished)"


def right_of(real: np.ndarray, fake: np.ndarray, labels: Labels | None = None) -> np.ndarray:
    """Which held-out images the networks of two halves classify correctly. Deterministic.

    Args:
        real: (N, H, W, C) uint8.
        fake: (M, H, W, C) uint8.
        labels: classes of both, (N,) and (M,) int.

    Returns:
        (2, n) bool, of n = min(N, M, 1000) real images and as many samples.
    """
    chosen = matched_rows(len(real), len(fake), MAX_IMAGES, labels, seed=0)
    first, second = np.asarray(real[chosen[0]]), np.asarray(fake[chosen[1]])
    second = second[align_near_duplicates(first, second)]
    both = images.to_float(first), images.to_float(second)  # (n, C, H, W) each
    half = torch.arange(len(first)) < len(first) // 2
    right = np.zeros((2, len(first)), bool)
    for number, held in enumerate((~half, half)):
        network = _fit(both[0][~held], both[1][~held], number)
        right[0, held.numpy()] = _logits(network, both[0][held]) < 0
        right[1, held.numpy()] = _logits(network, both[1][held]) >= 0
    return right


class TwoViews(nn.Module):
    """Is it a sample? (B, C, H, W) in [-1, 1] -> (B,) logits. Under 40,000 weights.

    An image of up to 48 px is seen whole. Of a larger one, a crop is seen at its own resolution, for detail,
    beside the whole averaged down, for content: so all sizes take the same time.
    """

    def __init__(self, channels: int, size_px: int) -> None:
        super().__init__()
        self.whole = size_px <= WHOLE_UP_TO
        self.trunks = nn.ModuleList([_trunk(channels) for _ in range(1 if self.whole else 2)])
        self.head = nn.Linear(2 * WIDTH * len(self.trunks), 1)

    def forward(self, images: Tensor, parts: Tensor | None = None) -> Tensor:
        """parts: (B, C, 32, 32) crops of larger images; None: the image itself."""
        views = [images if parts is None else parts]
        if not self.whole:
            views.append(functional.interpolate(images, (VIEW, VIEW), mode="area"))
        features = [trunk(_with_detail(v)).mean((2, 3)) for trunk, v in zip(self.trunks, views, strict=True)]
        return self.head(torch.cat(features, 1)).squeeze(1)  # (B, 2 * WIDTH * views) -> (B,)


def untrained(channels: int, size_px: int, number: int) -> TwoViews:
    """A network with its initial weights.

    Args:
        channels: of the images.
        size_px: side of the images, pixels.
        number: which of the networks; each has other weights.

    Returns:
        The network.
    """
    with torch.random.fork_rng(devices=[]):  # leaves no trace in torch's global stream
        torch.manual_seed(rng.mix("two-sample weights", VERSION, number))
        return TwoViews(channels, size_px)


def _trunk(channels: int) -> nn.Sequential:
    sizes = [(2 * channels, WIDTH, 4, 2), (WIDTH, WIDTH, 3, 1), (WIDTH, 2 * WIDTH, 3, 2)]
    layers: list[nn.Module] = []
    for inputs, outputs, kernel, stride in sizes:
        layers += [nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False), nn.BatchNorm2d(outputs)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _with_detail(images: Tensor) -> Tensor:
    """The image, and what an average over 3 x 3 pixels removes. (B, C, H, W) -> (B, 2 C, H, W)."""
    padded = functional.pad(images, (1,) * 4, mode="replicate")
    return torch.cat([images, DETAIL_GAIN * (images - functional.avg_pool2d(padded, 3, 1))], 1)


def _fit(real: Tensor, fake: Tensor, number: int) -> TwoViews:
    """Train on (N, C, H, W) real images and (M, C, H, W) samples, as many of each in every step."""
    source = rng.generator("two-sample", VERSION, number)
    network = untrained(real.shape[1], real.shape[-1], number).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, STEPS + 1, pct_start=0.25)
    targets = torch.arange(2).repeat_interleave(HALF_BATCH).float()  # (B,): real 0, samples 1
    for _ in range(STEPS):
        picked = [x[torch.randint(len(x), (HALF_BATCH,), generator=source)] for x in (real, fake)]
        batch = torch.cat(picked)
        logits = network(*_changed(batch, network.whole, source))
        loss = functional.binary_cross_entropy_with_logits(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def _changed(batch: Tensor, whole: bool, source: torch.Generator) -> tuple[Tensor, ...]:
    """Images shifted by whole pixels, which keeps noise, with a square of a third of the side left blank.

    No flips: a model that mirrors would not be seen. (B, C, H, W) -> it, and of large images crops of 32 px.
    """
    count, _, size, _ = batch.shape
    reach = max(size // 16, 1) if whole else 0
    side = size if whole else VIEW
    padded = functional.pad(batch, (reach,) * 4, mode="replicate")
    starts = torch.randint(0, padded.shape[-1] - side + 1, (2, count, 1), generator=source)
    rows, columns = torch.arange(side) + starts  # (B, side) each
    index = torch.arange(count)[:, None, None]
    parts = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, side, side, C)
    hole = side // 3
    at = torch.randint(0, side - hole + 1, (2, count, 1), generator=source)
    down, across = ((torch.arange(side) >= a) & (torch.arange(side) < a + hole) for a in at)  # (B, side)
    gone = (down[:, :, None] & across[:, None, :])[:, None]  # (B, 1, side, side)
    parts = parts.permute(0, 3, 1, 2).masked_fill(gone, 0.0)  # (B, C, side, side)
    return (parts,) if whole else (batch, parts)


def _logits(network: TwoViews, images: Tensor) -> np.ndarray:
    """Of (N, C, H, W), the mean over the four corner crops of large ones: (N,)."""
    corners = [slice(0, VIEW), slice(-VIEW, None)]
    logits = []
    with torch.inference_mode():
        for batch in images.split(256):
            if network.whole:
                logits.append(network(batch))
                continue
            parts = [batch[:, :, rows, columns] for rows in corners for columns in corners]
            logits.append(torch.stack([network(batch, part) for part in parts]).mean(0))
    return torch.cat(logits).numpy()


def _floor(real: np.ndarray, train: np.ndarray | None) -> tuple[float | None, int | None]:
    """The accuracy for real images against other real ones, and how many those are."""
    if train is None:
        order = np.random.default_rng(0).permutation(len(real))
        real, train = real[order[::2]], real[order[1::2]]
    if min(len(real), len(train)) < MIN_IMAGES:
        return None, None
    return float(right_of(real, train).mean()), min(len(train), len(real), MAX_IMAGES)
