"""Does the critic's estimate of the Wasserstein distance follow FID along a run?

Trains a WGAN in pieces that resume one run, scores the pictures of its raw weights after each with the
source's judge, and sets the critic's mean estimate over the piece beside it. Writes the course and
Spearman's rank correlation to `results/wgan_course.json` and `.md`.

    python benchmarks/wgan_course.py --data fashion-mnist --steps 3000
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import triptych
from triptych.core import device
from triptych.data import load
from triptych.driver import resume
from triptych.judge import judge_for
from triptych.metrics import fid

PIECES = 14


def marks(steps: int) -> list[int]:
    """Ascending ends of the pieces: closer together where a run changes faster."""
    return sorted({max(1, round(steps * (k / PIECES) ** 1.7)) for k in range(1, PIECES + 1)})


def distance_over(run: Any, first: int, last: int) -> float:
    """The critic's mean estimate between two steps."""
    lines = [line for line in run.log() if first < line["step"] <= last]
    return float(np.mean([line["critic/distance"] for line in lines]))


def course(flags: argparse.Namespace, runs: Path) -> list[dict[str, float]]:
    dataset = load(flags.data)
    judge = judge_for(dataset)
    chosen = np.random.default_rng(0).permutation(len(dataset.test))[: flags.samples]
    real = judge(np.asarray(dataset.test.pixels[np.sort(chosen)]))
    rows, before, run = [], 0, None
    for step in marks(flags.steps):
        if run is None:
            run = triptych.train(
                "wgan", flags.data, steps=step, batch=flags.batch, rate=flags.rate,
                critic_rate=flags.critic_rate, generator_every=flags.every, seed=flags.seed, runs=runs,
            )  # fmt: skip
        else:
            run = resume(run.path, step)
        made = triptych.load(run.path, weights="raw").sample(range(10**6, 10**6 + flags.samples))
        row = {"step": step, "distance": distance_over(run, before, step), "fid": fid(real, judge(made))}
        print(row, flush=True)
        rows.append(row)
        before = step
    return rows


def table(data: str, found: dict[str, Any]) -> str:
    lines = [
        f"**{data}**: Spearman's correlation {found['spearman']:.3f} over {len(found['rows'])} points, "
        f"{found['setting']}",
        "",
        "| step | critic's distance | FID |",
        "|---|---|---|",
    ]
    lines += [f"| {r['step']} | {r['distance']:.3f} | {r['fid']:.2f} |" for r in found["rows"]]
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", default="fashion-mnist")
    asked.add_argument("--steps", type=int, default=3000)
    asked.add_argument("--batch", type=int, default=64)
    asked.add_argument("--rate", type=float, default=5e-4)
    asked.add_argument("--critic-rate", type=float, default=None)
    asked.add_argument("--every", type=int, default=5, help="the generator moves every so many steps")
    asked.add_argument("--samples", type=int, default=1000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = asked.parse_args()
    began = time.perf_counter()
    rows = course(flags, Path(tempfile.mkdtemp(prefix="wgan-course-")))
    file = flags.out / "wgan_course.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results[flags.data] = {
        "spearman": float(spearmanr([r["distance"] for r in rows], [r["fid"] for r in rows]).statistic),
        "setting": f"batch {flags.batch}, rate {flags.rate:g}, critic rate "
        f"{flags.critic_rate or flags.rate:g}, generator every {flags.every}, seed {flags.seed}, "
        f"{flags.samples} samples, "
        f"{time.perf_counter() - began:.0f} s on {device.describe(torch.device('cpu'))}, "
        f"{torch.get_num_threads()} thread(s)",
        "rows": rows,
    }
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(table(data, found) for data, found in results.items())
    head = "# The critic's estimate of the Wasserstein distance beside FID, along one run\n\n"
    file.with_suffix(".md").write_text(head + text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
