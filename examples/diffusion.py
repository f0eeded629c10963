"""Diffusion: the same noise with more and more guidance towards a class.

python examples/diffusion.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import triptych
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train on handwritten digits with labels, then draw ten threes at four strengths of guidance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("diffusion", data="digits", steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    rows = [
        pipeline.sample(seeds=range(10), labels="3", guidance=guidance, steps=20)
        for guidance in (0.0, 1.0, 2.0, 4.0)
    ]
    write_png(Path("diffusion.png"), grid(np.concatenate(rows), columns=10, scale=4))
    print("diffusion.png: guidance 0 (the label is ignored), 1, 2 and 4, from top to bottom")


if __name__ == "__main__":
    main()
