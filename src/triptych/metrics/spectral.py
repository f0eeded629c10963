"""Sharpness and power spectrum of pictures: what blur, noise and checkerboards do to pixels.

Both work on each channel and average over channels: in a grey mean, red against green cancels, and a
fault of color alone would go unseen. Pixels are taken in [-1, 1], as the networks make them, so
values do not depend on how many grey levels a file has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from triptych.core import images

VERSION = 1
MIN_PX = 8  # each way, of a picture with a spectrum
BATCH_PX = 1 << 20  # pixels transformed at a time: 16 MB of complex numbers
ROUNDING = (2 / 255) ** 2 / 12  # power of rounding to 256 levels, in [-1, 1]: -53 dB; less tells nothing


def sharpness(pixels: np.ndarray) -> float:
    """Mean over pictures of the variance of the Laplacian (Pech-Pacheco et al. 2000).

    The Laplacian is the 4-neighbour one, without the border. A blurred picture scores low; noise
    scores high (white noise of variance v: 20 v), so a value is good if it is near that of the real
    pictures, not if it is large.

    pixels: (N, H, W, C) uint8, at least 3 px each way. Returns a float >= 0 in squared units of
    [-1, 1]. Raises ValueError on other arrays.
    """
    return float(image_sharpness(pixels).mean())


def image_sharpness(pixels: np.ndarray) -> np.ndarray:
    """(N,) variance of the Laplacian of each picture; see `sharpness`, which is their mean."""
    pixels = _checked(pixels, 3)
    values = []
    for part in _batches(pixels):
        x = _floats(part)  # (B, C, H, W)
        around = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
        values.append((around - 4 * x[..., 1:-1, 1:-1]).var((2, 3)).mean(1))
    return np.concatenate(values)


def radial_spectrum(pixels: np.ndarray) -> np.ndarray:
    """Radially averaged power spectrum in dB: (R,), the first for radius 1 cycle per picture.

    10 log10 of the mean over pictures of `radial_power`; nothing lies below the power of rounding to
    256 levels, -52.9 dB. White noise of variance v is flat at 10 log10 v
    from radius 2 on.

    pixels: (N, H, W, C) uint8, at least 8 px each way. Raises ValueError on other arrays.
    """
    return _decibels(radial_power(pixels).mean(0))


def radial_power(pixels: np.ndarray) -> np.ndarray:
    """Power of each picture at each radius of frequency, averaged over the ring and over channels: (N, R).

    Under a Hann window, because a picture is no torus: the jump between its left and right border
    leaks into every frequency along the axes as 1/f^2 and hides the high ones, where blur and
    checkerboards are to be seen. The price: neighbouring radii mix, and the border counts little. The
    mean under the window is taken off first, or a plain background would leak itself; about 1.6 dB of
    radius 1 go with it. Power is over the window's own: white noise of variance v has power v.

    Radii go on to the corner of the square of frequencies, not only to its side: there lies the
    checkerboard of period 2 that transposed convolutions leave.

    pixels: (N, H, W, C) uint8, at least 8 px each way. R: rounded half the diagonal, in cycles per
    shorter side; a radius r holds the frequencies of length r - 1/2 to r + 1/2.
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
    """Root mean square over radii of the difference of two sets' `radial_spectrum`, in dB. Lower is better.

    0 for equal spectra; 6 dB would be half the amplitude at every frequency. It compares means over
    pictures, so it does not see how spectra vary from one picture to the next.

    real: (N, H, W, C), fake: (M, H, W, C) uint8 of one size. Raises ValueError on other arrays.
    """
    return _distance(radial_power(real), radial_power(fake))


def log_spectral_distance_leave_one_out(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray]
) -> tuple[float, list[float]]:
    """Log-spectral distance of all groups, and with the g-th real and g-th fake group left out, for each g.

    real, fake: G >= 2 groups each of pixels, (n_g, H, W, C) uint8. Every picture is transformed once.
    """
    if len(real) != len(fake) or len(real) < 2:
        raise ValueError(
            f"leaving one out needs as many real as fake groups, at least 2, got {len(real)} and {len(fake)}"
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
            f"spectra of {real.shape[1]} and {fake.shape[1]} radii cannot be compared: the pictures must "
            "be of one size"
        )
    gap = _decibels(real.mean(0)) - _decibels(fake.mean(0))
    return float(np.sqrt((gap**2).mean()))


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, ROUNDING))


def _hann(size: int) -> np.ndarray:
    """(size,), highest in the middle and above 0 at both ends: no pixel is lost."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def _rings(height: int, width: int) -> np.ndarray:
    """(H, W // 2 + 1, R): weight of each frequency of a real transform in the mean over each ring."""
    down, across = np.fft.fftfreq(height), np.fft.rfftfreq(width)  # cycles per pixel
    length = min(height, width) * np.hypot(down[:, None], across)  # cycles per shorter side
    radii = np.rint(length).astype(int)
    times = np.full(length.shape, 2.0)  # a real transform leaves out the mirrored half
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
        raise ValueError(f"pictures must be at least {least_px} px each way, got {values.shape[1:3]}")
    return values
