"""run.json as a typed record: everything that defines one training."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from triptych.core.config import Record
from triptych.core.types import ImageSpec
from triptych.runs.options import Options, Plan

FORMAT: Literal[1] = 1


class DataCard(Record):
    """The data set of a run: enough to open it again and to notice that it has changed."""

    source: str
    """As given to `--data`."""
    name: str
    size: int | None = None
    """The requested side in pixels; None: the source's default."""
    color: Literal["auto", "gray", "rgb"] = "auto"
    """The requested color mode."""
    fingerprint: str
    """SHA-256 over all images and labels."""
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()
    """Training images of each class: the class distribution that labels are drawn from."""
    train: int
    """Number of training images."""
    test: int
    """Number of test images."""
    split_rule: str = ""
    """How the images were divided into training and test images, in words."""
    credit: str = ""
    """Author and license of the images."""
    skipped: int = 0
    """Number of files that could not be read."""
    color_rule: str = ""
    """How the color mode was chosen, where `auto` had to choose."""


class Cost(Record):
    """What was counted and timed before the first step."""

    parameters: int
    """Number of parameters in all."""
    sampling_parameters: int
    """Number of parameters that sampling uses."""
    seconds_per_step: float | None = None
    """None where no step was timed."""
    flops_per_step: int = 0
    """Floating-point operations, as PyTorch counts them; 0 where they were not counted."""


class Resumption(Record):
    """One `triptych resume`."""

    step: int
    """The step of the checkpoint that training went on from."""
    passed_over: tuple[str, ...] = ()
    """Newer checkpoints that were damaged, a sentence each."""
    versions: dict[str, str] = Field(default_factory=dict)


class Rollback(Record):
    """One return to an earlier checkpoint, at lower learning rates."""

    at_step: int
    """The step at which training failed."""
    to_step: int
    """The step of the checkpoint that was restored."""
    reason: str
    lr_scale: float
    """Factor on all learning rates from then on."""
    verdict: str | None = None
    """The GAN monitor's diagnosis; None for models it does not observe."""
    evidence: tuple[str, ...] = ()


class ComponentCard(Record):
    """A trained model that this run's model is built on: enough to build it; its weights are in
    checkpoints."""

    model: str
    """Name of the model."""
    config: dict[str, Any]
    image_spec: ImageSpec
    run: str = ""
    """Name of the run that it was trained in."""
    step: int | None = None
    """Steps it was trained for."""


class RunCard(Record):
    """The content of run.json: options, the plan made from them, data, versions."""

    format: Literal[1] = FORMAT
    triptych: str = ""
    """The version that made the run."""
    created: str = ""
    """When, in UTC (ISO 8601)."""
    command: str = ""
    """The command line; "" for a training started from Python."""
    model: str
    """Name of the model, or the path of the user's own .py file."""
    title: str
    """The model's name for people."""
    preset: str | None = None
    config: dict[str, Any]
    """The model's Config as JSON: read it with the model class."""
    conditional: bool = False
    """Whether the model is given labels."""
    components: dict[str, ComponentCard] = Field(default_factory=dict)
    """By the names in the model class's `components`: {"first_stage": ...}."""
    data: DataCard
    image_spec: ImageSpec
    """What the model is built for: `classes` is 0 for an unconditional training."""
    options: Options
    plan: Plan
    cost: Cost
    versions: dict[str, str] = Field(default_factory=dict)
    resumed: tuple[Resumption, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()

    @property
    def model_file(self) -> bool:
        """Whether the model lives in a file of the user's own, which runs only when the user names it."""
        return self.model.endswith(".py")
