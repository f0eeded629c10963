"""Modes of a thousand that GANs cover on stacked digits: writes `results/stacked_modes.json` and `.md`.

    python benchmarks/stacked_modes.py --minutes 30 --seeds 3 --only wgan

Every family gets the same minutes of training on this machine, a fresh process and its recipe for minutes.
26,000 samples a run are read, colour by colour, by a classifier of single digits: modes seen of 1,000 and KL
to the even spread, as in Metz et al. 2017 and Lin et al. 2018. Their networks and step counts are others, so
only rows of this table compare. Needs the MNIST files.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import triptych
from triptych.core import device, images
from triptych.data import load
from triptych.judge import judge_for
from triptych.model import family_names, load_family
from triptych.modes import stacked_modes
from triptych.recipes import recipe, run_apart

SAMPLES, FIRST_SEED, AT_ONCE = 26_000, 10**6, 2_000
Row = dict[str, Any]


def gans() -> list[str]:
    """The families that are games of two."""
    return [name for name in family_names() if load_family(name).game is not None]


def trained(family: str, seed: int, flags: argparse.Namespace, runs: Path) -> Row:
    budget = ["--steps", str(flags.steps)] if flags.steps else ["--minutes", str(flags.minutes)]
    words = ["train", family, *recipe(family, labelled=False), "--data", "stacked:mnist", *budget]
    code, path = run_apart([*words, "--seed", str(seed), "--runs", str(runs)])
    if code:
        return {"seed": seed, "not_run": f"the training ended with exit code {code}"}
    model = triptych.load(path)
    assert model.run is not None
    seeds = range(FIRST_SEED, FIRST_SEED + flags.samples)
    parts = [model.sample(seeds[k : k + AT_ONCE]) for k in range(0, flags.samples, AT_ONCE)]
    drawn = np.concatenate(parts)
    images.write_png(path / "samples" / "modes.png", images.grid(drawn[:64], 8, scale=2))
    found = stacked_modes(drawn, judge_for(load("mnist")))
    state = model.run.state_meta()
    return {
        "seed": seed, "modes": found.modes.seen, "expected": found.modes.seen_expected, "kl": found.kl,
        "kl_expected": found.kl_expected, "steps": state["step"], "seconds": state["seconds"],
    }  # fmt: skip


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--minutes", type=float, default=30.0)
    asked.add_argument("--steps", type=int, default=None, help="instead of minutes")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--samples", type=int, default=SAMPLES)
    asked.add_argument("--only", default="", help="run the families whose name holds this")
    asked.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = asked.parse_args()
    file = flags.out / "stacked_modes.json"
    rows: dict[str, list[Row]] = json.loads(file.read_text())["rows"] if file.is_file() else {}
    runs = Path(tempfile.mkdtemp(prefix="stacked-modes-"))
    for family in [name for name in gans() if flags.only in name]:
        rows[family] = []
        for seed in range(flags.seeds):
            rows[family].append(trained(family, seed, flags, runs))
            print(family, rows[family][-1], flush=True)
            write(rows, flags)
    print(f"runs: {runs}")


def write(rows: dict[str, list[Row]], flags: argparse.Namespace) -> None:
    machine = device.describe(torch.device("cpu"))
    budget = f"{flags.steps:,} steps" if flags.steps else f"{flags.minutes:g} minutes"
    setting = {
        "budget": budget, "samples": flags.samples, "processor": machine,
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triptych": triptych.__version__,
    }  # fmt: skip
    flags.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"setting": setting, "rows": rows}, indent=1) + "\n"
    (flags.out / "stacked_modes.json").write_text(text)
    lines = [
        "# Three digits as three colours: modes of 1,000",
        "",
        f"{budget} of training each, {flags.samples:,} samples a run, read by MNIST's classifier colour by "
        f"colour; {machine}, {setting['threads']} thread(s), torch {torch.__version__}.",
        "",
        "| family | seeds | modes seen: mean (of each) | KL to even, nats: mean (of each) | steps |",
        "|---|---|---|---|---|",
    ]
    for family, found in rows.items():
        done = [r for r in found if "not_run" not in r]
        if not done:
            lines.append(f"| {family} | *not run*: {found[0]['not_run'] if found else ''} | | | |")
            continue
        modes, kl = [r["modes"] for r in done], [np.nan if r["kl"] is None else r["kl"] for r in done]
        lines.append(
            f"| {family} | {len(done)} | {np.mean(modes):.0f} ({', '.join(map(str, modes))}) | "
            f"{np.mean(kl):.3f} ({', '.join(f'{k:.3f}' for k in kl)}) | "
            f"{', '.join(str(r['steps']) for r in done)} |"
        )
    (flags.out / "stacked_modes.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
