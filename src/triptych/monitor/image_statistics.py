"""Shapes, grain and blur of samples, on scales set by real images and distorted real images.

Diversity and distances in random features say little of either: grain and fragments of strokes lie near
everything. Each statistic here has a scale from the data set's own images: held-out real images at one end,
and at the other the same images with a distortion that anyone sees.
"""

from __future__ import annotations

import numpy as np

from triptych.core.rng import mix
from triptych.monitor.feature_space import distances
from triptych.monitor.label_probe import edge_histograms

MIN_SHAPE_PX = 8  # below this an image has no shapes
MIN_TEXTURE_PX = 16  # below this fine detail is the image itself
NEIGHBORS = 5  # k of the balls whose density is measured (Naeem et al. 2020)
FAINT = 0.05  # of the mean edge magnitude: fainter edges are not normalized to full strength
NOISE = 0.2  # of the real images' standard deviation: noise that is visible at once
BLUR_PASSES = 2  # passes of `binomial_filter`: blur that is visible at once
TAIL = 0.05  # share of real images beyond which a texture is unusual: a distortion must move it there
MAX_POSITION = 3.0  # positions on the texture scale are cut off here

Numbers = dict[str, float]


class ImageStatistics:
    """What a data set's images look like, to compare samples with.

    Args:
        held_out: (N, H, W, C) uint8 real images that are measured as samples are.
        pool: (M, H, W, C) uint8 other real images, which samples are compared with.
    """

    def __init__(self, held_out: np.ndarray, pool: np.ndarray) -> None:
        self.measurable = held_out.shape[1] >= MIN_SHAPE_PX and len(pool) > NEIGHBORS
        if not self.measurable:
            return
        rng = np.random.default_rng(mix("likeness", len(held_out)))  # an old name of the stream
        edges = edge_histograms(binomial_filter(pool))
        self._faint = max(FAINT * float(np.linalg.norm(edges, axis=1).mean()), 1e-6)
        self._pool = self._shapes(edges)
        own = np.sort(distances(self._pool, self._pool), axis=1)  # (M, M): the first is the image itself
        self._radii = own[:, NEIGHBORS]
        self._real_density = max(self._density(held_out), 1e-12)
        composed = self._density(halves(held_out, rng)) / self._real_density
        self.scale: Numbers = {"shape_density_halves": composed}
        self.textured = held_out.shape[1] >= MIN_TEXTURE_PX
        if self.textured:
            self._fit_texture(np.concatenate([held_out, pool]), rng)

    def _fit_texture(self, real: np.ndarray, rng: np.random.Generator) -> None:
        fine, coarse = detail_energies(real)
        self._empty = (1e-3 * float(fine.mean()) + 1e-6, 1e-3 * float(coarse.mean()) + 1e-6)
        textures = self._texture(real)  # (N,)
        self._usual = float(np.median(textures))
        low, high = np.quantile(textures, [TAIL, 1 - TAIL])
        grainy = float(np.median(self._texture(noisy(real, rng))))
        blurry = float(np.median(self._texture(blurred(real))))
        self._grainy = grainy if grainy > high else None  # else such grain is usual here
        self._blurry = blurry if blurry < low else None

    def __call__(self, pixels: np.ndarray, detailed: np.ndarray | None = None) -> Numbers:
        """Measure samples.

        Args:
            pixels: (N, H, W, C) uint8 samples.
            detailed: Samples with all the random detail that a person sees; `pixels` when None.

        Returns:
            `shape_density`: the density of real images around a sample, over that around real ones;
            `shape_density_halves`: the same of images composed of halves of two real ones; `grain` and
            `blur`: 0 as real images, 1 as real images with visible noise or blur. What cannot be measured on
            this data set is missing.
        """
        if not self.measurable:
            return {}
        numbers = {"shape_density": self._density(pixels) / self._real_density, **self.scale}
        if self.textured:
            texture = float(np.median(self._texture(pixels if detailed is None else detailed)))
            for name, distorted in (("grain", self._grainy), ("blur", self._blurry)):
                if distorted is not None:
                    position = (texture - self._usual) / (distorted - self._usual)
                    numbers[name] = min(max(position, -MAX_POSITION), MAX_POSITION)
        return numbers

    def _shapes(self, edges: np.ndarray) -> np.ndarray:
        """Edge histograms normalized for contrast: (N, 128)."""
        size = np.linalg.norm(edges, axis=1, keepdims=True)  # (N, 1)
        return np.asarray(edges / (size + self._faint), dtype=np.float32)

    def _density(self, pixels: np.ndarray) -> float:
        to_pool = distances(self._shapes(edge_histograms(binomial_filter(pixels))), self._pool)  # (N, M)
        return float((to_pool <= self._radii).sum(axis=1).mean()) / NEIGHBORS

    def _texture(self, pixels: np.ndarray) -> np.ndarray:
        """Log ratio of detail at one pixel and at two, (N,); the usual one for an empty image."""
        fine, coarse = detail_energies(pixels)
        return np.asarray(np.log((fine + self._empty[0]) / (coarse + self._empty[1])))


def detail_energies(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Measure the energy of the finest detail, and of that at half the resolution.

    Mixed second differences: straight edges along rows and columns vanish and noise stays.

    Args:
        pixels: (N, H, W, C).

    Returns:
        Two arrays (N,).
    """
    images = pixels.astype(np.float32)
    height, width = images.shape[1] // 2 * 2, images.shape[2] // 2 * 2
    parts = images[:, :height, :width].reshape(len(images), height // 2, 2, width // 2, 2, -1)
    return _energy(images), _energy(parts.mean(axis=(2, 4)))  # (N, H/2, W/2, C)


def _energy(images: np.ndarray) -> np.ndarray:
    mixed = images[:, :-1, :-1] - images[:, 1:, :-1] - images[:, :-1, 1:] + images[:, 1:, 1:]
    return np.asarray(np.square(mixed).mean(axis=(1, 2, 3)))


def halves(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compose images of the upper half of one and the lower half of another.

    Args:
        pixels: (N, H, W, C).
        rng: Chooses the pairs.

    Returns:
        (N, H, W, C).
    """
    middle = pixels.shape[1] // 2
    other = pixels[(np.arange(len(pixels)) + rng.integers(1, max(2, len(pixels)))) % len(pixels)]
    return np.concatenate([pixels[:, :middle], other[:, middle:]], axis=1)


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add visible Gaussian noise.

    Args:
        pixels: (N, H, W, C) uint8.
        rng: Draws the noise.

    Returns:
        (N, H, W, C) uint8.
    """
    noise = rng.normal(0, NOISE * float(pixels.std()), pixels.shape)
    return np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8)


def binomial_filter(pixels: np.ndarray) -> np.ndarray:
    """Smooth (N, H, W, C) with the kernel (1, 2, 1), so that edges are shapes rather than grain: float32."""
    images: np.ndarray = pixels.astype(np.float32)
    for axis in (1, 2):
        wide = np.pad(images, [(1, 1) if k == axis else (0, 0) for k in range(4)], mode="edge")
        before, here, after = (np.take(wide, np.arange(images.shape[axis]) + k, axis) for k in range(3))
        images = (before + 2 * here + after) / 4
    return images  # (N, H, W, C) float32


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Images without their fine detail: (N, H, W, C) uint8."""
    images = pixels
    for _ in range(BLUR_PASSES):
        images = binomial_filter(images)
    return np.asarray(np.round(images), dtype=np.uint8)
