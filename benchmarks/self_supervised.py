"""What self-supervised features notice, by task: writes `results/self_supervised.md` and `.json`.

python benchmarks/self_supervised.py digits mnist cifar10 folder:PHOTOS

Real images are corrupted as `triptych evaluate --sensitivity` corrupts them, and FID and precision are
computed for the corrupted sets, by features of a network trained on one pretext task or on several, of random
weights, and of the labeled source's classifier. Rows that are done already are kept: an interrupted call goes
on when it is repeated."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.core.threads import one_thread
from triptych.data.dataset import Dataset, Split
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.sensitivity.corruptions import CorruptionSource, corruptions
from triptych.evaluation.sensitivity.measuring import Measured
from triptych.evaluation.sensitivity.records import compare
from triptych.evaluation.sensitivity.running import Partition, partition
from triptych.metrics.extractors.base import Extractor, NetworkExtractor
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.extractors.self_supervised import network as network_module
from triptych.metrics.extractors.self_supervised import training
from triptych.metrics.extractors.self_supervised.distortions import DISTORTIONS
from triptych.metrics.fid import fid_leave_groups_out
from triptych.metrics.prdc import prdc_scores
from triptych.metrics.stats.binomial import clopper_pearson
from triptych.metrics.stats.intervals import groups_for, interval
from triptych.metrics.stats.resampling import jackknife_errors
from triptych.metrics.stats.resampling import split_groups as dealt_into

RESULTS = Path(__file__).parent / "results"
TASKS = {
    "distortion": ("distortion",),
    "instance": ("instance",),
    "rotation": ("rotation",),
    "distortion + instance": ("distortion", "instance"),
    "all three": ("distortion", "instance", "rotation"),
}
LEFT_OUT = ("copies", "disguised copies", "one fine image")  # no matter of features, or of labels
LIKE_TRAINING = (
    "noise",
    "blur",
    "resize filter",
    "blocks shuffled",
)  # similar to a distortion of the training
MOST_TRAIN = 5000
WITHOUT_KIN = ("noise", "blotches")  # what "distortion + instance, no noise seen" was trained without
ABOUT = """# What self-supervised features notice

Real images corrupted as by `evaluate --sensitivity`. A score notices a corrupted set if it
is worse than that of as many honest images, each value outside the other's 95 % interval. *Related*: kinds
that are related to a distortion of the training (noise, blur, resize filter, blocks shuffled). *Unseen*:
kinds that are not (JPEG, salt and pepper, checkerboard, low contrast, posterized, halves swapped, upside
down). *Variety*: dropped classes and duplicates. *Alarms*: another honest draw that was noticed by mistake.
*Monotone*: of the kinds with three strengths, those along which FID rises at every step up.
*Noise 5*: FID at noise of 5 of 255 levels over FID of honest images, and precision at noise of 20 levels
beside that of honest images. *Floor*: FID of training images over FID of honest ones (far below 1: the
features know their training images). *No noise seen*: trained without any distortion that adds noise.
Rows that are missing were not run.
Every network was trained for {steps} steps.
"""


def trained(
    dataset: Dataset, tasks: tuple[str, ...], distortions: tuple[str, ...], steps: int
) -> NetworkExtractor:
    """An extractor trained on the source's training images by these tasks."""
    spec = dataset.spec
    network = network_module.untrained(spec.channels, spec.size, dataset.fingerprint)
    with one_thread():
        training.fit(network, dataset.train.pixels, dataset.fingerprint, tasks, distortions, steps)
    return NetworkExtractor(network, "+".join(tasks), spec.size)


def scores(real: np.ndarray, fake: np.ndarray) -> dict[str, Measured]:
    """FID, precision and recall of features with 95 % intervals.

    FID's is that of every card; those of the shares are binomial, a quarter of the work for a table that
    only asks what was noticed.
    """
    count = groups_for(min(len(real), len(fake)))
    groups = dealt_into(real.astype(np.float64), count, 0), dealt_into(fake.astype(np.float64), count, 1)
    ring = [(), *((g,) for g in range(count)), *((g, (g + 1) % count) for g in range(count))]
    value, *rest = fid_leave_groups_out(*groups, ring)
    estimate = interval(value, jackknife_errors(value, rest[:count], rest[count:]), 0.0)
    shares = prdc_scores(real, fake)
    result = {"FID": Measured(value, estimate.low, estimate.high)}
    for name, of in (("precision", len(fake)), ("recall", len(real))):
        low, high = clopper_pearson(round(shares[name] * of), of)
        result[name] = Measured(shares[name], low, high)
    return result


def row(dealt: Partition, extractor: Extractor) -> dict[str, Any]:
    """What FID and precision say of every corrupted set, by one extractor."""
    stock = CorruptionSource(dealt.honest, dealt.train, None, 0, dealt.second_honest)
    real = extractor(dealt.reference.pixels)
    base: dict[int, Any] = {}
    readings = []
    for corruption in corruptions(stock):
        if corruption.kind in LEFT_OUT or len(corrupted := corruption.make(stock)) < 20:
            continue
        if len(corrupted) not in base:
            base[len(corrupted)] = scores(real, extractor(dealt.honest.pixels[: len(corrupted)]))
        measured, honest = scores(real, extractor(corrupted.pixels)), base[len(corrupted)]
        reading: dict[str, Any] = {
            "kind": corruption.kind,
            "grade": corruption.strength,
            "graded": corruption.ordered,
        }
        for metric in ("FID", "precision", "recall"):
            pair = honest[metric], measured[metric]
            reading[metric] = {
                "value": pair[1].value, "honest": pair[0].value, "verdict": compare(metric, *pair)
            }  # fmt: skip
        readings.append(reading)
    floor = scores(real, extractor(dealt.train.pixels[: len(dealt.honest)]))
    return {"readings": readings, "floor": {name: each.value for name, each in floor.items()}}


def one_source(
    name: str, size: int | None, samples: int, steps: int, done: dict[str, Any], keep: Any
) -> None:
    """Fill in what is missing of one source."""
    dataset = load(name, size=size)
    if len(dataset.train) > MOST_TRAIN:  # networks of few steps see no more
        labels = None if dataset.train.labels is None else dataset.train.labels[:MOST_TRAIN]
        train = Split(np.asarray(dataset.train.pixels[:MOST_TRAIN]), labels)
        dataset = replace(dataset, train=train, fingerprint=f"{dataset.fingerprint} {MOST_TRAIN}")
    dealt = partition(dataset, samples, 0)
    dataset, distortions = dealt.dataset, tuple(DISTORTIONS)
    makers: dict[str, Any] = {"random weights": lambda: random_conv(dataset.spec.size)}
    if dataset.train.labels is not None and dataset.spec.classes > 1:
        makers["labeled classifier"] = lambda: extractor_for(dataset, "domain-cnn")
    makers |= {k: lambda t=tasks: trained(dataset, t, distortions, steps) for k, tasks in TASKS.items()}
    fewer = tuple(name for name in distortions if name not in WITHOUT_KIN)
    makers["distortion + instance, no noise seen"] = lambda: trained(
        dataset, TASKS["distortion + instance"], fewer, steps
    )
    facts = done.setdefault(
        dataset.name, {"train": len(dataset.train), "each": len(dealt.honest), "rows": {}}
    )
    for label, make in makers.items():
        if label not in facts["rows"]:
            began = time.process_time()
            extractor = make()
            seconds = time.process_time() - began
            facts["rows"][label] = {"cpu_seconds": seconds, **row(dealt, extractor)}
            keep()
            print(dataset.name, line(label, facts["rows"][label]), flush=True)


def line(label: str, result: dict[str, Any]) -> str:
    """One row of the table."""
    readings = [r for r in result["readings"] if r["kind"] != "honest"]
    variety = [r for r in readings if r["kind"] in ("dropped classes", "duplicates")]
    related = [r for r in readings if r["kind"] in LIKE_TRAINING]
    unseen = [r for r in readings if r not in variety and r not in related]

    def noticed(some: list[dict[str, Any]], metric: str) -> int:
        return sum(r[metric]["verdict"] == "noticed" for r in some)

    cells = [f"{noticed(s, 'FID')}/{len(s)}, {noticed(s, 'precision')}/{len(s)}" for s in (related, unseen)]
    cells.append(f"{noticed(variety, 'FID')}/{len(variety)}, {noticed(variety, 'recall')}/{len(variety)}")
    again = [r for r in result["readings"] if r["kind"] == "honest"]
    cells.append(", ".join(str(noticed(again, m)) for m in ("FID", "precision")))
    graded = dict.fromkeys(r["kind"] for r in readings if r["graded"] and r not in variety)
    rising = 0
    for kind in graded:
        steps = [r["FID"] for r in readings if r["kind"] == kind]
        path = [steps[0]["honest"], *(s["value"] for s in steps)]
        rising += all(a < b for a, b in pairwise(path))
    cells.append(f"{rising}/{len(graded)}")
    weak, strong = (
        next(r for r in readings if r["kind"] == "noise" and r["grade"][:2] == g) for g in ("5 ", "20")
    )
    cells.append(
        f"x{weak['FID']['value'] / weak['FID']['honest']:.3g}, {strong['precision']['value']:.2f} of "
        f"{strong['precision']['honest']:.2f}"
    )
    cells.append(f"{result['floor']['FID'] / weak['FID']['honest']:.2f}")
    return "| " + " | ".join([label, *cells]) + " |"


def table(results: dict[str, Any], steps: int) -> str:
    """All rows as markdown."""
    head = ("features", "related: FID, precision", "unseen: FID, precision", "variety: FID, recall", "alarms",
            "monotone", "noise 5: FID, noise 20: precision", "floor")  # fmt: skip
    text = ABOUT.format(steps=steps)
    for name, facts in results.items():
        text += f"\n## {name}\n\n{facts['train']} training images, {facts['each']} in each set.\n\n"
        text += "| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n"
        text += "".join(line(label, each) + "\n" for label, each in facts["rows"].items())
    return text


def as_json(results: dict[str, Any]) -> str:
    """What was found with four digits, a row a line."""
    text = json.dumps(_shortened(results), separators=(",", ":"))
    return text.replace('"rows":{', '"rows":{\n').replace('}},"', '}},\n"') + "\n"


def _shortened(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _shortened(each) for key, each in value.items()}
    return [_shortened(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--size", type=int, default=None)
    parser.add_argument("--out", type=Path, default=RESULTS / "self_supervised")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    kept = flags.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}

    def keep() -> None:
        kept.write_text(as_json(found), encoding="utf-8")
        flags.out.with_suffix(".md").write_text(table(found, flags.steps), encoding="utf-8")

    for source in flags.sources:
        one_source(source, flags.size, flags.samples, flags.steps, found, keep)
