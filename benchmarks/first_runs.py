"""What does the GAN monitor say of a newcomer's first runs? An unfinished run is no mode collapse.

    python benchmarks/first_runs.py --out DIR [--seeds 0 1] [--again] [--write]

Every run is as many steps as one to three minutes on two quiet cores come to: five sources, three models.
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
MODELS: dict[str, dict[str, Any]] = {
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
    folder = home / "photos"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        images = load("cifar10").train.pixels[:FOLDER_IMAGES]
        for k, image in enumerate(images):
            write_png(folder / f"{k:03d}.png", np.asarray(image))
    return folder


def settings(model: str, source: str, seed: int) -> dict[str, Any]:
    values = {**MODELS[model], **SOURCES[source], "seed": seed, "threads": 1, "precision": "fp32"}
    if seed % 2:
        values["steps"] = round(SHORT * values["steps"])
    if source != "folder":
        values["conditional"] = True
    return values


def train(model: str, source: str, seed: int, out: Path) -> Path:
    """Train once, unless it is kept, and keep log, observations and the samples of each."""
    kept = out / f"{model}-{source}-{seed}".replace(" ", "-")
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
        name = model.split()[0]
        triptych.train(name, data, runs=home, **settings(model, source, seed))
    except TrainingError as error:
        print(f"  {error}")
    finally:
        gan_monitor.observe_samples = sound  # type: ignore[attr-defined]
    (path,) = home.glob("0*")
    for file in ("run.json", "log.jsonl", "monitor.jsonl"):
        shutil.copy(path / file, kept / file)
    shutil.copytree(path / "monitor", kept / "monitor")
    arrays = {"pixels": np.stack([pixels for pixels, _, _ in drawn])}
    if drawn[0][1] is not None:
        arrays["labels"] = drawn[0][1]
    if drawn[0][2] is not None:
        arrays["detailed"] = np.stack([detailed for _, _, detailed in drawn])
    np.savez_compressed(kept / "observations.npz", **arrays)
    shutil.rmtree(home)
    (kept / "done").touch()
    return kept


def measured_again(kept: Path, source: str, references: dict[str, Reference]) -> None:
    """Write monitor.jsonl anew from the samples that were kept."""
    run, arrays = open_run(kept), np.load(kept / "observations.npz")
    if source not in references:
        name = f"folder:{kept.parent / 'photos'}" if source == "folder" else source
        data = load(name, **SOURCES[source])
        references[source] = Reference(data.train, data.spec.classes)
    labels = arrays["labels"] if "labels" in arrays.files else None
    detailed = arrays["detailed"] if "detailed" in arrays.files else [None] * len(arrays["pixels"])
    records: list[dict[str, Any]] = []
    for old, pixels, fine in zip(observations(run), arrays["pixels"], detailed, strict=False):
        measured = observe_samples(references[source], pixels, labels, records[-1] if records else None, fine)
        own = ("step", "updates", "weight_probes", "weight_scales", "seconds")
        records.append({"format": 1, **{k: old[k] for k in own if k in old}, **measured})
    (kept / "monitor.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def diagnosed(run: Run, model: str) -> dict[str, Any]:
    """The verdict at the end and every alarm on the way."""
    spec = load_model_class(model.split()[0]).adversarial
    assert spec is not None
    log, records, steps = run.log(), observations(run), run.card.plan.steps
    raised = alarms(log, records, spec, steps)
    last = diagnose(log, records, spec, steps)
    updates = min(records[-1]["updates"].values())
    collapsed = [step for step, verdict in raised if verdict == "mode collapse"]
    return {
        "steps": steps, "generator_steps": updates, "observations": len(records), "verdict": last.verdict,
        "line": last.summary(), "alarms": [list(alarm) for alarm in raised], "collapsed": collapsed,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| model | source | seed | steps | generator's | verdict at the end | alarms on the way |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        names = dict.fromkeys(verdict for _, verdict in row["alarms"])
        raised = ", ".join(f"{name} x {sum(v == name for _, v in row['alarms'])}" for name in names) or "-"
        lines.append(
            f"| {row['model']} | {row['source']} | {row['seed']} | {row['steps']} "
            f"| {row['generator_steps']} | {row['verdict']} | {raised} |"
        )
    wrong = sum(bool(row["collapsed"]) for row in rows)
    return "\n".join([*lines, "", f"{wrong} of {len(rows)} were called mode collapse at any observation."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("first_runs"))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--sources", nargs="+", default=list(SOURCES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="odd ones are short runs")
    parser.add_argument("--again", action="store_true", help="train nothing, measure what is kept anew")
    parser.add_argument("--write", action="store_true", help="also write results/first_runs.{json,md}")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    flags.out.mkdir(parents=True, exist_ok=True)
    rows, references = [], {}
    for seed in flags.seeds:
        for source in flags.sources:
            for model in flags.models:
                kept = flags.out / f"{model}-{source}-{seed}".replace(" ", "-")
                if flags.again:
                    if not (kept / "done").exists():
                        continue
                    measured_again(kept, source, references)
                else:
                    kept = train(model, source, seed, flags.out)
                row = {"model": model, "source": source, "seed": seed, **diagnosed(open_run(kept), model)}
                rows.append(row)
                print(f"{kept.name}: {row['line']} {row['alarms']}", flush=True)
    print(table(rows))
    if flags.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "first_runs.json").write_text(json.dumps(rows, indent=1) + "\n")
        (RESULTS / "first_runs.md").write_text("# First runs\n\n" + ABOUT + table(rows) + "\n")


if __name__ == "__main__":
    main()
