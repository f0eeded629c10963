"""Directions of a model of `shapes`: how much each changes its factor, and every other factor.

    python benchmarks/steering_shapes.py [RUN] [--model dcgan] [--steps 3500] [--amount 2] [--all]

Without a RUN it trains one, without labels, so that every factor is in the code. Directions are found on
one set of seeds; on a second the purest of each factor's classes is chosen; it is measured on a third.
Changes are means over samples, in standard deviations of each attribute over unedited samples, two-sided
(from -amount to +amount) and one-sided (from no edit to +amount). The ratio takes the less favorable of the
two, the two-sided ratio the first alone. Writes results/steering_shapes-MODEL.md and .json; another amount
is part of the name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import triptych
from triptych.core.threads import one_thread
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import data_of
from triptych.latent.attribute_samples import AttributeDataset, sample_attributes
from triptych.latent.attributes import predictor_for
from triptych.latent.codes import Codes, codes_at
from triptych.latent.directions import Direction
from triptych.latent.edits import Effect, measure
from triptych.latent.supervised_directions import EVALUATION_SEED, fit_directions

RESULTS = Path(__file__).parent / "results"
WANTED = 5.0
AMOUNT = 2.0  # standard deviations of the code
CHOSEN_SEED = 4_000_000  # far from those that directions are found or measured on


def parsed_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--model", default="dcgan")
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--settings", type=json.loads, default={}, help='e.g. {"latent": 32, "width": 32}')
    parser.add_argument("--samples", type=int, default=4000, help="samples the directions are fitted to")
    parser.add_argument("--tried", type=int, default=400, help="samples each direction is refined on")
    parser.add_argument("--measured", type=int, default=1000, help="other samples they are measured on")
    parser.add_argument("--amount", type=float, default=AMOUNT)
    parser.add_argument("--space", default=None)
    parser.add_argument(
        "--chosen", type=int, default=1000, help="others yet, on which each factor's is chosen"
    )
    parser.add_argument("--attributes", nargs="*", default=None, help="left out: each factor's purest")
    parser.add_argument("--all", action="store_true", help="every attribute instead")
    parser.add_argument("--together", action="store_true", help="all layers of a style move alike")
    return parser.parse_args()


def main() -> None:
    flags = parsed_flags()
    path = (
        flags.run
        or triptych.train(
            flags.model,
            "shapes",
            steps=flags.steps,
            size=flags.size,
            runs="runs",
            **{"conditional": False, **flags.settings},
        ).path
    )
    model = triptych.load(path)
    dataset = data_of(model)
    reader, extractor = predictor_for(dataset), extractor_for(dataset)
    with one_thread():
        studied = sample_attributes(
            model, reader, flags.samples, flags.space, per_layer=False if flags.together else None
        )
        directions = fit_directions(
            model, reader, studied, flags.attributes, refinement_samples=flags.tried, amount=flags.amount
        )

        def codes(first: int, count: int) -> Codes:
            return codes_at(model, range(first, first + count), studied.codes.space)

        choosing = not flags.all and flags.attributes is None
        if choosing:
            effects = measure(model, codes(CHOSEN_SEED, flags.chosen), directions, flags.amount, reader)
            directions = purest(directions, effects)
        unseen = codes(EVALUATION_SEED, flags.measured)
        effects = measure(model, unseen, directions, flags.amount, reader, extractor)
    facts = {
        "model": model.model.title,
        "config": model.model.config.model_dump(mode="json"),
        "step": model.step,
        "space": studied.codes.space,
        "reader": reader.accuracy,
        "apart": studied.blocks > 1,
        "chosen": flags.chosen if choosing else 0,
        "size": dataset.spec.size,
        **{name: getattr(flags, name) for name in ("samples", "tried", "measured", "amount")},
    }
    text = table(facts, effects, [d.info.how for d in directions], studied)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    name = type(model.model).__name__.lower() + ("-together" if flags.together else "")
    name += "" if flags.amount == AMOUNT else f"-amount-{flags.amount:g}"
    stem = RESULTS / f"steering_shapes-{name}"
    stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    record = {**facts, "effects": [effect.model_dump(mode="json") for effect in effects]}
    stem.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def purest(directions: list[Direction], effects: list[Effect]) -> list[Direction]:
    """Of each factor the direction with the largest ratio."""
    best: dict[str, tuple[float, Direction]] = {}
    for direction, effect in zip(directions, effects, strict=True):
        assert effect.target is not None
        ratio = effect.ratio if effect.ratio is not None else float("inf")  # nothing else moved
        if effect.target.factor not in best or ratio > best[effect.target.factor][0]:
            best[effect.target.factor] = ratio, direction
    return [direction for _, direction in best.values()]


def table(facts: dict[str, Any], effects: list[Effect], hows: list[str], studied: AttributeDataset) -> str:
    lines = [
        f"# Directions on `shapes`: {facts['model']}, step {facts['step']}, {facts['space']} space",
        "",
        f"{facts['samples']} samples to fit"
        + (
            ", as many with unrelated styles per layer (each layer moves differently)"
            if facts["apart"]
            else ""
        )
        + f", {facts['tried']} to refine, "
        + (f"{facts['chosen']} others to choose each factor's class, " if facts["chosen"] else "")
        + f"{facts['measured']} others to measure. Mean changes per unit, in standard deviations of each "
        f"attribute: two-sided from -a to +a and one-sided from 0 to +a, a = {facts['amount']:g} standard "
        "deviations of the code. Ratio: the target's smaller change over the largest of any other factor; "
        "two-sided ratio: by the two-sided changes alone.",
        "Predictor, on real test images: " + "; ".join(f"{k} {v}" for k, v in facts["reader"].items()) + ".",
        "",
        "| direction | mean or std | R2 | target -a to +a | error | target 0 to +a | most changed other | "
        "-a to +a | 0 to +a | ratio | two-sided ratio | feature distance |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    names = [a.name for a in studied.attributes]
    for effect, how in zip(effects, hows, strict=True):
        on, off = effect.target, effect.others[0]
        assert on is not None and effect.feature_distance is not None
        ratio, two_sided = ("-" if x is None else f"{x:.1f}" for x in (effect.ratio, effect.two_sided_ratio))
        column = studied.values[:, names.index(effect.direction)]
        size = column.mean() if "=" in effect.direction else column.std()
        explained = how.split("R2 ")[1].split(",")[0]
        lines.append(
            f"| {effect.direction} | {size:.2f} | {explained} | {on.two_sided:+.2f} | {on.error:.3f} | "
            f"{on.one_sided:+.2f} | {off.factor} | {off.two_sided:+.3f} | {off.one_sided:+.3f} | {ratio} | "
            f"{two_sided} | {effect.feature_distance:.2f} |"
        )
    lines.append("")
    for name, title in (("ratio", "Ratio"), ("two_sided_ratio", "Two-sided ratio")):
        every = [getattr(effect, name) for effect in effects]
        ratios = [float("inf") if value is None else value for value in every]  # nothing else moved
        reached = sum(value >= WANTED for value in ratios)
        lines.append(
            f"{title} at least {WANTED:g}: {reached} of {len(ratios)}; median {np.median(ratios):.1f}."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
