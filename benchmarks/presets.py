"""Each model's presets against its classes' own defaults, after equally many images.

A setting is a preset, or "defaults": every field of Config as its class has it, batches of 128 (what `train`
would do without presets). `few:SOURCE` are 300 images of a source as PNG files in one flat folder, so without
labels; their samples are scored against the source's own test images by its own classifier. Every training
runs in this process, on one thread, in fp32. Writes a JSON file and a table to `results/`; what is there
already is kept, so sources, models and settings can be run one by one.

    python benchmarks/presets.py --sources digits few:cifar10 --images 25600
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import triptych
from triptych.core import device
from triptych.data.dataset import Dataset
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.scoring import score_pixels
from triptych.models.registry import load_model_class, model_names
from triptych.viz import grids

DEFAULTS, FEW = "defaults", 300
SOURCES = ["digits", "mnist", "fashion-mnist", "cifar10", "few:cifar10"]
WANTED = ("FID", "precision", "recall")
LEFT_OUT = ("paper", "map", "few", "points")  # which are for something else
Row = dict[str, Any]


def settings_of(model: str, setting: str) -> dict[str, Any]:
    """What `triptych.train` is given: a preset by name, with flags after it where there are any."""
    model_class = load_model_class(model)
    if setting == DEFAULTS:
        return {**model_class.Config().model_dump(), "batch": 128}
    preset, *flags = setting.split(" ")
    return {"preset": preset, **dict(flag.split("=") for flag in flags)}


def few_of(source: str, home: Path) -> str:
    """A flat folder of 300 training images of a source, a seeded choice."""
    folder = home / f"few-{source}"
    if not folder.is_dir():
        folder.mkdir()
        pixels = load(source).train.pixels
        for k, row in enumerate(np.random.default_rng(0).permutation(len(pixels))[:FEW]):
            image = np.asarray(pixels[row])
            Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(folder / f"{k:03d}.png")
    return f"folder:{folder}"


def measured(model: str, setting: str, source: str, flags: argparse.Namespace, home: Path) -> Row:
    whole = source.removeprefix("few:")
    data: Dataset = load(whole, size=flags.size)
    where = source if whole == source else few_of(whole, home)
    run = triptych.train(
        model, where, images=flags.images, seed=flags.seed, size=data.spec.size,
        threads=1, precision="fp32", runs=home, **settings_of(model, setting),
    )  # fmt: skip
    row: Row = {"source": source, "model": model, "setting": setting, "seed": flags.seed}
    row["samples"] = flags.samples
    for weights in ("ema", "raw"):
        pipeline = triptych.load(run.path, weights=weights)
        drawn = pipeline.sample(range(10**9, 10**9 + flags.samples))
        scores = score_pixels(np.asarray(data.test.pixels), drawn, extractor_for(data))
        row[weights] = {s.card.metric: [s.value, s.low, s.high] for s in scores if s.card.metric in WANTED}
        name = re.sub("[ :=]", "-", f"{source}-{model}-{setting}-{weights}.png")
        grids.write_png(home / name, grids.grid(drawn[:64], 8, scale=2))
    steps = run.checkpoint_meta().step
    return {**row, "steps": steps, "images": flags.images, "conditional": run.card.conditional}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", nargs="+", default=SOURCES)
    parser.add_argument("--models", nargs="+", default=model_names())
    parser.add_argument(
        "--settings", nargs="+", help='"defaults", presets, "fast augment=diff"; left out: all'
    )
    parser.add_argument("--images", type=int, default=25_600, help="that each training sees")
    parser.add_argument("--size", type=int, help="side in pixels; left out: what suits the source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--home", type=Path, help="where runs and grids are kept; left out: a new folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    home = flags.home or Path(tempfile.mkdtemp(prefix="presets-"))
    home.mkdir(parents=True, exist_ok=True)
    path = flags.out / "presets.json"
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.is_file() else []
    for source in flags.sources:
        for model in flags.models:
            settings = [DEFAULTS, *(name for name in load_model_class(model).presets if name not in LEFT_OUT)]
            for setting in flags.settings or settings:
                key = {"source": source, "model": model, "setting": setting, "seed": flags.seed}
                key |= {"images": flags.images, "size": flags.size}
                if any(key.items() <= row.items() for row in rows):
                    continue
                row = {**measured(model, setting, source, flags, home), "size": flags.size}
                print(json.dumps(row), flush=True)
                rows.append(row)
                write(rows, path)
    print(f"grids of samples: {home}")


def write(rows: list[Row], path: Path) -> None:
    about = {
        "processor": device.describe(torch.device("cpu")), "torch": torch.__version__,
        "triptych": triptych.__version__,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    lines = [
        "# Presets against the classes' own defaults",
        "",
        "After equally many images, on one thread in fp32, seed 0 unless said; FID by the source's own "
        "classifier (`few:`: 300 of its images in a flat folder, scored against the source's test images), "
        f"with 95 % intervals. {about['processor']}, PyTorch {about['torch']}.",
        "",
        "| source | model | setting | images | steps | conditional | FID, EMA | FID, raw "
        "| precision | recall |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (r["source"], r["model"], r["images"], r["setting"], r["seed"])):
        ema, raw = (row[w]["FID"] for w in ("ema", "raw"))
        precision, recall = (row["ema"][m][0] for m in ("precision", "recall"))
        size = f" {row['size']} px" if row["size"] else ""
        seed = f", seed {row['seed']}" if row["seed"] else ""
        lines.append(
            f"| {row['source']}{size} | {row['model']} | {row['setting']}{seed} | {row['images']:,} "
            f"| {row['steps']:,} | {'yes' if row['conditional'] else 'no'} "
            f"| {ema[0]:.2f} [{ema[1]:.2f}, {ema[2]:.2f}] | {raw[0]:.2f} [{raw[1]:.2f}, {raw[2]:.2f}] "
            f"| {precision:.2f} | {recall:.2f} |"
        )
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
