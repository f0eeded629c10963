"""StyleGAN: mix the styles of two images: coarse layers from one, fine layers from the other.

python examples/stylegan.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import triptych
from triptych.core import rng
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train on colored shapes, then cross four base images with four donors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("stylegan", data="shapes", conditional=False, steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    styles = pipeline.styles(rng.noise(range(8), pipeline.model.noise_shape))  # (8, layers, width)
    bases, donors = styles[:4], styles[4:]
    coarse = styles.shape[1] // 2
    rows = [np.concatenate([pipeline.synthesize(base[None]) for base in bases])]
    for donor in donors:
        mixed = torch.cat(
            [donor.expand_as(bases)[:, :coarse], bases[:, coarse:]], dim=1
        )  # (4, layers, width)
        rows.append(pipeline.synthesize(mixed))
    write_png(Path("stylegan.png"), grid(np.concatenate(rows), columns=4, scale=3))
    print("stylegan.png: base images on top; below, the coarse layers come from one donor a row")


if __name__ == "__main__":
    main()
