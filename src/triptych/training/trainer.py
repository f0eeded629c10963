"""One loop for all families.

`Trainer` knows players, batches and bits. It neither logs nor saves, draws or watches the clock:
whoever iterates over `steps()` does (`triptych.training.runner`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from triptych.core.errors import TrainingError
from triptych.core.objectives import Objective, StepContext
from triptych.core.types import Batch
from triptych.data.dataset import Split
from triptych.data.loader import batches
from triptych.models.registry import AnyModel, misfit
from triptych.runs.options import Options, Plan
from triptych.training.ema import PowerFunctionEMA


@dataclass(frozen=True)
class Step:
    """What one training step showed: values stay on the device until somebody reads them."""

    step: int  # steps done, this one included
    values: dict[str, Tensor]  # "critic/loss" -> scalar


class Trainer:
    """A model, its players, its averaged weights and the number of steps done."""

    def __init__(self, model: AnyModel, split: Split, options: Options, plan: Plan) -> None:
        self.split, self.options, self.plan, self.step = split, options, plan, 0
        self.device = torch.device(plan.device)
        layout = torch.channels_last if plan.channels_last else torch.contiguous_format
        self.model = model.to(self.device).to(memory_format=layout).train()  # type: ignore[call-overload]
        self.objectives = model.objectives()
        self.rates = {p.name: [group["lr"] for group in p.optimizer.param_groups] for p in self.objectives}
        self.lr_scale = 1.0  # factor on all learning rates: halved when a run goes back to a good state
        self.average = PowerFunctionEMA(model, model.ema_modules, options.ema_std)
        self._unread: dict[str, Tensor] = {}

    def steps(self) -> Iterator[Step]:
        """Train, one step at a time, for as long as the caller asks."""
        for batch in self.batches():
            done = self.step / self.plan.steps
            movers = frozenset(p.name for p in self.objectives if self.step % p.interval == 0)
            turns = [
                StepContext(self.options.seed, self.step, done, movers, part) for part in self.parts(batch)
            ]
            values: dict[str, Tensor] = {}
            for player in self.objectives:
                if player.name in movers:
                    player.optimizer.zero_grad(set_to_none=True)
                    for turn in turns:
                        with self.autocast():
                            loss, extras = player.loss(turn.batch, turn)
                        share = len(turn.batch.rows) / len(batch.rows)
                        (loss * share).backward(inputs=player.parameters())  # only who moves learns
                        note(values, player.name, {"loss": loss.detach(), **extras}, share)
                    self.move(player, done, values)
            self.step += 1
            self.average.update(self.step)
            yield Step(self.step, values)

    def batches(self) -> Iterator[Batch]:
        """The batches from this step on: each a function of (seed, step). Labels where the model is told."""
        asked = self.options
        told = self.split if self.model.spec.classes else replace(self.split, labels=None)
        return batches(told, asked.batch, asked.seed, first=self.step, flip=asked.flip)

    def parts(self, batch: Batch) -> list[Batch]:
        """The batch in micro-batches, on the device."""
        size = self.options.micro_batch or self.options.batch
        starts = range(0, len(batch.rows), size)
        return [batch.cut(start, start + size).to(self.device) for start in starts]

    def autocast(self) -> AbstractContextManager[None]:
        """The plan's precision, for the networks' forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.precision == "bf16")

    def move(self, player: Objective, done: float, values: dict[str, Tensor]) -> None:
        """One optimiser step: the learning rate of the moment, the clipped gradient, a look at the loss.

        Whether a loss is finite is read one step late, so that the device is never waited for.
        """
        for group, rate in zip(player.optimizer.param_groups, self.rates[player.name], strict=True):
            group["lr"] = rate * player.lr_schedule(done) * self.lr_scale
        if player.max_grad_norm is not None:
            norm = torch.nn.utils.clip_grad_norm_(player.parameters(), player.max_grad_norm)
            values[f"{player.name}/gradient"] = norm.detach()
        elif self.model.adversarial is not None:  # the watch asks who still learns
            gradients = [p.grad for p in player.parameters() if p.grad is not None]
            values[f"{player.name}/gradient"] = torch.nn.utils.get_total_norm(gradients)
        self.check(player.name)
        self._unread[player.name] = values[f"{player.name}/loss"]
        player.optimizer.step()

    def check(self, *names: str) -> None:
        """Read the losses not looked at yet. Raises TrainingError if one is not finite."""
        for name in names or tuple(self._unread):
            loss = self._unread.pop(name, None)
            if loss is not None and not math.isfinite(float(loss)):
                raise TrainingError(f"the {name}'s loss became {float(loss)} by step {self.step}")

    def files(self) -> dict[str, dict[str, Tensor]]:
        """Everything that makes up the state, as tensors by file. Raises TrainingError when not finite."""
        self.check()
        optimizers = {}
        for player in self.objectives:
            for number, parameter in enumerate(player.parameters()):
                for key, value in player.optimizer.state[parameter].items():
                    optimizers[f"{player.name}/{number}/{key}"] = value
        spoilt = [n for n, t in self.model.state_dict().items() if not bool(t.float().isfinite().all())]
        if spoilt:
            raise TrainingError(f"weights are not finite at step {self.step}: {spoilt[0]}")
        return {
            "weights": self.model.state_dict(),
            "average": dict(self.average.tensors),
            "optimizers": optimizers,
        }

    def restore(self, step: int, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go back to a saved state, to the same bits. Raises RunError when it is of another network."""
        try:
            self.model.load_state_dict(files["weights"])
            self.average.load(files["average"])
        except (RuntimeError, ValueError) as error:
            raise misfit(f"the weights of step {step}", error) from error
        for player in self.objectives:
            parameters = player.parameters()
            player.optimizer.state.clear()
            for name, saved in files["optimizers"].items():
                who, number, key = name.split("/")
                if who == player.name:
                    parameter = parameters[int(number)]
                    player.optimizer.state[parameter][key] = like_parameter(saved, parameter)
        self.step = step
        self._unread.clear()


def note(values: dict[str, Tensor], player: str, seen: Mapping[str, Tensor], share: float) -> None:
    """Add a micro-batch's values, weighted by its share of the batch."""
    for name, value in seen.items():
        key = f"{player}/{name}"
        values[key] = values.get(key, 0) + value * share


def like_parameter(saved: Tensor, parameter: Tensor) -> Tensor:
    """An optimiser's tensor with its parameter's strides.

    A fused optimiser walks both by memory order; a contiguous moment beside a channels-last weight
    would be applied to the wrong numbers without a word.
    """
    if saved.shape != parameter.shape:
        return saved.to(parameter.device)
    return torch.empty_like(parameter, dtype=saved.dtype).copy_(saved)


def fresh_copy(model: AnyModel) -> AnyModel:
    """The same model with new weights."""
    return type(model)(model.config, model.spec, model.parts)
