"""The textbook's table of GANs against VAEs with every cell measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from triptych.evaluation.latent_geometry import LatentGeometry
from triptych.report.duel_summary import Standing
from triptych.viz.svg import short

Cell = tuple[str, str]  # what counts, and what stands small below it
Rows = list[tuple[str, list[Cell]]]  # a name and one cell a contestant

NOT_MEASURED: Cell = ("not measured", "")


def rows_of_traits(found: Sequence[Standing]) -> Rows:
    """One row a property, one cell a contestant; empty where no run was looked at closely."""
    if not any(s.closer for s in found):
        return []
    return [
        ("Sharpness, in units of the real pictures'", [_mean(s, _sharpness) for s in found]),
        ("Stability: spread of FID over seeds", [_stability(s) for s in found]),
        (
            "Way from noise to noise, in units of the straight one",
            [_mean(s, lambda t: t.path_ratio) for s in found],
        ),
        (
            "Largest of 16 steps on that way (even: 6.25 %)",
            [_mean(s, lambda t: t.max_step_share, share=True) for s in found],
        ),
        ("Half-way pictures that are one class for sure", [_half_way(s) for s in found]),
        ("Class read off the noise by a linear probe", [_probe(s) for s in found]),
        ("Likelihood, bits a dimension", [_likelihood(s) for s in found]),
        ("Copies of training pictures", [_copies(s) for s in found]),
        ("Classes covered", [_classes(s) for s in found]),
    ]


def _sharpness(traits: LatentGeometry) -> float:
    return traits.sharpness / traits.sharpness_real


def _mean(s: Standing, pick: Callable[[LatentGeometry], float | None], share: bool = False) -> Cell:
    """The mean over runs, and below it from the least to the largest."""
    values = [
        v for look in s.closer if look.latent_geometry and (v := pick(look.latent_geometry)) is not None
    ]
    if not values:
        return NOT_MEASURED
    form: Callable[[float], str] = (lambda v: f"{v:.1%}") if share else short
    spread = f"{form(min(values))} to {form(max(values))} over the runs" if len(values) > 1 else "one run"
    return form(float(np.mean(values))), spread


def _stability(s: Standing) -> Cell:
    values = np.array([e.scores["FID"].value for e in s.entries])
    if len(values) < 2:
        return "not measured", "one run"
    return f"{values.std(ddof=1) / values.mean():.0%}", ", ".join(short(float(v)) for v in values)


def _half_way(s: Standing) -> Cell:
    value, _ = _mean(s, lambda t: t.confident_midpoints, share=True)
    ends, _ = _mean(s, lambda t: t.confident_ends, share=True)
    return value, f"at the ends {ends}"


def _probe(s: Standing) -> Cell:
    value, _ = _mean(s, lambda t: t.linear_probe, share=True)
    if value == NOT_MEASURED[0]:
        told = s.runs[0].card.conditional
        return ("does not apply", "it is told the class") if told else NOT_MEASURED
    chance, _ = _mean(s, lambda t: t.linear_probe_chance, share=True)
    return value, f"chance {chance}"


def _likelihood(s: Standing) -> Cell:
    bound = s.final.get("bits/dim")
    if bound is None:
        return "implicit", "it cannot say"
    return short(bound.value), f"[{short(bound.low)}, {short(bound.high)}], {bound.name}"


def _copies(s: Standing) -> Cell:
    shares = [look.memorization for look in s.closer if look.memorization is not None]
    if not shares:
        return NOT_MEASURED
    alarms = sum(c.more_than_chance for c in shares)
    value = f"{np.mean([c.share.value for c in shares]):.1%}"
    verdict = f"more than chance in {alarms} of {len(shares)} runs" if alarms else "no more than chance"
    return value, f"{verdict} ({shares[0].nominal:.1%})"


def _classes(s: Standing) -> Cell:
    modes = [look.diversity.modes for look in s.closer if look.diversity is not None]
    if not modes:
        return NOT_MEASURED
    covered = [m.covered for m in modes]
    return f"{np.mean(covered):.3g} of {modes[0].total}", f"surely at least {min(m.low for m in modes)}"
