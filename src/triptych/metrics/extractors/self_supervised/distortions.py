"""Image distortions, each at a random strength, which the network learns to identify and grade.

Except for white noise none is a corruption of `triptych.evaluation.sensitivity`: a sensitivity study with the
distortions of the training would measure memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Distortion = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def distort(
    images: Tensor, source: torch.Generator, kinds: tuple[str, ...], clean: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Distort a batch, each image by one kind (a few by two) at a random strength.

    Args:
        images: (B, C, H, W) float32 in [-1, 1].
        source: random generator.
        kinds: names of DISTORTIONS.
        clean: share of the images that stay unchanged.

    Returns:
        The distorted images, and the strength of each kind in each: (B, len(kinds)) in [0, 1], 0: absent.
    """
    count = len(images)
    strengths = torch.zeros(count, len(kinds))
    distorted = images.clone()
    for _ in range(2):
        kind = torch.randint(0, len(kinds), (count,), generator=source)
        strength = 0.1 + 0.9 * torch.rand(count, generator=source)
        chosen = torch.rand(count, generator=source) < (1 - clean) / 1.2
        clean = 0.9  # a second distortion is rare
        for k, name in enumerate(kinds):
            rows = (chosen & (kind == k)).nonzero()[:, 0]
            if len(rows):
                distorted[rows] = DISTORTIONS[name](distorted[rows], strength[rows], source)
                strengths[rows, k] = strength[rows]
    return distorted.clamp_(-1, 1), strengths


def _noise(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """White noise with a standard deviation from 0.02 to 0.5; on half of the images equal in all channels."""
    count, channels = images.shape[:2]
    noise = torch.randn(images.shape, generator=source)
    alike = torch.rand(count, generator=source) < 0.5
    noise[alike] = noise[alike, :1].expand(-1, channels, -1, -1)
    return images + _column(0.02 * 25**strength) * noise


def _blotches(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """Smooth noise, several pixels wide, with a standard deviation of about 0.04 to 0.4."""
    count, channels, height, _ = images.shape
    cells = max(height // 6, 2)
    coarse = torch.randn(count, channels, cells, cells, generator=source)
    smooth = functional.interpolate(coarse, height, mode="bilinear", align_corners=False)
    return images + _column(0.05 * 10**strength) * smooth


def _soften(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """A mixture with the image averaged over 3 x 3 pixels once to four times."""
    soft = images
    rounds = 1 + (3 * strength).floor()
    for k in range(4):
        padded = functional.pad(soft, (1, 1, 1, 1), mode="replicate")
        soft = torch.where(_column(rounds > k), functional.avg_pool2d(padded, 3, 1), soft)
    share = _column((0.3 + 2 * strength).clamp(max=1))
    return (1 - share) * images + share * soft


def _jumble(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """Permute some of the image's 3 x 3 to 5 x 5 blocks."""
    size = images.shape[-1]
    across = int(torch.randint(3, 6, (), generator=source))
    block = max(size // across, 1)
    kept = size // block * block
    tiles = functional.unfold(images[:, :, :kept, :kept], block, stride=block)  # (B, C block^2, T)
    moved = tiles.clone()
    for row, share in enumerate(strength.tolist()):
        few = torch.randperm(tiles.shape[2], generator=source)[: max(2, round(share * tiles.shape[2]))]
        moved[row][:, few] = tiles[row][:, few.roll(1)]
    whole = images.clone()
    whole[:, :, :kept, :kept] = functional.fold(moved, kept, block, stride=block)
    return whole


def _paste(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """Paste a rectangle of another image (its mirror image in a batch of one), 2.5% to 50% of the area."""
    size = images.shape[-1]
    others = images[torch.randperm(len(images), generator=source)]
    if len(images) == 1:
        others = images.flip(-1)
    side = (size * (0.025 + 0.475 * strength).sqrt()).clamp(min=2)
    corner = torch.rand(2, len(images), generator=source) * (size - side)
    inside = [
        (torch.arange(size) >= corner[k][:, None]) & (torch.arange(size) < (corner[k] + side)[:, None])
        for k in range(2)
    ]
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]  # (B, 1, H, W)
    return torch.where(mask, others, images)


def _blend(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """Blend with another image, with a weight up to one half."""
    others = images[torch.randperm(len(images), generator=source)] if len(images) > 1 else images.flip(-1)
    return images + _column(0.5 * strength) * (others - images)


def _warp(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """A smooth random displacement, up to about an eighth of the side."""
    count, _, height, _ = images.shape
    field = functional.interpolate(
        torch.randn(count, 2, 4, 4, generator=source), height, mode="bicubic", align_corners=True
    )
    straight = torch.eye(2, 3).expand(count, 2, 3)
    grid = functional.affine_grid(straight, list(images.shape), align_corners=False)  # (B, H, W, 2)
    moved = grid + _column(0.02 + 0.13 * strength) * field.permute(0, 2, 3, 1)
    return functional.grid_sample(images, moved, padding_mode="border", align_corners=False)


def _pixelate(images: Tensor, strength: Tensor, source: torch.Generator) -> Tensor:
    """A mixture with the image in blocks of 2 x 2 or 3 x 3 equal pixels."""
    size = images.shape[-1]
    block = int(torch.randint(2, 4, (), generator=source))
    small = functional.adaptive_avg_pool2d(images, max(size // block, 1))
    coarse = functional.interpolate(small, size, mode="nearest")
    return images + _column(strength) * (coarse - images)


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]  # (B,) -> (B, 1, 1, 1)


DISTORTIONS: dict[str, Distortion] = {
    "noise": _noise,
    "blotches": _blotches,
    "soften": _soften,
    "jumble": _jumble,
    "paste": _paste,
    "blend": _blend,
    "warp": _warp,
    "pixelate": _pixelate,
}
