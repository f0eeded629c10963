"""VAE: a latent space of two dimensions, drawn as a map; and how many bits an unseen image costs.

python examples/vae.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import norm

import triptych
from triptych.data.load import load
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train with the preset for maps, decode a regular grid of latent codes, bound the likelihood."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    run = triptych.train("vae", data="digits", preset="map", steps=steps, seed=0, runs="runs")
    pipeline = triptych.load(run.path)
    places = norm.ppf(np.linspace(0.05, 0.95, 12))  # even in probability under the prior
    codes = torch.tensor([(x, y) for y in places[::-1] for x in places], dtype=torch.float32)  # (144, 2)
    write_png(Path("vae.png"), grid(pipeline.generate(codes), columns=12, scale=3))
    test = load("digits").test.pixels[:100]
    bits = pipeline.bits_per_dim(test)
    print(f"vae.png: the latent map; at most {float(np.mean(bits)):.2f} bits per dimension on unseen digits")


if __name__ == "__main__":
    main()
