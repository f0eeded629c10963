"""The charts of a duel: quality as a function of budget, and trade-offs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.viz import svg

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 520.0, 300.0, 56.0, 40.0, 26.0


@dataclass(frozen=True)
class Point:
    """The score of one snapshot."""

    spent: float  # of the budget, above 0
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Course:
    """The scores of one model along the budget."""

    label: str
    color: str  # a CSS color
    points: Sequence[Point]


@dataclass(frozen=True)
class Place:
    """One model between two scores, each with its interval (equal ends: none known)."""

    label: str
    color: str
    across: tuple[float, float, float]  # value, low, high
    up: tuple[float, float, float]


def against_budget(title: str, unit: str, courses: Sequence[Course], log: bool, floor: float | None) -> str:
    """Draw a score against the spent budget (log axis): a line and a band for each model.

    Args:
        title: Heading.
        unit: Of the budget.
        courses: The models.
        log: Whether the score's axis is logarithmic.
        floor: The score of real images in the samples' place; None: not known.

    Returns:
        SVG.
    """
    spent = [p.spent for c in courses for p in c.points]
    values = [v for c in courses for p in c.points for v in (p.value, p.low, p.high) if math.isfinite(v)]
    values += [floor] if floor is not None else []
    across = _tight_log(spent, LEFT, WIDTH - 96)
    up = svg.around(values, log, HEIGHT - BOTTOM, TOP)
    parts = _frame(across, up, title, unit)
    if floor is not None and (floor > 0 or not log):
        parts.append(svg.line(LEFT, up.at(floor), WIDTH - 96, up.at(floor), "reference"))
    ends: list[tuple[float, Course]] = []
    for course in courses:
        points = [p for p in course.points if math.isfinite(p.value)]
        if not points:
            continue
        upper = [(across.at(p.spent), up.at(p.high)) for p in points]
        lower = [(across.at(p.spent), up.at(p.low)) for p in reversed(points)]
        parts.append(svg.area([*upper, *lower], course.color))
        parts.append(svg.path([(across.at(p.spent), up.at(p.value)) for p in points], course.color, 2.2))
        parts += [svg.circle(across.at(p.spent), up.at(p.value), 3, course.color) for p in points]
        ends.append((up.at(points[-1].value), course))
    for y, course in _apart(ends, 14, TOP + 8, HEIGHT - BOTTOM):
        parts.append(svg.text(WIDTH - 90, y + 4, course.label[:14], "label"))
    values_text = "; ".join(
        f"{c.label} ends at {svg.short(c.points[-1].value)}" for c in courses if len(c.points) > 0
    )
    return svg.drawing(WIDTH, HEIGHT, f"{title}. {values_text}", parts)


def trade_off(
    title: str,
    x_name: str,
    y_name: str,
    places: Sequence[Place],
    front: Sequence[str],
    log_x: bool,
    log_y: bool,
) -> str:
    """Draw models between two scores, intervals as crosses; those on the Pareto front are circled.

    Args:
        title: Heading.
        x_name: Of the horizontal axis.
        y_name: Of the vertical axis.
        places: The models.
        front: Labels of the models on the Pareto front.
        log_x: Whether the horizontal axis is logarithmic.
        log_y: Whether the vertical axis is.

    Returns:
        SVG.
    """
    width = 420.0
    across = svg.around([v for p in places for v in p.across], log_x, LEFT, width - 20)
    up = svg.around([v for p in places for v in p.up], log_y, HEIGHT - BOTTOM, TOP)
    parts = _frame(across, up, title, x_name, width, y_name)
    written: list[tuple[float, float]] = []
    for place in places:
        (x, x_low, x_high), (y, y_low, y_high) = place.across, place.up
        color = f"stroke:{place.color}"
        parts += [
            svg.line(across.at(x_low), up.at(y), across.at(x_high), up.at(y), "interval", color),
            svg.line(across.at(x), up.at(y_low), across.at(x), up.at(y_high), "interval", color),
            svg.circle(across.at(x), up.at(y), 5.5, place.color),
        ]
        if place.label in front:
            parts.append(svg.ring(across.at(x), up.at(y), 9, place.color))
        left = across.at(x) > width - 110
        at = (across.at(x) + (-13 if left else 13), up.at(y) - 8)
        while any(abs(at[0] - other[0]) < 90 and abs(at[1] - other[1]) < 14 for other in written):
            at = (at[0], at[1] + 15)
        written.append(at)
        parts.append(svg.text(*at, place.label[:18], "label", "end" if left else "start"))
    values_text = "; ".join(f"{p.label}: {svg.short(p.across[0])}, {svg.short(p.up[0])}" for p in places)
    return svg.drawing(width, HEIGHT, f"{title}. {values_text}. On the front: {', '.join(front)}", parts)


def pareto_front(goods: dict[str, tuple[float, ...]]) -> list[str]:
    """The labels that no other dominates: as good in all and better in one. goods: higher is better."""

    def beaten(mine: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
        return all(t >= m for m, t in zip(mine, theirs, strict=True)) and theirs != mine

    return [name for name, own in goods.items() if not any(beaten(own, other) for other in goods.values())]


def _frame(
    across: svg.Axis, up: svg.Axis, title: str, x_name: str, width: float = WIDTH, y_name: str = ""
) -> list[str]:
    right = across.end_px
    parts = [svg.text(0, 14, title, "head")]
    for tick in up.ticks(5):
        parts.append(svg.line(LEFT, up.at(tick), right, up.at(tick), "gridline"))
        parts.append(svg.text(LEFT - 6, up.at(tick) + 4, svg.short(tick), "tick", "end"))
    for tick in across.ticks(5):
        x = across.at(tick)
        parts.append(svg.line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4, "gridline"))
        parts.append(svg.text(x, HEIGHT - BOTTOM + 16, svg.short(tick), "tick", "middle"))
    parts.append(svg.text(right, HEIGHT - 6, x_name, "tick", "end"))
    if y_name:
        parts.append(svg.text(width, 14, y_name, "tick", "end"))
    return parts


class _TightLog(svg.Axis):
    """A log axis that ends where the data do and is labeled at doublings."""

    def ticks(self, most: int = 5) -> list[float]:
        doublings = max(1, round(math.log2(self.high / self.low)))
        stride = -(-doublings // most)
        return [self.high / 2**k for k in range(0, doublings + 1, stride)][::-1]


def _tight_log(values: Sequence[float], start_px: float, end_px: float) -> svg.Axis:
    positive = [v for v in values if v > 0] or [1.0]
    low, high = min(positive), max(positive)
    return _TightLog(low if low < high else high / 2, high, start_px, end_px, True)


def _apart(
    ends: Sequence[tuple[float, Course]], gap: float, top: float, bottom: float
) -> list[tuple[float, Course]]:
    """Labels at their lines' ends, moved apart where they would overlap."""
    placed: list[tuple[float, Course]] = []
    for y, course in sorted(ends, key=lambda end: end[0]):
        at = max(y, top, placed[-1][0] + gap if placed else top)
        placed.append((at, course))
    over = placed[-1][0] - bottom if placed else 0.0
    return [(y - max(over, 0.0), course) for y, course in placed]
