from __future__ import annotations

import pytest

from triptych.core.nearest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "names", "expected"),
    [
        ("minmax", ("non-saturating", "min-max"), "min-max"),
        ("MNIST", ("digits", "mnist"), "mnist"),
        ("trian", ("demo", "train", "resume"), "train"),
        ("dpm", ("ddpm", "ddim", "heun", "dpm++"), "dpm++"),
        ("bf", ("auto", "fp32", "bf16"), "bf16"),
        ("trunc", ("truncation",), "truncation"),
        ("zzz", ("demo", "train"), None),
        ("x", ("fp32", "bf16"), None),
        ("", ("a",), None),
        ("++", ("dpm++",), None),
    ],
)
def test_the_nearest_name(word: str, names: tuple[str, ...], expected: str | None) -> None:
    assert nearest(word, names) == expected


def test_what_others_call_it_goes_before_letters() -> None:
    meant = {"txt2img": "diffusion", "gan": "dcgan", "qqqq": "nowhere"}
    assert did_you_mean("txt2img", ("dcgan", "wgan", "diffusion"), meant) == " Did you mean diffusion?"
    assert nearest("GAN", ("wgan", "dcgan"), meant) == "dcgan"
    assert nearest("qqqq", ("wgan", "dcgan"), meant) is None
    assert did_you_mean("q", ("dcgan",)) == ""
