"""The charts of the report and the studio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.viz import svg


@dataclass(frozen=True)
class Measured:
    """One model's place on one axis; low and high None where no interval is known."""

    label: str
    color: str  # a CSS color
    value: float | None  # None: not measured
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """One axis of the trilemma."""

    title: str
    unit: str
    better: str  # "left" or "right"
    rows: Sequence[Measured]
    log: bool = False
    reference: tuple[str, float] | None = None  # the score of real images


def trilemma(panels: Sequence[Panel]) -> str:
    """Quality, diversity and speed, one panel above the other, one row a model, with intervals.

    Three aligned dot plots rather than a triangle: positions on a common scale are read exactly, and
    an interval can be shown. A gray line marks the score of real images.
    """
    width, row_px, head_px, foot_px = 720.0, 26.0, 50.0, 30.0
    parts: list[str] = []
    top = 0.0
    for panel in panels:
        height = head_px + row_px * len(panel.rows) + foot_px
        parts += _panel(panel, top, width, row_px, head_px)
        top += height
    summary = "; ".join(f"{p.title}: " + ", ".join(f"{r.label} {_value(r)}" for r in p.rows) for p in panels)
    return svg.drawing(width, top, f"The trilemma. {summary}", parts)


def _value(row: Measured) -> str:
    return "not measured" if row.value is None else svg.short(row.value)


def _panel(panel: Panel, top: float, width: float, row_px: float, head_px: float) -> list[str]:
    left, right = 120.0, width - 110.0
    numbers = [v for r in panel.rows for v in (r.value, r.low, r.high) if v is not None]
    numbers += [panel.reference[1]] if panel.reference else []
    axis = svg.around(numbers, panel.log, left, right, zero=not panel.log)
    arrow = "better \u2192" if panel.better == "right" else "\u2190 better"
    end = top + head_px + row_px * len(panel.rows)
    parts = [
        svg.text(0, top + 18, panel.title, "head"),
        svg.text(width, top + 18, f"{panel.unit}   {arrow}", "tick", "end"),
    ]
    for tick in axis.ticks():
        x = axis.at(tick)
        parts += [
            svg.line(x, top + head_px - 8, x, end, "gridline"),
            svg.text(x, end + 15, svg.short(tick), "tick", "middle"),
        ]
    if panel.reference:
        x = axis.at(panel.reference[1])
        parts.append(svg.line(x, top + head_px - 8, x, end, "reference"))
        parts.append(svg.text(x, top + head_px - 12, panel.reference[0], "tick", "middle"))
    for k, row in enumerate(panel.rows):
        y = top + head_px + row_px * (k + 0.5)
        parts.append(svg.text(0, y + 4, row.label, "label"))
        parts.append(svg.text(width, y + 4, _value(row), "label", "end"))
        if row.value is None:
            continue
        if row.low is not None and row.high is not None:
            parts.append(
                svg.line(axis.at(row.low), y, axis.at(row.high), y, "interval", f"stroke:{row.color}")
            )
        parts.append(svg.circle(axis.at(row.value), y, 5.5, row.color))
    return parts


def curve(
    title: str, series: Sequence[tuple[str, str, Sequence[float], Sequence[float]]], x_title: str = "steps"
) -> str:
    """Draw a line chart.

    Args:
        title: What a screen reader says.
        series: (label, CSS color, x values, y values) of each line; a value that is not finite is a gap.
        x_title: Name of the x axis.

    Returns:
        SVG.
    """
    width, height, left, bottom = 340.0, 170.0, 46.0, 24.0
    xs = [x for _, _, x_values, _ in series for x in x_values] or [0.0, 1.0]
    ys = [y for *_, values in series for y in values if math.isfinite(y)]
    plotted = _without_spikes(ys)
    across = svg.Axis(min(xs), max(xs), left, width - 8)
    up = svg.around(plotted, False, height - bottom, 10)
    parts = []
    for tick in up.ticks(4):
        parts += [svg.line(left, up.at(tick), width - 8, up.at(tick), "gridline")]
        parts += [svg.text(left - 5, up.at(tick) + 4, svg.short(tick), "tick", "end")]
    for tick in across.ticks(4):
        if across.at(tick) < width - 70:  # the rest belongs to the axis's name
            parts.append(svg.text(across.at(tick), height - 8, svg.short(tick), "tick", "middle"))
    parts.append(svg.text(width - 8, height - 8, x_title, "tick", "end"))
    for _, color, x_values, y_values in series:
        for run in _unbroken(x_values, y_values):
            parts.append(svg.path([(across.at(x), up.at(y)) for x, y in run], color))
    last = ", ".join(f"{label} ends at {svg.short(y[-1])}" for label, _, _, y in series if len(y))
    return svg.drawing(width, height, f"{title}: {last}", parts)


def _without_spikes(values: Sequence[float]) -> list[float]:
    """Values for the axis: a few extreme ones are drawn at its edge rather than flatten the rest."""
    if len(values) < 20:
        return list(values)
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 50], ordered[-1 - len(ordered) // 50]
    air = 0.25 * (high - low)
    return [v for v in values if low - air <= v <= high + air]


def _unbroken(xs: Sequence[float], ys: Sequence[float]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def bars(title: str, names: Sequence[str], shares: Sequence[float], real: Sequence[float], color: str) -> str:
    """Draw the share of samples in each class, beside a tick for the share of real images.

    Args:
        title: What a screen reader says.
        names: Of the classes.
        shares: Of the samples, in [0, 1], in the order of the classes.
        real: Of real images, likewise.
        color: A CSS color.

    Returns:
        SVG.
    """
    width, row_px, left = 340.0, 17.0, 84.0
    axis = svg.around([*shares, *real], False, left, width - 46, zero=True)
    parts = []
    for k, (name, share, truth) in enumerate(zip(names, shares, real, strict=True)):
        y = 4 + row_px * k
        parts.append(svg.text(left - 6, y + 12, name[:12], "tick", "end"))
        parts.append(
            f'<rect x="{left}" y="{y + 2:.1f}" width="{max(axis.at(share) - left, 0.5):.1f}" '
            f'height="{row_px - 5}" '
            f'style="fill:{color}" opacity="0.75"/>'
        )
        parts.append(svg.line(axis.at(truth), y, axis.at(truth), y + row_px - 1, "reference"))
        parts.append(svg.text(width, y + 12, f"{share:.1%}", "tick", "end"))
    return svg.drawing(width, 8 + row_px * len(names), title, parts)
