"""Flow matching: how many sampling steps does a straight path need?

python examples/flow_matching.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import triptych
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train on handwritten digits, then draw the same seeds in 1, 2, 5 and 20 steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("flow_matching", data="digits", steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    rows = [pipeline.sample(seeds=range(10), steps=count) for count in (1, 2, 5, 20)]
    write_png(Path("flow_matching.png"), grid(np.concatenate(rows), columns=10, scale=4))
    last = rows[-1].astype(float)
    for count, row in zip((1, 2, 5), rows, strict=False):
        error = np.abs(row - last).mean()
        print(f"{count:2} steps differ from 20 steps by {error:.1f} of 255 gray levels on average")


if __name__ == "__main__":
    main()
