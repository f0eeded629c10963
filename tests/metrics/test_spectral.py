import numpy as np
import pytest

from triptych.metrics import spectral
from triptych.metrics.spectral import (
    ROUNDING,
    image_sharpness,
    log_spectral_distance,
    log_spectral_distance_leave_one_out,
    radial_power,
    radial_spectrum,
    sharpness,
)
from triptych.metrics.stats.intervals import leave_one_out


def noise(seed: int, std: float = 0.2, shape: tuple[int, ...] = (40, 32, 32, 1)) -> np.ndarray:
    """White noise, standard deviation in [-1, 1], as gray levels."""
    levels = 127.5 + 127.5 * std * np.random.default_rng(seed).standard_normal(shape)
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def blurred(pixels: np.ndarray) -> np.ndarray:
    """The mean of each pixel and its four neighbors, on a torus."""
    x = pixels.astype(float)
    turned = [np.roll(x, step, axis) for axis in (1, 2) for step in (-1, 1)]
    return np.round((x + sum(turned)) / 5).astype(np.uint8)


def wave(across: float, down: float, size: int = 32, height: float = 100.0) -> np.ndarray:
    """One cosine of so many cycles per image."""
    y, x = np.mgrid[:size, :size] / size
    return np.round(127.5 + height * np.cos(2 * np.pi * (across * x + down * y)))[None, ..., None].astype(
        np.uint8
    )


def test_white_noise_of_variance_v_has_sharpness_20_v() -> None:
    """The squares of the Laplacian's weights: 4 x 1 + 16."""
    assert sharpness(noise(0)) == pytest.approx(20 * 0.2**2, rel=0.02)


def test_sharpness_by_hand() -> None:
    """One white pixel on black: the 3 x 3 inner Laplacians are -8, four times 2, four times 0."""
    image = np.zeros((1, 5, 5, 1), np.uint8)
    image[0, 2, 2] = 255
    laplacian = [-8.0, 2, 2, 2, 2, 0, 0, 0, 0]
    assert sharpness(image) == pytest.approx(np.var(laplacian), rel=1e-6)


def test_blur_lowers_sharpness_and_a_flat_image_or_ramp_has_none() -> None:
    pixels = noise(1)
    assert sharpness(blurred(pixels)) < 0.2 * sharpness(pixels)
    assert sharpness(np.full((3, 8, 8, 3), 77, np.uint8)) == 0
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(0, 240, 8, dtype=np.uint8)[:, None], (2, 30, 30)))
    assert sharpness(ramp[..., None]) == pytest.approx(0, abs=1e-10)


def test_brightness_does_not_matter_contrast_does() -> None:
    pixels = noise(2, 0.1)
    assert sharpness(pixels + 40) == pytest.approx(sharpness(pixels), rel=1e-5)
    assert sharpness(255 - pixels) == pytest.approx(sharpness(pixels), rel=1e-5)
    double = (2 * (pixels.astype(int) - 127) + 127).astype(np.uint8)
    assert sharpness(double) == pytest.approx(4 * sharpness(pixels), rel=1e-5)


def test_artifact_in_color_alone_is_detected() -> None:
    """Red against green: their mean is flat."""
    fault = noise(3)
    colored = np.concatenate([fault, 255 - fault, np.full_like(fault, 127)], axis=3)
    gray = np.full_like(colored, 127)
    assert sharpness(colored) == pytest.approx(2 / 3 * sharpness(fault), rel=1e-5)
    assert log_spectral_distance(gray, colored) > 20
    three = np.repeat(fault, 3, axis=3)
    assert sharpness(three) == pytest.approx(sharpness(fault), rel=1e-6)
    assert radial_spectrum(three) == pytest.approx(radial_spectrum(fault), abs=1e-6)


def test_white_noise_is_flat_at_its_variance() -> None:
    result = radial_spectrum(noise(4, 0.2, (300, 32, 32, 1)))
    assert len(result) == 23  # the corner, 16 sqrt 2
    assert result[1:] == pytest.approx(10 * np.log10(0.2**2), abs=0.6)
    assert result[0] == pytest.approx(10 * np.log10(0.2**2) - 1.6, abs=0.4)  # some goes with the mean


@pytest.mark.parametrize(("across", "down", "radius"), [(5, 0, 5), (0, 9, 9), (6, 8, 10), (16, 16, 23)])
def test_sinusoid_has_its_power_at_its_radius(across: int, down: int, radius: int) -> None:
    result = radial_spectrum(wave(across, down))
    assert int(result.argmax()) + 1 == radius


def test_total_power_is_the_variance() -> None:
    """Parseval: weighted by the number of frequencies in each ring, whatever the window."""
    pixels = noise(5, 0.2, (200, 16, 16, 1))
    y, x = np.meshgrid(np.fft.fftfreq(16) * 16, np.fft.fftfreq(16) * 16)
    counts = np.bincount(np.rint(np.hypot(x, y)).astype(int).ravel())[1:]
    power = radial_power(pixels).mean(0)
    assert (power * counts).sum() / counts.sum() == pytest.approx(0.2**2, rel=0.03)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (8, 13), (14, 9)])
def test_rings_are_means_over_all_frequencies_of_the_full_transform(height: int, width: int) -> None:
    pixels = noise(14, 0.2, (1, height, width, 1))
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    radii = np.rint(np.hypot(down, across) * min(height, width)).astype(int)
    hann = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    window = np.outer(*hann)
    x = pixels[0, ..., 0] / 127.5 - 1
    power = np.abs(np.fft.fft2((x - np.average(x, weights=window)) * window)) ** 2 / (window**2).sum()
    rings = [power[radii == r].mean() for r in range(1, radii.max() + 1)]
    assert radial_power(pixels)[0] == pytest.approx(rings, rel=1e-4)


def test_window_prevents_leakage_from_the_border() -> None:
    """A slow slope from left to right has nothing at high frequencies, but on a torus it jumps."""
    slope = np.tile(np.linspace(20, 235, 32).round().astype(np.uint8), (1, 32, 1))[..., None]
    x = slope[0, ..., 0] / 127.5 - 1
    plain = np.abs(np.fft.fft2(x - x.mean())[0, 14]) ** 2 / x.size
    assert 10 * np.log10(plain) > -10
    assert radial_spectrum(slope)[9:].max() < -40


def test_constant_image_has_no_power_and_db_stop_at_the_rounding_floor() -> None:
    result = radial_spectrum(np.full((2, 16, 16, 3), 3, np.uint8))
    assert result == pytest.approx(10 * np.log10(ROUNDING))
    assert result[0] == pytest.approx(-52.9, abs=0.05)


def test_blur_lowers_high_frequencies_and_a_checkerboard_raises_the_corner() -> None:
    pixels = blurred(blurred(noise(6)))
    loss = radial_spectrum(pixels) - radial_spectrum(blurred(pixels))
    assert loss[12] > loss[2] + 1
    y, x = np.mgrid[:32, :32]
    board = (pixels + (6 * ((x + y) % 2))[..., None]).astype(np.uint8)
    gain = radial_spectrum(board) - radial_spectrum(pixels)
    assert gain[-1] > 10
    assert np.abs(gain[:15]).max() < 0.5


def test_log_spectral_distance_is_0_for_equal_sets_and_in_db() -> None:
    pixels = noise(7, 0.1)
    assert log_spectral_distance(pixels, pixels[::-1]) == pytest.approx(0, abs=1e-9)
    half = (127 + (pixels.astype(int) - 127) * 2).astype(np.uint8)
    assert log_spectral_distance(pixels, half) == pytest.approx(20 * np.log10(2), abs=1e-3)
    by_hand = np.sqrt(((radial_spectrum(pixels) - radial_spectrum(blurred(pixels))) ** 2).mean())
    assert log_spectral_distance(pixels, blurred(pixels)) == pytest.approx(by_hand)


def test_rectangular_images() -> None:
    assert radial_power(noise(8, 0.2, (60, 12, 20, 1))).mean(0)[1:] == pytest.approx(0.04, rel=0.25)
    assert radial_power(noise(9, 0.2, (60, 13, 9, 2))).mean(0)[1:] == pytest.approx(0.04, rel=0.25)


def test_batches_do_not_change_results(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(10)
    whole = radial_power(pixels), image_sharpness(pixels)
    monkeypatch.setattr(spectral, "BATCH_PX", 3000)
    np.testing.assert_allclose(radial_power(pixels), whole[0], rtol=1e-12)
    np.testing.assert_allclose(image_sharpness(pixels), whole[1], rtol=1e-12)


def test_leave_one_out_equals_recomputation() -> None:
    groups = [np.array_split(x, 5) for x in (noise(11), blurred(noise(12)))]
    whole, without = log_spectral_distance_leave_one_out(*groups)
    same, anew = leave_one_out(log_spectral_distance, *groups)
    assert whole == pytest.approx(same, abs=1e-9)
    assert without == pytest.approx(anew, abs=1e-9)
    with pytest.raises(ValueError, match="at least 2, got 1 and 5"):
        log_spectral_distance_leave_one_out(groups[0][:1], groups[1])


def test_invalid_pixels_raise_value_error() -> None:
    with pytest.raises(ValueError, match=r"\(N, H, W, C\) uint8 pixels, N >= 1, got .* float64"):
        sharpness(np.zeros((2, 8, 8, 1)))
    with pytest.raises(ValueError, match=r"got \(0, 8, 8, 1\)"):
        radial_spectrum(np.zeros((0, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match=r"at least 8 px per side, got \(7, 9\)"):
        radial_spectrum(np.zeros((2, 7, 9, 1), np.uint8))
    with pytest.raises(ValueError, match=r"6 and 11 radii .* the same size"):
        log_spectral_distance(noise(13, 0.1, (2, 8, 8, 1)), noise(13, 0.1, (2, 16, 16, 1)))
