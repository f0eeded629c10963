"""The training loop, one for all models.

`Trainer` computes: batches, losses, updates, EMA weights. It neither logs nor saves nor samples: the code
that iterates over `steps()` does (`triptych.training.runner`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from triptych.core.errors import TrainingError, UsageError
from triptych.core.objectives import Objective, StepContext
from triptych.core.types import Batch
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.models.registry import AnyModel, weights_mismatch
from triptych.runs.options import Options, Plan
from triptych.training.ema import PowerFunctionEMA

StateTensors = dict[str, dict[str, Tensor]]  # file -> name in the file -> tensor


@dataclass(frozen=True)
class Step:
    """The result of one training step."""

    step: int  # steps done, this one included
    values: dict[str, Tensor]  # "critic/loss" -> scalar, left on the device until somebody reads it


class Trainer:
    """A model in training: its objectives, its EMA weights, the number of steps done.

    Args:
        model: The model; its weights are trained in place.
        split: The training images.
        options: What the user asked for: batch size, seed, width of the EMA.
        plan: What was decided before the start: number of steps, device, precision, memory layout.
    """

    def __init__(self, model: AnyModel, split: Split, options: Options, plan: Plan) -> None:
        self.split, self.options, self.plan, self.step = split, options, plan, 0
        self.device = torch.device(plan.device)
        layout = torch.channels_last if plan.channels_last else torch.contiguous_format
        self.model = model.to(self.device).to(memory_format=layout).train()  # type: ignore[call-overload]
        self.objectives = model.objectives()
        self.parameter_names = parameter_names(model, self.objectives)
        self.base_lrs = {o.name: [group["lr"] for group in o.optimizer.param_groups] for o in self.objectives}
        self.lr_scale = 1.0  # factor on all learning rates; each rollback lowers it
        self.ema = PowerFunctionEMA(model, model.ema_modules, options.ema_std)
        self._unchecked_losses: dict[str, Tensor] = {}

    def steps(self) -> Iterator[Step]:
        """Train without end; each yield is one step, after which the caller may stop."""
        for batch in self.batches():
            progress = self.step / self.plan.steps
            active = frozenset(o.name for o in self.objectives if self.step % o.interval == 0)
            contexts = [
                StepContext(self.options.seed, self.step, progress, active, part)
                for part in self.micro_batches(batch)
            ]
            values: dict[str, Tensor] = {}
            for objective in self.objectives:
                if objective.name in active:
                    objective.optimizer.zero_grad(set_to_none=True)
                    for context in contexts:
                        with self.autocast():
                            loss, extras = objective.loss(context.batch, context)
                        share = len(context.batch.rows) / len(batch.rows)
                        (loss * share).backward(inputs=objective.parameters())
                        accumulate(values, objective.name, {"loss": loss.detach(), **extras}, share)
                    self.update(objective, progress, values)
            self.step += 1
            self.ema.update(self.step)
            yield Step(self.step, values)

    def batches(self) -> Iterator[Batch]:
        """Yield the batches from the current step on: each is a function of (seed, step)."""
        split = self.split if self.model.spec.classes else replace(self.split, labels=None)
        options = self.options
        return batches(split, options.batch, options.seed, first=self.step, flip=options.flip)

    def micro_batches(self, batch: Batch) -> list[Batch]:
        """Cut a batch to the size that fits into memory, and move it to the device."""
        size = self.options.micro_batch or self.options.batch
        starts = range(0, len(batch.rows), size)
        return [batch.cut(start, start + size).to(self.device) for start in starts]

    def autocast(self) -> AbstractContextManager[None]:
        """The context of forward passes: the precision of the plan."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    def update(self, objective: Objective, progress: float, values: dict[str, Tensor]) -> None:
        """Take one optimizer step with the gradients that `backward` left.

        The losses of the objective's step before are checked first (`check_losses`).

        Args:
            objective: Whose optimizer moves.
            progress: Share of the planned steps done, in [0, 1].
            values: The step's logged values; the norm of the gradient is added.
        """
        for group, base_lr in zip(
            objective.optimizer.param_groups, self.base_lrs[objective.name], strict=True
        ):
            group["lr"] = base_lr * objective.lr_schedule(progress) * self.lr_scale
        if objective.max_grad_norm is not None:
            norm = nn.utils.clip_grad_norm_(objective.parameters(), objective.max_grad_norm)
            values[f"{objective.name}/gradient"] = norm.detach()
        elif self.model.adversarial is not None:  # the GAN monitor reads it
            gradients = [p.grad for p in objective.parameters() if p.grad is not None]
            values[f"{objective.name}/gradient"] = nn.utils.get_total_norm(gradients)
        self.check_losses(objective.name)
        self._unchecked_losses[objective.name] = values[f"{objective.name}/loss"]
        objective.optimizer.step()

    def check_losses(self, *names: str) -> None:
        """Check that losses are finite, one step late: reading a loss at once would wait for the device.

        Args:
            *names: The objectives to check; none given: all.

        Raises:
            TrainingError: If a loss is not finite.
        """
        for name in names or tuple(self._unchecked_losses):
            loss = self._unchecked_losses.pop(name, None)
            if loss is not None and not math.isfinite(float(loss)):
                raise TrainingError(f"the {name}'s loss became {float(loss)} by step {self.step}")

    def state_tensors(self) -> StateTensors:
        """Collect the tensors of a checkpoint: weights, EMA weights, optimizer state.

        Optimizer state is stored by name, "objective/parameter name/state key", so that it does not depend
        on the order of parameters.

        Returns:
            File name without suffix -> tensors by name.

        Raises:
            TrainingError: If a loss or a weight is not finite.
        """
        self.check_losses()
        weights = self.model.state_dict()
        if not_finite := [name for name, tensor in weights.items() if not tensor.float().isfinite().all()]:
            raise TrainingError(f"weights are not finite at step {self.step}: {not_finite[0]}")
        optimizers = {
            f"{objective.name}/{self.parameter_names[parameter]}/{key}": value
            for objective in self.objectives
            for parameter in objective.parameters()
            for key, value in objective.optimizer.state[parameter].items()
        }
        return {"weights": weights, "ema": dict(self.ema.tensors), "optimizers": optimizers}

    def restore(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load a checkpoint; training goes on to the same bits as if it had never stopped.

        A checkpoint that does not fit the model raises RunError.

        Args:
            step: Steps done when the checkpoint was saved.
            tensors: As `state_tensors` returned them.
        """
        self._load(step, tensors)
        self.step = step
        self._unchecked_losses.clear()

    def _load(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        try:
            self.model.load_state_dict(tensors["weights"])
            self.ema.load(self.model.complete(tensors["ema"]))
            for objective in self.objectives:
                self._restore_optimizer(objective, tensors["optimizers"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise weights_mismatch(f"the weights of step {step}", error) from error

    def _restore_optimizer(self, objective: Objective, saved: Mapping[str, Tensor]) -> None:
        """Raises KeyError for the state of a parameter that the optimizer does not hold."""
        state = objective.optimizer.state
        state.clear()
        in_order = [p for group in objective.optimizer.param_groups for p in group["params"]]
        by_name = {self.parameter_names[parameter]: parameter for parameter in in_order}
        by_name |= {str(number): parameter for number, parameter in enumerate(in_order)}  # old checkpoints
        for path, tensor in saved.items():
            owner, rest = path.split("/", 1)
            if owner == objective.name:
                name, key = rest.rsplit("/", 1)
                parameter = by_name[name]
                state[parameter][key] = with_layout_of(parameter, tensor)


def parameter_names(model: nn.Module, objectives: list[Objective]) -> dict[nn.Parameter, str]:
    """Map every parameter of a model to its name.

    Args:
        model: The model.
        objectives: Its objectives.

    Returns:
        Parameter -> name as in `named_parameters`.

    Raises:
        UsageError: If an objective's optimizer holds a parameter that is not the model's.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    for objective in objectives:
        if any(p not in names for group in objective.optimizer.param_groups for p in group["params"]):
            raise UsageError(
                f"the optimizer of the {objective.name} holds a parameter that is not in the model, so no "
                "checkpoint would have it: make its module an attribute of the model"
            )
    return names


def accumulate(values: dict[str, Tensor], prefix: str, logged: Mapping[str, Tensor], share: float) -> None:
    """Add what one micro-batch logged to the means over the batch.

    Args:
        values: "prefix/name" -> mean so far, changed in place.
        prefix: The name of the objective.
        logged: Name -> scalar.
        share: The micro-batch's share of the batch, in (0, 1].
    """
    for name, value in logged.items():
        key = f"{prefix}/{name}"
        values[key] = values.get(key, 0) + value * share


def with_layout_of(parameter: Tensor, saved: Tensor) -> Tensor:
    """Copy a saved optimizer tensor into its parameter's memory layout.

    A fused optimizer walks both in memory order: with another layout, moments would silently be applied to
    the wrong weights.

    Args:
        parameter: The parameter.
        saved: A tensor of its optimizer state: of the same shape, or a step counter.

    Returns:
        The same values on the parameter's device.
    """
    if saved.shape != parameter.shape:
        return saved.to(parameter.device)
    return torch.empty_like(parameter, dtype=saved.dtype).copy_(saved)


def fresh_copy(model: AnyModel) -> AnyModel:
    """Build the same model with newly initialized weights."""
    return type(model)(model.config, model.spec, model.component_models)
