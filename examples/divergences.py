"""Why WGAN: Jensen-Shannon is constant for disjoint distributions, the Wasserstein distance is not.

    python examples/divergences.py [--steps 300] [--out divergences.svg]

Two uniform distributions on vertical segments, x = 0 and x = theta, as in Arjovsky, Chintala and Bottou 2017,
example 1. For each theta a small discriminator is trained; its loss gives the Jensen-Shannon divergence
(Goodfellow et al. 2014, section 4.1), and the slope of the generator's loss in theta shows what a generator
could learn. The Wasserstein-1 distance is exact, from the best assignment of the samples.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from triptych.viz import charts

POINTS = 256
STYLE = (
    "<style>text{font-family:system-ui,sans-serif;fill:#343a40}.tick{font-size:11px}"
    ".gridline{stroke:#dee2e6}path{fill:none}</style>"
)


def segment(x: float, seed: int) -> Tensor:
    """(POINTS, 2): uniform on the vertical segment from (x, 0) to (x, 1)."""
    y = torch.rand(POINTS, generator=torch.Generator().manual_seed(seed))
    return torch.stack([torch.full_like(y, x), y], dim=1)


def wasserstein(real: Tensor, fake: Tensor) -> float:
    """The Wasserstein-1 distance of two equal sets of points: the mean length of the best assignment."""
    lengths = cdist(real.numpy(), fake.numpy())
    return float(lengths[linear_sum_assignment(lengths)].mean())


def jensen_shannon(real: Tensor, fake: Tensor, steps: int) -> tuple[float, float]:
    """Train a discriminator; return the divergence it finds, in nats, and |d generator loss / d theta|."""
    torch.manual_seed(0)
    discriminator = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shift = torch.zeros((), requires_grad=True)  # moves every generated point to the right
    log_not_fake = -F.softplus(discriminator(fake + torch.stack([shift, torch.zeros(())]))).mean()
    (slope,) = torch.autograd.grad(log_not_fake, [shift])  # of log(1 - D(G(z))), the min-max loss
    return max(math.log(2) - float(loss.detach()) / 2, 0.0), abs(float(slope))


def main() -> None:
    """Compute both for a range of theta, print a table and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="training steps of each discriminator")
    parser.add_argument("--out", type=Path, default=Path("divergences.svg"))
    flags = parser.parse_args()
    thetas = [round(float(x), 2) for x in np.linspace(-1, 1, 21)]
    rows = []
    for theta in thetas:
        real, fake = segment(0.0, seed=0), segment(theta, seed=1)
        divergence, slope = jensen_shannon(real, fake, flags.steps)
        rows.append((theta, wasserstein(real, fake), divergence, slope))
    print(f"{'theta':>6} {'W1':>7} {'JS (nats)':>10} {'|slope of log(1 - D)|':>22}")
    for theta, distance, divergence, slope in rows:
        print(f"{theta:6.2f} {distance:7.3f} {divergence:10.3f} {slope:22.2e}")
    drawn = charts.curve(
        "Distance of two segments",
        [
            ("Wasserstein-1", "#1d6fa5", thetas, [row[1] for row in rows]),
            ("Jensen-Shannon", "#c2410c", thetas, [row[2] for row in rows]),
        ],
        "theta",
    )
    flags.out.write_text(drawn.replace(">", ">" + STYLE, 1) + "\n", encoding="utf-8")
    print(flags.out)


if __name__ == "__main__":
    main()
