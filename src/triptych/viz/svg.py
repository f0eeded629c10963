"""Axes and marks for small charts, written as SVG text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Axis:
    """Maps values to positions along one side of a chart."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def at(self, value: float) -> float:
        """The position of a value, in SVG units; values off the axis land on its end."""
        low, high, value = (
            (math.log10(v) for v in (self.low, self.high, max(value, self.low)))
            if self.log
            else (self.low, self.high, value)
        )
        share = 0.5 if high == low else min(max((value - low) / (high - low), 0.0), 1.0)
        return self.start_px + share * (self.end_px - self.start_px)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values to label: powers of ten on a log axis, else steps of 1, 2 or 5."""
        if self.log:
            exponents = range(
                math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1
            )
            stride = max(1, -(-len(exponents) // most))
            return [10.0**e for e in exponents][::stride]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        unit = 10 ** math.floor(math.log10(span / most))
        step = next(unit * m for m in (1, 2, 5, 10) if span / (unit * m) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(values: Sequence[float], log: bool, start_px: float, end_px: float, zero: bool = False) -> Axis:
    """Fit an axis around values, with a margin.

    Args:
        values: What it must hold; those that are not finite are ignored.
        log: Whether it is logarithmic.
        start_px: Where it begins, in SVG units.
        end_px: Where it ends.
        zero: Whether it includes 0 (linear only).

    Returns:
        The axis.
    """
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
    low, high = min(finite), max(finite)
    if log:
        return Axis(
            10 ** math.floor(math.log10(low)),
            10 ** math.ceil(math.log10(high) + 1e-9),
            start_px,
            end_px,
            True,
        )
    if zero:
        low = min(low, 0.0)
    air = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return Axis(low if zero and low == 0 else low - air, high + air, start_px, end_px)


def short(value: float) -> str:
    """A number for a tick or a table: three digits that count, no needless zeros."""
    if not math.isfinite(value):
        return "not finite"
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def line(x1: float, y1: float, x2: float, y2: float, css_class: str, style: str = "") -> str:
    """Draw a straight line.

    Args:
        x1: Start.
        y1: Start.
        x2: End.
        y2: End.
        css_class: The class in style.css.
        style: More CSS.

    Returns:
        SVG.
    """
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css_class}"{_style(style)}/>'
    )


def text(x: float, y: float, content: str, css_class: str, anchor: str = "start") -> str:
    """Write text.

    Args:
        x: Where.
        y: Where: the base line.
        content: The text.
        css_class: The class in style.css.
        anchor: Which part of the text is at x: start, middle or end.

    Returns:
        SVG.
    """
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{css_class}" text-anchor="{anchor}">{escape(content)}</text>'
    )


def circle(x: float, y: float, radius: float, color: str) -> str:
    """Draw a filled dot.

    Args:
        x: Center.
        y: Center.
        radius: In SVG units.
        color: A CSS color.

    Returns:
        SVG.
    """
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="fill:{color}"/>'


def ring(x: float, y: float, radius: float, color: str) -> str:
    """Draw an empty circle.

    Args:
        x: Center.
        y: Center.
        radius: In SVG units.
        color: A CSS color.

    Returns:
        SVG.
    """
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="none" style="stroke:{color}"/>'


def area(points: Sequence[tuple[float, float]], color: str) -> str:
    """Draw a pale surface: the band of an interval.

    Args:
        points: Its corners.
        color: A CSS color.

    Returns:
        SVG.
    """
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polygon points="{corners}" style="fill:{color}" opacity="0.16"/>'


def path(points: Sequence[tuple[float, float]], color: str, width: float = 1.6) -> str:
    """Draw a line through points.

    Args:
        points: (x, y) of each, in SVG units.
        color: A CSS color.
        width: In SVG units.

    Returns:
        SVG.
    """
    steps = " ".join(f"{'M' if k == 0 else 'L'}{x:.1f} {y:.1f}" for k, (x, y) in enumerate(points))
    style = f"stroke:{color};stroke-width:{width}"
    return f'<path d="{steps}" fill="none" style="{style}" stroke-linejoin="round"/>'


def drawing(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Make a whole drawing, which scales to its column.

    Args:
        width: In SVG units.
        height: In SVG units.
        label: What a screen reader says.
        parts: The elements, as SVG.

    Returns:
        SVG.
    """
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _style(style: str) -> str:
    return f' style="{style}"' if style else ""
