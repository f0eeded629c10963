import numpy as np
import pytest

from triptych.metrics.extractors.resize import PillowBicubic, TF1Bilinear

RULES = [TF1Bilinear, PillowBicubic, lambda size: PillowBicubic(size, "uint8")]


def line(*levels: int) -> np.ndarray:
    """One row of gray levels, repeated downwards: (1, N, N, 1)."""
    return np.tile(np.array(levels, np.uint8), (len(levels), 1))[None, :, :, None]


def test_tf1_samples_at_i_times_scale_without_half_pixel_centers() -> None:
    larger = TF1Bilinear(4)(line(0, 10))[0, 0]  # places 0, 0.5, 1 and 1.5, which is beyond the last
    np.testing.assert_array_equal(larger, [[0, 5, 10, 10]] * 4)
    smaller = TF1Bilinear(2)(line(0, 10, 20, 60))[0, 0]  # places 0 and 2: the others are not seen
    np.testing.assert_array_equal(smaller, [[0, 20]] * 2)
    between = TF1Bilinear(2)(line(0, 10, 20))[0, 0]  # places 0 and 1.5
    np.testing.assert_array_equal(between, [[0, 15]] * 2)


def test_tf1_upsamples_and_downsamples() -> None:
    pixels = np.array([[0, 100], [200, 240]], np.uint8)[None, :, :, None]
    result = TF1Bilinear(4)(pixels)[0, 0]
    np.testing.assert_array_equal(result[1], [100, (0 + 100 + 200 + 240) / 4, 170, 170])
    np.testing.assert_array_equal(result[:, 0], [0, 100, 200, 200])


def test_clean_is_cubic_convolution_with_a_minus_half() -> None:
    """Keys 1981, a = -1/2. The first new pixel lies 1/4 from the first old one and 5/4 from the second,
    the next one 1/4 and 3/4; weights are divided by their sum at the edge.
    """

    def weight(t: float) -> float:
        return 1.5 * t**3 - 2.5 * t**2 + 1 if t < 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2

    far = weight(1.25) / (weight(1.25) + weight(0.25))
    near = weight(0.75) / (weight(0.75) + weight(0.25))
    assert (far, near) == (pytest.approx(-3 / 34), pytest.approx(29 / 140))
    wanted = [100 + 100 * far, 100 + 100 * near, 200 - 100 * near, 200 - 100 * far]
    result = PillowBicubic(4)(line(100, 200))[0, 0]
    np.testing.assert_allclose(result, [wanted] * 4, rtol=1e-6)
    np.testing.assert_array_equal(PillowBicubic(4, "uint8")(line(100, 200))[0, 0], np.rint([wanted] * 4))


def test_clean_clips_and_does_not_round() -> None:
    result = PillowBicubic(4)(line(0, 255))[0, 0].numpy()
    assert result[0, 0] == 0 and result[0, 3] == 255
    assert result[0, 1] == pytest.approx(255 * 29 / 140)


def test_downsampled_stripes_alias_under_tf1_only() -> None:
    stripes = line(*[0, 255] * 32)
    assert TF1Bilinear(32)(stripes).unique().tolist() == [0]  # every second column, unseen
    inner = PillowBicubic(32)(stripes)[..., 2:-2]
    np.testing.assert_allclose(inner, 127.5, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_size_is_the_same_image(rule) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    result = rule(9)(pixels)
    assert result.shape == (2, 3, 9, 9)
    np.testing.assert_array_equal(result, pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("rule", RULES)
def test_channels_are_resized_independently_for_any_shape(rule) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 23, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    whole = rule(11)(pixels).numpy()
    assert whole.shape == (3, 3, 11, 11) and whole.dtype == np.float32
    assert whole.min() >= 0 and whole.max() <= 255
    np.testing.assert_array_equal(whole[1:2, 2:], rule(11)(pixels[1:2, :, :, 2:]))
    one = rule(11)(np.full((1, 1, 1, 1), 7, np.uint8))
    np.testing.assert_array_equal(one, np.full((1, 1, 11, 11), 7.0))


def test_names_identify_the_rules() -> None:
    assert TF1Bilinear(299).name == "TF1 bilinear 299"
    assert PillowBicubic(299).name == "Pillow bicubic 299 float"
    assert PillowBicubic(224, "uint8").name == "Pillow bicubic 224 uint8"
