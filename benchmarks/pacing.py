"""Training steps to be timed in turns: what the benchmarks of speed share."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import torch

from triptych.core import device as devices
from triptych.data.dataset import Dataset
from triptych.models.registry import load_model_class
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.trainer import Trainer

BATCH = {
    "dcgan": 64,
    "wgan": 64,
    "stylegan": 16,
    "vae": 128,
    "diffusion": 64,
    "flow_matching": 64,
}  # as they train best in minutes


class Steps:
    """A training whose steps are taken in rounds: where steps differ (lazy penalties), all of them."""

    def __init__(self, name: str, dataset: Dataset, arithmetic: Arithmetic, **config: Any) -> None:
        model_class = load_model_class(name)
        torch.manual_seed(0)
        model = model_class(model_class.Config(**config), dataset.spec)
        options = Options(batch=BATCH[name], device="cpu", steps=10**6)
        plan = Plan.trial(torch.device("cpu"), arithmetic)
        self.training = Trainer(model, dataset.train, options, plan)
        self.batch = options.batch
        self._steps = self.training.steps()
        self.round = math.lcm(
            model.step_period, *(objective.interval for objective in self.training.objectives)
        )

    def take(self, rounds: int = 1) -> None:
        """Take whole rounds of steps."""
        for _ in range(rounds * self.round):
            next(self._steps)

    def pace(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> float:
        """Seconds a step over about so many seconds, by a clock: of the wall, or of the process."""
        began, taken = clock(), 0
        while taken == 0 or clock() - began < seconds:
            self.take()
            taken += self.round
        return (clock() - began) / taken


def conditional(name: str) -> dict[str, Any]:
    """The setting that makes a model read labels, where it has one."""
    return {"conditional": True} if "conditional" in load_model_class(name).Config.model_fields else {}


def machine() -> dict[str, Any]:
    """What the figures were measured on, and with what in the way."""
    return {
        "cpu": devices.describe(torch.device("cpu")),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "instructions": os.environ.get("ONEDNN_MAX_CPU_ISA", "all"),
        "waiting": {k: v for k, v in os.environ.items() if k.startswith(("OMP_", "GOMP_", "KMP_"))},
    }
