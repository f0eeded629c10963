"""Autoencoder: how much of an image survives when its side is made 2, 4 and 8 times smaller?

python examples/autoencoder.py [--steps 500]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import triptych
from triptych.data.load import load
from triptych.evaluation.evaluate import evaluate_run
from triptych.inference.reconstruction import reconstruct
from triptych.viz.grids import grid, write_png


def main() -> None:
    """Train three autoencoders on handwritten digits, and show test images above their reconstructions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    steps = parser.parse_args().steps
    test = load("digits").test.pixels[:10]
    rows = [test]
    for down in (2, 4, 8):
        run = triptych.train(
            "autoencoder", data="digits", down=down, steps=steps, batch=32, seed=0, runs="runs"
        )
        pipeline = triptych.load(run.path)
        rows.append(reconstruct(pipeline, test))
        error = evaluate_run(pipeline, 200, "random-conv", detailed=False).reconstruction
        assert error is not None
        numbers = np.prod(pipeline.model.noise_shape)
        print(f"{down} times smaller, {numbers} numbers an image: {error.sentence()}")
    write_png(Path("autoencoder.png"), grid(np.concatenate(rows), columns=10, scale=4))


if __name__ == "__main__":
    main()
