"""Which metric notices what, on several sources: writes `results/metric_probe.md`.

python benchmarks/metric_probe.py digits shapes mnist --samples 2000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from triptych.evaluation.sensitivity.printing import markdown, print_study
from triptych.evaluation.sensitivity.running import study_sensitivity

RESULTS = Path(__file__).parent / "results"
ABOUT = """# Which metric notices what

Real test images, corrupted, against other real ones; the first row is the honest set with its 95 %
intervals. A value is marked *noticed* or *fooled* if it is worse or better than that of as many honest
images, each of the two outside the other's interval, and - if neither.
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--samples", type=int, default=2000)
    flags = parser.parse_args()
    text = ABOUT
    for source in flags.sources:
        study = study_sensitivity(source, flags.samples, progress=lambda *a: print(*a, file=sys.stderr))
        print_study(study)
        text += f"\n## {study.source}\n\nExtractor {study.extractor} ({study.features} features), "
        text += f"{study.partition}.\n\n"
        text += markdown(study)
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "metric_probe.md").write_text(text, encoding="utf-8")
