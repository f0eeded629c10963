"""Does the GAN monitor leave good runs alone? Writes `results/healthy.json` and `.md`.

    python benchmarks/healthy.py --minutes 1 --seeds 10 --only wgan

Every GAN is trained with its default preset, once a seed, each in a fresh process. A run counts
as good when its FID is within 1.5 times its model's median. Each is diagnosed at the end and at every
observation, as a training does. Models that were not run again are kept from the file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

import triptych
from triptych.comparison.subprocess_runs import run_apart
from triptych.core import device
from triptych.data.load import load
from triptych.evaluation.classifier import extractor_for
from triptych.evaluation.evaluate import draw, score_samples
from triptych.models.registry import load_model_class, model_names
from triptych.monitor.diagnosis import alarms, diagnose
from triptych.monitor.records import observations
from triptych.runs.run import Run

SOUND = 1.5  # times the median FID of its model
Row = dict[str, Any]


def trained(model_name: str, seed: int, flags: argparse.Namespace, runs: Path) -> Row:
    """Train once and measure: FID, the last verdict, and the first alarm on the way."""
    data = load(flags.data)
    arguments = ["train", model_name, "--data", flags.data]
    arguments += ["--minutes", str(flags.minutes), "--seed", str(seed), "--runs", str(runs)]
    code, path = run_apart([*arguments, "--threads", str(torch.get_num_threads())])
    if code:
        return {"seed": seed, "not_run": f"the training ended with exit code {code}"}
    model = triptych.load(path)
    assert model.run is not None
    scores = score_samples(model, data, extractor_for(data, "auto"), draw(model, flags.samples)).scores
    (fid,) = (score for score in scores if score.card.metric == "FID")
    return {
        "seed": seed,
        "fid": fid.value,
        "steps": model.run.checkpoint_meta().step,
        **diagnosed(model_name, model.run),
    }


def diagnosed(name: str, run: Run) -> Row:
    """The last verdict, and the first alarm if there was any."""
    spec, log, records, steps = (
        load_model_class(name).adversarial,
        run.log(),
        observations(run),
        run.card.plan.steps,
    )
    assert spec is not None
    calls = [f"{verdict} at {step / steps:.0%}" for step, verdict in alarms(log, records, spec, steps)]
    last = diagnose(log, records, spec, steps).verdict
    return {"verdict": last, "alarm": calls[0] if calls else None, "observations": len(records)}


def write(results: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "healthy.json").write_text(json.dumps(results, indent=1) + "\n")
    lines = [
        "# Good runs and the GAN monitor",
        "",
        f"Each model with its default preset, one run per seed. Good: FID within {SOUND} times its "
        "model's median. Alarm: the verdict of any observation named a problem.",
        "",
        "| model | data | runs | good | alarms in good runs | in the others | FID: least, median, most "
        "| observations per run | last verdicts | run under |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        model = name.split()[0]
        done = [row for row in result["seeds"] if "not_run" not in row]
        middle = median(row["fid"] for row in done) if done else float("nan")
        sound = [row for row in done if row["fid"] <= SOUND * middle]
        others = [row for row in done if row not in sound]
        fids = sorted(row["fid"] for row in done) or [middle]
        calls = [
            "; ".join(row["alarm"] for row in rows if row["alarm"]) or "none" for rows in (sound, others)
        ]
        verdicts = ", ".join(sorted({row["verdict"] for row in done}))
        count = (
            f"{min(row['observations'] for row in done)} to {max(row['observations'] for row in done)}"
            if done
            else "-"
        )
        lines.append(
            f"| {model} | {result['data']} | {len(done)} of {len(result['seeds'])} | {len(sound)} "
            f"| {calls[0]} | {calls[1]} | {fids[0]:.3g}, {middle:.3g}, {fids[-1]:.3g} | {count} | {verdicts} "
            f"| {result['under']} |"
        )
    (out / "healthy.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--only", default="", help="run the models whose name holds this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    file = flags.out / "healthy.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    under = (
        f"{flags.minutes:g} minutes, {flags.samples:,} samples; {device.describe(torch.device('cpu'))}, "
        f"{torch.get_num_threads()} thread(s), torch {torch.__version__}"
    )
    runs = Path(tempfile.mkdtemp(prefix="healthy-"))
    for model in [name for name in model_names() if load_model_class(name).adversarial is not None]:
        if flags.only not in model:
            continue
        name = f"{model} on {flags.data}"
        results[name] = {"data": flags.data, "under": under, "seeds": []}
        for seed in range(flags.seeds):
            results[name]["seeds"].append(trained(model, seed, flags, runs))
            print(model, results[name]["seeds"][-1], flush=True)
            write(results, flags.out)
    print(f"runs: {runs}")


if __name__ == "__main__":
    main()
