"""The GAN monitor: what comes late, what is a normal start, and what is no problem."""

from __future__ import annotations

import numpy as np
import pytest
from test_diagnosis import LOOKS, STEPS, Line, game, verdict

from triptych.core.objectives import AdversarialSpec
from triptych.data.dataset import Split
from triptych.data.load import load
from triptych.models.registry import load_model_class
from triptych.models.stylegan import Stylegan
from triptych.monitor.diagnosis import alarms, diagnose
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.monitor.verdicts import NO_PROBLEM


def test_diagnose__a_static_generator_comes_before_the_critic_that_then_wins() -> None:
    def stopped(done: float, line: Line, look: Line) -> None:
        if done > 0.4:
            look["weight_probes"]["generator"] = [0.02] * 32
        if done > 0.5:  # the critic has learnt to see it, its gradient has gone
            line |= {"discriminator/real": 0.99, "discriminator/fake": 0.001, "generator/gradient": 1e-4}

    found = verdict(stopped)
    assert found.verdict == "generator not learning" and "do not move" in found.evidence[0], found


def test_diagnose__a_generator_without_an_update_is_not_static() -> None:
    def seldom(done: float, line: Line, look: Line) -> None:  # moves every third look
        turn = int(LOOKS * done) // 3
        look["updates"] = {"discriminator": look["step"], "generator": 100 + turn}
        look["weight_probes"]["generator"] = (0.02 * np.sin(np.arange(32) + turn)).tolist()

    assert verdict(seldom).verdict == "healthy"


def test_diagnose__a_critic_stays_too_strong_until_samples_improve() -> None:
    def wavering(done: float, line: Line, look: Line, healed: bool) -> None:
        look |= {"data_distance": 3.8, "coverage": 0.0}
        line |= {"discriminator/real": 0.999, "discriminator/fake": 1e-3}
        line["generator/gradient"] = 5.0 if done < 0.2 else 1e-3
        if done > 0.7:  # the sign is gone
            line |= {"discriminator/fake": 0.05, "generator/gradient": 1.0}
            look["data_distance"] = 1.4 if healed else 3.8 - 4 * (done - 0.7)  # better, but not yet good
            look["coverage"] = 0.6 if healed else 0.0

    sick = verdict(lambda done, line, look: wavering(done, line, look, False))
    assert sick.verdict == "critic too strong" and sick.fatal, sick
    assert verdict(lambda done, line, look: wavering(done, line, look, True)).verdict == "healthy"


def test_diagnose__missing_classes_are_mentioned_in_health() -> None:
    def half(look: Line, kinds: float, real: float = 0.9) -> None:
        look |= {
            "class_diversity_ratio": kinds,
            "modes": 0.5,
            "label_association_real": real,
            "class_shares": [0.2] * 5 + [0.0] * 5,
        }

    lost, kept = (verdict(lambda done, line, look, k=k: half(look, k)) for k in (0.5, 0.9))
    assert lost.verdict == kept.verdict == "healthy"
    assert "only 50% of the data's classes in the samples: class 0 (20%" in lost.summary()
    assert "classes" not in kept.summary() and "labels" not in kept.summary()
    assert "classes" not in verdict(lambda done, line, look: half(look, 0.5, 0.3)).summary()  # a poor reader


def test_diagnose__labels_need_not_show_before_enough_updates() -> None:
    def mute(done: float, line: Line, look: Line, turns: int) -> None:
        look |= {"label_association": 0.0, "label_association_real": 0.8}
        look["updates"] = {"discriminator": look["step"], "generator": round(turns * done)}

    few, many = (verdict(lambda done, line, look, t=t: mute(done, line, look, t)) for t in (140, 400))
    assert (few.verdict, many.verdict) == ("healthy", "labels have no effect")


def test_diagnose__emerging_labels_are_no_problem() -> None:
    def shown(done: float, line: Line, look: Line, grows: bool) -> None:
        look |= {"label_association": 0.09 * (done if grows else 1.0), "label_association_real": 0.86}

    def heard(grows: bool) -> str:
        return verdict(lambda done, line, look: shown(done, line, look, grows)).verdict

    assert (heard(True), heard(False)) == ("healthy", "labels have no effect")


def test_diagnose__oscillation_with_a_constant_number_of_modes() -> None:
    assert verdict(lambda done, line, look: look.update(mode_shift=0.95)).verdict == "oscillation"
    assert verdict(lambda done, line, look: look.update(mode_shift=0.7)).verdict == "healthy"

    def start(done: float, line: Line, look: Line) -> None:
        look.update(
            mode_shift=0.95, updates={"discriminator": round(90 * done), "generator": round(90 * done)}
        )

    assert verdict(start).verdict != "oscillation"


def test_diagnose__few_modes_with_rising_coverage_are_a_start() -> None:
    def reaching(done: float, line: Line, look: Line, covered: float) -> None:
        look |= {"modes": 0.3, "pairwise_distance": 0.7, "coverage": covered}

    for k in range(LOOKS + 1):
        log, looks = game(lambda done, line, look: reaching(done, line, look, 0.1 + 0.3 * done))
        found = diagnose(log[:k], looks[: k + 1], AdversarialSpec(), STEPS)
        assert found.verdict in NO_PROBLEM, (k, found)
    still = verdict(lambda done, line, look: reaching(done, line, look, 0.2))
    assert still.verdict == "mode collapse" and not still.fatal


def test_diagnose__few_diverse_modes_are_reported_late_and_very_few_early() -> None:
    def heard(modes: float) -> list[float]:
        log, looks = game(
            lambda done, line, look: look.update(modes=modes, pairwise_distance=0.7, coverage=0.2)
        )
        return [step / STEPS for step, _ in alarms(log, looks, AdversarialSpec(), STEPS)]

    assert 0.6 < heard(0.3)[0] < 0.8
    assert heard(0.1)[0] < 0.4


def test_diagnose__distant_samples_that_steadily_improve_are_no_divergence() -> None:
    def slow(done: float, line: Line, look: Line, pace: float) -> None:
        look["energy_distance"] = 3.0
        if done:
            look |= {"data_distance": 2.8, "coverage": 0.0}
            look["energy_distance"] = 1.9 + 0.02 * np.sin(40 * done) - pace * done

    found = {p: verdict(lambda done, line, look, p=p: slow(done, line, look, p)) for p in (0.25, 0.0)}
    assert found[0.25].verdict == "still learning" and found[0.0].verdict == "divergence", found


def test_reference__of_data_that_is_mostly_one_image() -> None:
    data = load("digits")
    blank = np.arange(len(data.train)) % 10 < 6
    reference = Reference(Split(np.where(blank[:, None, None, None], 0, data.train.pixels)))
    faithful = data.test.pixels[:256].copy()
    faithful[:154] = 0
    seen = observe_samples(reference, faithful)
    assert seen["nearest_sample_ratio"] == 1 and seen["duplicates"] < 0.1
    assert observe_samples(reference, np.zeros_like(faithful))["pairwise_distance"] < 0.1


def test_reference__of_a_few_images_repeated_many_times() -> None:
    data = load("digits")
    few = np.concatenate([data.train.pixels[:16], np.repeat(data.train.pixels[16:18], 120, axis=0)])
    reference = Reference(Split(few))
    assert observe_samples(reference, few[: reference.samples])["data_distance"] < 2
    assert 0.3 < observe_samples(reference, data.test.pixels[: reference.samples])["data_distance"] < 5


@pytest.mark.parametrize("family", ["dcgan", "wgan", "stylegan"])
def test_deterministic_controls_are_controls_of_the_model(family: str) -> None:
    """Grain drawn afresh would make samples of one style differ."""
    kind = load_model_class(family)
    assert set(kind.deterministic_controls) <= set(kind.Controls.model_fields)
    assert bool(kind.deterministic_controls) == issubclass(kind, Stylegan)
