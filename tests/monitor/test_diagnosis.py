"""The GAN monitor: statistics with known answers, and verdicts on synthetic training histories."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from triptych.core.objectives import AdversarialSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.monitor.diagnosis import diagnose
from triptych.monitor.remedies import remedies_for
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.monitor.verdicts import NO_PROBLEM, Diagnosis

SPEC = AdversarialSpec()
STEPS, OBSERVATIONS = 1000, 25
Line = dict[str, Any]
Change = Callable[
    [float, Line, Line], None
]  # (share of the run done, log line, observation) -> changed in place


def simulated_run(
    change: Change = lambda done, line, observation: None, count: int = OBSERVATIONS
) -> tuple[list[Line], list[Line]]:
    """The log and observations of a healthy GAN training, changed by `change`."""
    rng = np.random.default_rng(0)
    log, observations = [], []
    for k in range(count + 1):
        done = k / OBSERVATIONS
        untrained = math.exp(-12 * done)  # samples leave the start behind in the first tenth
        noise = rng.normal(0, 0.02, 8)
        weights = 0.02 * (1 + 0.5 * math.sqrt(done)) * np.sin(np.arange(32) + 3 * done)
        observation = {
            "step": round(STEPS * done), "modes": 0.9 - 0.85 * untrained + noise[0],
            "pairwise_distance": 1 - untrained, "nearest_sample_ratio": 1.2 + noise[1],
            "data_distance": 1.4 + 2.6 * untrained + noise[2], "duplicates": 0.0,
            "coverage": 0.6 * (1 - untrained) ** 4, "mode_shift": 0.25 + noise[3], "mode_shares": [0.05] * 20,
            "weight_probes": {"discriminator": weights.tolist(), "generator": (1.3 * weights).tolist()},
            "updates": {"discriminator": 5 * round(STEPS * done), "generator": 5 * round(STEPS * done)},
        }  # fmt: skip
        line = {
            "step": observation["step"], "discriminator/loss": 1.3, "generator/loss": 0.9 + noise[4],
            "discriminator/real": 0.6 + noise[5], "discriminator/fake": 0.4 + noise[6],
            "discriminator/gradient": 5.0, "generator/gradient": 6.0 - 4 * done,
        }  # fmt: skip
        change(done, line, observation)
        observations.append(observation)
        if k:
            log.append(line)
    return log, observations


def verdict(change: Change, count: int = OBSERVATIONS, spec: AdversarialSpec = SPEC) -> Diagnosis:
    return diagnose(*simulated_run(change, count), spec, STEPS)


def test_diagnose__a_healthy_run_is_healthy_at_every_observation() -> None:
    log, observations = simulated_run()
    for k in range(len(observations) + 1):
        log_before = [line for line in log if k and line["step"] <= observations[k - 1]["step"]]
        assert diagnose(log_before, observations[:k], SPEC, STEPS).verdict in NO_PROBLEM, k
    assert diagnose(log, observations, SPEC, STEPS) == Diagnosis(
        "healthy", evidence=(diagnose(log, observations, SPEC, STEPS).evidence[0],), clean=True
    )


def test_diagnose__noise_at_the_start_is_not_mode_collapse() -> None:
    def slow(
        done: float, line: Line, observation: Line
    ) -> None:  # near the data soon, with few modes for long
        observation |= {
            "modes": 0.05 + 0.3 * done,
            "pairwise_distance": 0.1 + 0.5 * done,
            "coverage": 0.4 * done,
        }
        observation["data_distance"] = 4 - 2.6 * min(1, 2.5 * done)

    def rough(done: float, line: Line, observation: Line) -> None:
        if 0.1 < done < 0.25:
            collapsed(1.0, line, observation)

    for change in (slow, rough):
        log, observations = simulated_run(change)
        for k in range(len(observations)):
            diagnosis = diagnose(log[:k], observations[: k + 1], SPEC, STEPS)
            assert diagnosis.verdict in NO_PROBLEM, (k, diagnosis)


def test_diagnose__a_blur_that_still_sharpens_is_not_mode_collapse() -> None:
    """Blurs of the data's mean fall into one mode; whether they still sharpen tells a start from an end."""

    def blurred(done: float, observation: Line, pace: float) -> None:
        observation["energy_distance"] = 3.0
        if done:
            observation |= {
                "modes": 0.1,
                "pairwise_distance": 0.3,
                "data_distance": 2.9,
                "coverage": 0.0,
                "nearest_sample_ratio": 1.2,
            }
            observation["energy_distance"] = 1.95 + 0.05 * math.sin(40 * done) - pace * done

    diagnoses = {
        pace: verdict(lambda done, line, observation, p=pace: blurred(done, observation, p))
        for pace in (0.3, 0.0)
    }
    assert diagnoses[0.3].verdict == "still learning", diagnoses
    assert diagnoses[0.0].verdict == "mode collapse", diagnoses


def collapsed(done: float, line: Line, observation: Line) -> None:
    if done > 0.5:
        observation |= {
            "modes": 0.1,
            "nearest_sample_ratio": 0.2,
            "duplicates": 0.4,
            "mode_shares": [0.7, 0.3] + [0.0] * 18,
        }


def few_but_for_a_lucky_observation(done: float, line: Line, observation: Line) -> None:
    if done > 0.4:
        observation |= {"modes": 0.55 if done == 1 else 0.2, "mode_shares": [0.7, 0.3] + [0.0] * 18}


def near_duplicates(done: float, line: Line, observation: Line) -> None:
    observation |= {"nearest_sample_ratio": 0.15}


def frozen(done: float, line: Line, observation: Line) -> None:
    observation["weight_probes"]["discriminator"] = [0.1] * 32
    line |= {"discriminator/real": 0.5, "discriminator/fake": 0.9}


def frozen_late(done: float, line: Line, observation: Line) -> None:  # the generator runs off from it later
    if done > 0.4:
        observation["weight_probes"]["discriminator"] = [0.02] * 32
    if done > 0.7:
        line["discriminator/gradient"] = 5e4
        observation |= {"data_distance": 4.4, "coverage": 0.0}


def stopped_by_a_burst(done: float, line: Line, observation: Line) -> None:
    if done > 0.4:
        line["generator/loss"] = 4e6
        observation |= {"data_distance": 4.4, "coverage": 0.0}
    if done > 0.7:
        observation["weight_probes"]["discriminator"] = [0.02] * 32


def idle(done: float, line: Line, observation: Line) -> None:  # before a critic that has learned to detect it
    observation["weight_probes"]["generator"] = [0.02 + 1e-5 * done] * 32
    observation |= {
        "data_distance": 4.0,
        "coverage": 0.0,
        "modes": 0.05,
        "pairwise_distance": 0.0,
        "duplicates": 1.0,
    }
    line |= {"discriminator/real": 0.99, "discriminator/fake": 0.01}


def weak(done: float, line: Line, observation: Line) -> None:
    line |= {"discriminator/real": 0.45, "discriminator/fake": 0.8}
    observation |= {"data_distance": 3.5, "coverage": 0.0}


def vanished(done: float, line: Line, observation: Line) -> None:
    line |= {"discriminator/real": 0.999, "discriminator/fake": 1e-3}
    line["generator/gradient"] = 5.0 if done < 0.05 else 1e-3
    observation |= {"data_distance": 3.8, "coverage": 0.0, "modes": 0.05}


def overconfident(done: float, line: Line, observation: Line) -> None:
    line |= {"discriminator/real": 0.999, "discriminator/fake": 1e-3}
    observation |= {"data_distance": 3.8, "coverage": 0.0}


def ran_away(done: float, line: Line, observation: Line) -> None:
    scale = 1 + 40 * math.sqrt(done)
    observation["weight_probes"] = {
        who: (scale * np.array(w)).tolist() for who, w in observation["weight_probes"].items()
    }


def blown(done: float, line: Line, observation: Line) -> None:
    if done > 0.5:
        line |= {"generator/loss": 4e6, "discriminator/real": 1.0, "discriminator/fake": 0.0}
        observation |= {"data_distance": 4.5, "coverage": 0.0}


def indifferent(done: float, line: Line, observation: Line) -> None:
    line |= {"discriminator/real": 0.501, "discriminator/fake": 0.5}
    observation |= {"coverage": 0.1}


def burst(done: float, line: Line, observation: Line) -> None:
    if done < 0.05:
        line["generator/loss"] = 2e4
    observation |= {"coverage": 0.1, "modes": 0.2}  # and few modes ever since


def garbage(done: float, line: Line, observation: Line) -> None:
    if done > 0.4:
        observation |= {"data_distance": 3.0, "coverage": 0.0}


def ignored(done: float, line: Line, observation: Line) -> None:
    observation |= {"label_association": 0.001 * math.sin(20 * done), "label_association_real": 0.8}


def partly_shuffled(
    done: float, line: Line, observation: Line
) -> None:  # shuffled labels that act as more noise
    observation |= {"label_association": 0.08 + 0.01 * math.sin(20 * done), "label_association_real": 0.73}


def meaningless(done: float, line: Line, observation: Line) -> None:
    observation |= {"label_association": 0.001, "label_association_real": 0.001}


def worse(done: float, line: Line, observation: Line) -> None:
    observation |= {
        "data_distance": 4 + 2 * done,
        "coverage": 0.0,
        "modes": 0.05,
        "pairwise_distance": 0.05,
        "duplicates": 1.0,
    }


def hopping(done: float, line: Line, observation: Line) -> None:
    observation |= {"mode_shift": 0.8, "modes": 0.9 if round(OBSERVATIONS * done) % 2 else 0.45}


def poisoned(done: float, line: Line, observation: Line) -> None:
    if done > 0.7:
        line["generator/loss"] = math.nan


@pytest.mark.parametrize(
    ("change", "name", "fatal"),
    [
        (collapsed, "mode collapse", True),
        (few_but_for_a_lucky_observation, "mode collapse", True),
        (near_duplicates, "mode collapse", True),
        (frozen, "critic not learning", False),
        (frozen_late, "critic not learning", False),
        (stopped_by_a_burst, "divergence", True),
        (idle, "generator not learning", False),
        (weak, "critic not learning", False),
        (vanished, "critic too strong", True),
        (overconfident, "critic too strong", False),
        (ran_away, "divergence", False),
        (blown, "divergence", True),
        (indifferent, "critic not learning", False),
        (burst, "divergence", False),
        (garbage, "divergence", True),
        (worse, "mode collapse", True),
        (ignored, "labels have no effect", False),
        (partly_shuffled, "labels have no effect", False),
        (meaningless, "labels have no effect", False),
        (hopping, "oscillation", False),
        (poisoned, "non-finite values", True),
    ],
)
def test_diagnose__every_planted_problem_gets_its_verdict(change: Change, name: str, fatal: bool) -> None:
    diagnosis = verdict(change)
    assert (diagnosis.verdict, diagnosis.fatal) == (name, fatal), diagnosis
    assert diagnosis.since is not None and any(c.isdigit() for c in " ".join(diagnosis.evidence))


def test_diagnose__since_is_the_first_bad_observation_and_one_alone_does_not_count() -> None:
    diagnosis = verdict(collapsed)
    assert diagnosis.since == 520  # the first observation after half of the run
    assert "mode 0 (70% of the samples)" in diagnosis.evidence[0]

    def once(done: float, line: Line, observation: Line) -> None:
        if abs(done - 0.6) < 0.01:
            collapsed(done, line, observation)

    assert verdict(once).verdict == "healthy"
    assert (
        verdict(once, count=15).verdict == "too early"
    )  # it is the last observation, and not healthy either


def test_weight_growth_does_not_depend_on_the_scale_of_layers() -> None:
    """Two of a mapping's hundreds, which stand still, do not hide that all others have run away."""

    def scaled(done: float, line: Line, observation: Line) -> None:
        ran_away(done, line, observation)
        observation["weight_probes"]["generator"][:2] = [100.0, -100.0]
        observation["weight_probes"]["discriminator"] = [0.02] * 32
        if done == 0:
            observation["weight_scales"] = {"generator": [100.0] * 2 + [0.015] * 30}

    def unscaled(done: float, line: Line, observation: Line) -> None:
        scaled(done, line, observation)
        observation.pop("weight_scales", None)

    assert verdict(scaled).verdict == "divergence" and verdict(unscaled).verdict != "divergence"


def test_diagnose__mode_collapse_in_an_extended_run() -> None:
    log, observations = simulated_run()  # 1,000 steps, observed every 40
    later_log, later = simulated_run(lambda done, line, observation: collapsed(1.0, line, observation))
    for line, observation in zip(later_log, later[1:], strict=True):  # 7,000 more, observed every 280
        observation["step"] = line["step"] = STEPS + 7 * observation["step"]
    diagnosis = diagnose([*log, *later_log[:15]], [*observations, *later[1:16]], SPEC, 8 * STEPS)
    assert (diagnosis.verdict, diagnosis.since) == ("mode collapse", 2120)  # the first after the warm-up


def test_diagnose__a_loss_spike_with_recovery_is_healthy() -> None:
    def recovered(done: float, line: Line, observation: Line) -> None:
        burst(done, line, observation)
        observation |= {"coverage": 0.15, "modes": 0.7}  # hard data: much stays uncovered in good health

    assert verdict(recovered).verdict == "healthy"


def test_diagnose__a_critic_of_scores_may_win() -> None:
    def scores(done: float, line: Line, observation: Line) -> None:
        line |= {"discriminator/real": 40.0, "discriminator/fake": -35.0, "discriminator/loss": -75.0}

    assert verdict(scores, spec=AdversarialSpec(critic_output="scores")).verdict == "healthy"

    def dead(done: float, line: Line, observation: Line) -> None:
        scores(done, line, observation)
        line["generator/gradient"] = 5.0 if done < 0.05 else 1e-4
        observation |= {"data_distance": 3.8, "coverage": 0.0}

    assert verdict(dead, spec=AdversarialSpec(critic_output="scores")).verdict == "critic too strong"


def low_contrast(done: float, observation: Line, until: float) -> None:
    """Natural images: gray ones, as at the start, are nearer to them than they are to each other."""
    gray = 1 if done <= until else math.exp(-12 * (done - until))
    observation |= {
        "data_distance": 1.1 - 0.6 * gray,
        "energy_distance": 0.05 + 0.9 * gray,
        "coverage": 0.6 - 0.56 * gray,
    }
    observation |= {"modes": 0.9 - 0.84 * gray, "pairwise_distance": 1 - 0.95 * gray}


def test_diagnose__low_contrast_images_are_not_good_ones() -> None:
    def starved(done: float, line: Line, observation: Line) -> None:
        overconfident(done, line, observation)
        low_contrast(done, observation, 1)

    assert verdict(starved).verdict == "critic too strong"

    def slow(done: float, line: Line, observation: Line) -> None:
        low_contrast(done, observation, 0.35)

    log, observations = simulated_run(slow)
    for k in range(len(observations)):
        assert diagnose(log[:k], observations[: k + 1], SPEC, STEPS).verdict in NO_PROBLEM, k
    assert diagnose(log, observations, SPEC, STEPS).verdict == "healthy"


def test_diagnose__one_image_unlike_the_untrained_ones_is_mode_collapse() -> None:
    def stuck(done: float, line: Line, observation: Line, moves: float = 0.4) -> None:
        low_contrast(done, observation, 1)
        observation |= {"duplicates": 1.0, "projections": [[moves * min(1, 5 * done), 0.0]] * 8}

    assert verdict(stuck).verdict == "mode collapse"
    assert verdict(lambda *now: stuck(*now, moves=0.1)).verdict == "poor image quality"  # it may yet begin


def test_diagnose__a_recorded_failure_is_the_verdict() -> None:
    log, observations = simulated_run(count=4)
    observations.append({"step": 161, "failure": "the generator's loss became nan by step 160"})
    diagnosis = diagnose(log, observations, SPEC, STEPS)
    assert (
        diagnosis.verdict == "non-finite values"
        and diagnosis.since == 161
        and "nan by step 160" in diagnosis.summary()
    )


def test_diagnose__nan_after_an_explosion_is_divergence() -> None:
    log, observations = simulated_run()
    half = len(log) // 2
    log[half]["generator/gradient"] = math.inf
    assert diagnose(log, observations, SPEC, STEPS).verdict == "non-finite values"
    log[half - 9]["generator/loss"] = 1e9  # long past
    assert diagnose(log, observations, SPEC, STEPS).verdict == "non-finite values"
    log[half - 1]["generator/loss"] = 1e9
    diagnosis = diagnose(log, observations, SPEC, STEPS)
    assert diagnosis.verdict == "divergence" and diagnosis.fatal
    assert "generator/loss reached 1e+09" in diagnosis.evidence[0] and "inf by step" in diagnosis.evidence[1]


def test_diagnose__without_observations_it_is_too_early() -> None:
    assert diagnose([], [], SPEC, STEPS).verdict == "too early"


def test_remedies__are_two_and_fit_the_model() -> None:
    config = {"lr": 0.02, "loss": "min-max", "instance_noise": 0.0, "latent": 2, "beta1": 0.5}
    first, second = remedies_for("critic too strong", config, {"seed": 0})
    assert first.flags == {"--loss": "non-saturating"} and second.flags == {"--instance-noise": "0.3"}
    assert remedies_for("divergence", config, {})[0].flags == {"--lr": "0.0002"}
    assert remedies_for("mode collapse", config, {})[0].flags == {"--latent": "100"}
    for name in ("non-finite values", "divergence", "critic too strong", "mode collapse"):
        assert len(remedies_for(name, {}, {"seed": 3})) == 2
    assert remedies_for("oscillation", {}, {"seed": 3, "batch": 128})[0].flags == {"--seed": "4"}


def test_remedies__change_a_setting_of_the_run() -> None:
    def flags(verdict: str, config: Line, options: Line) -> list[dict[str, str]]:
        return [remedy.flags for remedy in remedies_for(verdict, config, options)]

    assert flags("non-finite values", {}, {"precision": "fp32", "on_collapse": "rollback"}) == [
        {"--seed": "1"}
    ]
    assert flags("oscillation", {}, {"batch": 96, "micro_batch": 48})[0] == {"--batch": "144"}
    for never_fatal in ("oscillation", "labels have no effect", "critic not learning"):
        assert {"--on-collapse": "rollback"} not in flags(
            never_fatal, {}, {"batch": 128, "conditional": None}
        )
    alike: Line = {"lr": 2e-4, "critic_lr": None, "generator_interval": 1}
    assert flags("critic not learning", alike, {})[0] == {"--generator-interval": "2"}
    assert flags("critic not learning", {**alike, "critic_lr": 1e-3}, {})[0] == {"--generator-interval": "2"}
    assert flags("critic not learning", {**alike, "critic_lr": 1e-5}, {})[0] == {"--critic-lr": "0.0002"}
    idle: Line = {"lr": 1e-6, "generator_interval": 5, "lipschitz": "clipping", "clip_value": 1e-4}
    assert flags("generator not learning", idle, {}) == [{"--lr": "1e-3"}, {"--generator-interval": "1"}]
    assert flags("generator not learning", {**idle, "lr": 1e-3}, {})[1] == {"--clip-value": "0.01"}
    style = {"augment": {"kind": "none"}, "gamma": 10.0, "latent": 64}
    few, many = {"images": 300, "batch": 16}, {"images": 60_000, "batch": 16}
    assert flags("mode collapse", style, few) == [{"--augment": "adaptive"}, {"--gamma": "30"}]
    assert flags("mode collapse", style, many) == [{"--gamma": "30"}, {"--batch": "128"}]


# --- what an observation measures ------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> tuple[Reference, Split]:
    data = load("digits")
    return Reference(data.train, data.spec.classes), data.test


def test_observe_samples__real_images_have_ratios_of_one(digits: tuple[Reference, Split]) -> None:
    reference, test = digits
    assert test.labels is not None
    statistics = observe_samples(reference, test.pixels[:256], np.asarray(test.labels[:256]))
    for name in (
        "modes",
        "pairwise_distance",
        "nearest_sample_ratio",
        "data_distance",
        "coverage",
        "intrinsic_dimension",
    ):
        assert statistics[name] == pytest.approx(1, abs=0.15), name
    assert (
        statistics["duplicates"] == 0
        and statistics["label_association"] > 0.8
        and statistics["label_association_real"] > 0.8
    )
    assert statistics["saturation"] == pytest.approx(statistics["saturation_real"], abs=0.02)


def test_observe_samples__gray_images_have_a_large_energy_distance() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(0, 45, (800, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    natural = np.clip(128 + rng.normal(0, 40, (800, 1, 1, 1)) + wide, 0, 255).astype(np.uint8)
    reference = Reference(Split(natural[:600]))
    gray = np.full((150, 16, 16, 3), 128, dtype=np.uint8)
    assert observe_samples(reference, gray)["data_distance"] < 1
    assert observe_samples(reference, gray)["energy_distance"] > 0.5
    assert abs(observe_samples(reference, natural[600:750])["energy_distance"]) < 0.02


def test_observe_samples__collapsed_noisy_and_mislabeled_sets(digits: tuple[Reference, Split]) -> None:
    reference, test = digits
    pixels, labels = test.pixels[:256], np.asarray(test.labels)[:256]
    one = observe_samples(reference, np.repeat(pixels[:1], 256, axis=0))
    assert one["pairwise_distance"] == 0 and one["modes"] < 0.1
    assert one["duplicates"] == pytest.approx(1 - reference.chance_duplicates, abs=1e-5)
    two = observe_samples(reference, pixels[labels < 2])
    assert two["modes"] < 0.5 and two["data_distance"] < 1.3 and sum(two["class_shares"][:2]) > 0.9
    blend = np.linspace(0, 1, 256)[:, None, None, None]
    line = (blend * pixels[0] + (1 - blend) * pixels[3]).astype(np.uint8)
    assert observe_samples(reference, line)["nearest_sample_ratio"] < 0.1
    noise = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    lost = observe_samples(reference, noise)
    assert lost["coverage"] == 0 and lost["data_distance"] > 3
    shuffled = observe_samples(reference, pixels, np.random.default_rng(0).permutation(labels))
    assert abs(shuffled["label_association"]) < 0.03 and shuffled["class_diversity_ratio"] == pytest.approx(
        1, abs=0.05
    )
    assert (
        observe_samples(reference, np.repeat(pixels[:2], 128, axis=0), labels)["class_diversity_ratio"]
        <= 0.21
    )
    swapped = observe_samples(reference, pixels, 9 - labels)
    assert swapped["label_association"] > 0.8  # another name for every class is no silence


def test_observe_samples__a_memorizing_generator_has_few_duplicates() -> None:
    pixels, rng = load("digits").train.pixels, np.random.default_rng(0)
    for count in (27, 200, 1000):
        reference = Reference(Split(pixels[:count]))
        for _ in range(5):
            drawn = pixels[rng.integers(0, count, reference.samples)]
            assert observe_samples(reference, drawn)["duplicates"] < 0.12
        assert (
            observe_samples(reference, np.repeat(pixels[:1], reference.samples, axis=0))["duplicates"] > 0.6
        )


def test_label_probe__a_background_that_is_slightly_off_hides_no_label() -> None:
    """Black in all real images: features that hardly vary there would dominate the probe."""
    data = load("shapes")
    train, test = (split.pixels[:1500].copy() for split in (data.train, data.test))
    train[:, :8], test[:, :8] = 0, 0
    labels = np.asarray(data.test.labels)[:256]
    reference = Reference(Split(train, np.asarray(data.train.labels)[:1500]), data.spec.classes)
    associations = [
        observe_samples(reference, np.maximum(test[:256], level), labels)["label_association"]
        for level in (0, 4)
    ]
    assert associations[0] > 0.2 and associations[1] > 0.8 * associations[0]


def test_label_probe__labels_that_real_images_do_not_show_are_not_measured(
    digits: tuple[Reference, Split],
) -> None:
    data, rng = load("digits").train, np.random.default_rng(0)
    images, sample_labels = data.pixels[:256], rng.integers(0, 2, 256)

    def observed(labels: np.ndarray, count: int = len(data), classes: int = 2) -> Line:
        split = Split(data.pixels[:count], labels[:count])
        return observe_samples(Reference(split, classes), images, sample_labels)

    rare = (rng.random(len(data)) < 0.03).astype(np.int64)
    assert "label_association" not in observed(rare) and "rare" in observed(rare)["labels_not_measured"]
    random = rng.integers(0, 2, len(data))
    assert "label_association" not in observed(random, count=40)
    unrelated = observed(random)  # these labels are unrelated to the images
    assert abs(unrelated["label_association_real"]) < 0.006 and "labels_not_measured" not in unrelated
    assert "only one class" in observed(np.zeros(len(data), dtype=np.int64), classes=1)["labels_not_measured"]
    assert (
        "more than 40 classes" in observed(rng.integers(0, 50, len(data)), classes=50)["labels_not_measured"]
    )


def test_diagnose__labels_of_images_without_shapes_are_not_measured() -> None:
    """A reader that sees one or two classes everywhere sees none."""

    def blobs(done: float, line: Line, observation: Line) -> None:
        ignored(done, line, observation)
        observation["class_diversity_ratio"] = 0.4

    def shapes(done: float, line: Line, observation: Line) -> None:
        ignored(done, line, observation)
        observation["class_diversity_ratio"] = 0.9

    assert (
        verdict(blobs).verdict == "healthy"
        and "labels was not measured: the label probe" in verdict(blobs).summary()
    )
    assert verdict(shapes).verdict == "labels have no effect"


def test_diagnose__a_healthy_run_says_what_was_not_measured() -> None:
    diagnosis = verdict(
        lambda done, line, observation: observation.update(labels_not_measured="there are few images")
    )
    assert diagnosis.verdict == "healthy" and diagnosis.summary().endswith(
        "was not measured: there are few images"
    )


def test_diagnose__a_critic_that_hardly_distinguishes_is_mentioned() -> None:
    diagnosis = verdict(
        lambda done, line, observation: line.update(
            {"discriminator/fake": line["discriminator/real"] - 0.004}
        )
    )
    assert diagnosis.verdict == "healthy" and "hardly distinguishes real from fake" in diagnosis.summary()
    assert "hardly" not in verdict(lambda done, line, observation: None).summary()


def test_observe_samples__duplicates_in_the_data_are_subtracted() -> None:
    data = load("digits")
    blank = np.arange(len(data.train)) % 10 < 3
    reference = Reference(Split(np.where(blank[:, None, None, None], 0, data.train.pixels)))
    faithful = data.test.pixels[:256].copy()
    faithful[:77] = 0
    assert observe_samples(reference, faithful)["duplicates"] < 0.1
    assert observe_samples(reference, np.zeros_like(faithful))["duplicates"] > 0.6


def test_observe_samples__shifts_between_observations(digits: tuple[Reference, Split]) -> None:
    reference, test = digits
    first = observe_samples(reference, test.pixels[:256])
    assert "projection_shift" not in first
    assert observe_samples(reference, test.pixels[:256], None, first)["projection_shift"] == 0
    other = observe_samples(reference, test.pixels[::-1][:256], None, first)
    assert other["projection_shift"] > 0.5 and other["mode_shift"] < 0.4


def test_observe_samples__points_and_unlabeled_images() -> None:
    rng = np.random.default_rng(0)
    angle = rng.integers(0, 8, 4000) * np.pi / 4
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) * 90 + 128 + rng.normal(0, 2, (4000, 2))
    points = ring.round().astype(np.uint8)[:, None, None, :]  # (N, 1, 1, 2)
    reference = Reference(Split(points))
    assert observe_samples(reference, points[-256:])["modes"] == pytest.approx(1, abs=0.2)
    half = points[-512:][(angle[-512:] < 3)][:200]
    assert observe_samples(reference, half)["modes"] < 0.65


def test_diagnose__a_critic_that_wins_in_the_first_updates_is_no_problem() -> None:
    def winning(done: float, line: Line, observation: Line, updates: int) -> None:
        overconfident(done, line, observation)
        observation["updates"] = {name: round(updates * done) for name in observation["updates"]}

    young, old = (
        verdict(lambda done, line, observation, u=u: winning(done, line, observation, u)) for u in (140, 1000)
    )
    assert young.verdict in NO_PROBLEM, young
    assert old.verdict == "critic too strong", old


def test_diagnose__too_early_says_how_many_observations_there_are() -> None:
    log, observations = simulated_run(count=3)
    diagnosis = diagnose(log, observations, SPEC, STEPS)
    assert diagnosis.verdict == "too early"
    assert diagnosis.evidence == (
        "3 observations in the first 120 of 1,000 steps; a diagnosis needs 5, and a quarter of the steps",
    )
