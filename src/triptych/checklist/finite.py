"""Finite values: weights, EMA weights, optimizer moments, logged values; and a few samples that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.checklist.answers import Answer, pass_or_fail, unknown
from triptych.inference.pipeline import Pipeline
from triptych.runs.run import Run
from triptych.training.trainer import Trainer

CHAPTER = "checkpoint"
PARTS = {  # files of a checkpoint -> what they hold
    "weights": "the raw weights",
    "ema": "the EMA weights",
    "optimizers": "the optimizers' moments",
}
N_SAMPLES = 8  # compared with each other
VARIED = "do the samples differ from each other"


def finite(training: Trainer, run: Run, tensors: Mapping[str, Mapping[str, Tensor]]) -> list[Answer]:
    """Answer whether the values of a checkpoint and of the log are finite.

    Args:
        training: Holds the checkpoint's weights, and its objectives.
        run: Whose log is read.
        tensors: The checkpoint's tensors by file and name, as `Run.load_checkpoint` returns them.

    Returns:
        The answers.
    """
    answers = [_finite(what, tensors[part]) for part, what in PARTS.items() if part in tensors]
    return [*answers, _log(run.log()), *(_zero(training, tensors, part) for part in ("weights", "ema"))]


def usable(tensors: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether all raw and EMA weights are finite: only then a loss or a sample says anything."""
    parts = [tensors.get(part, {}) for part in ("weights", "ema")]
    return not any(_count_not_finite(tensor) for part in parts for tensor in part.values())


def varied(training: Trainer, tensors: Mapping[str, Mapping[str, Tensor]], run: Run) -> Answer:
    """Answer whether samples of different seeds differ, with the raw and with the EMA weights.

    The training's weights are the EMA weights afterwards.

    Args:
        training: Its model is loaded with both.
        tensors: The checkpoint's tensors by file and name.
        run: Whose class distribution labels are drawn from.

    Returns:
        The answer.
    """
    if not usable(tensors):
        return unknown("samples", VARIED, "nothing can be sampled: the weights are not finite")
    model, counts = training.model, []
    was_training, frozen = model.training, [p for p in model.parameters() if not p.requires_grad]
    for name, part in (("raw", "weights"), ("EMA", "ema")):
        model.load_state_dict({**tensors["weights"], **tensors.get(part, {})})
        pipeline = Pipeline(model, run, run.card.data.class_counts)
        samples = np.asarray(pipeline.sample(range(N_SAMPLES)))
        counts.append((name, len(np.unique(samples.reshape(N_SAMPLES, -1), axis=0))))
    model.train(was_training).requires_grad_(True)
    for parameter in frozen:
        parameter.requires_grad_(False)
    evidence = "; ".join(
        f"{count} different among {N_SAMPLES} with the {name} weights" for name, count in counts
    )
    return pass_or_fail("samples", VARIED, all(count > 1 for _, count in counts), evidence)


def _finite(what: str, tensors: Mapping[str, Tensor]) -> Answer:
    bad = {name: n for name, tensor in tensors.items() if (n := _count_not_finite(tensor))}
    total = sum(tensor.numel() for tensor in tensors.values())
    evidence = f"{total:,} numbers in {len(tensors)} tensors, all finite"
    if bad:
        name = next(iter(bad))
        evidence = (
            f"{sum(bad.values()):,} of {total:,} numbers, in {len(bad)} of {len(tensors)} tensors, are NaN "
            f"or infinite, the first in {name}"
        )
    return pass_or_fail(CHAPTER, f"are {what} finite", not bad, evidence)


def _log(log: Sequence[Mapping[str, Any]]) -> Answer:
    question = "are the logged values finite"
    if not log:
        return unknown(CHAPTER, question, "nothing was logged yet")
    for line in log:
        for name, value in line.items():
            if isinstance(value, float) and not math.isfinite(value):
                return pass_or_fail(
                    CHAPTER, question, False, f"{name} became {value} by step {line['step']:,}"
                )
    return pass_or_fail(CHAPTER, question, True, f"in {len(log):,} lines")


def _zero(training: Trainer, tensors: Mapping[str, Mapping[str, Tensor]], part: str) -> Answer:
    """Whether each objective has weights other than 0: a file of zeros is finite, too."""
    names = {id(p): name for name, p in training.model.named_parameters()}
    empty, weights = [], tensors.get(part, {})
    for objective in training.objectives:
        own = [weights[n] for p in objective.parameters() if (n := names.get(id(p), "")) in weights]
        if own and not any(bool(tensor.any()) for tensor in own):
            empty.append(objective.name)
    evidence = f"those of the {' and the '.join(empty)} are all 0" if empty else "every network has some"
    return pass_or_fail(CHAPTER, f"are {PARTS[part]} other than 0", not empty, evidence)


def _count_not_finite(tensor: Tensor) -> int:
    """How many numbers of a tensor are NaN or infinite."""
    return 0 if not tensor.is_floating_point() else int((~torch.isfinite(tensor)).sum())
