"""Does the same command make the same model? Starts it ten times, every second time beside a busy process.

    python benchmarks/starts.py [--starts 10] [--steps 50] [--models vae,dcgan] [--data digits]

Each start is a process of its own with the same words and seed; the SHA-256 of all it saved at its end
(weights, EMA weights, optimizers) must be one. Writes benchmarks/results/starts.json and .md, and ends with
exit code 1 where a model had two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contention import busy
from pacing import machine

from triptych.models.registry import model_names
from triptych.runs.run import open_run

RESULTS = Path(__file__).parent / "results"


def started(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Train in a process of its own: the hash of what was saved, and the plan."""
    command = [sys.executable, "-m", "triptych", *arguments, "--json"]
    finished = subprocess.run(command, check=True, capture_output=True, text=True)
    run = open_run(json.loads(finished.stdout.splitlines()[-1])["run"])
    digest = hashlib.sha256()
    for file, tensors in sorted(run.load_checkpoint()[0].items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{file}/{name}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16], run.card.plan.model_dump(mode="json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--models", default=",".join(model_names()))
    parser.add_argument("--data", default="digits")
    flags = parser.parse_args()
    results: dict[str, Any] = {}
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for model in flags.models.split(","):
            arguments = ["train", model, "--data", flags.data, "--steps", str(flags.steps), "--runs", home]
            hashes, plan = [], {}
            for start in range(flags.starts):
                neighbor = busy(pinned=False) if start % 2 else None
                try:
                    digest, plan = started(arguments)
                finally:
                    if neighbor is not None:
                        neighbor.kill()
                        neighbor.wait()
                hashes.append(digest)
            chosen = f"{plan['precision']}{', channels last' if plan['channels_last'] else ''}"
            results[model] = {"hashes": hashes, "plan": plan}
            rows.append(f"| {model} | {chosen}, {plan['threads']} threads | {len(set(hashes))} |")
            print(rows[-1], flush=True)
    where = machine()
    text = [
        "# The same command, the same model",
        "",
        f"{where['cpu']}; torch {where['torch']}. {flags.starts} starts of {flags.steps} steps on "
        f"{flags.data}, every second one beside a busy process.",
        "",
        "| model | arithmetic | different sets of weights |",
        "| --- | --- | ---: |",
        *rows,
    ]
    (RESULTS / "starts.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    record = {"machine": where, "models": results}
    (RESULTS / "starts.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.exit(any(len(set(one["hashes"])) > 1 for one in results.values()))


if __name__ == "__main__":
    main()
