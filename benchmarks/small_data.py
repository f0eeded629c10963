"""What augmentation is worth with few images: DCGAN on a hundred of Fashion-MNIST, equal steps.

Each policy of `--augment` from the same seeds, scored against the 10,000 test images by the extractor of the
whole source. Needs the Fashion-MNIST files (see the README's sources). Writes a JSON file and a table to
`results/`; what is there already is kept, so policies and seeds can be run one by one.

    python benchmarks/small_data.py --images 100 --steps 4000 --seeds 2
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
from triptych.core import device
from triptych.data.dataset import Dataset
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.scoring import score_pixels
from triptych.viz import grids

POLICIES: dict[str, dict[str, Any]] = {
    "none": {"kind": "none"},
    "diff": {"kind": "diff"},
    "adaptive": {"kind": "adaptive", "ramp_images": 20_000},
}
WANTED = ("FID", "precision", "recall")


def trained(policy: str, seed: int, few: np.ndarray, flags: argparse.Namespace, runs: Path) -> dict[str, Any]:
    run = triptych.train(
        "dcgan", data=few, runs=runs, name=f"{policy}-{seed}", steps=flags.steps, batch=flags.batch,
        seed=seed, width=flags.width, lr=flags.lr, instance_noise=0.0, precision="fp32",
        augment=POLICIES[policy],
    )  # fmt: skip
    last = run.log()[-1]
    names = ("augment", "overfit", "real", "fake")
    facts = {name: last[key] for name in names if (key := f"discriminator/{name}") in last}
    return {"policy": policy, "seed": seed, "end": facts}


def evaluated(data: Dataset, drawn: np.ndarray, few: np.ndarray, extractor: Any) -> dict[str, Any]:
    scores = score_pixels(np.asarray(data.test.pixels), drawn, extractor, train=few)
    return {s.card.metric: [s.value, s.low, s.high] for s in scores if s.card.metric in WANTED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", choices=list(POLICIES), help="run one policy")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    data = load("fashion-mnist", size=flags.size)
    extractor = extractor_for(data)
    few = np.asarray(data.train.pixels[: flags.images])
    home = Path(tempfile.mkdtemp(prefix="small-data-"))
    path = flags.out / "small_data.json"
    setting = {
        **{k: v for k, v in vars(flags).items() if k not in ("only", "out", "seeds")},
        "source": "fashion-mnist, the first images", "real": f"{len(data.test):,} test images",
        "extractor": extractor.name, "processor": device.describe(torch.device("cpu")),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "triptych": triptych.__version__,
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    if path.is_file() and (before := json.loads(path.read_text()))["setting"] == setting:
        rows = before["rows"]
    for policy in [flags.only] if flags.only else list(POLICIES):
        for seed in sorted(set(range(flags.seeds)) - {r["seed"] for r in rows if r["policy"] == policy}):
            row = trained(policy, seed, few, flags, home)
            model = triptych.load(next(home.glob(f"*-{policy}-{seed}")))
            drawn = model.sample(range(10**9, 10**9 + flags.samples))
            grids.write_png(home / f"{policy}-{seed}.png", grids.grid(drawn[:64], 8, scale=2))
            row["scores"] = evaluated(data, drawn, few, extractor)
            print(json.dumps(row), flush=True)
            rows.append(row)
            write(rows, setting, flags.out)
    print(f"grids of samples: {home}")


def write(rows: list[dict[str, Any]], setting: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "small_data.json").write_text(json.dumps({"setting": setting, "rows": rows}, indent=1))
    lines = [
        f"# DCGAN on {setting['images']} images of Fashion-MNIST, {setting['steps']:,} steps",
        "",
        "A tenth of them held out; "
        f"{setting['size']} px, width {setting['width']}, batch {setting['batch']}, "
        f"lr {setting['lr']:g}. "
        f"{setting['samples']:,} samples against the {setting['real']}, features of {setting['extractor']}. "
        f"Adaptive with a ramp of {POLICIES['adaptive']['ramp_images']:,} images. {setting['processor']}.",
        "",
        "| --augment | seed | FID | precision | recall | D(x) at the end | D(G(z)) | chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (list(POLICIES).index(r["policy"]), r["seed"])):
        fid, precision, recall = (row["scores"][name] for name in WANTED)
        end = row["end"]
        chance = f"{end['augment']:.2f}" if "augment" in end else ""
        lines.append(
            f"| {row['policy']} | {row['seed']} | {fid[0]:.1f} [{fid[1]:.1f}, {fid[2]:.1f}] "
            f"| {precision[0]:.3f} | {recall[0]:.3f} | {end['real']:.2f} | {end['fake']:.2f} | {chance} |"
        )
    (out / "small_data.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
