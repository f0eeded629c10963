"""`triptych evaluate`: score a run, or one folder of images against another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from triptych.cli._flags import JsonFlag, ModelFileFlag, Positional, WeightsFlag
from triptych.cli._registry import Result, say
from triptych.cli.progress import throttled, throttled_for

if TYPE_CHECKING:
    from triptych.evaluation.records import Evaluation
    from triptych.inference.pipeline import Pipeline


@dataclass(kw_only=True)
class EvaluateFlags(WeightsFlag, ModelFileFlag, JsonFlag):
    """Score a run's samples against its own test images, or one source of images against another."""

    model: Annotated[Path | None, Positional("[RUN]")] = None
    """The run's directory."""
    samples: int = 2000
    """Number of samples to draw."""
    features: str = "auto"
    """Feature extractor: auto, domain-cnn, self-supervised, random-conv, inception[:PATH],
    inception-clean, dinov2, clip."""
    quick: bool = False
    """Main scores only: leave out the slower ones, memorization, diversity and latent geometry."""
    classification_accuracy: bool = False
    """Also train classifiers on real images, on samples and on both: do samples help as augmentation?
    (Classification accuracy score, Ravuri and Vinyals 2019.)"""
    real: str | None = None
    """Without a run: a source of real images, ..."""
    fake: str | None = None
    """... and a source of generated images to score against them."""
    size: int | None = None
    """Side in pixels at which --real and --fake are compared; left out: what suits --real."""
    sensitivity: bool = False
    """Without a run: corrupt the images of --real (left out: digits) in known ways, and report which metric
    notices which corruption."""
    out: Path | None = None
    """With --sensitivity: write examples of the corrupted images to this .png."""


def evaluate(flags: EvaluateFlags) -> Result:
    """Score images.

    Args:
        flags: As typed.

    Returns:
        What --json prints.

    Raises:
        UsageError: If it is not clear what to score.
    """
    if flags.sensitivity:
        return evaluate_sensitivity(flags)
    from triptych.cli import tables
    from triptych.core.errors import UsageError

    if flags.model is not None and (flags.real or flags.fake):
        raise UsageError("give a run, or --real and --fake, not both")
    if flags.model is None:
        if not (flags.real and flags.fake):
            raise UsageError("give a run's directory, or both --real and --fake")
        from triptych.evaluation.evaluate import score_sources

        scores = score_sources(flags.real, flags.fake, flags.features, flags.size, not flags.quick)
        tables.print_scores(scores, f"{flags.fake} against {flags.real}")
        return {"scores": [score.model_dump(mode="json") for score in scores]}
    from triptych.evaluation.evaluate import evaluate_run
    from triptych.inference.pipeline import load
    from triptych.runs.weights import NAMES

    pipeline = load(flags.model, model_file=flags.model_file, weights=flags.weights)
    scored = evaluate_run(
        pipeline, flags.samples, flags.features, progress=throttled(), detailed=not flags.quick, save=False
    )
    not_saved = save_scores(pipeline, scored)  # before the table is printed: into a pipe, that may end here
    tables.print_scores(scored.scores, f"{pipeline.model.title}, {flags.model}, {NAMES[pipeline.weights]}")
    tables.print_classes(scored)
    tables.print_details(scored)
    result = scored.model_dump(mode="json")
    if not_saved:
        say(f"triptych: these scores were not saved: {not_saved}")
        result["exit"] = 1
    if not flags.classification_accuracy:
        return result
    from triptych.evaluation.augmentation_utility import classification_accuracy_score
    from triptych.evaluation.evaluate import data_of

    accuracy = classification_accuracy_score(
        pipeline, data_of(pipeline), flags.samples, progress=throttled_for("classifiers")
    )
    print(accuracy.sentence)
    return {**result, "classification_accuracy": accuracy.model_dump(mode="json")}


def save_scores(pipeline: Pipeline, scored: Evaluation) -> str:
    """Save an evaluation with its run.

    Args:
        pipeline: What was evaluated.
        scored: The evaluation.

    Returns:
        Why it could not be saved, "" if it was.
    """
    from triptych.core.errors import RunError
    from triptych.evaluation.evaluate import save_evaluation

    try:
        save_evaluation(pipeline, scored)
    except RunError as error:
        return str(error)
    return ""


def evaluate_sensitivity(flags: EvaluateFlags) -> Result:
    """Report which metric notices which corruption of real images.

    Args:
        flags: As typed.

    Returns:
        What --json prints.

    Raises:
        UsageError: If more than a source of real images was given, or --out is not a .png.
    """
    from triptych.core.errors import UsageError
    from triptych.evaluation.sensitivity.printing import print_study, write_sheet
    from triptych.evaluation.sensitivity.running import study_sensitivity

    if flags.model is not None or flags.fake:
        raise UsageError("--sensitivity takes only a source of real images: --sensitivity --real SOURCE")
    if flags.out is not None and flags.out.suffix != ".png":
        raise UsageError(f"--out {flags.out}: expected a .png")
    source = flags.real or "digits"
    study = study_sensitivity(source, flags.samples, flags.features, size=flags.size, progress=throttled())
    print_study(study)
    if flags.out is not None:
        write_sheet(flags.out, source, flags.samples, flags.features, size=flags.size)
        print(flags.out)
    return study.model_dump(mode="json")
