"""The textbook table of GANs, VAEs and diffusion models, with every cell measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from triptych.evaluation.latent_geometry import LatentGeometry
from triptych.report.duel_summary import Standing
from triptych.viz.svg import short

Cell = tuple[str, str]  # the value, and a detail in small print below it
Rows = list[tuple[str, list[Cell]]]  # a name and one cell for each contestant

NOT_MEASURED: Cell = ("not measured", "")


def property_rows(standings: Sequence[Standing]) -> Rows:
    """One row for each property, one cell for each contestant; empty without a detailed evaluation."""
    if not any(s.detailed for s in standings):
        return []
    return [
        ("Sharpness, relative to real images", [_mean(s, _sharpness) for s in standings]),
        ("Stability: standard deviation of FID over seeds", [_stability(s) for s in standings]),
        (
            "Latent path length, relative to a straight line",
            [_mean(s, lambda t: t.path_ratio) for s in standings],
        ),
        (
            "Largest of 16 steps along that path (uniform: 6.25%)",
            [_mean(s, lambda t: t.max_step_share, share=True) for s in standings],
        ),
        ("Midpoints with a confident class prediction", [_half_way(s) for s in standings]),
        ("Linear probe accuracy (class from noise)", [_probe(s) for s in standings]),
        ("Likelihood, bits per dimension", [_likelihood(s) for s in standings]),
        ("Near-duplicates of training images", [_duplicates(s) for s in standings]),
        ("Classes covered", [_classes(s) for s in standings]),
    ]


def _sharpness(geometry: LatentGeometry) -> float:
    return geometry.sharpness / geometry.sharpness_real


def _mean(s: Standing, pick: Callable[[LatentGeometry], float | None], share: bool = False) -> Cell:
    """The mean over runs, and below it from the least to the largest."""
    values = [v for d in s.detailed if d.latent_geometry and (v := pick(d.latent_geometry)) is not None]
    if not values:
        return NOT_MEASURED
    form: Callable[[float], str] = (lambda v: f"{v:.1%}") if share else short
    detail = f"{form(min(values))} to {form(max(values))} over the runs" if len(values) > 1 else "one run"
    return form(float(np.mean(values))), detail


def _stability(s: Standing) -> Cell:
    values = np.array([e.scores["FID"].value for e in s.entries])
    if len(values) < 2:
        return "not measured", "one run"
    return f"{values.std(ddof=1) / values.mean():.0%}", ", ".join(short(float(v)) for v in values)


def _half_way(s: Standing) -> Cell:
    value, _ = _mean(s, lambda t: t.confident_midpoints, share=True)
    ends, _ = _mean(s, lambda t: t.confident_ends, share=True)
    return value, f"at the endpoints {ends}"


def _probe(s: Standing) -> Cell:
    value, _ = _mean(s, lambda t: t.linear_probe, share=True)
    if value == NOT_MEASURED[0]:
        conditional = s.runs[0].card.conditional
        return ("not applicable", "conditional on the class") if conditional else NOT_MEASURED
    chance, _ = _mean(s, lambda t: t.linear_probe_chance, share=True)
    return value, f"chance {chance}"


def _likelihood(s: Standing) -> Cell:
    bound = s.final.get("bits/dim")
    if bound is None:
        return "none", "implicit model"
    return short(bound.value), f"[{short(bound.low)}, {short(bound.high)}], {bound.score}"


def _duplicates(s: Standing) -> Cell:
    shares = [d.memorization for d in s.detailed if d.memorization is not None]
    if not shares:
        return NOT_MEASURED
    alarms = sum(c.more_than_chance for c in shares)
    value = f"{np.mean([c.share.value for c in shares]):.1%}"
    verdict = f"more than chance in {alarms} of {len(shares)} runs" if alarms else "no more than chance"
    return value, f"{verdict} ({shares[0].nominal:.1%})"


def _classes(s: Standing) -> Cell:
    modes = [d.diversity.modes for d in s.detailed if d.diversity is not None]
    if not modes:
        return NOT_MEASURED
    covered = [m.covered for m in modes]
    return f"{np.mean(covered):.3g} of {modes[0].total}", f"at least {min(m.low for m in modes)}"
