"""Hierarchical VAE: keep the upper groups of latent variables and draw the lower ones anew.

python examples/hierarchical_vae.py [--steps 1500]
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
    """Train on handwritten digits, then keep more and more of one image's latent variables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("hierarchical_vae", data="digits", steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    noise = rng.noise(range(10), pipeline.model.noise_shape)  # (10, latent variables, from the top down)
    rows = []
    for share in (0.0, 0.01, 0.1, 1.0):
        kept = round(share * noise.shape[1])
        mixed = torch.cat([noise[:1].expand_as(noise)[:, :kept], noise[:, kept:]], dim=1)
        rows.append(pipeline.generate(mixed, labels="3"))
    write_png(Path("hierarchical_vae.png"), grid(np.concatenate(rows), columns=10, scale=4))
    print(
        "hierarchical_vae.png: from top to bottom, none, 1 %, 10 % and all of the latent variables are shared"
    )


if __name__ == "__main__":
    main()
