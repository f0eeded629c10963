"""How fast a training is quiet and beside a busy process, by how its idle threads wait.

    python benchmarks/contention.py [--turns 9] [--seconds 3] [--models dcgan,vae,diffusion] [--pinned]

Between two parallel stretches OpenMP's threads wait for the next: they spin for a while, then sleep. Spinning
answers faster; but where another process needs the core, a thread that spins keeps the one that works from
it. For each setting a process is started that trains on request; in each turn every setting trains once
quiet and once beside a process that keeps a core busy (`while True: pass`, left to the system or pinned to
core 0), so that what else the machine does hits all alike. Medians over turns. Writes
benchmarks/results/contention.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

SETTINGS: dict[str, dict[str, str]] = {
    "torch's own": {},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 1,000": {"GOMP_SPINCOUNT": "1000"},
    "spin 100": {"GOMP_SPINCOUNT": "100"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
RESULTS = Path(__file__).parent / "results"
QUIET, BUSY = "quiet", "beside a busy process"


def trainer(models: list[str]) -> None:
    """The process that trains: reads "model seconds" lines, answers images a second."""
    from pacing import Steps, machine

    from triptych.core import device as devices
    from triptych.data.load import load as load_data
    from triptych.models.registry import load_model_class
    from triptych.runs.options import Options
    from triptych.training.planning import arithmetic

    data = load_data("digits", size=32)
    steps = {}
    for name in models:
        layout = load_model_class(name).channels_last
        chosen, _ = arithmetic(Options(device="cpu"), devices.choose("cpu"), layout)
        steps[name] = Steps(name, data, chosen)
        steps[name].take(2)
    print(json.dumps(machine()), flush=True)
    for line in sys.stdin:
        name, seconds = line.split()
        print(steps[name].batch / steps[name].pace(float(seconds)), flush=True)


class Trainer:
    """A process that trains under one setting on request."""

    def __init__(self, setting: dict[str, str], models: list[str]) -> None:
        variables = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
        env = {**{k: v for k, v in os.environ.items() if k not in variables}, **setting}
        command = [sys.executable, __file__, "--trainer", "--models", ",".join(models)]
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.machine: dict[str, Any] = json.loads(self.process.stdout.readline())

    def pace(self, model: str, seconds: float) -> float:
        """Images a second over about so many seconds."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(model, seconds, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def busy(pinned: bool) -> subprocess.Popen[bytes]:
    """A process that keeps one core busy."""
    pin = "import os; os.sched_setaffinity(0, {0})\n" if pinned else ""
    return subprocess.Popen([sys.executable, "-c", f"{pin}while True: pass"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3.0, help="of one turn")
    parser.add_argument("--models", default="dcgan,vae,diffusion")
    parser.add_argument("--settings", default="", help="some of them, with semicolons between; left out: all")
    parser.add_argument("--pinned", action="store_true", help="the busy process keeps to core 0")
    parser.add_argument("--trainer", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    models = flags.models.split(",")
    if flags.trainer:
        return trainer(models)
    chosen = flags.settings.split(";") if flags.settings else list(SETTINGS)
    trainers = {name: Trainer(SETTINGS[name], models) for name in chosen}
    paces: dict[str, dict[str, dict[str, list[float]]]] = {
        model: {name: {QUIET: [], BUSY: []} for name in trainers} for model in models
    }
    try:
        for repetition in range(flags.turns):
            for model in models:
                for name, trainer_ in trainers.items():
                    paces[model][name][QUIET].append(trainer_.pace(model, flags.seconds))
                    neighbor = busy(flags.pinned)
                    try:
                        paces[model][name][BUSY].append(trainer_.pace(model, flags.seconds))
                    finally:
                        neighbor.kill()
                        neighbor.wait()
            print(f"turn {repetition + 1} of {flags.turns}", file=sys.stderr, flush=True)
            write(paces, trainers[chosen[0]].machine, flags)
    finally:
        for trainer_ in trainers.values():
            trainer_.process.kill()


def write(paces: dict[str, Any], where: dict[str, Any], flags: argparse.Namespace) -> None:
    """The table and the figures behind it."""
    rows = []
    for model, settings in paces.items():
        medians = {
            name: {condition: statistics.median(values) for condition, values in own.items()}
            for name, own in settings.items()
        }
        first = next(iter(medians.values()))[QUIET]
        for name, own in medians.items():
            quiet, beside = own[QUIET], own[BUSY]
            cells = f"{quiet:,.0f} | {quiet / first:.2f} | {beside:,.0f} | {beside / first:.2f}"
            rows.append(f"| {model} | {name} | {cells} |")
    turns = len(next(iter(next(iter(paces.values())).values()))[QUIET])
    text = [
        "# Beside a busy process",
        "",
        f"{where['cpu']}; torch {where['torch']}, {where['threads']} threads; load when it began "
        f"{where['load'][0]}. Training images a second, median of {turns} turns; shares are of the first "
        f"row's quiet pace. The busy process: `while True: pass`, {'' if flags.pinned else 'not '}pinned to "
        "core 0.",
        "",
        "| model | idle threads | quiet | share | beside a busy process | share |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *rows,
    ]
    name = "contention-pinned" if flags.pinned else "contention"
    (RESULTS / f"{name}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    record = {"machine": where, "settings": SETTINGS, "images_per_second": paces}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
