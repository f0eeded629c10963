"""Are the saved numbers numbers: weights, averages, optimizer moments, logged values, and a few samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.checklist.answers import Answer, judged, unknown
from triptych.inference.pipeline import Pipeline
from triptych.runs.run import Run
from triptych.training.trainer import Trainer

CHAPTER = "state"
PARTS = {  # files of a state -> what they hold
    "weights": "the raw weights",
    "ema": "the averaged weights (EMA)",
    "optimizers": "the optimizers' moments",
}
DRAWN = 8  # samples compared with each other
VARIED = "do the samples differ from each other"


def finite(training: Trainer, run: Run, tensors: Mapping[str, Mapping[str, Tensor]]) -> list[Answer]:
    """Whether a state and a log hold numbers at all.

    Args:
        training: Holds the state's weights, and its players.
        run: Whose log is read.
        tensors: The checkpoint's tensors by file and name, as `Run.load_checkpoint` returns them.
    """
    answers = [_finite(what, tensors[part]) for part, what in PARTS.items() if part in tensors]
    return [*answers, _log(run.log()), *(_zero(training, tensors, part) for part in ("weights", "ema"))]


def usable(tensors: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether all raw and averaged weights are finite: only then a loss or a sample says anything."""
    parts = [tensors.get(part, {}) for part in ("weights", "ema")]
    return not any(_spoilt(tensor) for part in parts for tensor in part.values())


def varied(training: Trainer, tensors: Mapping[str, Mapping[str, Tensor]], run: Run) -> Answer:
    """Whether samples at different seeds differ, with the raw and with the averaged weights.

    The training's weights are the averaged ones afterwards.
    """
    if not usable(tensors):
        return unknown("samples", VARIED, "no sample can be drawn: the weights are not finite")
    family, said = training.model, []
    trained, frozen = family.training, [p for p in family.parameters() if not p.requires_grad]
    for name, part in (("raw", "weights"), ("averaged", "ema")):
        family.load_state_dict({**tensors["weights"], **tensors.get(part, {})})
        model = Pipeline(family, run, run.card.data.class_counts)
        drawn = np.asarray(model.sample(range(DRAWN)))
        said.append((name, len(np.unique(drawn.reshape(DRAWN, -1), axis=0))))
    family.train(trained).requires_grad_(True)
    for parameter in frozen:
        parameter.requires_grad_(False)
    figure = "; ".join(f"{count} different among {DRAWN} with the {name} weights" for name, count in said)
    return judged("samples", VARIED, all(count > 1 for _, count in said), figure)


def _finite(what: str, tensors: Mapping[str, Tensor]) -> Answer:
    bad = {name: n for name, tensor in tensors.items() if (n := _spoilt(tensor))}
    total = sum(tensor.numel() for tensor in tensors.values())
    figure = f"{total:,} numbers in {len(tensors)} tensors, all finite"
    if bad:
        name = next(iter(bad))
        figure = (
            f"{sum(bad.values()):,} of {total:,} numbers, in {len(bad)} of {len(tensors)} tensors, are NaN "
            f"or infinite, the first in {name}"
        )
    return judged(CHAPTER, f"are {what} finite", not bad, figure)


def _log(log: Sequence[Mapping[str, Any]]) -> Answer:
    question = "are the logged values finite"
    if not log:
        return unknown(CHAPTER, question, "nothing was logged yet")
    for line in log:
        for name, value in line.items():
            if isinstance(value, float) and not math.isfinite(value):
                return judged(CHAPTER, question, False, f"{name} became {value} by step {line['step']:,}")
    return judged(CHAPTER, question, True, f"in {len(log):,} lines")


def _zero(training: Trainer, tensors: Mapping[str, Mapping[str, Tensor]], part: str) -> Answer:
    """Whether each player has weights other than 0: a file of zeros is finite, too."""
    names = {id(p): name for name, p in training.model.named_parameters()}
    empty, found = [], tensors.get(part, {})
    for player in training.objectives:
        own = [found[n] for p in player.parameters() if (n := names.get(id(p), "")) in found]
        if own and not any(bool(tensor.any()) for tensor in own):
            empty.append(player.name)
    figure = f"those of the {' and the '.join(empty)} are all 0" if empty else "every player has some"
    return judged(CHAPTER, f"are {PARTS[part]} other than 0", not empty, figure)


def _spoilt(tensor: Tensor) -> int:
    """How many numbers of a tensor are NaN or infinite."""
    return 0 if not tensor.is_floating_point() else int((~torch.isfinite(tensor)).sum())
