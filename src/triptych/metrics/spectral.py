"""Sharpness and power spectrum of images: pixel statistics that show blur, noise and checkerboard artifacts.

Both are computed for each channel and averaged over channels: in the mean of the channels red cancels green,
and an artifact in color alone would be missed. Pixels are scaled to [-1, 1], as networks output them, so that
values do not depend on the number of levels in a file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.core import images
from triptych.metrics.inputs import EvaluationInputs
from triptych.metrics.metric import LeaveOneOut, Metric, at_least_px
from triptych.metrics.stats.intervals import leave_one_out

VERSION = 1
MIN_PX = 8  # smallest side of an image for a spectrum
BATCH_PX = 1 << 20  # pixels transformed at a time: 16 MB of complex numbers
ROUNDING = (2 / 255) ** 2 / 12  # power of the rounding to 256 levels in [-1, 1], -53 dB: the noise floor


def sharpness(pixels: np.ndarray) -> float:
    """Mean over images of the variance of the Laplacian.

    The Laplacian is the 4-neighbor one, without the border. Blurred images score low and noise scores high
    (white noise of variance v: 20 v), so a value is good if it is close to that of real images, not if it is
    large.

    Raises ValueError if the array has another shape or dtype.

    Args:
        pixels: (N, H, W, C) uint8, at least 3 px per side.

    Returns:
        The variance, >= 0, in squared units of [-1, 1].

    References:
        Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy: a comparative study".
    """
    return float(image_sharpness(pixels).mean())


def image_sharpness(pixels: np.ndarray) -> np.ndarray:
    """(N,) variance of the Laplacian of each image; `sharpness` is their mean."""
    pixels = _checked(pixels, 3)
    values = []
    for part in _batches(pixels):
        x = _floats(part)  # (B, C, H, W)
        around = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
        values.append((around - 4 * x[..., 1:-1, 1:-1]).var((2, 3)).mean(1))
    return np.concatenate(values)


def radial_spectrum(pixels: np.ndarray) -> np.ndarray:
    """Radially averaged power spectrum in dB.

    10 log10 of the mean over images of `radial_power`, at least the power of rounding to 256 levels,
    -52.9 dB. White noise of variance v has the constant 10 log10 v from radius 2 on.

    Raises ValueError if the array has another shape or dtype.

    Args:
        pixels: (N, H, W, C) uint8, at least 8 px per side.

    Returns:
        (R,), the first entry for a radius of 1 cycle per image.
    """
    return _decibels(radial_power(pixels).mean(0))


def radial_power(pixels: np.ndarray) -> np.ndarray:
    """Power of each image at each radius of spatial frequency, averaged over the ring and over channels.

    Images are multiplied by a Hann window because they are not periodic: the jump between opposite borders
    leaks into every frequency along the axes as 1/f^2 and hides the high ones, where blur and checkerboard
    artifacts show. In return, adjacent radii mix and the border counts little. The mean under the window is
    subtracted first, or a plain background would leak as well; about 1.6 dB of radius 1 go with it. Power is
    divided by the window's own: white noise of variance v has power v.

    Radii extend to the corner of the frequency square, not only to its side: there lies the checkerboard of
    period 2 that transposed convolutions leave (Odena et al. 2016).

    Raises ValueError if the array has another shape or dtype.

    Args:
        pixels: (N, H, W, C) uint8, at least 8 px per side.

    Returns:
        (N, R), R half the diagonal, rounded, in cycles per shorter side; radius r covers frequencies of
        magnitude r - 1/2 to r + 1/2.
    """
    pixels = _checked(pixels, MIN_PX)
    height, width = pixels.shape[1:3]
    window = np.outer(_hann(height), _hann(width))
    rings = _rings(height, width)  # (H, W // 2 + 1, R)
    values = []
    for part in _batches(pixels):
        x = _floats(part)  # (B, C, H, W)
        mean = (x * window).sum((2, 3), keepdims=True) / window.sum()
        waves = np.fft.rfft2((x - mean) * window)  # (B, C, H, W // 2 + 1)
        power = (waves.real**2 + waves.imag**2).mean(1) / (window**2).sum()
        values.append(np.tensordot(power, rings, 2))  # (B, R)
    return np.concatenate(values)


def log_spectral_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Root mean square over radii of the difference between two sets' `radial_spectrum`; lower is better.

    0 for equal spectra; 6 dB would be half the amplitude at every frequency. It compares means over images,
    so it does not see how spectra vary between images.

    Raises ValueError if an array has another shape or dtype, or the sizes differ.

    Args:
        real: (N, H, W, C) uint8 pixels of real images.
        fake: (M, H, W, C) uint8 pixels of generated images of the same size.

    Returns:
        The distance in dB, >= 0.
    """
    return _distance(radial_power(real), radial_power(fake))


def log_spectral_distance_leave_one_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray]
) -> tuple[float, list[float]]:
    """Log-spectral distance of all groups, and with the g-th real and g-th fake group left out, for each g.

    Every image is transformed once.

    Args:
        real: G >= 2 groups of pixels, (n_g, H, W, C) uint8 each.
        fake: G groups of pixels, (m_g, H, W, C) uint8 each.

    Returns:
        The distance, and a list of G distances, each without one group.

    Raises:
        ValueError: if the numbers of groups differ or are below 2, or as for `log_spectral_distance`.
    """
    if len(real) != len(fake) or len(real) < 2:
        raise ValueError(
            f"leave-one-out needs as many real as fake groups, at least 2, got {len(real)} and {len(fake)}"
        )
    powers = [[radial_power(x) for x in groups] for groups in (real, fake)]
    without = [
        _distance(*(np.concatenate([*side[:g], *side[g + 1 :]]) for side in powers)) for g in range(len(real))
    ]
    return _distance(*map(np.concatenate, powers)), without


def _distance(real: np.ndarray, fake: np.ndarray) -> float:
    """real: (N, R), fake: (M, R) powers."""
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"spectra of {real.shape[1]} and {fake.shape[1]} radii cannot be compared: all images must "
            "have the same size"
        )
    gap = _decibels(real.mean(0)) - _decibels(fake.mean(0))
    return float(np.sqrt((gap**2).mean()))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, ROUNDING))


def _hann(size: int) -> np.ndarray:
    """(size,) Hann window, positive at both ends so that no pixel is ignored."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def _rings(height: int, width: int) -> np.ndarray:
    """(H, W // 2 + 1, R): weight of each frequency of a real transform in the mean over each ring."""
    down, across = np.fft.fftfreq(height), np.fft.rfftfreq(width)  # cycles per pixel
    length = min(height, width) * np.hypot(down[:, None], across)  # cycles per shorter side
    radii = np.rint(length).astype(int)
    times = np.full(length.shape, 2.0)  # a real transform omits the mirrored half
    times[:, across == 0] = 1
    times[:, across == 0.5] = 1
    rings = (radii[..., None] == np.arange(1, radii.max() + 1)) * times[..., None]
    return rings / rings.sum((0, 1))


def _floats(pixels: np.ndarray) -> np.ndarray:
    """(B, C, H, W) float64 in [-1, 1]."""
    return images.to_float(np.array(pixels)).numpy().astype(np.float64)


def _batches(pixels: np.ndarray) -> list[np.ndarray]:
    size = max(BATCH_PX // int(np.prod(pixels.shape[1:])), 1)
    return [pixels[start : start + size] for start in range(0, len(pixels), size)]


def _checked(pixels: np.ndarray, least_px: int) -> np.ndarray:
    values = np.asarray(pixels)
    if values.ndim != 4 or values.dtype != np.uint8 or len(values) == 0 or values.shape[3] == 0:
        raise ValueError(f"expected (N, H, W, C) uint8 pixels, N >= 1, got {values.shape} {values.dtype}")
    if min(values.shape[1:3]) < least_px:
        raise ValueError(f"images must be at least {least_px} px per side, got {values.shape[1:3]}")
    return values


def _sharpness_ratio(inputs: EvaluationInputs) -> LeaveOneOut:
    real, fake = (image_sharpness(x.pixels) for x in (inputs.real, inputs.fake))
    groups = inputs.real_groups(real), inputs.fake_groups(fake)
    return leave_one_out(lambda r, f: float(f.mean() / r.mean()), *groups)


SHARPNESS_RATIO = Metric(
    "sharpness ratio",
    "near 1",
    VERSION,
    leave_one_out=_sharpness_ratio,
    stage="sensitivity",
    domain="pixels",
)
METRIC = Metric(
    "LSD",
    "lower",
    VERSION,
    value=lambda x: log_spectral_distance(x.real.pixels, x.fake.pixels),
    leave_one_out=lambda x: log_spectral_distance_leave_one_out(
        x.real_groups(x.real.pixels), x.fake_groups(x.fake.pixels)
    ),
    parameters={"window": "Hann"},
    needs=(at_least_px(MIN_PX),),
    stage="detailed",
    domain="pixels",
)
