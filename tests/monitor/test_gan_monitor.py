"""The GAN monitor in real trainings: observations, exact resume, failures, rollbacks, the post-mortem."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_cards import a_card

import triptych
from triptych import cli
from triptych.cli.train import summarize
from triptych.core.atomic import sha256
from triptych.core.errors import TrainingError
from triptych.inference.pipeline import Pipeline
from triptych.monitor import gan_monitor, sample_statistics
from triptych.monitor.postmortem import command_with
from triptych.monitor.records import observations
from triptych.monitor.rollback_candidates import rollback_candidates
from triptych.monitor.verdicts import Diagnosis
from triptych.runs.card import Rollback
from triptych.runs.checkpoint import CheckpointMeta
from triptych.runs.run import Run, create, open_run
from triptych.training import rollback, runner
from triptych.training.planning import make_plan
from triptych.training.runner import resume

OPTIONS: dict[str, Any] = {
    "data": "digits", "steps": 40, "batch": 16, "threads": 1, "precision": "fp32", "width": 4,
}  # fmt: skip
CLOCKS = {"seconds", "images_per_second"}

SICK = '''
from triptych.models.dcgan import Dcgan, DcganConfig

class SickConfig(DcganConfig):
    """Its settings."""
    fails_at: int = 20
    bears: float = 0.0

class Sick(Dcgan):
    """A DCGAN whose loss is not a number at a step, unless its learning rate is low enough."""
    Config = SickConfig

    def objectives(self):
        objectives = super().objectives()
        self.optimizer = objectives[1].optimizer
        return objectives

    def generator_loss(self, batch, context):
        loss, extras = super().generator_loss(batch, context)
        lr = self.optimizer.param_groups[0]["lr"]
        fails = context.step == self.config.fails_at and lr > self.config.bears
        return (loss * float("nan") if fails else loss), extras
'''


@pytest.fixture(autouse=True)
def observe_every_four_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_monitor, "IMAGES_BETWEEN", 64)
    monkeypatch.setattr(sample_statistics, "SAMPLES", 32)  # seconds rather than minutes
    monkeypatch.setattr(sample_statistics, "POOL_IMAGES", 150)


@pytest.fixture
def sick(tmp_path: Path) -> str:
    own = tmp_path / "sick.py"
    own.write_text(SICK)
    return str(own)


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]


def hashes(run: Run, step: int = 40) -> list[str]:
    return [sha256(run.checkpoint_path(step) / f"{name}.safetensors") for name in ("weights", "optimizers")]


def stopping_at(step: int) -> Any:
    def on_step(progress: Any) -> None:
        if progress.step == step:
            raise KeyboardInterrupt  # as hard as a second Ctrl-C

    return on_step


def test_observations_do_not_change_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = triptych.train("dcgan", runs=tmp_path, **OPTIONS)
    observed = observations(run)
    assert [observation["step"] for observation in observed] == list(range(0, 41, 4))
    assert all(0 <= observation["modes"] <= 1.5 and observation["verdict"] for observation in observed)
    assert all(
        observation["projection_shift"] > 0 for observation in observed[1:]
    )  # of the weights of the moment
    assert (run.path / "monitor" / "step-00000040.png").is_file()
    assert {"discriminator/gradient", "generator/gradient"} <= set(run.log()[-1])
    for objective, weights in observed[0]["weight_probes"].items():
        scales = observed[0]["weight_scales"][objective]
        assert len(scales) == len(weights) and 0.3 < np.std(np.divide(weights, scales)) < 3
    monkeypatch.setattr(gan_monitor, "IMAGES_BETWEEN", 10**9)
    monkeypatch.setattr(gan_monitor, "STEPS_BETWEEN", 10**9)
    unmonitored = triptych.train("dcgan", runs=tmp_path, **OPTIONS)
    assert observations(unmonitored) == [] and hashes(unmonitored) == hashes(run)


@pytest.mark.parametrize("count", [3, 10, 30])  # a tenth or so is kept for testing
def test_tiny_data_sets_are_observed_only_if_they_can_be(count: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16), dtype=np.uint8)
    run = triptych.train("dcgan", runs=tmp_path, **{**OPTIONS, "data": images})
    assert bool(observations(run)) == (run.card.data.train >= 24) == (count == 30)
    assert all(
        math.isfinite(observation["data_distance"]) and observation["modes"] > 0
        for observation in observations(run)
    )


def test_a_run_that_runs_out_of_time_has_a_last_observation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_time(*arguments: Any) -> Any:
        plan, timing = make_plan(*arguments)
        return plan.model_copy(update={"limit_seconds": 0.0}), timing

    monkeypatch.setattr(runner, "make_plan", out_of_time)
    run = triptych.train("dcgan", runs=tmp_path, **OPTIONS)
    assert [observation["step"] for observation in observations(run)] == [0, 1] and run.checkpoints() == [
        0,
        1,
    ]


def test_a_resumed_run_has_the_same_observations(tmp_path: Path) -> None:
    whole = triptych.train("dcgan", runs=tmp_path / "a", save_every=10, **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        triptych.train("dcgan", runs=tmp_path / "b", save_every=10, on_step=stopping_at(27), **OPTIONS)
    run = open_run(tmp_path / "b" / "0001-dcgan-digits")
    assert observations(run)[-1]["step"] == 24 and run.checkpoints()[-1] == 20
    again = resume(run.path)
    assert hashes(again) == hashes(whole)
    assert timeless(observations(again)) == timeless(observations(whole))
    assert timeless(again.log()) == timeless(whole.log())


def test_an_extended_short_run_has_an_observation_of_the_untrained_generator(tmp_path: Path) -> None:
    whole = triptych.train("dcgan", runs=tmp_path / "a", **OPTIONS)
    short = triptych.train("dcgan", runs=tmp_path / "b", **{**OPTIONS, "steps": 10})
    assert observations(short) == []
    longer = resume(short.path, 40)
    assert [observation["step"] for observation in observations(longer)] == [0, *range(12, 41, 4)]
    assert timeless(observations(longer)[:1]) == timeless(observations(whole)[:1])
    assert sha256(longer.checkpoint_path(40) / "weights.safetensors") == hashes(whole)[0]


def test_observations_are_drawn_without_random_detail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls_used, sample = [], Pipeline.sample
    monkeypatch.setattr(
        Pipeline, "sample", lambda self, *a, **kw: controls_used.append(kw) or sample(self, *a, **kw)
    )
    triptych.train("stylegan", runs=tmp_path, **OPTIONS)
    assert (
        controls_used.count({"detail": 0.0}) == 11 and {} in controls_used
    )  # observations; and samples for people


def test_a_failure_while_steps_are_timed_is_recorded(sick: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"became nan.*post-mortem\.html"):
        triptych.train(sick, runs=tmp_path, fails_at=3, **{**OPTIONS, "steps": None, "minutes": 0.05})
    (path,) = tmp_path.glob("0*")
    assert observations(open_run(path))[-1]["verdict"] == "non-finite values"


def test_nan_stops_the_training_with_a_post_mortem(sick: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"became nan.*is kept.*post-mortem\.html"):
        triptych.train(sick, runs=tmp_path / "runs", save_every=5, **OPTIONS)
    (path,) = (tmp_path / "runs").glob("0*")
    run = open_run(path)
    assert observations(run)[-1]["verdict"] == "non-finite values" and run.checkpoints()[-1] <= 20
    page = (path / "post-mortem.html").read_text()
    assert "<h1>Non-finite values</h1>" in page and "became nan" in page
    bare = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"(src|href)=\"(?!data:|#)", bare) and "<script" not in bare
    assert "--lr" in page and "prefers-color-scheme: dark" in page and page.count("<svg") >= 4


def test_a_run_with_a_rollback_resumes_exactly(sick: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "on_collapse": "rollback", "bears": 1.2e-4, "lr": 2e-4, "save_every": 8}
    run = triptych.train(sick, runs=tmp_path / "a", **options)
    (rollback,) = run.card.rollbacks
    assert rollback.lr_scale == 0.5 and rollback.verdict == "non-finite values" and "nan" in rollback.reason
    assert run.checkpoints()[-1] == 40 and run.checkpoint_meta().lr_scale == 0.5
    after = [line for line in run.log() if line["step"] > rollback.to_step]
    assert after and all(line["rollbacks"] == 1 and line["lr_scale"] == 0.5 for line in after)
    assert [line["step"] for line in run.log()] == list(range(1, 41))  # nothing of the lost way is left
    with pytest.raises(KeyboardInterrupt):
        triptych.train(sick, runs=tmp_path / "b", on_step=stopping_at(33), **options)
    stopped = open_run(tmp_path / "b" / "0001-sick-digits")
    again = resume(stopped.path, model_file=sick)
    assert hashes(again) == hashes(run) and timeless(observations(again)) == timeless(observations(run))


def test_time_before_a_rollback_counts(sick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, save = [], Run.save_checkpoint

    def recorded(self: Run, step: int, files: Any, meta: Any, **more: Any) -> None:
        seconds.append(meta.seconds)
        save(self, step, files, meta, **more)

    monkeypatch.setattr(Run, "save_checkpoint", recorded)
    options = {**OPTIONS, "on_collapse": "rollback", "bears": 1.2e-4, "lr": 2e-4, "save_every": 8}
    run = triptych.train(sick, runs=tmp_path, **options)
    assert len(run.card.rollbacks) == 1 and seconds == sorted(set(seconds))


def test_there_are_at_most_three_rollbacks(sick: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"became nan.*post-mortem-4\.html"):  # the last, not the first
        triptych.train(sick, runs=tmp_path / "runs", on_collapse="rollback", save_every=8, **OPTIONS)
    run = open_run(next((tmp_path / "runs").glob("0*")))
    assert [rollback.lr_scale for rollback in run.card.rollbacks] == [0.5, 0.25, 0.125]
    assert len(list(run.path.glob("post-mortem*.html"))) == 4


def test_mode_collapse_stops_or_warns_as_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sick = Diagnosis("mode collapse", 12, ("one image",), fatal=True)
    fine = Diagnosis("healthy", clean=True)

    def fake_diagnosis(self: Any, lines: Any = None) -> Any:
        observed = observations(self.run) if lines is None else lines
        return sick if observed and observed[-1]["step"] > 20 else fine

    monkeypatch.setattr(gan_monitor.GanMonitor, "diagnose", fake_diagnosis)
    messages: list[str] = []
    run = triptych.train("dcgan", runs=tmp_path, on_step=lambda p: messages.append(p.news), **OPTIONS)
    assert messages[-1] == "GAN monitor: mode collapse since step 12: one image" and "" in messages
    assert run.checkpoints()[-1] == 40 and (run.path / "post-mortem.html").is_file()
    assert run.healthy_checkpoints() == [8, 16]  # kept from pruning although others came after them
    with pytest.raises(TrainingError, match=r"mode collapse.*last healthy checkpoint, of step 8, is kept"):
        triptych.train("dcgan", runs=tmp_path, on_collapse="stop", **OPTIONS)
    with pytest.raises(TrainingError, match="mode collapse"):
        triptych.train("dcgan", runs=tmp_path, on_collapse="rollback", **OPTIONS)
    last = open_run(sorted(tmp_path.glob("0*"))[-1])
    assert len(last.card.rollbacks) == rollback.MAX_ROLLBACKS and last.card.rollbacks[0].to_step < 12


def test_only_observed_checkpoints_are_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan_monitor.GanMonitor, "diagnose", lambda *_: Diagnosis("healthy", clean=True))
    run = triptych.train("dcgan", runs=tmp_path, save_every=3, **OPTIONS)
    assert run.healthy_checkpoints() == [
        32,
        40,
    ]  # observations are at multiples of 4, checkpoints between them are marked
    assert run.checkpoints() == [0, 32, 39, 40]


def rolled_back(step: int) -> Rollback:
    return Rollback(at_step=30, to_step=step, reason="mode collapse", lr_scale=0.5)


def test_rollback_candidates__go_back_farther_each_time(tmp_path: Path) -> None:
    run = create(tmp_path, "sick", a_card())
    for step in (0, 10, 20, 30):
        run.save_checkpoint(step, {"weights": {}}, CheckpointMeta(step=step, healthy=step in (10, 20)), 9)
    late = Diagnosis("mode collapse", 25, fatal=True)
    assert rollback_candidates(run, late) == [20, 10, 0]
    run.update_card(rollbacks=(rolled_back(20),))  # it was tried, and led to the same end
    assert rollback_candidates(run, late) == [10, 0, 20]
    run.update_card(rollbacks=(rolled_back(20), rolled_back(10)))
    assert rollback_candidates(run, late) == [0, 20, 10]
    assert rollback_candidates(run, None) == [30, 0, 20, 10]


def test_the_command_line_prints_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [w for k, v in OPTIONS.items() for w in (f"--{k}", str(v))]
    assert cli.main(["train", "dcgan", "--runs", str(tmp_path), "--json", *words]) == 0
    output = capsys.readouterr()
    assert re.search(r"GAN monitor: (healthy|too early|still learning)", output.err)
    assert json.loads(output.out.splitlines()[-1])["monitor"]["verdict"] in (
        "healthy",
        "too early",
        "still learning",
    )


def test_a_remedy_is_a_command(tmp_path: Path) -> None:
    card = a_card(command="triptych train dcgan --data digits --lr 0.1 --no-conditional --steps=5")
    assert command_with(card, {"--lr": "0.001"}) == (
        "triptych train dcgan --data digits --no-conditional --steps=5 --lr 0.001"
    )
    assert "--steps=5" not in command_with(card, {"--steps": "9"})
    options = {**OPTIONS, "steps": 2, "micro_batch": 8, "flip": True, "size": 8, "color": "gray"}
    adaptive = {"kind": "adaptive", "target": 0.5}
    run = triptych.train("dcgan", runs=tmp_path, augment=adaptive, **options)
    words = shlex.split(command_with(run.card, {"--latent": "7"}))
    assert words[:3] == ["triptych", "train", "dcgan"] and words[words.index("--latent") + 1] == "7"
    assert cli.main([*words[1:], "--runs", str(tmp_path)]) == 0
    again = open_run(tmp_path / "0002-dcgan-digits")
    assert again.card.options == run.card.options
    assert again.card.config == {**run.card.config, "latent": 7}


def test_a_remedy_for_images_in_memory_is_an_argument() -> None:
    card = a_card(options={"data": "given from Python"})
    argument = command_with(card, {"--lr": "1e-4", "--loss": "non-saturating", "--no-conditional": ""})
    assert argument == "triptych.train(..., lr=0.0001, loss='non-saturating', conditional=False)"


def test_a_problem_that_is_not_fatal_leaves_a_post_mortem_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ill = Diagnosis("oscillation", 12, ("to and fro",))

    def fake_diagnosis(self: Any, lines: Any = None) -> Any:
        observed = observations(self.run) if lines is None else lines
        return ill if len(observed) > 5 else Diagnosis("healthy", clean=True)

    monkeypatch.setattr(gan_monitor.GanMonitor, "diagnose", fake_diagnosis)
    run = triptych.train("dcgan", runs=tmp_path, **OPTIONS)
    assert "<h1>Oscillation</h1>" in (run.path / "post-mortem.html").read_text()
    summarize(run)  # whose real observations are healthy, or too early
    assert "was written at step 40; the run has recovered since" in capsys.readouterr().err
    monkeypatch.setattr(gan_monitor, "diagnose", lambda *_: ill)
    summarize(run)
    assert "may help: open" in capsys.readouterr().err


def test_observation_interval__short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert gan_monitor.observation_interval(10_000, 64) == 313  # some thirty in a run
    assert (
        gan_monitor.observation_interval(300, 32) == 25
    )  # twelve, where an interval of 2,000 images would give four
    assert gan_monitor.observation_interval(60, 128) == 10
    assert 40 // gan_monitor.observation_interval(40, 16) < gan_monitor.MIN_OBSERVATIONS
