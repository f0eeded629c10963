"""What does the GAN monitor say of a newcomer's first runs? An unfinished run is no mode collapse.

    python benchmarks/first_runs.py --out DIR [--seeds 0 1] [--again] [--write]

Every run is as many steps as one to three minutes on two quiet cores come to: five sources, three families.
The samples of every observation are kept under DIR, so that `--again` measures and diagnoses them anew
without training: what a change of the rules does. The folder holds 300 CIFAR-10 images without labels.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

import triptych
from triptych.core.errors import TrainingError
from triptych.data.load import load
from triptych.models.registry import load_model_class
from triptych.monitor import gan_monitor
from triptych.monitor.diagnosis import alarms, diagnose
from triptych.monitor.records import observations
from triptych.monitor.sample_statistics import Reference, observe_samples
from triptych.runs.run import Run, open_run
from triptych.viz.grids import write_png

RESULTS = Path(__file__).parent / "results"
FOLDER_IMAGES = 300
SOURCES: dict[str, dict[str, Any]] = {
    "digits": {}, "shapes": {"size": 16}, "mnist": {}, "fashion-mnist": {}, "folder": {},
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "dcgan": {"batch": 64, "width": 16, "lr": 1e-3, "instance_noise": 0.3, "steps": 600},
    "wgan": {"batch": 64, "width": 16, "lr": 1e-3, "generator_interval": 2, "steps": 400},
    "stylegan": {"batch": 32, "width": 16, "max_channels": 64, "mixing_probability": 0.0, "steps": 300},
    "dcgan textbook": {"batch": 64, "width": 16, "steps": 400},
    "wgan textbook": {"batch": 64, "width": 16, "steps": 600},
}
ABOUT = (
    "Short runs of narrow networks (120 to 240 steps, seed 3), one thread; shapes at 16 px; the folder "
    "holds\n300 CIFAR-10 images without labels. The rules were made on seeds 0 and 1 of digits, MNIST and "
    "the folder;\nnone was changed because of these runs.\n\n"
)
SHORT = 0.4  # share of these steps in the shorter of the two lengths: one minute rather than three


def folder_of_photos(home: Path) -> Path:
    """300 CIFAR-10 images as PNG files in one flat folder: photographs without labels."""
    made = home / "photos"
    if not made.is_dir():
        made.mkdir(parents=True)
        images = load("cifar10").train.pixels[:FOLDER_IMAGES]
        for k, image in enumerate(images):
            write_png(made / f"{k:03d}.png", np.asarray(image))
    return made


def settings(family: str, source: str, seed: int) -> dict[str, Any]:
    found = {**FAMILIES[family], **SOURCES[source], "seed": seed, "threads": 1, "precision": "fp32"}
    if seed % 2:
        found["steps"] = round(SHORT * found["steps"])
    if source != "folder":
        found["conditional"] = True
    return found


def train(family: str, source: str, seed: int, out: Path) -> Path:
    """Train once, unless it is kept, and keep log, observations and the samples of each."""
    kept = out / f"{family}-{source}-{seed}".replace(" ", "-")
    if (kept / "done").exists():
        return kept
    data = f"folder:{folder_of_photos(out)}" if source == "folder" else source
    home = out / "runs" / kept.name
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    sound, drawn = observe_samples, []

    def keeping(
        reference: Reference, pixels: Any, labels: Any = None, before: Any = None, detailed: Any = None
    ) -> dict[str, Any]:
        drawn.append((pixels, labels, detailed))
        return sound(reference, pixels, labels, before, detailed)

    gan_monitor.observe_samples = keeping  # type: ignore[attr-defined]
    try:
        name = family.split()[0]
        triptych.train(name, data, runs=home, **settings(family, source, seed))
    except TrainingError as error:
        print(f"  {error}")
    finally:
        gan_monitor.observe_samples = sound  # type: ignore[attr-defined]
    (path,) = home.glob("0*")
    for file in ("run.json", "log.jsonl", "monitor.jsonl"):
        shutil.copy(path / file, kept / file)
    shutil.copytree(path / "monitor", kept / "monitor")
    held = {"pixels": np.stack([pixels for pixels, _, _ in drawn])}
    if drawn[0][1] is not None:
        held["labels"] = drawn[0][1]
    if drawn[0][2] is not None:
        held["detailed"] = np.stack([detailed for _, _, detailed in drawn])
    np.savez_compressed(kept / "looks.npz", **held)
    shutil.rmtree(home)
    (kept / "done").touch()
    return kept


def measured_again(kept: Path, source: str, references: dict[str, Reference]) -> None:
    """Write monitor.jsonl anew from the samples that were kept."""
    run, held = open_run(kept), np.load(kept / "looks.npz")
    if source not in references:
        name = f"folder:{kept.parent / 'photos'}" if source == "folder" else source
        data = load(name, **SOURCES[source])
        references[source] = Reference(data.train, data.spec.classes)
    labels = held["labels"] if "labels" in held.files else None
    detailed = held["detailed"] if "detailed" in held.files else [None] * len(held["pixels"])
    looks: list[dict[str, Any]] = []
    for old, pixels, fine in zip(observations(run), held["pixels"], detailed, strict=False):
        seen = observe_samples(references[source], pixels, labels, looks[-1] if looks else None, fine)
        own = ("step", "updates", "weight_probes", "weight_scales", "seconds")
        looks.append({"format": 1, **{k: old[k] for k in own if k in old}, **seen})
    (kept / "monitor.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))


def judged(run: Run, family: str) -> dict[str, Any]:
    """The verdict at the end and every alarm on the way."""
    game = load_model_class(family.split()[0]).adversarial
    assert game is not None
    log, looks, steps = run.log(), observations(run), run.card.plan.steps
    heard = alarms(log, looks, game, steps)
    last = diagnose(log, looks, game, steps)
    turns = min(looks[-1]["updates"].values())
    collapsed = [step for step, verdict in heard if verdict == "mode collapse"]
    return {
        "steps": steps, "generator_steps": turns, "looks": len(looks), "verdict": last.verdict,
        "line": last.summary(), "alarms": [list(alarm) for alarm in heard], "collapsed": collapsed,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| family | source | seed | steps | generator's | verdict at the end | alarms on the way |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        names = dict.fromkeys(verdict for _, verdict in row["alarms"])
        told = ", ".join(f"{name} x {sum(v == name for _, v in row['alarms'])}" for name in names) or "-"
        lines.append(
            f"| {row['family']} | {row['source']} | {row['seed']} | {row['steps']} "
            f"| {row['generator_steps']} | {row['verdict']} | {told} |"
        )
    wrong = sum(bool(row["collapsed"]) for row in rows)
    return "\n".join([*lines, "", f"{wrong} of {len(rows)} were called mode collapse at any observation."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("first_runs"))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--sources", nargs="+", default=list(SOURCES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="odd ones are short runs")
    parser.add_argument("--again", action="store_true", help="train nothing, measure what is kept anew")
    parser.add_argument("--write", action="store_true", help="also write results/first_runs.{json,md}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows, references = [], {}
    for seed in asked.seeds:
        for source in asked.sources:
            for family in asked.families:
                kept = asked.out / f"{family}-{source}-{seed}".replace(" ", "-")
                if asked.again:
                    if not (kept / "done").exists():
                        continue
                    measured_again(kept, source, references)
                else:
                    kept = train(family, source, seed, asked.out)
                row = {"family": family, "source": source, "seed": seed, **judged(open_run(kept), family)}
                rows.append(row)
                print(f"{kept.name}: {row['line']} {row['alarms']}", flush=True)
    print(table(rows))
    if asked.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "first_runs.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "first_runs.md").write_text("# First runs\n\n" + ABOUT + table(rows) + "\n")


if __name__ == "__main__":
    main()
