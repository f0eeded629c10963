"""Trained models that another one is built on: opened, checked, described in run.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from triptych.core.errors import UsageError
from triptych.data.dataset import Dataset
from triptych.evaluation.evaluate import evaluate_run
from triptych.evaluation.reconstruction import MAX_FLOOR_RATIO
from triptych.inference.pipeline import Pipeline, load
from triptych.models.registry import AnyModel
from triptych.runs.card import ComponentCard

CHECKED_IMAGES = 1000  # test images that a first stage reconstructs before it may serve


def open_components(
    model_class: type[AnyModel],
    runs: Mapping[str, Path | str],
    dataset: Dataset,
    announce: Callable[[str], None],
    force: bool = False,
) -> dict[str, Pipeline]:
    """Open the runs of the models that a model is built on, and check that they may serve.

    Args:
        model_class: The model to be trained.
        runs: Name of the component -> run directory.
        dataset: The images to train on: those that a first stage must reconstruct well.
        announce: Called with a line on what was measured.
        force: Accept a first stage whose reconstructions are poor.

    Returns:
        Name of the component -> its pipeline.

    Raises:
        UsageError: For a missing or superfluous component, a run of another model, images of another shape,
            and a first stage whose reconstructions are poor.
    """
    if unknown := sorted(set(runs) - set(model_class.components)):
        raise UsageError(f"{model_class.title} is not built on other runs: leave out {flag_of(unknown[0])}")
    opened = {}
    for name, wanted in model_class.components.items():
        if name not in runs:
            raise UsageError(
                f"{model_class.title} needs {flag_of(name)} RUN, the run of a trained {wanted}: "
                f"triptych train {wanted} --data {dataset.source}"
            )
        pipeline = load(runs[name])
        model = pipeline.run.card.model if pipeline.run is not None else ""
        if model != wanted:
            raise UsageError(f"{flag_of(name)} {runs[name]} is a run of {model}, expected a run of {wanted}")
        ours, theirs = dataset.spec, pipeline.spec
        if (ours.channels, ours.size) != (theirs.channels, theirs.size):
            raise UsageError(
                f"{flag_of(name)} {runs[name]} was trained on images of {theirs.size} px with "
                f"{theirs.channels} channels, these have {ours.size} px and {ours.channels}: give a run "
                f"on such images, or --size {theirs.size}"
            )
        if pipeline.model.reconstructs:
            check_reconstruction(pipeline, dataset, announce, force)
        opened[name] = pipeline
    return opened


def check_reconstruction(
    pipeline: Pipeline, dataset: Dataset, announce: Callable[[str], None], force: bool
) -> None:
    """Check that an autoencoder reconstructs these images well enough to serve as a first stage.

    Args:
        pipeline: The autoencoder.
        dataset: The images.
        announce: Called with what was measured.
        force: Accept it in any case.

    Raises:
        UsageError: If the Frechet distance of its reconstructions is too far above the floor.
    """
    count = min(CHECKED_IMAGES, len(dataset.test))
    reconstruction = evaluate_run(pipeline, count, "random-conv", data=dataset, save=False).reconstruction
    assert reconstruction is not None
    announce(f"first stage: {reconstruction.sentence()}")
    ratio = reconstruction.floor_ratio
    if ratio is not None and ratio > MAX_FLOOR_RATIO and not force:
        raise UsageError(
            f"the first stage is not good enough: its reconstructions have a Frechet distance of {ratio:.1f} "
            f"times the floor, and at most {MAX_FLOOR_RATIO:g} times is accepted: samples of a second stage "
            "can be no better than reconstructions. Train the autoencoder longer or with a smaller --down, "
            "or add --force-first-stage"
        )


def flag_of(name: str) -> str:
    """The flag of a component."""
    return f"--{name.replace('_', '-')}"


def component_card(pipeline: Pipeline) -> ComponentCard:
    """Describe a component for run.json."""
    config: dict[str, Any] = pipeline.model.config.model_dump(mode="json")
    assert pipeline.run is not None
    return ComponentCard(
        model=pipeline.run.card.model,
        config=config,
        image_spec=pipeline.model.spec,
        run=pipeline.run.path.name,
        step=pipeline.step,
    )
