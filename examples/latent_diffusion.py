"""Latent diffusion: a first stage makes images small, diffusion learns what the small ones look like.

python examples/latent_diffusion.py [--steps 1500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import triptych
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train both stages on digits; show decoded noise above those of learned latents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    steps = parser.parse_args().steps
    first = triptych.train(
        "autoencoder", data="digits", steps=max(1, steps // 3), batch=32, seed=0, runs="runs"
    )
    second = triptych.train(
        "latent_diffusion",
        data="digits",
        steps=steps,
        seed=0,
        runs="runs",
        components={"first_stage": first.path},
        force_first_stage=steps < 1000,  # one that is hardly trained would be refused
    )
    autoencoder, diffusion = triptych.load(first.path), triptych.load(second.path)
    noise = torch.randn(10, *autoencoder.model.noise_shape, generator=torch.Generator().manual_seed(0))
    rows = [autoencoder.generate(noise), diffusion.generate(noise)]
    write_png(Path("latent_diffusion.png"), grid(np.concatenate(rows), columns=10, scale=4))
    print(
        "latent_diffusion.png: the decoder's images of noise, and of the latents that diffusion makes of it"
    )


if __name__ == "__main__":
    main()
