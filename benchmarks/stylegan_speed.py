"""How many images a second StyleGAN trains on a device, and what bfloat16 does to its penalties.

Whole steps of both objectives, penalties included, on images of `shapes`, in float32 and bfloat16; the most
memory that tensors took is PyTorch's own count, on a GPU. Then R1 and R2 and their gradient for the
discriminator's weights are worked out from one checkpoint and batch in both arithmetics. Writes
results/stylegan_speed-DEVICE.json and prints a table.

    python benchmarks/stylegan_speed.py [--device cuda] [--only small wide large] [--seconds 5]
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import triptych
from triptych.core import device as devices
from triptych.core.objectives import StepContext
from triptych.data.datasets import shapes
from triptych.data.load import load
from triptych.models.stylegan import Stylegan, squared_gradient_norms
from triptych.runs.options import Arithmetic, Options, Plan, Precision
from triptych.training.timing import timing_function
from triptych.training.trainer import Trainer, fresh_copy

IMAGES = 512
WARM_UP = 200  # steps before the penalties are compared
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


class Case(NamedTuple):
    size: int
    batch: int
    width: int
    max_channels: int


CASES = {
    "small": Case(32, 32, 16, 128),  # the default networks
    "wide": Case(32, 64, 64, 512),
    "large": Case(256, 16, 32, 512),
}


def painted(size: int) -> np.ndarray:
    return shapes.paint(shapes.draw_factors(IMAGES, 0), size)


def measured(case: Case, name: str, seconds: float) -> dict[str, Any]:
    """Pace and memory by precision, and how far the penalties differ."""
    device = devices.choose(name)
    torch.manual_seed(0)
    data = load(painted(case.size))
    model = Stylegan(Stylegan.Config(width=case.width, max_channels=case.max_channels), data.spec)
    options = Options(batch=case.batch, device=name)
    row: dict[str, Any] = {**case._asdict(), "parameters": sum(p.numel() for p in model.parameters())}
    for precision in PRECISIONS:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        arithmetic = Arithmetic(precision, devices.prefers_channels_last(device, Stylegan.channels_last))
        timing = timing_function(model, data.train, options)(arithmetic, seconds)
        row[precision] = {
            "images_per_second": case.batch / timing.seconds_per_step,
            "tflops_per_second": timing.flops_per_step / timing.seconds_per_step / 1e12,
            "peak_memory_bytes": devices.peak_memory_bytes(device) if device.type == "cuda" else None,
        }
    return {**row, "penalties": penalties(model, data.train, options, device)}


def penalties(model: Stylegan, split: Any, options: Options, device: torch.device) -> dict[str, float]:
    """Relative errors of bfloat16's R1 and R2, and the cosine of their gradient with float32's."""
    plan = Plan.trial(
        device, Arithmetic("fp32", devices.prefers_channels_last(device, Stylegan.channels_last))
    )
    training = Trainer(fresh_copy(model), split, options, plan)
    steps = training.steps()
    for _ in range(WARM_UP):
        next(steps)
    trained = training.model
    assert isinstance(trained, Stylegan)
    batch = next(training.batches()).to(device)
    context = StepContext(options.seed, training.step, 0.0, frozenset({"discriminator"}), batch)
    with torch.no_grad():
        fakes = trained.fakes(context)
    weights = list(trained.discriminator.parameters())
    values: dict[str, list[torch.Tensor]] = {}
    for precision in PRECISIONS:
        sides = [side.detach().requires_grad_() for side in (batch.images, fakes)]
        with (
            devices.full_precision(device)
            if precision == "fp32"
            else torch.autocast(device.type, torch.bfloat16)
        ):
            slopes = squared_gradient_norms(torch.cat(trained.logits(context, *sides)).sum(), *sides)
            gradient = torch.autograd.grad(slopes[0] + slopes[1], weights, allow_unused=True)
        flat = torch.cat([g.flatten().float() for g in gradient if g is not None])
        values[precision] = [*(slope.detach() for slope in slopes), flat]
    exact, rough = values["fp32"], values["bf16"]
    return {
        "r1": float(exact[0]),
        "r1_error": float(rough[0] / exact[0] - 1),
        "r2": float(exact[1]),
        "r2_error": float(rough[1] / exact[1] - 1),
        "gradient_cosine": float(torch.nn.functional.cosine_similarity(exact[2], rough[2], dim=0)),
        "gradient_length_error": float(rough[2].norm() / exact[2].norm() - 1),
    }


def line(name: str, row: dict[str, Any]) -> str:
    fast = row["bf16"]["images_per_second"] / row["fp32"]["images_per_second"]
    memory = row["bf16"]["peak_memory_bytes"]
    gigabytes = f"{memory / 1e9:.1f} GB" if memory else "-"
    off = row["penalties"]
    return (
        f"| {name} | {row['size']} | {row['batch']} | {row['parameters'] / 1e6:.1f} M | "
        f"{row['fp32']['images_per_second']:,.0f} | {row['bf16']['images_per_second']:,.0f} | {fast:.2f} | "
        f"{gigabytes} | {off['r1_error']:+.2%} | {off['r2_error']:+.2%} | {off['gradient_cosine']:.4f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seconds", type=float, default=5.0, help="of timing, for each arithmetic")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    where = devices.describe(devices.choose(flags.device))
    rows = {}
    print(
        "| networks | side | batch | parameters | fp32 images/s | bf16 images/s | bf16/fp32 | memory, bf16 | "
        "R1 error | R2 error | gradient cosine |\n|" + "---|" * 11
    )
    for name in flags.only:
        rows[name] = measured(CASES[name], flags.device, flags.seconds)
        assert math.isfinite(rows[name]["penalties"]["r1"])
        print(line(name, rows[name]), flush=True)
    facts = {"device": where, "torch": torch.__version__, "triptych": triptych.__version__, "rows": rows}
    short = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / f"stylegan_speed-{short}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
