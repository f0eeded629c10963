"""DCGAN: train on handwritten digits, draw 64 of them, score them.

python examples/dcgan.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import triptych
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train, draw, score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("dcgan", data="digits", steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    write_png(Path("dcgan.png"), grid(pipeline.sample(seeds=range(64)), scale=4))
    for score in triptych.evaluate(pipeline, samples=500):
        print(f"{score.name:28} {score.value:8.3f}  95 % interval {score.low:.3f} to {score.high:.3f}")


if __name__ == "__main__":
    main()
