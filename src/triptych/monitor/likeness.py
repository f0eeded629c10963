"""Do samples look like images of the source: whole shapes, grain and blur, beside spoilt real images.

Diversity and a distance in random features say little of either: grain and scraps of strokes lie near
everything. Two things are measured instead, each on a scale that the source's own images make: held-out real
images at one end, and at the other the same images spoilt in a way that anyone sees.
"""

from __future__ import annotations

import numpy as np

from triptych.core.rng import mix
from triptych.monitor.feature_space import distances
from triptych.monitor.label_probe import edges

SMALLEST_PX = 8  # below this an image has no shapes
TEXTURED_PX = 16  # below this fine detail is the image itself
NEIGHBOURS = 5  # of the balls whose density is taken (Naeem et al. 2020)
FAINT = 0.05  # of the mean strength of edges: what is fainter is not blown up to full strength
NOISE = 0.2  # of the real images' standard deviation: grain that is seen at once
BLURS = 2  # passes of `soft`: blur that is seen at once
TAIL = 0.05  # of real images beyond which a texture is unusual: spoilt ones must lie there to be a scale
OUTERMOST = 3.0  # positions on the scale are cut off here

Numbers = dict[str, float]


class Likeness:
    """What a source's images look like.

    Args:
        held: (N, H, W, C) uint8 real images that stand in the samples' place.
        pool: (M, H, W, C) uint8 other real images, which samples are compared with.
    """

    def __init__(self, held: np.ndarray, pool: np.ndarray) -> None:
        self.asks = held.shape[1] >= SMALLEST_PX and len(pool) > NEIGHBOURS
        if not self.asks:
            return
        rng = np.random.default_rng(mix("likeness", len(held)))
        strength = edges(soft(pool))
        self._faint = max(FAINT * float(np.linalg.norm(strength, axis=1).mean()), 1e-6)
        self._pool = self._shapes(strength)
        own = np.sort(distances(self._pool, self._pool), axis=1)  # (M, M): the first is the image itself
        self._balls = own[:, NEIGHBOURS]
        self._density = max(self._dense(held), 1e-12)
        self.scale: Numbers = {"shapes_halves": self._dense(halves(held, rng)) / self._density}
        self.textured = held.shape[1] >= TEXTURED_PX
        if self.textured:
            self._learn_texture(np.concatenate([held, pool]), rng)

    def _learn_texture(self, real: np.ndarray, rng: np.random.Generator) -> None:
        fine, middle = energies(real)
        self._empty = (1e-3 * float(fine.mean()) + 1e-6, 1e-3 * float(middle.mean()) + 1e-6)
        usual = self._texture(real)  # (N,)
        self._usual = float(np.median(usual))
        low, high = np.quantile(usual, [TAIL, 1 - TAIL])
        grainy = float(np.median(self._texture(noisy(real, rng))))
        blurry = float(np.median(self._texture(blurred(real))))
        self._grainy = grainy if grainy > high else None  # else such grain is usual here
        self._blurry = blurry if blurry < low else None

    def __call__(self, pixels: np.ndarray, detailed: np.ndarray | None = None) -> Numbers:
        """Measure samples.

        Args:
            pixels: (N, H, W, C) uint8 samples.
            detailed: The same with all the random detail that a person sees; `pixels` when None.

        Returns:
            `shapes`: the density of real images around a sample, as a share of that around real ones;
            `shapes_halves`: the same of images put together from halves of two real ones; `grain` and
            `blur`: 0 as the real images, 1 as real images under visible noise, or blurred. What cannot be
            measured on this source is missing.
        """
        if not self.asks:
            return {}
        found = {"shapes": self._dense(pixels) / self._density, **self.scale}
        if self.textured:
            here = float(np.median(self._texture(pixels if detailed is None else detailed)))
            for name, spoilt in (("grain", self._grainy), ("blur", self._blurry)):
                if spoilt is not None:
                    place = (here - self._usual) / (spoilt - self._usual)
                    found[name] = min(max(place, -OUTERMOST), OUTERMOST)
        return found

    def _shapes(self, strength: np.ndarray) -> np.ndarray:
        """Edges by place and direction, whatever the contrast: (N, 128)."""
        size = np.linalg.norm(strength, axis=1, keepdims=True)  # (N, 1)
        return np.asarray(strength / (size + self._faint), dtype=np.float32)

    def _dense(self, pixels: np.ndarray) -> float:
        to_pool = distances(self._shapes(edges(soft(pixels))), self._pool)  # (N, M)
        return float((to_pool <= self._balls).sum(axis=1).mean()) / NEIGHBOURS

    def _texture(self, pixels: np.ndarray) -> np.ndarray:
        """Log ratio of detail at one pixel and at two, (N,); an empty image's is the usual one."""
        fine, middle = energies(pixels)
        return np.asarray(np.log((fine + self._empty[0]) / (middle + self._empty[1])))


def energies(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy of the finest detail, and of that at half the resolution: twice (N,).

    Mixed second differences, in which straight edges along rows and columns vanish and noise stays.
    """
    images = pixels.astype(np.float32)
    height, width = images.shape[1] // 2 * 2, images.shape[2] // 2 * 2
    parts = images[:, :height, :width].reshape(len(images), height // 2, 2, width // 2, 2, -1)
    return _energy(images), _energy(parts.mean(axis=(2, 4)))  # (N, H/2, W/2, C)


def _energy(images: np.ndarray) -> np.ndarray:
    mixed = images[:, :-1, :-1] - images[:, 1:, :-1] - images[:, :-1, 1:] + images[:, 1:, 1:]
    return np.asarray(np.square(mixed).mean(axis=(1, 2, 3)))


def halves(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images put together from the upper half of one and the lower half of another: (N, H, W, C)."""
    middle = pixels.shape[1] // 2
    other = pixels[(np.arange(len(pixels)) + rng.integers(1, max(2, len(pixels)))) % len(pixels)]
    return np.concatenate([pixels[:, :middle], other[:, middle:]], axis=1)


def noisy(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images under visible noise."""
    grain = rng.normal(0, NOISE * float(pixels.std()), pixels.shape)
    return np.clip(np.round(pixels + grain), 0, 255).astype(np.uint8)


def soft(pixels: np.ndarray) -> np.ndarray:
    """Images after one pass of the binomial filter (1, 2, 1): their edges are shapes rather than grain."""
    images: np.ndarray = pixels.astype(np.float32)
    for axis in (1, 2):
        wide = np.pad(images, [(1, 1) if k == axis else (0, 0) for k in range(4)], mode="edge")
        before, here, after = (np.take(wide, np.arange(images.shape[axis]) + k, axis) for k in range(3))
        images = (before + 2 * here + after) / 4
    return images  # (N, H, W, C) float32


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Images that have lost their fine detail: (N, H, W, C) uint8."""
    images = pixels
    for _ in range(BLURS):
        images = soft(images)
    return np.asarray(np.round(images), dtype=np.uint8)
