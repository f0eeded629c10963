"""Shapes, grain and blur, on scales from the data set's own images, and the verdicts they lead to."""

from __future__ import annotations

import numpy as np
import pytest
from test_diagnosis import Line, simulated_run, verdict

from triptych.core.objectives import AdversarialSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.monitor.diagnosis import alarms, diagnose
from triptych.monitor.image_statistics import ImageStatistics, blurred, halves, noisy
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.monitor.verdicts import NO_PROBLEM, Diagnosis


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
        angle = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        wave = np.sin(down * at[:, None] + right * at[None, :] + angle)  # (N, 32, 32)
        waves += wave[..., None] * rng.normal(0, 30, (count, 1, 1, 3))
    grain = rng.normal(0, 2, waves.shape)
    return np.clip(np.round(127 + waves + grain), 0, 255).astype(np.uint8)


def test_image_statistics__real_and_distorted_images_are_the_ends_of_the_scale(
    digits: tuple[Reference, np.ndarray],
) -> None:
    reference, held_out = digits
    rng = np.random.default_rng(1)
    real, cut, grainy, soft = (
        reference.image_statistics(images)
        for images in (held_out, halves(held_out, rng), noisy(held_out, rng), blurred(held_out))
    )
    assert 0.8 < real["shape_density"] < 1.25 and abs(real["grain"]) < 0.2 and abs(real["blur"]) < 0.2
    assert cut["shape_density"] < 1.5 * cut["shape_density_halves"] < 0.4
    assert 0.8 < grainy["grain"] < 1.2 and 0.8 < soft["blur"] < 1.2


def test_image_statistics__grain_on_a_few_unlabeled_photos() -> None:
    images = photos(300)
    likeness = ImageStatistics(images[:60], images[120:])
    fresh = photos(60, seed=1)
    assert likeness(fresh)["grain"] < 0.5
    assert likeness(noisy(fresh, np.random.default_rng(2)))["grain"] > 0.8
    checkered = fresh.astype(np.int64) + 40 * (np.indices((32, 32)).sum(0) % 2)[None, :, :, None]
    assert likeness(np.clip(checkered, 0, 255).astype(np.uint8))["grain"] > 1
    detailed = noisy(noisy(fresh, np.random.default_rng(3)), np.random.default_rng(4))
    assert likeness(fresh, detailed[:8])["grain"] > 1  # what a person sees counts


def test_image_statistics__what_has_no_scale_is_not_measured() -> None:
    points = np.zeros((40, 1, 1, 3), dtype=np.uint8)
    assert ImageStatistics(points, points)(points) == {}
    tiny = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 1), dtype=np.uint8)
    assert set(ImageStatistics(tiny[:20], tiny[20:])(tiny)) == {
        "shape_density",
        "shape_density_halves",
    }  # no detail to speak of
    noise = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 1), dtype=np.uint8)
    assert "grain" not in ImageStatistics(noise[:20], noise[20:])(noise)  # grain is usual there
    blank = np.zeros((80, 16, 16, 1), dtype=np.uint8)
    assert all(np.isfinite(list(ImageStatistics(blank[:20], blank[20:])(blank).values())))


def test_observe_samples__includes_image_statistics_and_counts(
    digits: tuple[Reference, np.ndarray],
) -> None:
    reference, held_out = digits
    statistics = observe_samples(reference, held_out, detailed=noisy(held_out, np.random.default_rng(0))[:64])
    assert statistics["samples"] == reference.samples and statistics["images"] == reference.count
    assert statistics["shape_density"] > 0.8 and statistics["grain"] > 0.8


WELL = {
    "shape_density": 0.7,
    "shape_density_halves": 0.2,
    "grain": 0.1,
    "blur": -0.2,
    "samples": 256,
    "images": 5000,
}


def after(updates: int, observation: Line, done: float) -> None:
    observation["updates"] = {"discriminator": round(updates * done), "generator": round(updates * done)}


def diagnosis_of(updates: int = 5000, **measured: float) -> Diagnosis:
    def change(done: float, line: Line, observation: Line) -> None:
        observation |= WELL | measured
        after(updates, observation, done)

    return verdict(change)


def test_diagnose__grain_blur_and_fragments_are_poor_or_still_learning() -> None:
    assert diagnosis_of().verdict == "healthy"
    for fault, word in (
        ({"grain": 1.4}, "grain"), ({"blur": 1.3}, "blur"), ({"shape_density": 0.19}, "no nearer"),
    ):  # fmt: skip
        old, young = diagnosis_of(**fault), diagnosis_of(updates=600, **fault)
        assert old.verdict == "poor image quality" and word in old.summary(), old
        assert young.verdict == "still learning" and word in young.summary(), young
        assert not old.is_problem and not young.is_problem and old.clean and young.clean


def test_diagnose__improving_shapes_are_still_learning() -> None:
    def rising(done: float, line: Line, observation: Line) -> None:
        observation |= WELL | {"shape_density": 0.05 + 0.15 * done}

    assert verdict(rising).verdict == "still learning"


def test_diagnose__not_healthy_where_shapes_cannot_be_measured() -> None:
    diagnosis = diagnosis_of(shape_density=0.9, shape_density_halves=0.8)
    assert diagnosis.verdict == "not assessed" and "shapes were not measured" in diagnosis.summary()
    assert (
        diagnosis_of(shape_density=0.3, shape_density_halves=0.8).verdict == "poor image quality"
    )  # far below even so
    assert diagnosis_of(shape_density_halves=0.8, grain=2.0).verdict == "poor image quality"


def test_diagnose__a_handful_of_samples_is_not_assessed() -> None:
    few = {"samples": 8, "images": 30}
    for fault in (
        {},
        {"modes": 0.1, "pairwise_distance": 0.2},
        {"shape_density": 0.0, "grain": 3.0},
        {"nearest_sample_ratio": 0.1},
    ):
        diagnosis = diagnosis_of(**WELL | few | fault)
        assert (
            diagnosis.verdict == "not assessed"
            and "30 training images allow 8 samples" in diagnosis.summary()
        ), diagnosis


def test_diagnose__few_modes_in_a_young_run_are_no_mode_collapse() -> None:
    """A few hundred moves of the generator: blurs of the mean fall into one mode, in every run."""

    def alarmed(updates: int, **measured: float) -> set[str]:
        def change(done: float, line: Line, observation: Line) -> None:
            observation |= {
                "modes": 0.1,
                "pairwise_distance": 0.3,
                "coverage": 0.2,
                "data_distance": 1.2,
                **measured,
            }
            after(updates, observation, done)

        log, observations = simulated_run(change)
        return {name for _, name in alarms(log, observations, AdversarialSpec(), 1000)}

    assert alarmed(600) == set()
    assert alarmed(600, nearest_sample_ratio=0.5) == set()
    for again in ({"nearest_sample_ratio": 0.1}, {"duplicates": 0.5}):
        assert alarmed(600, pairwise_distance=0.8, **again) == {"mode collapse"}
        assert alarmed(600, pairwise_distance=0.02, **again) == set()  # all still the gray of the start
    assert alarmed(5000) == {"mode collapse"}  # never had any, in a long run


def test_diagnose__lost_diversity_is_mode_collapse_in_a_young_run_too() -> None:
    def narrowed(done: float, line: Line, observation: Line) -> None:
        after(600, observation, done)
        if done > 0.5:
            observation |= {"modes": 0.2, "pairwise_distance": 0.3}

    assert verdict(narrowed).verdict == "mode collapse"


def test_diagnose__a_young_run_far_from_the_data_is_no_divergence() -> None:
    def far(done: float, line: Line, observation: Line, nearer: bool) -> None:
        after(600, observation, done)
        if not nearer or done > 0.5:
            observation |= {"data_distance": 3.6, "coverage": 0.0}

    away = verdict(lambda done, line, observation: far(done, line, observation, nearer=False))
    assert away.verdict in NO_PROBLEM, away
    assert (
        verdict(lambda done, line, observation: far(done, line, observation, nearer=True)).verdict
        == "divergence"
    )


def test_diagnose__observations_without_update_counts() -> None:
    log, observations = simulated_run()
    for observation in observations:
        observation.pop("updates")
    assert (
        diagnose(log, observations, AdversarialSpec(), 1000).verdict == "healthy"
    )  # earlier versions asked for less
    assert Diagnosis("mode collapse").is_problem and not Diagnosis("too early").is_problem


def test_reference__of_three_hundred_images() -> None:
    reference = Reference(Split(photos(300)))
    assert reference.samples == 75 and {"shape_density", "grain"} <= set(
        reference.image_statistics(photos(75, seed=3))
    )
