"""Whole shapes, grain and blur: measured on a scale that a source's own images make, and what is said."""

from __future__ import annotations

import numpy as np
import pytest
from test_diagnosis import Line, game, verdict

from triptych.core.objectives import AdversarialSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.monitor.diagnosis import CALM, Diagnosis, alarms, diagnose
from triptych.monitor.likeness import Likeness, blurred, halves, noisy
from triptych.monitor.sample_statistics import Reference, look_at


@pytest.fixture(scope="module")
def digits() -> tuple[Reference, np.ndarray]:
    data = load("digits")
    reference = Reference(data.train)
    return reference, data.test.pixels[: reference.samples]


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Smooth colored images: sums of a few waves of low frequency."""
    rng = np.random.default_rng(seed)
    at = np.arange(32) / 32 * 2 * np.pi
    waves = np.zeros((count, 32, 32, 3))
    for _ in range(6):
        down, right = rng.integers(0, 4, (2, count, 1, 1))
        turn = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        wave = np.sin(down * at[:, None] + right * at[None, :] + turn)  # (N, 32, 32)
        waves += wave[..., None] * rng.normal(0, 30, (count, 1, 1, 3))
    grain = rng.normal(0, 2, waves.shape)
    return np.clip(np.round(127 + waves + grain), 0, 255).astype(np.uint8)


def test_real_images_lie_at_one_end_and_spoilt_ones_at_the_other(
    digits: tuple[Reference, np.ndarray],
) -> None:
    reference, held_out = digits
    rng = np.random.default_rng(1)
    real, cut, grainy, soft = (
        reference.likeness(images)
        for images in (held_out, halves(held_out, rng), noisy(held_out, rng), blurred(held_out))
    )
    assert 0.8 < real["shapes"] < 1.25 and abs(real["grain"]) < 0.2 and abs(real["blur"]) < 0.2
    assert cut["shapes"] < 1.5 * cut["shapes_halves"] < 0.4
    assert 0.8 < grainy["grain"] < 1.2 and 0.8 < soft["blur"] < 1.2


def test_grain_on_a_few_unlabeled_photos_is_named() -> None:
    images = photos(300)
    likeness = Likeness(images[:60], images[120:])
    fresh = photos(60, seed=1)
    assert likeness(fresh)["grain"] < 0.5
    assert likeness(noisy(fresh, np.random.default_rng(2)))["grain"] > 0.8
    checkered = fresh.astype(np.int64) + 40 * (np.indices((32, 32)).sum(0) % 2)[None, :, :, None]
    assert likeness(np.clip(checkered, 0, 255).astype(np.uint8))["grain"] > 1
    detailed = noisy(noisy(fresh, np.random.default_rng(3)), np.random.default_rng(4))
    assert likeness(fresh, detailed[:8])["grain"] > 1  # what a person sees counts


def test_what_has_no_scale_is_not_measured() -> None:
    points = np.zeros((40, 1, 1, 3), dtype=np.uint8)
    assert Likeness(points, points)(points) == {}
    tiny = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    assert set(Likeness(tiny[:20], tiny[20:])(tiny)) == {"shapes", "shapes_halves"}  # no detail to speak of
    noise = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 1), dtype=np.uint8)
    assert "grain" not in Likeness(noise[:20], noise[20:])(noise)  # grain is usual there
    blank = np.zeros((80, 16, 16, 1), dtype=np.uint8)
    assert all(np.isfinite(list(Likeness(blank[:20], blank[20:])(blank).values())))


def test_a_look_carries_the_likeness_and_how_many_were_looked_at(
    digits: tuple[Reference, np.ndarray],
) -> None:
    reference, held_out = digits
    seen = look_at(reference, held_out, detailed=noisy(held_out, np.random.default_rng(0))[:64])
    assert seen["samples"] == reference.samples and seen["images"] == reference.count
    assert seen["shapes"] > 0.8 and seen["grain"] > 0.8


WELL = {"shapes": 0.7, "shapes_halves": 0.2, "grain": 0.1, "blur": -0.2, "samples": 256, "images": 5000}


def after(turns: int, look: Line, done: float) -> None:
    look["turns"] = {"discriminator": round(turns * done), "generator": round(turns * done)}


def said_of(turns: int = 5000, **seen: float) -> Diagnosis:
    def change(done: float, line: Line, look: Line) -> None:
        look |= WELL | seen
        after(turns, look, done)

    return verdict(change)


def test_grain_blur_and_scraps_are_poor_and_in_a_young_run_still_learning() -> None:
    assert said_of().verdict == "healthy"
    for fault, word in (
        ({"grain": 1.4}, "grain"), ({"blur": 1.3}, "blur"), ({"shapes": 0.19}, "no nearer"),
    ):  # fmt: skip
        old, young = said_of(**fault), said_of(turns=600, **fault)
        assert old.verdict == "poor images" and word in old.line(), old
        assert young.verdict == "still learning" and word in young.line(), young
        assert not old.sick and not young.sick and old.sound and young.sound


def test_shapes_that_get_better_are_still_learnt() -> None:
    def rising(done: float, line: Line, look: Line) -> None:
        look |= WELL | {"shapes": 0.05 + 0.15 * done}

    assert verdict(rising).verdict == "still learning"


def test_where_shapes_cannot_be_told_health_is_not_claimed() -> None:
    found = said_of(shapes=0.9, shapes_halves=0.8)
    assert found.verdict == "not judged" and "whether shapes are right was not asked" in found.line()
    assert said_of(shapes=0.3, shapes_halves=0.8).verdict == "poor images"  # far below even so
    assert said_of(shapes_halves=0.8, grain=2.0).verdict == "poor images"


def test_of_a_handful_of_samples_nothing_is_said() -> None:
    few = {"samples": 8, "images": 30}
    for fault in ({}, {"modes": 0.1, "spread": 0.2}, {"shapes": 0.0, "grain": 3.0}, {"sparse": 0.1}):
        found = said_of(**WELL | few | fault)
        assert found.verdict == "not judged" and "30 training images, 8 samples" in found.line(), found


def test_a_young_run_of_few_modes_is_no_collapse_unless_samples_repeat() -> None:
    """A few hundred moves of the generator: blurs of the mean fall into one mode, in every run."""

    def alarmed(turns: int, **seen: float) -> set[str]:
        def change(done: float, line: Line, look: Line) -> None:
            look |= {"modes": 0.1, "spread": 0.3, "covered": 0.2, "distance": 1.2, **seen}
            after(turns, look, done)

        log, looks = game(change)
        return {name for _, name in alarms(log, looks, AdversarialSpec(), 1000)}

    assert alarmed(600) == set()
    assert alarmed(600, sparse=0.5) == set()
    for again in ({"sparse": 0.1}, {"duplicates": 0.5}):
        assert alarmed(600, spread=0.8, **again) == {"generator collapsed"}
        assert alarmed(600, spread=0.02, **again) == set()  # all still the gray of the start
    assert alarmed(5000) == {"generator collapsed"}  # never had any, in a long run


def test_variety_that_was_there_and_went_is_a_collapse_in_a_young_run_too() -> None:
    def narrowed(done: float, line: Line, look: Line) -> None:
        after(600, look, done)
        if done > 0.5:
            look |= {"modes": 0.2, "spread": 0.3}

    assert verdict(narrowed).verdict == "generator collapsed"


def test_a_young_run_far_from_the_data_is_not_diverged_unless_it_was_nearer() -> None:
    def far(done: float, line: Line, look: Line, nearer: bool) -> None:
        after(600, look, done)
        if not nearer or done > 0.5:
            look |= {"distance": 3.6, "covered": 0.0}

    away = verdict(lambda done, line, look: far(done, line, look, nearer=False))
    assert away.verdict in CALM, away
    assert verdict(lambda done, line, look: far(done, line, look, nearer=True)).verdict == "diverged"


def test_old_looks_and_verdicts_are_read() -> None:
    log, looks = game()
    for look in looks:
        look.pop("turns")
    assert diagnose(log, looks, AdversarialSpec(), 1000).verdict == "healthy"  # they were asked less
    assert Diagnosis("generator collapsed").sick and not Diagnosis("too early").sick


def test_a_source_of_three_hundred_has_a_reference() -> None:
    reference = Reference(Split(photos(300)))
    assert reference.samples == 75 and {"shapes", "grain"} <= set(reference.likeness(photos(75, seed=3)))
