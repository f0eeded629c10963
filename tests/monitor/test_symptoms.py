"""The GAN monitor: what comes late, what is a normal start, and what is no problem."""

from __future__ import annotations

import numpy as np
import pytest
from test_diagnosis import OBSERVATIONS, STEPS, Line, simulated_run, verdict

from triptych.core.objectives import AdversarialSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.models.registry import load_model_class
from triptych.models.stylegan import Stylegan
from triptych.monitor.diagnosis import alarms, diagnose
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.monitor.verdicts import NO_PROBLEM


def test_diagnose__a_static_generator_comes_before_the_critic_that_then_wins() -> None:
    def stopped(done: float, line: Line, observation: Line) -> None:
        if done > 0.4:
            observation["weight_probes"]["generator"] = [0.02] * 32
        if done > 0.5:  # the critic has learned to detect it, its gradient has vanished
            line |= {"discriminator/real": 0.99, "discriminator/fake": 0.001, "generator/gradient": 1e-4}

    diagnosis = verdict(stopped)
    assert diagnosis.verdict == "generator not learning" and "do not move" in diagnosis.evidence[0], diagnosis


def test_diagnose__a_generator_without_an_update_is_not_static() -> None:
    def seldom(done: float, line: Line, observation: Line) -> None:  # moves every third observation
        update = int(OBSERVATIONS * done) // 3
        observation["updates"] = {"discriminator": observation["step"], "generator": 100 + update}
        observation["weight_probes"]["generator"] = (0.02 * np.sin(np.arange(32) + update)).tolist()

    assert verdict(seldom).verdict == "healthy"


def test_diagnose__a_critic_stays_too_strong_until_samples_improve() -> None:
    def wavering(done: float, line: Line, observation: Line, healed: bool) -> None:
        observation |= {"data_distance": 3.8, "coverage": 0.0}
        line |= {"discriminator/real": 0.999, "discriminator/fake": 1e-3}
        line["generator/gradient"] = 5.0 if done < 0.2 else 1e-3
        if done > 0.7:  # the sign is gone
            line |= {"discriminator/fake": 0.05, "generator/gradient": 1.0}
            observation["data_distance"] = (
                1.4 if healed else 3.8 - 4 * (done - 0.7)
            )  # better, but not yet good
            observation["coverage"] = 0.6 if healed else 0.0

    sick = verdict(lambda done, line, observation: wavering(done, line, observation, False))
    assert sick.verdict == "critic too strong" and sick.fatal, sick
    assert (
        verdict(lambda done, line, observation: wavering(done, line, observation, True)).verdict == "healthy"
    )


def test_diagnose__missing_classes_are_mentioned_in_health() -> None:
    def half(observation: Line, classes: float, real: float = 0.9) -> None:
        observation |= {
            "class_diversity_ratio": classes,
            "modes": 0.5,
            "label_association_real": real,
            "class_shares": [0.2] * 5 + [0.0] * 5,
        }

    lost, kept = (verdict(lambda done, line, observation, k=k: half(observation, k)) for k in (0.5, 0.9))
    assert lost.verdict == kept.verdict == "healthy"
    assert "only 50% of the data's classes in the samples: class 0 (20%" in lost.summary()
    assert "classes" not in kept.summary() and "labels" not in kept.summary()
    assert (
        "classes" not in verdict(lambda done, line, observation: half(observation, 0.5, 0.3)).summary()
    )  # a poor reader


def test_diagnose__labels_need_not_show_before_enough_updates() -> None:
    def unlabeled_at_first(done: float, line: Line, observation: Line, updates: int) -> None:
        observation |= {"label_association": 0.0, "label_association_real": 0.8}
        observation["updates"] = {"discriminator": observation["step"], "generator": round(updates * done)}

    few, many = (
        verdict(lambda done, line, observation, t=t: unlabeled_at_first(done, line, observation, t))
        for t in (140, 400)
    )
    assert (few.verdict, many.verdict) == ("healthy", "labels have no effect")


def test_diagnose__emerging_labels_are_no_problem() -> None:
    def emerging(done: float, line: Line, observation: Line, grows: bool) -> None:
        observation |= {"label_association": 0.09 * (done if grows else 1.0), "label_association_real": 0.86}

    def verdict_of(grows: bool) -> str:
        return verdict(lambda done, line, observation: emerging(done, line, observation, grows)).verdict

    assert (verdict_of(True), verdict_of(False)) == ("healthy", "labels have no effect")


def test_diagnose__oscillation_with_a_constant_number_of_modes() -> None:
    assert (
        verdict(lambda done, line, observation: observation.update(mode_shift=0.95)).verdict == "oscillation"
    )
    assert verdict(lambda done, line, observation: observation.update(mode_shift=0.7)).verdict == "healthy"

    def start(done: float, line: Line, observation: Line) -> None:
        observation.update(
            mode_shift=0.95, updates={"discriminator": round(90 * done), "generator": round(90 * done)}
        )

    assert verdict(start).verdict != "oscillation"


def test_diagnose__few_modes_with_rising_coverage_are_a_start() -> None:
    def reaching(done: float, line: Line, observation: Line, covered: float) -> None:
        observation |= {"modes": 0.3, "pairwise_distance": 0.7, "coverage": covered}

    for k in range(OBSERVATIONS + 1):
        log, observations = simulated_run(
            lambda done, line, observation: reaching(done, line, observation, 0.1 + 0.3 * done)
        )
        diagnosis = diagnose(log[:k], observations[: k + 1], AdversarialSpec(), STEPS)
        assert diagnosis.verdict in NO_PROBLEM, (k, diagnosis)
    still = verdict(lambda done, line, observation: reaching(done, line, observation, 0.2))
    assert still.verdict == "mode collapse" and not still.fatal


def test_diagnose__few_diverse_modes_are_reported_late_and_very_few_early() -> None:
    def steps_reported(modes: float) -> list[float]:
        log, observations = simulated_run(
            lambda done, line, observation: observation.update(
                modes=modes, pairwise_distance=0.7, coverage=0.2
            )
        )
        return [step / STEPS for step, _ in alarms(log, observations, AdversarialSpec(), STEPS)]

    assert 0.6 < steps_reported(0.3)[0] < 0.8
    assert steps_reported(0.1)[0] < 0.4


def test_diagnose__distant_samples_that_steadily_improve_are_no_divergence() -> None:
    def slow(done: float, line: Line, observation: Line, pace: float) -> None:
        observation["energy_distance"] = 3.0
        if done:
            observation |= {"data_distance": 2.8, "coverage": 0.0}
            observation["energy_distance"] = 1.9 + 0.02 * np.sin(40 * done) - pace * done

    diagnoses = {
        p: verdict(lambda done, line, observation, p=p: slow(done, line, observation, p)) for p in (0.25, 0.0)
    }
    assert diagnoses[0.25].verdict == "still learning" and diagnoses[0.0].verdict == "divergence", diagnoses


def test_reference__of_data_that_is_mostly_one_image() -> None:
    data = load("digits")
    blank = np.arange(len(data.train)) % 10 < 6
    reference = Reference(Split(np.where(blank[:, None, None, None], 0, data.train.pixels)))
    faithful = data.test.pixels[:256].copy()
    faithful[:154] = 0
    statistics = observe_samples(reference, faithful)
    assert statistics["nearest_sample_ratio"] == 1 and statistics["duplicates"] < 0.1
    assert observe_samples(reference, np.zeros_like(faithful))["pairwise_distance"] < 0.1


def test_reference__of_a_few_images_repeated_many_times() -> None:
    data = load("digits")
    few = np.concatenate([data.train.pixels[:16], np.repeat(data.train.pixels[16:18], 120, axis=0)])
    reference = Reference(Split(few))
    assert observe_samples(reference, few[: reference.samples])["data_distance"] < 2
    assert 0.3 < observe_samples(reference, data.test.pixels[: reference.samples])["data_distance"] < 5


@pytest.mark.parametrize("name", ["dcgan", "wgan", "stylegan"])
def test_deterministic_controls_are_controls_of_the_model(name: str) -> None:
    """Grain drawn afresh would make samples of one style differ."""
    model_class = load_model_class(name)
    assert set(model_class.deterministic_controls) <= set(model_class.Controls.model_fields)
    assert bool(model_class.deterministic_controls) == issubclass(model_class, Stylegan)
