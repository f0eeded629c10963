"""How often the 95 % intervals hold what they are for, by simulation from known distributions.

Each repetition draws real features and two models' samples anew, makes every score's interval and
those of the models' differences, and asks whether they hold the expectation at these numbers: the
mean over all repetitions (of KID where nothing differs: 0). In the scenes of two levels each repetition
also draws runs: models whose shift differs by their seed. An interval of 95 % should hold in 93 to 97 %
of the repetitions; 2,000 of them tell the share to within 1 %. Writes JSON and a table to `results/`.

    python benchmarks/interval_coverage.py --repetitions 2000 --workers 2 [--scenes modes models]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from triptych.metrics.stats.paired import difference, difference_over_runs, mean_of, over_runs
from triptych.metrics.suite import estimates, names_of

Arrays = list[np.ndarray]
CENTERS = np.random.default_rng(7).standard_normal((10, 16)) * 2
RUNS = (3, 4)  # of the two models


def gauss(rng: np.random.Generator, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return rng.standard_normal((n, d)) * scale + shift


def modes(rng: np.random.Generator, n: int, kept: int, scale: float = 1.0) -> np.ndarray:
    return CENTERS[rng.integers(0, kept, n)] + rng.standard_normal((n, 16)) * scale


FALLING = 1 / np.arange(1, 33)  # deviations of features, as steep as those of real images


def falling(rng: np.random.Generator, n: int, shift: float = 0.0) -> np.ndarray:
    return (rng.standard_normal((n, 32)) + shift * (np.arange(32) == 0)) * FALLING


@cache
def digits() -> np.ndarray:
    return load_digits().data / 16  # (1797, 64)


def of_digits(rng: np.random.Generator) -> tuple[np.ndarray, Arrays]:
    rows = rng.permutation(1797)[:600].reshape(3, 200)
    real, one, other = (digits()[r] for r in rows)
    return real, [one, np.clip(other + rng.normal(0, 0.1, other.shape), 0, 1)]


PAIRS: dict[str, tuple[str, Callable[[np.random.Generator], tuple[np.ndarray, Arrays]]]] = {
    "gaussians": (
        "d = 8, n = 500: A wider and shifted, B less so",
        lambda r: (gauss(r, 500, 8), [gauss(r, 500, 8, 1.2, 0.1), gauss(r, 500, 8, 1.1, 0.15)]),
    ),
    "equal": (
        "d = 8, n = 500: A is the real distribution, B narrower",
        lambda r: (gauss(r, 500, 8), [gauss(r, 500, 8), gauss(r, 500, 8, 0.9)]),
    ),
    "larger": (
        "d = 16, n = 1000: A narrower and shifted, B wider",
        lambda r: (gauss(r, 1000, 16), [gauss(r, 1000, 16, 0.9, 0.1), gauss(r, 1000, 16, 1.1)]),
    ),
    "modes": (
        "d = 16, ten modes, n = 500 real and 1000 samples: A drops two modes, B blurs all",
        lambda r: (modes(r, 500, 10), [modes(r, 1000, 8), modes(r, 1000, 10, 1.15)]),
    ),
    "falling": (
        "d = 32, deviations 1/k, n = 200: A is the real distribution, B shifted by a fifth of the widest",
        lambda r: (falling(r, 200), [falling(r, 200), falling(r, 200, 0.2)]),
    ),
    "unlike_n": (
        "d = 32, deviations 1/k, n = 150 real and 600 samples: A is the real distribution, B shifted",
        lambda r: (falling(r, 150), [falling(r, 600), falling(r, 600, 0.2)]),
    ),
    "digits": ("pixels of digits, n = 200: A other digits, B digits with noise", of_digits),
}
NOTHING_DIFFERS = ("equal", "falling", "unlike_n", "digits")  # between A and the real images
MODELS_SEED = 4
ABOUT = {name: about for name, (about, _) in PAIRS.items()} | {
    "models": "two levels, d = 8, n = 250: 3 runs of A and 4 of B, whose shifts differ by run"
}


def pair_repetition(scene: str, number: int) -> list[Any]:
    """[metric][A, B, A - B] -> (value, low, high)."""
    rng = np.random.default_rng((list(PAIRS).index(scene), number))
    real, fakes = PAIRS[scene][1](rng)
    a, b = (estimates(real, fake) for fake in fakes)
    rows = []
    for name in names_of("always"):
        apart = difference(a[name], b[name])
        rows.append([(x.value, x.low, x.high) for x in (a[name], b[name], apart)])
    return rows


def models_repetition(_: str, number: int) -> list[Any]:
    """[metric][A over runs, B over runs, A - B over runs] -> (value, low, high)."""
    rng = np.random.default_rng((MODELS_SEED, number))
    real = gauss(rng, 250, 8)
    models = []
    for count, center in zip(RUNS, (0.2, 0.3), strict=True):
        shifts = rng.normal(center, 0.05, count)
        models.append([estimates(real, gauss(rng, 250, 8, 1.1, shift)) for shift in shifts])
    rows = []
    for name in names_of("always"):
        runs = [[run[name] for run in model] for model in models]
        row = [(mean_of(r).value, *over_runs(r)[:2]) for r in runs]
        apart = difference_over_runs(*runs)
        rows.append([*row, (apart.value, apart.low, apart.high)])
    return rows


def coverage(intervals: np.ndarray, nothing: bool = False) -> list[dict[str, float]]:
    """How often the intervals of each column cover the target.

    intervals: (repetitions, columns, 3).
    nothing: the first column's target is 0.
    """
    value, low, high = intervals[..., 0], intervals[..., 1], intervals[..., 2]
    target, deviation = value.mean(0), value.std(0, ddof=1)
    if nothing:
        target[0] = 0.0
    covered = (low <= target) & (target <= high)
    return [
        {
            "expectation": float(target[c]),
            "deviation": float(deviation[c]),
            "held": float(covered[:, c].mean()),
            "below": float((high[:, c] < target[c]).mean()),
            "above": float((low[:, c] > target[c]).mean()),
            "width": float((high - low)[:, c].mean() / (2 * 1.96 * deviation[c])),
        }
        for c in range(value.shape[1])
    ]


def table(results: dict[str, Any]) -> str:
    lines = [
        "# How often 95 % intervals hold their target",
        "",
        "The share of repetitions that held, in per cent, and in brackets the mean width over that of an "
        "interval from the true deviation. Outside 93 to 97: in bold.",
    ]
    for name, about in ABOUT.items():
        scene = results.get(name)
        lines += [
            "",
            f"**{about}**: {'not run' if scene is None else str(scene['repetitions']) + ' repetitions'}",
        ]
        if scene is None:
            continue
        lines += ["", "| score | A | B | A - B |", "|---|---|---|---|"]
        for metric, columns in scene["metrics"].items():
            cells = []
            for column in columns:
                share = f"{100 * column['held']:.1f}"
                bold = share if 0.93 <= column["held"] <= 0.97 else f"**{share}**"
                cells.append(f"{bold} ({column['width']:.2f})")
            lines.append(f"| {metric} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scenes", nargs="*", default=list(ABOUT), choices=list(ABOUT))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    file = args.out / "interval_coverage.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    with ProcessPoolExecutor(args.workers) as pool:
        for scene in args.scenes:
            began = time.perf_counter()
            work = models_repetition if scene == "models" else pair_repetition
            intervals = np.array(list(pool.map(partial(work, scene), range(args.repetitions), chunksize=10)))
            results[scene] = {
                "repetitions": args.repetitions,
                "metrics": {
                    name: coverage(intervals[:, k], name == "KID" and scene in NOTHING_DIFFERS)
                    for k, name in enumerate(names_of("always"))
                },
            }
            file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            file.with_suffix(".md").write_text(table(results), encoding="utf-8")
            print(scene, f"{time.perf_counter() - began:.0f} s", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
