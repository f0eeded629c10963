"""WGAN: eight Gaussians on a circle, the usual test for mode collapse; how many of them are covered?

python examples/wgan.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import triptych
from triptych.data.datasets import ring
from triptych.data.load import load
from triptych.viz.grids import write_png
from triptych.viz.scatter import cloud


def main() -> None:
    """Train on points of a plane, count the modes that the samples cover, and plot the samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("wgan", data="points:ring", preset="points", steps=steps, seed=0, runs="runs")
    points = triptych.load(run.path).sample(seeds=range(1000))  # (1000, 1, 1, 2) uint8
    plane = points[:, 0, 0] / 127.5 - 1  # (1000, 2) in [-1, 1]
    distances = ring.distances(plane)  # (1000, 8), in standard deviations of a mode
    near = distances.min(axis=1) < 3
    covered = np.unique(distances[near].argmin(axis=1))
    write_png(Path("wgan.png"), cloud(points, behind=load("points:ring").test.pixels[:1000]))
    print(f"{len(covered)} of 8 modes covered; {near.mean():.0%} of the samples within 3 standard deviations")


if __name__ == "__main__":
    main()
