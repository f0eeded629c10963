"""How long evaluations take beside sampling, before and after features were computed once per image set.

    python benchmarks/evaluation_time.py --before PATH_OF_AN_OLDER_CHECKOUT

Each version trains DCGAN for 30 steps and evaluates it in detail in processes of their own, alternating, on
one thread. Writes `results/evaluation_time.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve()
RESULTS = HERE.parent / "results"
FEATURES = ("domain-cnn", "random-conv")
VERSIONS = ("before", "first", "next")  # "next": the features of the real images are stored already


class Timed:
    """An extractor that adds up the time it takes and the images it sees."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.seconds, self.images = inner, 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _run(self, method: Any, pixels: Any) -> Any:
        began = time.perf_counter()
        result = method(pixels)
        self.seconds += time.perf_counter() - began
        self.images += len(pixels)
        return result

    def __call__(self, pixels: Any) -> Any:
        return self._run(self.inner, pixels)

    def probabilities(self, pixels: Any) -> Any:
        return self._run(self.inner.probabilities, pixels)

    def features_and_probabilities(self, pixels: Any) -> Any:
        return self._run(self.inner.features_and_probabilities, pixels)


def once(features: str, samples: int, runs: Path) -> dict[str, float]:
    """One evaluation by the version of Triptych that Python finds."""
    import torch

    import triptych
    from triptych.evaluation import classifier, evaluate, two_sample
    from triptych.inference.pipeline import load

    torch.set_num_threads(1)
    two_sample.STEPS = 8  # its four networks see no features: what they take is no matter here
    kept = sorted(runs.glob("0*"))
    options = {"data": "mnist", "steps": 30, "runs": runs, "threads": 1}
    model = load(kept[0] if kept else triptych.train("dcgan", **options).path)
    make = getattr(classifier, "extractor_for", None) or classifier.judge_for
    extractor = Timed(make(evaluate.data_of(model), features))
    if not kept:  # trained the run and the extractor, for the repeats that count
        return {}
    new = hasattr(evaluate, "evaluate_run")
    run, detailed, save = ("evaluate_run", "detailed", "save") if new else ("evaluation", "closer", "keep")
    began = time.perf_counter()
    evaluation = getattr(evaluate, run)(model, samples, extractor, **{detailed: True, save: False})
    total = time.perf_counter() - began
    scores = {score.card.metric: score.value for score in evaluation.scores}
    return {
        "extractor_s": extractor.seconds,
        "images": extractor.images,
        "without_sampling_s": total - evaluation.sampling.seconds,
        "FID": scores["FID"],
        "IS": scores.get("IS", 0.0),
    }


def run_once(tree: Path, version: str, features: str, samples: int, home: Path) -> dict[str, float]:
    """One evaluation in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "OMP_NUM_THREADS": "1",
        "TRIPTYCH_CACHE": str(home / tree_name(version) / "cache"),
    }
    stored = home / tree_name(version) / "cache" / "features"
    if version == "first":
        subprocess.run(["rm", "-rf", str(stored)], check=True)
    runs = home / tree_name(version) / "runs"
    command = [sys.executable, str(HERE), "--once", features, "--samples", str(samples), "--runs", str(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def tree_name(version: str) -> str:
    """Both states of the present version share a cache and a run."""
    return "before" if version == "before" else "after"


def main() -> None:
    """Run all repeats, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once")
    parser.add_argument("--runs", type=Path)
    flags = parser.parse_args()
    if flags.once:
        print(json.dumps(once(flags.once, flags.samples, flags.runs)))
        return
    trees = {"before": flags.before.resolve(), "first": HERE.parent.parent, "next": HERE.parent.parent}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for features in FEATURES:
            for version in ("before", "first"):
                run_once(trees[version], version, features, flags.samples, home)  # trains what is missing
            for number in range(flags.repeats):
                for version in VERSIONS:
                    row = run_once(trees[version], version, features, flags.samples, home)
                    rows.append({"features": features, "version": version, "repeat": number, **row})
                    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "evaluation_time.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    (RESULTS / "evaluation_time.md").write_text(table(rows, flags.samples))


def table(rows: list[dict[str, Any]], samples: int) -> str:
    """Medians over the repeats, and ratios to the version before."""
    lines = [
        "# Time of an evaluation beside sampling",
        "",
        f"DCGAN after 30 steps on MNIST, {samples:,} samples, detailed evaluation, one thread. Medians over "
        "repeats, each in a process of its own. *first*: no features of this source are stored; *next*: "
        "those of its real images are (a second model or checkpoint). The networks of two-sample accuracy, "
        "which see no features, were trained for 8 steps instead of 150. Scores are the same numbers in all.",
        "",
        "| features | version | extractor, s | ratio | images through it | all but sampling, s | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for features in FEATURES:
        base: dict[str, float] = {}
        for version in VERSIONS:
            own = [row for row in rows if row["features"] == features and row["version"] == version]
            mid = {
                key: median(row[key] for row in own)
                for key in ("extractor_s", "images", "without_sampling_s")
            }
            base = base or mid
            ratios = [mid[key] / base[key] for key in ("extractor_s", "without_sampling_s")]
            lines.append(
                f"| {features} | {version} | {mid['extractor_s']:.2f} | {ratios[0]:.2f} "
                f"| {mid['images']:,.0f} | {mid['without_sampling_s']:.1f} | {ratios[1]:.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
