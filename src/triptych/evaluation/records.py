"""One evaluation as it is stored: a line of a run's metrics.jsonl, and the only reader of that file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from triptych.core.checksummed import Checksummed
from triptych.core.config import Record
from triptych.core.errors import RunError
from triptych.evaluation.detailed import DetailedEvaluation
from triptych.evaluation.reconstruction import Reconstruction
from triptych.evaluation.scoring import ClassView
from triptych.metrics.score import Score
from triptych.runs.run import Run

# Keys of lines written before they bore a format number: place of a record -> {old key: today's}.
# Places are in today's keys, outer records first.
KEYS_BEFORE_FORMAT_1: dict[str, dict[str, str]] = {
    "": {"judge": "extractor", "closer": "detailed", "made": "created"},
    "classes": {"sure": "confident", "sure_real": "confident_real"},
    "detailed": {
        "copies": "memorization",
        "diversity_sure": "diversity_confident",
        "traits": "latent_geometry",
        "truth": "ground_truth",
    },
    "detailed.memorization": {"words": "summary", "authentic": "authenticity", "searched": "n_train"},
    "detailed.latent_geometry": {
        "detour": "path_ratio",
        "detour_low": "path_ratio_low",
        "detour_high": "path_ratio_high",
        "leap": "max_step_share",
        "even": "uniform_step_share",
        "sure_ends": "confident_ends",
        "sure_between": "confident_midpoints",
        "probe": "linear_probe",
        "probe_chance": "linear_probe_chance",
    },
    "detailed.ground_truth.reader": {"colour": "color"},
}


class Sampling(Record):
    """How the samples were drawn, and how long that took."""

    n: int
    first_seed: int
    batch: int
    seconds: float
    seconds_per_sample: float
    device: str


class ExtractorInfo(Record):
    """The feature extractor of an evaluation."""

    name: str
    hash: str
    """SHA-256 of its weights, in hex."""
    width: int
    """Features of one image."""
    accuracy: float | None
    """Share of the source's test images that it classifies correctly; None without classes."""


class Evaluation(Checksummed, Record):
    """One evaluation of a model: one line of `metrics.jsonl`."""

    format: Literal[1] = 1
    """Version of this record's layout; lines written before there was a number have format 1's content."""
    scores: tuple[Score, ...]
    classes: ClassView | None
    sampling: Sampling
    extractor: ExtractorInfo
    step: int | None
    created: str
    """When, in UTC (ISO 8601)."""
    detailed: DetailedEvaluation | None = None
    """The detailed evaluation, where one was made; its scores stand in `scores` too."""
    reconstruction: Reconstruction | None = None
    """Of an autoencoder: the scores are of reconstructions of test images, and these are their errors."""

    @property
    def weights(self) -> str:
        """The weights that were scored: "raw" or "ema"; "" where the line does not say."""
        return self.scores[0].card.weights if self.scores else ""

    def called(self) -> str:
        """What a sentence calls it."""
        return f"the evaluation made {self.created}"

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Today's keys for a line without a format number."""
        if "format" in values or "judge" not in values:
            return values
        for place, names in KEYS_BEFORE_FORMAT_1.items():
            values = _renamed(values, place.split(".") if place else [], names)
        return values


def evaluations(run: Run) -> list[Evaluation]:
    """All evaluations of a run, oldest first.

    Args:
        run: the run. Lines of older versions are read under today's names.

    Returns:
        One record for each line of `metrics.jsonl`; an unfinished last line is left out.

    Raises:
        RunError: for a line that was edited, is damaged or was written by a newer version.
    """
    records = []
    for number, line in enumerate(run.metrics(), 1):
        try:
            records.append(Evaluation.model_validate(line))
        except ValidationError as error:
            first = error.errors()[0]
            raised = first.get("ctx", {}).get("error")
            reason = str(raised) if raised is not None else first["msg"].lower()
            where = f"{'.'.join(map(str, first['loc']))}: {reason}".lstrip(": ")
            raise RunError(
                f"{run.path}/metrics.jsonl holds an evaluation that cannot be read (line {number}, {where}): "
                "take that line out, or delete the file and evaluate again"
            ) from error
    return records


def newest_evaluation(made: Sequence[Evaluation], weights: str = "auto") -> Evaluation | None:
    """The newest evaluation of the weights asked for, else the newest of any.

    Only evaluations of the newest one's step are chosen among.

    Args:
        made: a run's evaluations, oldest first.
        weights: "raw", "ema" or "auto", which prefers an evaluation that was not made with --weights: that of
            the other weights does not stand for the run.

    Returns:
        The evaluation; None without any.
    """
    if not made:
        return None
    newest = [one for one in made if one.step == made[-1].step]
    if weights == "auto":
        fit = [
            one for one in newest if not one.scores or one.scores[0].card.weights_requested in ("", "auto")
        ]
    else:
        fit = [one for one in newest if one.weights == weights]
    return fit[-1] if fit else made[-1]


def _renamed(values: Any, place: list[str], names: Mapping[str, str]) -> Any:
    """A copy of nested mappings with other keys in the mapping at `place`; unchanged where there is none."""
    if not isinstance(values, Mapping):
        return values
    if place:
        inner = values.get(place[0])
        return {**values, place[0]: _renamed(inner, place[1:], names)} if inner else values
    return {names.get(key, key): value for key, value in values.items()}
