"""Whether the better of raw and EMA weights are selected: both scored on images not used for the selection.

One training for each model, stopped at several steps. At each, `triptych.evaluation.selection` compares both
on the selection half of the test images, as `triptych train` does when it ends or is stopped; then both are
scored by the source's own classifier on the reporting half. The selected ones must be no worse than either,
within the interval.

    python benchmarks/raw_or_ema.py --data mnist dcgan --steps 500,850,2000
    python benchmarks/raw_or_ema.py vae diffusion --steps 300
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.cli._flags import JsonFlag, parse_with_settings
from triptych.data.dataset import Dataset
from triptych.data.load import load
from triptych.data.loader import batches
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import draw
from triptych.evaluation.selection import Selector, held_out
from triptych.inference.pipeline import Pipeline
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.fid import fid_leave_groups_out
from triptych.metrics.stats.intervals import GROUPS, jackknife_interval
from triptych.metrics.stats.resampling import split_groups
from triptych.models.configure import default_preset, preset_values
from triptych.models.registry import load_model_class
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.trainer import Trainer, fresh_copy

RESULTS = Path(__file__).parent / "results"


def training_of(command: str, dataset: Dataset, steps: int) -> Trainer:
    """A training of a model with flags, as `triptych train` would begin it, in fp32 on one thread."""
    name, *rest = shlex.split(command)
    model_class = load_model_class(name)
    preset = preset_values(model_class, default_preset(model_class))
    _, values = parse_with_settings(rest, JsonFlag, [Options, model_class.Config], name, defaults=preset)
    shared = {field: values.pop(field) for field in Options.model_fields}
    options = Options(**{**shared, "data": dataset.source, "steps": steps})
    model = model_class(model_class.Config(**values), dataset.spec)
    plan = Plan.trial(torch.device("cpu"), Arithmetic("fp32", True)).model_copy(update={"steps": steps})
    torch.manual_seed(options.seed)
    training = Trainer(fresh_copy(model), dataset.train, options, plan)
    training.model.fit_preprocessing(batches(dataset.train, options.batch, options.seed))
    return training


def row(
    training: Trainer, dataset: Dataset, extractor: Extractor, samples: int, command: str
) -> dict[str, Any]:
    """What is chosen of the weights as they are now, and what both score on the reporting half."""
    selector = Selector(training, Pipeline(fresh_copy(training.model), None, dataset.class_counts), dataset)
    began = time.process_time()
    selector.compare()
    seconds, comparison = time.process_time() - began, selector.last
    assert comparison is not None
    real = extractor(np.asarray(dataset.test.pixels[held_out(len(dataset.test), "report")]))
    scores = {}
    for which in ("raw", "ema"):
        fake = extractor(draw(selector.load("raw" if which == "raw" else "ema"), samples).pixels)
        scores[which] = fid_with_interval(real, fake)
    return {
        "model": training.model.title,
        "command": command,
        "steps": training.step,
        "planned": training.plan.steps,
        "images": training.step * training.options.batch,
        "samples": samples,
        "features": extractor.name,
        "fid": scores,
        "comparison": comparison.model_dump(mode="json"),
        "comparison_cpu_seconds": round(seconds, 2),
    }


def fid_with_interval(real: np.ndarray, fake: np.ndarray) -> list[float]:
    """FID of features with its 95 % interval: value, low, high."""
    reals, fakes = (split_groups(x.astype(np.float64), GROUPS, seed) for seed, x in enumerate((real, fake)))
    value, *without = fid_leave_groups_out(reals, fakes, [(), *((g,) for g in range(GROUPS))])
    estimate = jackknife_interval(value, without, 0.0)
    return [estimate.value, estimate.low, estimate.high]


def holds(row: dict[str, Any]) -> bool:
    """Whether the selected weights are no worse than the other, within the interval."""
    selected = row["fid"][row["comparison"]["selected"]]
    best = min(row["fid"].values())
    return bool(selected[0] <= best[0] or selected[1] <= best[2])


def table(rows: list[dict[str, Any]]) -> str:
    """The table, in Markdown."""
    lines = [
        "| model | steps | samples | FID raw | FID EMA | FID selected | selected | compared by | its CPU s |",
        "|---|---:|---:|---:|---:|---:|---|---|---:|",
    ]
    for r in rows:
        c = r["comparison"]
        cells = {w: f"{v:.3g} [{low:.3g}, {high:.3g}]" for w, (v, low, high) in r["fid"].items()}
        name = c["metric"] + (f"[{c['features']}]" if c["features"] else "")
        how = f"{name}: {c['raw']:.4g} and {c['ema']:.4g}, difference {c['difference']:.3g} "
        how += f"[{c['low']:.3g}, {c['high']:.3g}], n = {c['n']}"
        lines.append(
            f"| {r['model']} | {r['steps']:,} of {r['planned']:,} | {r['samples']:,} | {cells['raw']} | "
            f"{cells['ema']} | "
            f"{r['fid'][c['selected']][0]:.3g} | {c['selected']} | {how} "
            f"| {r['comparison_cpu_seconds']:.1f} |"
        )
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], data: str, home: Path = RESULTS) -> None:
    """The results as JSON and Markdown."""
    (home / f"raw_or_ema-{data}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    right = sum(map(holds, rows))
    commands = "\n".join(f"- {w}" for w in dict.fromkeys(r["command"] for r in rows))
    text = (
        f"# Raw or EMA weights: which are selected ({data})\n\n"
        f"FID[{rows[0]['features']}] on the reporting half of the test "
        "images, with 95 % intervals; the choice was made on the other half. Trained on one thread in fp32 "
        "and stopped at each step. The selected ones are no worse than either within the interval in "
        f"{right} of {len(rows)} rows.\n\n"
        f"{table(rows)}\n\nTrained as:\n\n{commands}\n"
    )
    (home / f"raw_or_ema-{data}.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Train, compare, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="+", help='each alone or with flags: "dcgan --lr 1e-3"')
    parser.add_argument("--data", default="digits")
    parser.add_argument("--steps", default="200", help="where to stop, as 500,850,2000; planned is the last")
    parser.add_argument("--samples", type=int, default=2000)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dataset, stops = load(flags.data), [int(part) for part in flags.steps.split(",")]
    extractor, rows = extractor_for(dataset), []
    for command in flags.models:
        training = training_of(command, dataset, stops[-1])
        for step in training.steps():
            if step.step in stops:
                rows.append(row(training, dataset, extractor, flags.samples, command))
                write(rows, dataset.name)
                print(table(rows[-1:]), flush=True)
            if step.step >= stops[-1]:
                break


if __name__ == "__main__":
    main()
