"""Does the critic's estimate of the Wasserstein distance follow FID along a run?

Trains a WGAN in pieces that resume one run, scores samples of its raw weights after each with the source's
classifier, and sets the critic's mean estimate over the piece beside it, and the exact distance between equal
sets of samples and training images (the best pairing; sets of at most half the training images). Two sets of
real images have such a distance too, since it is one of finite sets. Writes the course and Spearman's rank
correlations to `results/wgan_course.json` and `.md`, beside those of other names.

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
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

import triptych
from triptych.core import device
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.metrics.fid import fid
from triptych.training.runner import resume

PIECES = 14


def marks(steps: int) -> list[int]:
    """Ascending ends of the pieces: closer together where a run changes faster."""
    return sorted({max(1, round(steps * (k / PIECES) ** 1.7)) for k in range(1, PIECES + 1)})


def distance_over(run: Any, first: int, last: int) -> float:
    """The critic's mean estimate between two steps."""
    lines = [line for line in run.log() if first < line["step"] <= last]
    return float(np.mean([line["critic/distance"] for line in lines]))


def paired(one: np.ndarray, other: np.ndarray) -> float:
    """The Wasserstein distance of two equal sets of images, (N, H, W, C) uint8, in the critic's unit."""
    apart = cdist(*(pixels.reshape(len(pixels), -1) / 127.5 for pixels in (one, other)))
    return float(apart[linear_sum_assignment(apart)].mean())


def course(flags: argparse.Namespace, runs: Path) -> tuple[list[dict[str, float]], dict[str, float]]:
    """A row a piece; the exact distance of two sets of training images, and how many are in each."""
    dataset = load(flags.data)
    order = np.random.default_rng(1).permutation(len(dataset.train))
    size = min(flags.samples, len(order) // 2)
    one, other = (np.asarray(dataset.train.pixels[np.sort(part)]) for part in (order[:size], order[-size:]))
    extractor = extractor_for(dataset)
    chosen = np.random.default_rng(0).permutation(len(dataset.test))[: flags.samples]
    real = extractor(np.asarray(dataset.test.pixels[np.sort(chosen)]))
    rows, before, run = [], 0, None
    for step in marks(flags.steps):
        if run is None:
            run = triptych.train(
                "wgan", flags.data, steps=step, batch=flags.batch, lr=flags.lr,
                critic_lr=flags.critic_lr, generator_interval=flags.every, conditional=False,
                seed=flags.seed, runs=runs,
            )  # fmt: skip
        else:
            run = resume(run.path, step)
        samples = triptych.load(run.path, weights="raw").sample(range(10**6, 10**6 + flags.samples))
        row = {
            "step": step,
            "distance": distance_over(run, before, step),
            "fid": fid(real, extractor(samples)),
        }
        row["exact"] = paired(one, samples[:size])
        print(row, flush=True)
        rows.append(row)
        before = step
    return rows, {"floor": paired(one, other), "of": size}


def table(data: str, result: dict[str, Any]) -> str:
    exact = "floor" in result  # courses measured before it was
    lines = [
        f"**{data}**: Spearman's correlation {result['spearman']:.3f} over {len(result['rows'])} points, "
        f"{result['setting']}",
        "",
    ]
    if exact:
        lines += [
            f"Exact distance of two sets of {result['of']} real images: {result['floor']:.2f}; its "
            f"correlation with the critic's {result['exact and critic']:.2f}, with FID "
            f"{result['exact and fid']:.2f}",
            "",
        ]
    names = ["step", "critic's distance", *([f"exact, of {result['of']}"] if exact else []), "FID"]
    lines += [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for row in result["rows"]:
        middle = f" {row['exact']:.3f} |" if exact else ""
        lines.append(f"| {row['step']} | {row['distance']:.3f} |{middle} {row['fid']:.2f} |")
    return "\n".join(lines)


def correlation(one: list[float], other: list[float]) -> float:
    """Spearman's, of ranks."""
    return float(spearmanr(one, other).statistic)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--name", default=None, help="of the course in the results; left out: the data's")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--critic-lr", type=float, default=None)
    parser.add_argument("--every", type=int, default=5, help="the generator moves every so many steps")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    began = time.perf_counter()
    rows, real = course(flags, Path(tempfile.mkdtemp(prefix="wgan-course-")))
    critic, exact, scored = ([row[name] for row in rows] for name in ("distance", "exact", "fid"))
    file = flags.out / "wgan_course.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    results[flags.name or flags.data] = {
        "spearman": correlation(critic, scored),
        "exact and critic": correlation(exact, critic),
        "exact and fid": correlation(exact, scored),
        **real,
        "setting": f"batch {flags.batch}, lr {flags.lr:g}, critic lr "
        f"{flags.critic_lr or flags.lr:g}, generator every {flags.every}, seed {flags.seed}, "
        f"{flags.samples} samples, "
        f"{time.perf_counter() - began:.0f} s on {device.describe(torch.device('cpu'))}, "
        f"{torch.get_num_threads()} thread(s)",
        "rows": rows,
    }
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(table(data, result) for data, result in results.items())
    head = "# The critic's estimate of the Wasserstein distance beside FID, along one run\n\n"
    file.with_suffix(".md").write_text(head + text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
