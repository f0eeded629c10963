from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_cards import a_card

from triptych import cli
from triptych.comparison.ranking import Contestant, Entry, compare, group, rank, read
from triptych.core.errors import CompareError, RunError, UnlikeCardsError, UsageError
from triptych.evaluation.records import Evaluation, ExtractorInfo, Sampling
from triptych.metrics.score import Card, Score
from triptych.metrics.stats.intervals import interval, wilson_interval
from triptych.metrics.stats.resampling import ResamplingErrors
from triptych.runs import run as runs
from triptych.runs.run import Run

ERRORS = np.random.default_rng(0).standard_normal(20)
OWN = np.random.default_rng(1)


def score(value: float, metric: str = "FID", error: float = 0.1, **changes: Any) -> Score:
    """A score whose error is mostly that of the real images, which all scores here share."""
    errors = ERRORS * error + OWN.standard_normal(20) * error * 0.1
    resampling = ResamplingErrors(tuple(errors.tolist()), 10.0, "20 groups")
    lower = metric in ("FID", "KID")
    estimate = interval(value, resampling) if lower else wilson_interval(value, resampling, 500)
    card = {"n_real": 500, "n_fake": 500, "extractor_hash": "h", "model": "GAN", "run": "r", **changes}
    return Score(
        name=f"{metric}[digits-cnn]",
        value=value,
        low=estimate.low,
        high=estimate.high,
        method=estimate.method,
        better="lower" if lower else "higher",
        target="population" if metric == "KID" else "expectation",
        resampling=resampling,
        trials=estimate.trials,
        card=Card(
            metric=metric, parameters={}, data="d", split="test", extractor="digits-cnn",
            resize="none", version=1, **card,
        ),
    )  # fmt: skip


def evaluated(*scores: Score, step: int | None = 10) -> dict[str, Any]:
    sampling = Sampling(
        n=500, first_seed=0, batch=64, seconds=OWN.random(), seconds_per_sample=0.1, device="cpu"
    )
    evaluation = Evaluation(
        scores=scores,
        classes=None,
        sampling=sampling,
        extractor=ExtractorInfo(name="digits-cnn", hash="h", width=8, accuracy=0.9),
        step=step,
        created="2026-01-01T00:00:00+00:00",
    )
    return evaluation.model_dump(mode="json")


def a_run(
    home: Path, *scores: Score, model: str = "dcgan", seed: int = 0, step: int = 10, **config: Any
) -> Run:
    card = a_card(model=model, title=model.upper(), config=config, options={"seed": seed})
    run = runs.create(home / "runs", model, card)
    if scores:
        run.append_metrics(evaluated(*scores, step=step))
    return run


def seeds(home: Path, values: Sequence[float], model: str, **changes: Any) -> list[Path]:
    paths = []
    for seed, value in enumerate(values):
        paths.append(a_run(home, score(value, **changes), model=model, seed=seed).path)
    return paths


# --- verdicts ------------------------------------------------------------------------------


def entries(**values: float) -> list[Contestant]:
    return group([Entry(name, name, {"FID": score(v)}) for name, v in values.items()])


def test_the_better_one_is_named_by_a_paired_interval() -> None:
    """Their own intervals overlap by far; what they do not share is small."""
    ranking = rank("FID", entries(a=1.0, b=1.15))
    (first, second), (verdict,) = ranking.standings, ranking.verdicts
    assert first.high > second.low + 0.05
    assert (verdict.winner, first.label, first.best, first.worst) == ("a", "a", 1, 1)
    assert (second.best, second.worst) == (2, 2)
    assert verdict.low <= verdict.difference <= verdict.high < 0
    assert verdict.difference == pytest.approx(-0.15)
    assert "a is better than b in FID[digits-cnn]: 1 against 1.15" in verdict.sentence


def test_higher_is_better_where_it_is() -> None:
    entries = [Entry(n, n, {"recall": score(v, "recall", 0.02)}) for n, v in (("a", 0.2), ("b", 0.9))]
    assert rank("recall", group(entries)).standings[0].label == "b"
    assert rank("recall", group(entries)).verdicts[0].winner == "b"


def test_inseparable_scores_name_the_sample_size_needed() -> None:
    (verdict,) = rank("FID", entries(a=1.0, b=1.01)).verdicts
    assert verdict.winner is None
    assert "not separable in FID[digits-cnn] with n = 500" in verdict.sentence
    wanted = float(verdict.sentence.split("about ")[1].split(" would")[0].replace(",", ""))
    assert wanted > 500
    (same,) = rank("FID", entries(a=1.0, b=1.0)).verdicts
    assert "no number of images is likely to suffice" in same.sentence
    assert "expectation itself depends" in rank("FID", entries(a=1.0, b=1.0)).notes[0]
    assert rank("FID", entries(a=1.0, b=9.0)).notes == ()


def test_many_pairs_take_wider_intervals_and_ranks_keep_their_doubt() -> None:
    two = rank("FID", entries(a=1.0, b=1.01))
    four = rank("FID", entries(a=1.0, b=1.01, c=2.0, d=3.0))
    assert two.level == 0.95 and four.level == pytest.approx(1 - 0.05 / 6)
    wide = next(v for v in four.verdicts if {v.first, v.second} == {"a", "b"})
    assert wide.high - wide.low > two.verdicts[0].high - two.verdicts[0].low
    assert [(s.label, s.best, s.worst) for s in four.standings] == [
        ("a", 1, 2), ("b", 1, 2), ("c", 3, 3), ("d", 4, 4)
    ]  # fmt: skip


def test_both_sample_sizes_are_given_where_they_differ() -> None:
    entries = [Entry(n, n, {"FID": score(v, n_real=100)}) for n, v in (("a", 1.0), ("b", 1.01))]
    sentence = rank("FID", group(entries)).verdicts[0].sentence
    assert "with n = 500 samples and 100 real images" in sentence
    fake, real = (
        float(x.replace(",", "")) for x in sentence.split("about ")[1].split(" would")[0].split(" and ")
    )
    assert fake / real == pytest.approx(5, rel=0.1)


def test_unlike_cards_are_refused_with_the_field_and_both_values(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, score(1.0, n_fake=n)).path for n in (500, 2000)]
    with pytest.raises(UnlikeCardsError, match=r"FID of .*0001.* n_fake differs \(500 and 2000\)"):
        compare(paths)
    paths = [a_run(tmp_path, score(1.0, extractor_hash=h)).path for h in ("h", "other")]
    with pytest.raises(UnlikeCardsError, match="extractor_hash differs"):
        compare(paths)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_value_without_rank_is_refused(wrong: float) -> None:
    entries = [Entry("a", "a", {"FID": score(1.0)}), Entry("b", "b", {"FID": score(1.0)})]
    corrupted = entries[1].scores["FID"].model_copy(update={"value": wrong})
    with pytest.raises(CompareError, match=r"of b is (nan|inf).*no rank: triptych evaluate b again"):
        rank("FID", group([entries[0], Entry("b", "b", {"FID": corrupted})]))


# --- two levels -----------------------------------------------------------------------------


def test_three_seeds_allow_conclusions_on_the_model(tmp_path: Path) -> None:
    paths = seeds(tmp_path, (1.0, 1.4, 1.8), "dcgan") + seeds(tmp_path, (9.0, 9.5, 9.9, 9.2), "vae")
    (ranking,) = compare(paths).rankings
    gan, vae = ranking.standings
    assert gan.claim == "runs with other seeds, from 3" and len(vae.runs) == 4
    assert gan.value == pytest.approx(1.4)
    error = 0.4 / np.sqrt(3)
    assert gan.high - gan.low > 2 * 3 * error  # t with few degrees of freedom, not a normal 1.96
    assert "Welch" in ranking.verdicts[0].method
    assert "better than VAE in FID[digits-cnn] over seeds (3 and 4 runs)" in ranking.verdicts[0].sentence


def test_inseparable_models_need_more_runs(tmp_path: Path) -> None:
    paths = seeds(tmp_path, (1.0, 1.4, 1.8), "dcgan") + seeds(tmp_path, (1.3, 1.8, 2.1), "vae")
    (verdict,) = compare(paths).rankings[0].verdicts
    assert verdict.winner is None and "runs of each would suffice" in verdict.sentence


def test_fewer_seeds_speak_of_these_runs_only(tmp_path: Path) -> None:
    paths = seeds(tmp_path, (1.0, 1.8), "dcgan") + seeds(tmp_path, (9.0, 9.5, 9.9), "vae")
    (ranking,) = compare(paths).rankings
    gan, vae = ranking.standings
    assert gan.claim == "these 2 runs only: 3 seeds or more would cover others"
    assert vae.claim == "runs with other seeds, from 3"
    assert "(these runs only)" in ranking.verdicts[0].sentence and "paired" in ranking.verdicts[0].method


def test_the_same_seed_three_times_is_no_repetition(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, score(v), seed=0).path for v in (1.0, 1.4, 1.8)]
    paths.append(a_run(tmp_path, score(3.0), model="vae").path)
    gan = compare(paths).rankings[0].standings[0]
    assert gan.claim == "these 3 runs only: some have the same seed"


def test_other_options_are_another_contestant(tmp_path: Path) -> None:
    paths = [a_run(tmp_path, score(1.0 + k), seed=k, width=32 + k % 2).path for k in range(3)]
    labels = [s.label for s in compare(paths).rankings[0].standings]
    assert labels == ["DCGAN 0001+0003", "DCGAN 0002"]
    each = compare(paths, each=True).rankings[0]
    assert [s.label for s in each.standings] == ["DCGAN 0001", "DCGAN 0002", "DCGAN 0003"]


def test_one_group_has_an_interval_but_no_rival(tmp_path: Path) -> None:
    (ranking,) = compare(seeds(tmp_path, (1.0, 1.4, 1.8), "dcgan")).rankings
    assert len(ranking.standings) == 1 and ranking.verdicts == ()
    assert "no ranking" in ranking.notes[-1]


# --- reading --------------------------------------------------------------------------------


def two(tmp_path: Path) -> list[Path]:
    return [a_run(tmp_path, score(v), model=f).path for f, v in (("dcgan", 1.0), ("vae", 2.0))]


def change(path: Path, edit: Any) -> None:
    """Edit the newest evaluation by hand."""
    lines = (path / "metrics.jsonl").read_text().splitlines()
    record = json.loads(lines[-1])
    edit(record)
    (path / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(record)]) + "\n")


def test_edited_scores_and_evaluations_are_refused(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)
    change(gan, lambda record: record["scores"][0]["card"].update(n_fake=501))
    with pytest.raises(
        RunError, match=r"the score FID\[digits-cnn\] of r was changed after .*`triptych evaluate`"
    ):
        compare([gan, vae])
    change(vae, lambda record: record.update(step=11))
    with pytest.raises(RunError, match=r"the evaluation made .* was changed after it was written"):
        read(vae)
    change(vae, lambda record: record["scores"][0].pop("card"))
    with pytest.raises(RunError, match=r"cannot be read \(line 1, scores\.0\.card: field required\)"):
        read(vae)


def test_scores_from_before_the_seals_are_read_and_named(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)

    def strip(record: dict[str, Any]) -> None:
        record.pop("checksum")
        for line in record["scores"]:
            for name in ("checksum", "resampling", "trials", "target"):
                line.pop(name)

    change(gan, strip)
    comparison = compare([gan, vae])
    assert any("unsealed" in note and "0001-dcgan" in note for note in comparison.notes)
    assert "not paired" in comparison.rankings[0].verdicts[0].method
    assert any("counts twice" in note for note in comparison.rankings[0].notes)


def test_a_run_without_evaluation_names_the_command(tmp_path: Path) -> None:
    bare = a_run(tmp_path)
    with pytest.raises(CompareError, match=rf"no evaluation yet. Make one: triptych evaluate {bare.path}"):
        compare([bare.path, *two(tmp_path)])


def test_too_few_or_the_same_twice(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)
    with pytest.raises(UsageError, match="at least two runs"):
        compare([gan])
    with pytest.raises(UsageError, match="given twice"):
        compare([gan, vae, gan.parent / "." / gan.name])
    copy = tmp_path / "gan.json"
    copy.write_text((gan / "metrics.jsonl").read_text())
    with pytest.raises(UsageError, match="hold the same evaluation"):
        compare([gan, copy])


def test_a_broken_line_is_named_and_a_half_line_is_not_glued(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)
    file = gan / "metrics.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"scores": [\n' + whole)
    with pytest.raises(RunError, match=r"metrics.jsonl line 2 is damaged .*delete that line"):
        compare([gan, vae])
    file.write_text(whole + '{"scores": [')  # a kill in the middle of the last line
    assert compare([gan, vae]).rankings[0].standings[0].value == 1.0
    runs.open_run(gan).append_metrics(evaluated(score(5.0)))
    assert [line["scores"][0]["value"] for line in runs.open_run(gan).metrics()] == [1.0, 5.0]


def test_an_evaluation_older_than_the_newest_checkpoint_is_noted(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)
    (gan / "checkpoints" / "step-00000020").mkdir(parents=True)
    note = next(n for n in compare([gan, vae]).notes if "evaluated at step" in n)
    assert "evaluated at step 10, but trained to 20 since: triptych evaluate" in note
    young = a_run(tmp_path, score(3.0), step=5)
    assert any("step 5 of 10: its training is not finished" in n for n in read(young.path).notes)


def test_files_stand_in_for_runs(tmp_path: Path) -> None:
    gan, vae = two(tmp_path)
    file = tmp_path / "other.json"
    file.write_text("a table\n" + json.dumps(evaluated(score(3.0, model="VAE"))) + "\n")
    comparison = compare([gan, vae, file])
    assert comparison.rankings[0].standings[-1].label == "VAE (other.json)"
    assert any("different budgets" in note and "not known" in note for note in comparison.notes)
    for text, message in (("", "holds no evaluation"), ("{}", "holds no scores"), ("[1]", "holds no scores")):
        file.write_text(text)
        with pytest.raises(CompareError, match=message):
            read(file)


def test_which_scores_are_ranked(tmp_path: Path) -> None:
    both = a_run(tmp_path, score(1.0), score(0.5, "recall", 0.01)).path
    one = a_run(tmp_path, score(2.0), model="vae").path
    comparison = compare([both, one])
    assert [r.metric for r in comparison.rankings] == ["FID"]
    assert "not compared, as not all have it: recall" in comparison.notes[0]
    assert [r.metric for r in compare([both, one], metric="fid").rankings] == ["FID"]
    with pytest.raises(UsageError, match=r"no score 'fidd' here. Did you mean FID\? There are: FID, recall"):
        compare([both, one], metric="fidd")
    with pytest.raises(CompareError, match=r"has no recall. Measure it: triptych evaluate .*0002"):
        compare([both, one], metric="recall")


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gan, vae = map(str, two(tmp_path))
    assert cli.main(["compare", gan, vae, "--metric", "FID", "--json"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert "DCGAN is better than VAE in FID[digits-cnn]" in "\n".join(lines)
    result = json.loads(lines[-1])
    assert result["rankings"][0]["verdicts"][0]["winner"] == "DCGAN"
    assert cli.main(["compare", gan]) == 2
    assert "at least two runs" in capsys.readouterr().err
