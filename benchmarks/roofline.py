"""What share of the processor's arithmetic a training step reaches, and where the rest of its time goes.

    python benchmarks/roofline.py [--turns 9] [--seconds 2] [--precision fp32] [--cpu-time]

Share: floating-point operations of a step / its time / what `a @ b` of two 2,048 x 2,048 matrices in fp32
reaches, both measured in turns, so that what else the machine does hits both alike; medians. The table
beneath says which operations the time goes to (torch.profiler, own time). `--precision auto` trains as
`triptych train` does; its share of the fp32 product may exceed 1. `--cpu-time` measures the time of the
processor rather than of the wall (for one thread on a machine that is shared). Writes
benchmarks/results/roofline.json and .md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from pacing import BATCH, Steps, machine
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from triptych.core import device as devices
from triptych.data.load import load as load_data
from triptych.models.registry import load_model_class, model_names
from triptych.runs.options import Options
from triptych.training.planning import arithmetic
from triptych.training.timing import Untracked

RESULTS = Path(__file__).parent / "results"
SIDE = 2048
TOP = 8  # operations named


def product_flops_per_second(a: torch.Tensor, b: torch.Tensor, seconds: float, clock: Any) -> float:
    """FLOP a second of `a @ b` over about so many seconds."""
    began, taken = clock(), 0
    while taken == 0 or clock() - began < seconds:
        a @ b
        taken += 1
    return taken * 2 * SIDE**3 / (clock() - began)


def flops_of(steps: Steps) -> float:
    """Floating-point operations of a step, as PyTorch counts them, over a whole round."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = Untracked()
    with counter:
        steps.take()
    return counter.get_total_flops() / steps.round


def where_time_goes(steps: Steps, rounds: int) -> list[tuple[str, float]]:
    """(operation, share of the processor's time), the dearest first."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        steps.take(rounds)
    times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
    total = sum(times.values())
    dearest = sorted(times.items(), key=lambda item: -item[1])[:TOP]
    return [(name.removeprefix("aten::"), spent / total) for name, spent in dearest]


def measure(name: str, flags: argparse.Namespace) -> dict[str, Any]:
    """Share, operations and times of one model."""
    clock = time.process_time if flags.cpu_time else time.perf_counter
    options = Options(precision=flags.precision)
    chosen, _ = arithmetic(options, devices.choose("cpu"), load_model_class(name).channels_last)
    steps = Steps(name, load_data("digits", size=32), chosen)
    flops = flops_of(steps)
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    shares, paces, rates = [], [], []
    for _ in range(flags.turns):
        paces.append(steps.pace(flags.seconds, clock))
        rates.append(product_flops_per_second(a, b, flags.seconds / 4, clock))
        shares.append(flops / paces[-1] / rates[-1])
    return {
        "arithmetic": chosen.words(),
        "flops_per_step": flops,
        "milliseconds": 1000 * statistics.median(paces),
        "product_gflops": statistics.median(rates) / 1e9,
        "share": statistics.median(shares),
        "operations": where_time_goes(steps, max(1, 12 // steps.round)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn")
    parser.add_argument("--models", default=",".join(model_names()))
    parser.add_argument("--precision", default="fp32", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--name", default="roofline", help="of the results")
    flags = parser.parse_args()
    where = machine()
    results: dict[str, Any] = {}
    for name in flags.models.split(","):
        results[name] = measure(name, flags)
        print(name, json.dumps(results[name]), flush=True)
    rows = [
        f"| {name}, {BATCH[name]} images | {one['arithmetic']} | {one['flops_per_step'] / 1e9:.2f} | "
        f"{one['milliseconds']:.1f} | {one['product_gflops']:.0f} | {one['share']:.2f} |"
        for name, one in results.items()
    ]
    spent = [
        f"| {name} | {', '.join(f'{name} {share:.0%}' for name, share in one['operations'])} |"
        for name, one in results.items()
    ]
    text = [
        "# Roofline",
        "",
        f"{where['cpu']}; torch {where['torch']}, {where['threads']} thread(s), instructions "
        f"{where['instructions']}; load when it began {where['load'][0]}. Digits at 32 px; milliseconds"
        f"{' of processor time' if flags.cpu_time else ''}, medians of {flags.turns} turns.",
        "",
        "| model | arithmetic | GFLOP a step | ms a step | GFLOP/s of `a @ b` in fp32 | share |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        "| model | where the time goes |",
        "| --- | --- |",
        *spent,
    ]
    (RESULTS / f"{flags.name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    record = {"machine": where, "models": results}
    (RESULTS / f"{flags.name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
