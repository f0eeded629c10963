"""`triptych evaluate`: score a run, or one folder of images against another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.cli._flags import WEIGHTS, flags_of, parse, positional
from triptych.cli._registry import say, verb
from triptych.cli.progress import said_slowly, said_slowly_of


@verb("evaluate", "score a run (or a folder of pictures against another)")
def evaluate(words: list[str]) -> dict[str, Any]:
    """Score pictures."""
    flags = parse(
        words,
        flags_of(
            model=(positional(Path | None, "[RUN]"), None, "The run's directory."),
            samples=(int, 2000, "Pictures to draw."),
            features=(
                str,
                "auto",
                "Feature extractor: auto, domain-cnn, self-supervised, random-conv, inception[:PATH], "
                "inception-clean, dinov2, clip.",
            ),
            quick=(bool, False, "Leave out the closer look: further scores, copies, diversity, traits."),
            useful=(bool, False, "Also train classifiers on the samples: do they help as data augmentation?"),
            real=(str | None, None, "Instead of a run: a source of real pictures, ..."),
            fake=(str | None, None, "... and one of made pictures to score against them."),
            size=(int | None, None, "Side in pixels at which --real and --fake are compared."),
            family=(str | None, None, "Path to the family's .py file, if it was one of your own."),
            weights=WEIGHTS,
            probe=(bool, False, "Spoil pictures of --real (or digits) and see which metric notices."),
            out=(Path | None, None, "With --probe: where to draw the spoilt pictures, a .png."),
        ),
        "evaluate",
        "Score a run against its own test pictures, or one folder of pictures against another.",
    )
    if flags.probe:
        return probed(flags)
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

    model = load(flags.model, model_file=flags.family, weights=flags.weights)
    made = evaluate_run(
        model, flags.samples, flags.features, progress=said_slowly(), detailed=not flags.quick, save=False
    )
    lost = why_not_kept(model, made)  # before the table, whose reader may go away
    tables.print_scores(made.scores, f"{model.model.title}, {flags.model}, {NAMES[model.weights]}")
    tables.print_classes(made)
    tables.print_closer(made)
    told = made.model_dump(mode="json")
    if lost:
        say(f"triptych: these scores are not kept: {lost}")
        told["exit"] = 1
    if not flags.useful:
        return told
    from triptych.evaluation.augmentation_utility import classification_accuracy_score
    from triptych.evaluation.evaluate import data_of

    found = classification_accuracy_score(
        model, data_of(model), flags.samples, progress=said_slowly_of("classifiers")
    )
    print(found.sentence)
    return {**told, "usefulness": found.model_dump(mode="json")}


def why_not_kept(model: Any, made: Any) -> str:
    """Keep an evaluation with its run; what hindered it, "" if nothing did."""
    from triptych.core.errors import RunError
    from triptych.evaluation.evaluate import save_evaluation

    try:
        save_evaluation(model, made)
    except RunError as error:
        return str(error)
    return ""


def probed(flags: Any) -> dict[str, Any]:
    """Probe the metrics on a source; with --out, draw what they were shown."""
    from triptych.core.errors import UsageError
    from triptych.evaluation.sensitivity.printing import print_study, write_sheet
    from triptych.evaluation.sensitivity.running import study_sensitivity

    if flags.model is not None or flags.fake:
        raise UsageError("--probe asks for a source of real pictures alone: --probe --real SOURCE")
    if flags.out is not None and flags.out.suffix != ".png":
        raise UsageError(f"--out {flags.out}: expected a .png")
    asked = (flags.real or "digits", flags.samples, flags.features)
    found = study_sensitivity(*asked, size=flags.size, progress=said_slowly())
    print_study(found)
    if flags.out is not None:
        write_sheet(flags.out, *asked, size=flags.size)
        print(flags.out)
    return found.model_dump(mode="json")
