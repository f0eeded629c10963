"""Modes of a thousand that GANs cover on stacked digits: writes `results/stacked_modes.json` and `.md`.

    python benchmarks/stacked_modes.py --minutes 30 --seeds 3 --only wgan

Every model gets the same minutes of training on this machine, a fresh process and its default preset. 26,000
samples a run are read, color by color, by a classifier of single digits: modes seen of 1,000 and KL to the
uniform distribution, as in Metz et al. 2017 and Lin et al. 2018. Their networks and step counts are others,
so only rows of this table that were run under the same compare. Models that were not run again are kept from
the file, each with what it was run under. Needs the MNIST files."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import triptych
from triptych.comparison.subprocess_runs import run_apart
from triptych.core import device
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.mode_coverage import stacked_modes
from triptych.models.registry import load_model_class, model_names
from triptych.viz import grids

SAMPLES, FIRST_SEED, AT_ONCE = 26_000, 10**6, 2_000
Row = dict[str, Any]  # of one seed
Rows = dict[str, dict[str, Any]]  # of each model: what it was run under, and a row a seed


def gans() -> list[str]:
    """The adversarial models."""
    return [name for name in model_names() if load_model_class(name).adversarial is not None]


def trained(name: str, seed: int, flags: argparse.Namespace, runs: Path) -> Row:
    budget = ["--steps", str(flags.steps)] if flags.steps else ["--minutes", str(flags.minutes)]
    arguments = ["train", name, "--data", "stacked:mnist", *budget]
    code, path = run_apart([*arguments, "--seed", str(seed), "--runs", str(runs)])
    if code:
        return {"seed": seed, "not_run": f"the training ended with exit code {code}"}
    model = triptych.load(path)
    assert model.run is not None
    seeds = range(FIRST_SEED, FIRST_SEED + flags.samples)
    parts = [model.sample(seeds[k : k + AT_ONCE]) for k in range(0, flags.samples, AT_ONCE)]
    drawn = np.concatenate(parts)
    grids.write_png(path / "samples" / "modes.png", grids.grid(drawn[:64], 8, scale=2))
    coverage = stacked_modes(drawn, extractor_for(load("mnist")))
    meta = model.run.checkpoint_meta()
    return {
        "seed": seed, "modes": coverage.modes.seen, "expected": coverage.modes.seen_expected,
        "kl": coverage.kl, "kl_expected": coverage.kl_expected, "steps": meta.step, "seconds": meta.seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=None, help="instead of minutes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--only", default="", help="run the models whose name holds this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    file = flags.out / "stacked_modes.json"
    rows: Rows = json.loads(file.read_text())["rows"] if file.is_file() else {}
    runs = Path(tempfile.mkdtemp(prefix="stacked-modes-"))
    for name in [name for name in gans() if flags.only in name]:
        rows[name] = {"setting": setting(flags), "seeds": []}
        for seed in range(flags.seeds):
            rows[name]["seeds"].append(trained(name, seed, flags, runs))
            print(name, rows[name]["seeds"][-1], flush=True)
            write(rows, flags.out)
    print(f"runs: {runs}")


def setting(flags: argparse.Namespace) -> dict[str, Any]:
    return {
        "budget": f"{flags.steps:,} steps" if flags.steps else f"{flags.minutes:g} minutes",
        "samples": flags.samples, "processor": device.describe(torch.device("cpu")),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triptych": triptych.__version__,
    }  # fmt: skip


def conditions(under: dict[str, Any]) -> str:
    return (
        f"{under['budget']} of training, {under['samples']:,} samples a run; {under['processor']}, "
        f"{under['threads']} thread(s), torch {under['torch']}"
    )


def write(rows: Rows, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "stacked_modes.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    under = list(dict.fromkeys(conditions(row["setting"]) for row in rows.values()))
    lines = [
        "# Three digits as three colors: modes of 1,000",
        "",
        "Read by MNIST's classifier color by color.",
        "",
        "| model | seeds | modes seen: mean (of each) | KL to uniform, nats: mean (of each) | steps | "
        "run under |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        number = under.index(conditions(row["setting"])) + 1
        done = [r for r in row["seeds"] if "not_run" not in r]
        lost = "; ".join(f"seed {r['seed']}: {r['not_run']}" for r in row["seeds"] if "not_run" in r)
        seeds = f"{len(done)} of {len(row['seeds'])}" + (f", *not run*: {lost}" if lost else "")
        if not done:
            lines.append(f"| {name} | {seeds} | | | | {number} |")
            continue
        modes, kl = [r["modes"] for r in done], [np.nan if r["kl"] is None else r["kl"] for r in done]
        lines.append(
            f"| {name} | {seeds} | {np.mean(modes):.0f} ({', '.join(map(str, modes))}) | "
            f"{np.mean(kl):.3f} ({', '.join(f'{k:.3f}' for k in kl)}) | "
            f"{', '.join(str(r['steps']) for r in done)} | {number} |"
        )
    lines += ["", "Run under:", "", *(f"{k + 1}. {text}." for k, text in enumerate(under))]
    (out / "stacked_modes.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
