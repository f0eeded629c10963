"""fp32 and bf16, channels first and last: which is fastest for which model on this processor.

    python benchmarks/arithmetic.py [--turns 9] [--seconds 2] [--models vae,dcgan] [--cpu-time]

Every model is trained on digits of 32 px in three or four arithmetics at once: in each turn every one takes
steps for some seconds, so that what else the machine does hits all alike; the median turn counts.
`--cpu-time` measures the time of the processor rather than of the wall (for one thread on a machine that
is shared). Run it again with ONEDNN_MAX_CPU_ISA=AVX512_CORE or AVX2 to see a processor without the newest
instructions. Writes benchmarks/results/arithmetic-NAME.json and .md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from pacing import BATCH, Steps, machine

from triptych.data.load import load as load_data
from triptych.models.registry import model_names
from triptych.runs.options import Arithmetic

TRIED = [
    Arithmetic("fp32", False),
    Arithmetic("fp32", True),
    Arithmetic("bf16", False),
    Arithmetic("bf16", True),
]
RESULTS = Path(__file__).parent / "results"


def measure(name: str, turns: int, seconds: float, cpu_time: bool) -> dict[str, float]:
    """Milliseconds a step by arithmetic: the median over turns."""
    data = load_data("digits", size=32)
    steppers = {tried.words(): Steps(name, data, tried) for tried in TRIED}
    for stepper in steppers.values():
        stepper.take()
    clock = time.process_time if cpu_time else time.perf_counter
    paces: dict[str, list[float]] = {arithmetic: [] for arithmetic in steppers}
    for _ in range(turns):
        for arithmetic, stepper in steppers.items():
            paces[arithmetic].append(stepper.pace(seconds, clock))
    return {arithmetic: 1000 * statistics.median(times) for arithmetic, times in paces.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn")
    parser.add_argument("--models", default=",".join(model_names()))
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--name", default="cpu", help="of the results: arithmetic-NAME")
    flags = parser.parse_args()
    record: dict[str, object] = {"machine": machine(), "turns": flags.turns, "cpu_time": flags.cpu_time}
    rows = []
    for name in flags.models.split(","):
        paces = measure(name, flags.turns, flags.seconds, flags.cpu_time)
        first = paces[TRIED[0].words()]
        cells = [f"{pace:.1f} ({first / pace:.2f})" for pace in paces.values()]
        rows.append(f"| {name}, {BATCH[name]} images | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
        record[name] = paces
    where = record["machine"]
    assert isinstance(where, dict)
    head = [
        "# Arithmetic by model",
        "",
        f"{where['cpu']}; torch {where['torch']}, {where['threads']} thread(s), instructions "
        f"{where['instructions']}; load when it began {where['load'][0]}. Digits at 32 px. Milliseconds"
        f"{' of processor time' if flags.cpu_time else ''} a training step, median of {flags.turns} turns "
        "(in brackets: times as fast as fp32, channels first).",
        "",
        f"| model | {' | '.join(tried.words() for tried in TRIED)} |",
        f"| --- |{' --- |' * len(TRIED)}",
    ]
    (RESULTS / f"arithmetic-{flags.name}.md").write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    (RESULTS / f"arithmetic-{flags.name}.json").write_text(
        json.dumps(record, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
