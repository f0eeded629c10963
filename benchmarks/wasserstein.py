"""What the WGAN critic says against exact optimal transport: writes `results/wasserstein.json` and `.md`.

    python benchmarks/wasserstein.py

Two fixed sets of 2-D points, at most 1 apart, the critic of points trained on them to convergence with the
gradient penalty. Exact is POT's `emd2` where POT is installed (`pip install pot`), and in any case the
best pairing (`scipy.optimize.linear_sum_assignment`), which is the same for equal sets.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import triptych
from triptych.core import device
from triptych.core.objectives import StepContext
from triptych.core.types import Batch, ImageSpec
from triptych.data.load import load
from triptych.models.wgan import Wgan, WganConfig

COUNT, STEPS, LR, WIDTH, LAST = 256, 1500, 2e-3, 64, 100
Sets = tuple[np.ndarray, np.ndarray]


def pairs() -> dict[str, Sets]:
    """Pairs of (COUNT, 2) points in [-1, 1]."""
    rng = np.random.default_rng(0)

    def blob(x: float, y: float, deviation: float = 0.12) -> np.ndarray:
        return rng.normal((x, y), deviation, (COUNT, 2))

    ring = load("points:ring").train.pixels[:, 0, 0] / 255 * 2 - 1
    angle = rng.uniform(0, np.pi, COUNT)
    moon = 0.8 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    row = np.stack([rng.uniform(-0.9, 0.9, COUNT), rng.normal(0, 0.05, COUNT)], axis=1)
    apart = np.array([0, 0.3])
    return {
        "two blobs, side by side": (blob(-0.4, -0.4), blob(0.2, 0.2)),
        "two rows": (row + apart, row * (-1, 1) - apart),
        "the ring and a blob in its middle": (ring[:COUNT], blob(0, 0)),
        "a half circle and the square": (moon, rng.uniform(-0.8, 0.8, (COUNT, 2))),
        "one blob and two": (blob(0, 0), np.concatenate([blob(-0.6, 0), blob(0.6, 0)])[::2]),
        "the ring and the ring": (ring[:COUNT], ring[COUNT : 2 * COUNT]),
    }


def exact(real: np.ndarray, fake: np.ndarray) -> tuple[float, float | None]:
    """The distance by the best pairing, and by POT where it is installed."""
    apart = cdist(real, fake)
    distance = float(apart[linear_sum_assignment(apart)].mean())
    try:
        import ot
    except ImportError:
        return distance, None
    even = np.full(len(real), 1 / len(real))
    return distance, float(ot.emd2(even, even, apart))


def critic(real: np.ndarray, fake: np.ndarray, strength: float) -> dict[str, float]:
    """Train a critic; its distance and slope are means over the last steps, its rate cools to 0."""
    torch.manual_seed(0)
    wgan = Wgan(WganConfig(width=WIDTH, penalty_weight=strength), ImageSpec(2, 1))
    objective = wgan.objectives()[0]
    x, y = (torch.tensor(points, dtype=torch.float32)[:, :, None, None] for points in (real, fake))
    extras_seen: list[dict[str, float]] = []
    for step in range(STEPS):
        objective.optimizer.param_groups[0]["lr"] = LR * (1 - step / STEPS)
        rows = torch.randperm(COUNT, generator=torch.Generator().manual_seed(step))
        context = StepContext(
            0, step, 0.0, frozenset(), Batch(x[rows], None, None, torch.arange(COUNT), COUNT)
        )
        context.cached("fakes", lambda: y)
        loss, extras = objective.loss(context.batch, context)
        objective.optimizer.zero_grad()
        loss.backward()
        objective.optimizer.step()
        extras_seen.append({name: float(value) for name, value in extras.items()})
    return {
        name: float(np.mean([s[name] for s in extras_seen[-LAST:]]))
        for name in ("distance", "slope", "penalty")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strengths", type=float, nargs="+", default=[10.0], help="weights of the penalty")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, (real, fake) in pairs().items():
        paired, solved = exact(real, fake)
        for strength in flags.strengths:
            began = time.process_time()
            result = critic(real, fake, strength)
            row = {"pair": name, "lambda": strength, "exact": paired, "pot": solved, **result}
            row["processor_seconds"] = round(time.process_time() - began, 1)
            rows.append(row)
            print(json.dumps(row), flush=True)
    write(rows, flags.out)


def write(rows: list[dict[str, Any]], out: Path) -> None:
    machine = device.describe(torch.device("cpu"))
    setting = {
        "points": COUNT, "steps": STEPS, "rate": LR, "width": WIDTH, "last": LAST, "processor": machine,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triptych": triptych.__version__,
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "wasserstein.json").write_text(json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n")
    lines = [
        "# The critic's distance and optimal transport",
        "",
        f"Two fixed sets of {COUNT} points, {STEPS:,} steps of the whole sets, gradient penalty; means "
        f"of the last {LAST} steps. {machine}, torch {torch.__version__}.",
        "",
        "If the critic's slope were the same everywhere, the penalty's price would leave it at "
        "1 + W / (2 lambda): the estimate is then too high by that share, and exact once divided by "
        "the slope. Two draws of one distribution (the last row) are the hard case: what is left is between "
        "single points, and neither a small critic nor slopes taken between strangers follow each of them.",
        "",
        "| pair | lambda | exact W | POT | critic's distance | off by | slope | 1 + W / (2 lambda) "
        "| distance / slope | off by |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        w, divided = r["exact"], r["distance"] / r["slope"]
        solved = "not installed" if r["pot"] is None else f"{r['pot']:.4f}"
        lines.append(
            f"| {r['pair']} | {r['lambda']:g} | {w:.4f} | {solved} | {r['distance']:.4f} | "
            f"{r['distance'] / w - 1:+.1%} | {r['slope']:.3f} | {1 + w / (2 * r['lambda']):.3f} | "
            f"{divided:.4f} | {divided / w - 1:+.1%} |"
        )
    (out / "wasserstein.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
