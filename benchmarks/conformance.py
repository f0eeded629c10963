"""Triptych and other metric libraries on the same vectors: writes `results/conformance.md`.

Peers are optional: `pip install torchmetrics prdc`, and torch-fidelity and clean-fid where torchvision
is no trouble. A peer that is not installed is said to be missing.

    python benchmarks/conformance.py [--note "how the peers were installed"]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from triptych.metrics.conformance.printing import markdown, print_conformance
from triptych.metrics.conformance.running import conformance

OUT = Path(__file__).parent / "results" / "conformance.md"

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--note", default="", help="a sentence to stand above the tables")
    note = parser.parse_args().note
    result = conformance()
    print_conformance(result)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text("# Conformance\n\n" + (note and f"{note}\n\n") + markdown(result), encoding="utf-8")
