"""The checklist: right answers for sound runs, and wrong ones found in spoilt ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

import triptych
from triptych import cli
from triptych.checklist import checklist
from triptych.checklist.answers import Answer
from triptych.checklist.checklist import check
from triptych.core.errors import RunError
from triptych.models.dcgan import Dcgan
from triptych.monitor.verdicts import PROBE_UNRELIABLE, Diagnosis
from triptych.runs.run import Run, open_run
from triptych.training.runner import resume

OPTIONS: dict[str, Any] = {"data": "digits", "steps": 3, "batch": 16, "threads": 1, "precision": "fp32"}

SPOILT = '''
from dataclasses import replace
from torch import nn
from triptych.models.dcgan import Dcgan, DcganConfig

class SpoiltConfig(DcganConfig):
    """Its settings."""
    fault: str = ""

class Spoilt(Dcgan):
    """A DCGAN with one mistake."""
    Config = SpoiltConfig

    def __init__(self, config, spec, components=None):
        super().__init__(config, spec, components)
        if config.fault == "pooling":
            self.discriminator.insert(2, nn.AvgPool2d(1))
        if config.fault == "relu":
            self.discriminator[1] = nn.ReLU()
        if config.fault == "norm":
            self.generator.insert(len(self.generator) - 1, nn.BatchNorm2d(spec.channels))

    def critic_loss(self, batch, context):
        loss, extras = super().critic_loss(batch, context)
        return (-loss if self.config.fault == "sign" else loss), extras

    def generator_loss(self, batch, context):
        loss, extras = super().generator_loss(batch, context)
        return (-loss if self.config.fault == "helpful" else loss), extras

    def objectives(self):
        objectives = super().objectives()
        if self.config.fault == "lr":
            objectives[0].optimizer.param_groups[0]["lr"] = 1.0
        if self.config.fault == "still":
            objectives[1].optimizer.param_groups[0]["lr"] = 0.0
        if self.config.fault == "cooled":
            objectives[1] = replace(objectives[1], lr_schedule=lambda done: 0.0)
        if self.config.fault == "betas":
            objectives[1].optimizer.param_groups[0]["betas"] = (0.9, 0.999)
        return objectives

    def fakes(self, context):
        images = super().fakes(context)
        if self.config.fault == "attached":
            images.detach = lambda: images
        return images
'''


def wrong(answers: list[Answer]) -> list[str]:
    return [answer.question for answer in answers if answer.answer == "not ok"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    return triptych.train("dcgan", runs=home, width=4, **OPTIONS).path


def test_a_sound_run_has_nothing_wrong(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = check(sound)
    assert wrong(answers) == []
    assert {a.chapter for a in answers} == {
        "checkpoint",
        "losses",
        "architecture",
        "optimizer",
        "balance",
        "samples",
    }
    assert cli.main(["check", str(sound), "--json"]) == 0
    output = capsys.readouterr().out
    assert "no pooling: 0 pooling layers" in output
    assert "the DCGAN paper's 0.0002" in output and "guide" not in output
    assert len(json.loads(output.splitlines()[-1])["answers"]) == len(answers)


@pytest.mark.parametrize(
    ("fault", "question"),
    [
        ("pooling", "no pooling"),
        ("relu", "LeakyReLU in the discriminator"),
        ("norm", "batch norm but at the generator's output and the discriminator's input"),
        ("sign", "does the discriminator learn to tell real from fake"),
        ("helpful", "does the generator's step raise the discriminator's output on fakes"),
        ("lr", "is the discriminator's learning rate as configured"),
        ("still", "is the generator's learning rate as configured"),
        ("still", "was the generator updated in every step it should be"),
        ("betas", "are the generator's betas as configured"),
        ("attached", "are the fakes detached in the discriminator's loss"),
    ],
)
def test_a_mistake_is_found(fault: str, question: str, tmp_path: Path) -> None:
    own = tmp_path / "spoilt.py"
    own.write_text(SPOILT)
    run = triptych.train(str(own), runs=tmp_path / "runs", width=4, fault=fault, **{**OPTIONS, "steps": 1})
    assert question in wrong(check(run.path, model_file=str(own)))


def test_a_learning_rate_of_0_is_right_only_where_the_schedule_ends_there(tmp_path: Path) -> None:
    own = tmp_path / "spoilt.py"
    own.write_text(SPOILT)
    question = "is the generator's learning rate as configured"
    for fault, word in (("still", "not ok"), ("cooled", "does not apply")):
        run = triptych.train(str(own), runs=tmp_path / "runs", width=4, fault=fault, **OPTIONS)
        config = {name: value for name, value in run.card.config.items() if name != "lr"}
        run.update_card(config=config)  # as of a model that configures none
        answers = check(run.path, model_file=str(own))
        assert next(a for a in answers if a.question == question).answer == word
        assert moves(answers).answer == "not ok"


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        ("healthy", "ok"),
        ("labels have no effect", "ok"),
        ("too early", "not known"),
        ("critic too strong", "not ok"),
        ("oscillation", "not ok"),
        ("mode collapse", "not ok"),
    ],
)
def test_samples_are_as_the_gan_monitor_finds_them(
    verdict: Any, word: str, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observation = {
        "step": 3,
        "modes": 0.1,
        "pairwise_distance": 0.1,
        "nearest_sample_ratio": 1.0,
        "data_distance": 4.0,
    }
    monkeypatch.setattr(Run, "monitor_lines", lambda run: [observation])
    monkeypatch.setattr(checklist, "diagnose_run", lambda run, spec: Diagnosis(verdict))
    answers = checklist.samples(open_run(sound), Dcgan, 3)
    assert [a.answer for a in answers if "GAN monitor" in a.question] == [word]


def test_every_problem_of_the_gan_monitor_counts(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    observation = {
        "step": 3,
        "modes": 0.9,
        "pairwise_distance": 1.0,
        "nearest_sample_ratio": 1.0,
        "data_distance": 1.0,
    }
    monkeypatch.setattr(Run, "monitor_lines", lambda run: [observation])
    diagnosis = Diagnosis("labels have no effect", secondary=("oscillation",))
    monkeypatch.setattr(checklist, "diagnose_run", lambda run, spec: diagnosis)
    run = open_run(sound)
    for answer in (*checklist.balance(run, Dcgan), *checklist.samples(run, Dcgan, 3)[:1]):
        assert answer.answer == "not ok" and "oscillation" in answer.evidence


@pytest.mark.parametrize(
    ("diagnosis", "measured", "expected"),
    [
        (Diagnosis("healthy"), {"label_association": 0.81, "label_association_real": 0.9}, "ok"),
        (
            Diagnosis("labels have no effect"),
            {"label_association": 0.0, "label_association_real": 0.9},
            "not ok",
        ),
        (
            Diagnosis("mode collapse", secondary=("labels have no effect",)),
            {"label_association": 0.0, "label_association_real": 0.9},
            "not ok",
        ),
        (Diagnosis("healthy"), {"labels_not_measured": "there is only one class"}, "not known"),
        (Diagnosis("healthy"), {}, "not known"),
        (
            Diagnosis("healthy", evidence=(f"not asked: {PROBE_UNRELIABLE}",)),
            {"label_association": 0.5, "label_association_real": 0.9},
            "not known",
        ),
        (Diagnosis("too early"), {"label_association": 0.8, "label_association_real": 0.9}, "not known"),
        (Diagnosis("divergence"), {"label_association": 0.01, "label_association_real": 0.9}, "not known"),
    ],
)
def test_whether_labels_have_an_effect(
    diagnosis: Diagnosis,
    measured: dict[str, Any],
    expected: str,
    sound: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observation = {
        "step": 3,
        "modes": 0.9,
        "pairwise_distance": 1.0,
        "nearest_sample_ratio": 1.0,
        "data_distance": 1.0,
        **measured,
    }
    monkeypatch.setattr(Run, "monitor_lines", lambda run: [observation])
    monkeypatch.setattr(checklist, "diagnose_run", lambda run, spec: diagnosis)
    monkeypatch.setattr(Dcgan, "conditional", True)
    (answer,) = (a for a in checklist.samples(open_run(sound), Dcgan, 3) if a.question == checklist.LABELS)
    assert answer.answer == expected
    if "labels_not_measured" in measured:
        assert answer.evidence == measured["labels_not_measured"]
    if expected == "ok":
        assert "0.90, in real images 0.95" in answer.evidence


def moves(answers: list[Answer], objective: str = "generator") -> Answer:
    (answer,) = (
        a for a in answers if a.question == f"was the {objective} updated in every step it should be"
    )
    return answer


def test_an_objective_is_updated_where_its_weights_change(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = moves(check(sound))
    assert fine.answer == "ok" and "3 optimizer steps, 3 expected" in fine.evidence
    still = {"discriminator": [0.1, 0.2], "generator": [0.1, 0.2]}
    observations = [
        {"step": s, "updates": {"discriminator": 3, "generator": s}, "weight_probes": still} for s in (2, 3)
    ]
    monkeypatch.setattr(Run, "monitor_lines", lambda run: observations)
    stopped = moves(check(sound))
    assert stopped.answer == "not ok" and "0 of 2 probed weights changed" in stopped.evidence
    assert moves(check(sound), "discriminator").answer == "ok"  # it had no update between the two
    monkeypatch.undo()

    shutil.copytree(sound, tmp_path / "run")
    run = open_run(tmp_path / "run")
    tensors, meta, _ = run.load_checkpoint()
    lost = {n: v for n, v in tensors["optimizers"].items() if "/generator.0." not in n}
    run.save_checkpoint(3, {**tensors, "optimizers": lost}, meta)
    missing = moves(check(run.path))
    assert missing.answer == "not ok" and "0 optimizer steps, 3 expected" in missing.evidence
    first = run.load_checkpoint(0)[0]["weights"]
    same = {**tensors["weights"], **{n: v for n, v in first.items() if n.startswith("generator.")}}
    run.save_checkpoint(3, {**tensors, "weights": same}, meta)
    back = moves(check(run.path))
    assert back.answer == "not ok" and "3 optimizer steps, 3 expected; 0 of" in back.evidence
    run.discard_after(0)
    untrained = moves(check(run.path))
    assert untrained.answer == "not known" and untrained.evidence == "not trained yet"


def test_learning_rates_are_those_of_the_training(sound: Path, tmp_path: Path) -> None:
    style = {"width": 4, "max_channels": 8, "batch": 8, "lr_end": 0.1, "generator_interval": 2}
    run = triptych.train("stylegan", runs=tmp_path, **{**OPTIONS, "steps": 6, **style})
    answers = [a for a in check(run.path) if "learning rate as configured" in a.question]
    assert [a.answer for a in answers] == ["ok", "ok"] and "by its schedule" in answers[0].evidence
    assert (
        min(run.checkpoint_meta().learning_rates["generator"]) < 0.005
    )  # the schedule had lowered the last of six
    shutil.copytree(sound, tmp_path / "edited")
    card = json.loads((sound / "run.json").read_text())
    card["config"]["lr"] = 5e-3  # what a network built from run.json has, and the run had not
    (tmp_path / "edited" / "run.json").write_text(json.dumps(card))
    assert "is the generator's learning rate as configured" in wrong(check(tmp_path / "edited"))


def test_answers_on_scores_do_not_depend_on_the_number_of_samples(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers_for(**scores: tuple[float, float]) -> dict[str, str]:
        entries = [
            SimpleNamespace(
                name=f"{k}[cnn]", value=value, floor=floor, card=SimpleNamespace(metric=k, controls={})
            )
            for k, (value, floor) in scores.items()
        ]
        evaluation = SimpleNamespace(step=3, weights="ema", scores=entries)
        monkeypatch.setattr(checklist, "evaluations", lambda run: [evaluation])
        answers = checklist.samples(open_run(sound), Dcgan, 3)
        return {a.question.rsplit(": ", 1)[1]: a.answer for a in answers if "evaluation" in a.question}

    few = answers_for(FID=(0.82, 0.2), precision=(0.8, 0.9), coverage=(0.3, 0.95))
    many = answers_for(FID=(0.82, 0.02), precision=(0.8, 0.9), coverage=(0.3, 0.95))
    assert few == many == {"precision": "ok", "coverage": "not ok", "FID": "does not apply"}


def evaluated(step: int, value: float, floor: float | None = 0.9, weights: str = "ema", **card: Any) -> Any:
    """What is read of an evaluation."""
    card = {"metric": "precision", "controls": {"truncation": 1.0}, **card}
    score = SimpleNamespace(name="precision[cnn]", value=value, floor=floor, card=SimpleNamespace(**card))
    return SimpleNamespace(step=step, weights=weights, scores=[score])


def test_scores_must_be_of_the_present_weights(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer_for(*records: Any) -> Answer:
        monkeypatch.setattr(checklist, "evaluations", lambda run: list(records))
        (answer,) = (a for a in checklist.samples(open_run(sound), Dcgan, 3) if "evaluation" in a.question)
        return answer

    good = evaluated(3, 0.8)
    raw, typical = evaluated(3, 0.1, weights="raw"), evaluated(3, 0.1, controls={"truncation": 0.5})
    for lines in ([good], [evaluated(3, 0.1), good, raw], [good, typical], [good, evaluated(2, 0.1)]):
        answer = answer_for(*lines)
        assert answer.answer == "ok" and answer.evidence.startswith("at step 3: precision[cnn] 0.8")
    for line, why in (
        (evaluated(2, 0.8), "evaluated at step 2, trained to 3 since"),
        (evaluated(4, 0.8), "evaluated at step 4, and the run was rolled back to 3"),
        (raw, "evaluated at step 3 with raw weights"),
        (typical, "evaluated at step 3 with truncation 0.5"),
    ):
        answer = answer_for(line)
        assert answer.answer == "not known" and answer.evidence.startswith(why)
    assert answer_for(evaluated(3, 0.8, floor=None)).answer == "not known"


def test_weights_that_the_settings_hold_are_not_missed(tmp_path: Path) -> None:
    style = {**OPTIONS, "width": 4, "max_channels": 8, "batch": 8, "steps": 2}
    run = triptych.train("stylegan", runs=tmp_path, noise_lr_scale=0.0, **style)
    answers = check(run.path)
    assert wrong(answers) == []
    reach = next(a for a in answers if a.question == "does the generator's loss reach all its weights")
    assert "frozen by the settings" in reach.evidence


def test_a_step_may_serve_the_penalty_that_every_step_pays(tmp_path: Path) -> None:
    style = {**OPTIONS, "width": 4, "max_channels": 8, "batch": 8, "steps": 20}
    run = triptych.train("stylegan", runs=tmp_path, penalty_interval=1, gamma=1e-3, gamma_end=1.0, **style)
    question = "does the discriminator learn to tell real from fake"
    assert next(a for a in check(run.path) if a.question == question).answer == "ok"
    run.update_card(config={**run.card.config, "gamma": 1e4})  # what it has learned is now too steep
    answer = next(a for a in check(run.path) if a.question == question)
    assert answer.answer == "does not apply" and "reduced the penalty" in answer.evidence


def test_a_user_model_need_not_be_a_dcgan(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        'from triptych.models.wgan import Wgan\n\nclass Own(Wgan):\n    """No DCGAN."""\n'
        "    title = 'Own'\n"
    )
    run = triptych.train(str(own), runs=tmp_path / "runs", width=4, **OPTIONS)
    rules = [a for a in check(run.path, model_file=str(own)) if a.chapter == "architecture"]
    assert len(rules) == 6 and wrong(rules) == []
    assert (
        "not required of Own: a critic under a gradient"
        in next(a for a in rules if "norm" in a.question).evidence
    )


def test_other_models_get_the_questions_that_apply(tmp_path: Path) -> None:
    answers = check(triptych.train("vae", runs=tmp_path, width=4, **OPTIONS).path)
    assert wrong(answers) == []
    beside = [a.question for a in answers if a.answer == "does not apply"]
    assert "the DCGAN rules" in beside and "are generator and critic balanced" in beside
    answers = check(triptych.train("wgan", runs=tmp_path, width=4, **{**OPTIONS, "steps": 6}).path)
    assert wrong(answers) == []
    norms = next(a for a in answers if a.question.startswith("batch norm"))
    assert norms.answer == "does not apply" and "Gulrajani" in norms.evidence
    points = triptych.train("dcgan", runs=tmp_path, width=4, **{**OPTIONS, "data": "points:ring"})
    answers = check(points.path)
    (rules,) = (a for a in answers if a.chapter == "architecture")
    assert rules.answer == "does not apply" and "no convolutions" in rules.evidence


def test_what_cannot_be_read(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="there is no run"):
        check(tmp_path / "none")
    assert cli.main(["check", str(tmp_path / "none")]) == 1
    run = open_run(sound)
    card = json.loads((sound / "run.json").read_text())
    card["data"]["source"] = "folder:/nowhere"
    (sound / "run.json").write_text(json.dumps(card))
    answers = check(run.path)
    (losses,) = (answer for answer in answers if answer.chapter == "losses")
    assert losses.answer == "not known" and "cannot be read" in losses.evidence
    assert {a.chapter for a in answers} == {
        "checkpoint",
        "losses",
        "architecture",
        "optimizer",
        "balance",
        "samples",
    }
    assert sum(a.answer == "ok" for a in answers if a.chapter in ("architecture", "optimizer")) == 12


def test_a_checkpoint_of_another_version_is_named(tmp_path: Path) -> None:
    run = triptych.train("dcgan", runs=tmp_path, width=4, **OPTIONS)
    tensors, meta, _ = run.load_checkpoint()
    name = next(name for name in tensors["weights"] if name.endswith("weight"))
    del tensors["weights"][name]
    run.save_checkpoint(meta.step, tensors, meta)
    for act in (check, lambda path: resume(path, 6)):
        with pytest.raises(RunError, match=f"step 3 do not fit.*{re.escape(name)}.*another version"):
            act(run.path)


def test_data_other_than_the_runs_are_not_checked(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    run = triptych.train("dcgan", runs=tmp_path, width=4, **{**OPTIONS, "data": images})
    assert check(run.path, data=images)[0].answer != "not known"
    answers = check(run.path, data=images[:30])
    (losses,) = (answer for answer in answers if answer.chapter == "losses")
    assert losses.answer == "not known" and "is not what" in losses.evidence


def test_a_generator_without_convolutions_has_no_norm_at_its_output() -> None:
    from triptych.checklist.architecture import _norms

    discriminator = [nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1)]
    good, problems = _norms([nn.Linear(2, 2)], discriminator)
    assert not good and "generator's output none" in problems


def test_the_layers_of_a_network_are_read_in_order() -> None:
    from triptych.checklist.architecture import _followed

    norm, conv = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1)
    assert _followed([conv, norm, nn.ReLU(), conv, nn.Tanh()]) == [True, False]
    assert _followed([nn.Linear(2, 2)]) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_equalized_weights_do_not_inflate_the_relative_step(seed: int, tmp_path: Path) -> None:
    """Most of the length of a StyleGAN generator's weights is its mapping's, which moves slowly."""
    options: dict[str, Any] = {**OPTIONS, "steps": 60, "seed": seed, "width": 4, "runs": tmp_path}
    run = triptych.train("stylegan", **options)
    answers = check(run.path)
    assert sum(a.chapter == "architecture" for a in answers) == 6  # the rules, one by one
    loss_answers = [a for a in answers if a.chapter == "losses"]
    assert len(loss_answers) == 8 and wrong(loss_answers) == []
