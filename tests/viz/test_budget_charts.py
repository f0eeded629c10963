"""Charts of a contest, read as XML; and who is on the Pareto front."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest

from triptych.viz.budget_charts import Course, Place, Point, against_budget, pareto_front, trade_off

SVG = "{http://www.w3.org/2000/svg}"


def course(label: str, values: list[float]) -> Course:
    points = [Point(2.0**k, value, value * 0.9, value * 1.1) for k, value in enumerate(values)]
    return Course(label, f"var(--{label})", points)


def test_a_course_is_a_band_a_line_and_a_dot_per_evaluation() -> None:
    drawn = ElementTree.fromstring(
        against_budget("FID", "minutes", [course("one", [9, 4, 1]), course("two", [8, 5, 3])], True, 0.5)
    )
    assert len(drawn.findall(f"{SVG}polygon")) == 2
    assert len(drawn.findall(f"{SVG}path")) == 2
    assert len(drawn.findall(f"{SVG}circle")) == 6
    assert "one ends at 1" in drawn.attrib["aria-label"] and "two ends at 3" in drawn.attrib["aria-label"]
    heights = [float(c.attrib["cy"]) for c in drawn.findall(f"{SVG}circle")][:3]
    assert heights == sorted(heights)  # a falling score goes down the page
    texts = [t.text for t in drawn.findall(f"{SVG}text")]
    assert {"1", "2", "4", "one", "two", "minutes"} <= set(texts)


def test_labels_that_would_overlap_are_moved_apart() -> None:
    courses = [course(name, [9, 1.0 + k / 1000]) for k, name in enumerate(("one", "two", "three"))]
    drawn = ElementTree.fromstring(against_budget("FID", "minutes", courses, True, None))
    places = sorted(
        float(t.attrib["y"]) for t in drawn.findall(f"{SVG}text") if t.text in ("one", "two", "three")
    )
    assert min(b - a for a, b in pairwise(places)) >= 13.9


def test_a_single_evaluation_can_be_drawn() -> None:
    ElementTree.fromstring(against_budget("KID", "minutes", [course("one", [0.0])], False, 0.0))


def test_who_is_beaten_in_everything_is_not_on_the_front() -> None:
    goods = {"best": (3.0, 2.0), "other": (1.0, 4.0), "beaten": (1.0, 2.0), "twin": (3.0, 2.0)}
    assert pareto_front(goods) == ["best", "other", "twin"]
    assert pareto_front({"alone": (0.0,)}) == ["alone"]


@pytest.mark.parametrize("front", [[], ["one"], ["one", "two"]])
def test_the_front_is_ringed(front: list[str]) -> None:
    places = [
        Place("one", "var(--one)", (1.0, 0.8, 1.2), (0.5, 0.4, 0.6)),
        Place("two", "var(--two)", (4.0, 3.0, 5.0), (0.9, 0.8, 1.0)),
    ]
    drawn = ElementTree.fromstring(
        trade_off("Trade", "FID", "recall", places, front, log_x=True, log_y=False)
    )
    rings = [c for c in drawn.findall(f"{SVG}circle") if c.attrib.get("fill") == "none"]
    assert len(rings) == len(front)
