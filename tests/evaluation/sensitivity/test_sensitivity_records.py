import pytest

from triptych.evaluation.sensitivity.measuring import Measured, badness
from triptych.evaluation.sensitivity.records import compare, reading, trend


def about(value: float, reach: float = 1.0) -> Measured:
    return Measured(value, value - reach, value + reach)


@pytest.mark.parametrize(
    ("metric", "before", "after", "verdict"),
    [
        ("FID", about(5), about(7), "noticed"),
        ("FID", about(5), about(3), "fooled"),
        ("FID", about(5), about(5.5), "missed"),
        ("FID", about(5), about(7, 3), "missed"),  # 5 lies in the other's interval
        ("FID", about(5, 3), about(7), "missed"),
        ("FID", about(5), about(3, 3), "missed"),
        ("recall", about(0.9, 0.1), about(0.5, 0.1), "noticed"),
        ("recall", about(0.5, 0.1), about(0.9, 0.1), "fooled"),
        ("sharpness ratio", about(1.1, 0.1), about(0.5, 0.1), "noticed"),
        ("sharpness ratio", about(1.1, 0.1), about(3, 0.1), "noticed"),
        ("sharpness ratio", about(0.5, 0.1), about(1, 0.1), "fooled"),
        ("sharpness ratio", about(0.5, 0.1), about(2, 0.1), "missed"),  # as far from 1 as before
    ],
)
def test_a_verdict_asks_for_each_value_outside_the_others_interval(
    metric: str, before: Measured, after: Measured, verdict: str
) -> None:
    assert compare(metric, before, after) == verdict


def test_a_ratio_of_nothing_is_as_bad_as_can_be() -> None:
    assert badness("sharpness ratio", 0.0) == float("inf")
    assert badness("sharpness ratio", 2.0) == pytest.approx(badness("sharpness ratio", 0.5))


def test_a_refusal_keeps_its_reason() -> None:
    refusal = reading("FID", "too few", about(1))
    assert (refusal.value, refusal.verdict, refusal.reason, refusal.honest) == (None, "refused", "too few", 1)
    refusal = reading("FID", about(2), "too few")
    assert (refusal.value, refusal.change, refusal.verdict) == (
        2,
        None,
        "refused",
    ) and "too few" in refusal.reason


def test_trends() -> None:
    def along(metric: str, *values: float, honest: float = 0.0) -> str:
        return trend(metric, [(about(value, 0.1), about(honest, 0.1)) for value in values])

    assert along("KID", 0, 1, 2) == "worsens"
    assert along("KID", 0, 0.05, 0.1) == "unmoved"
    assert along("KID", 1, 0.5, 2) == "wavers"
    assert along("KID", -1, -2) == "improves"
    assert along("coverage", 0.5, 0.1, honest=0.9) == "worsens"
    assert trend("KID", [(about(1), about(0)), ("too few", about(0))]) == "refused"


def test_a_trend_does_not_show_what_honest_sets_of_those_sizes_do() -> None:
    shrinking = [(about(1.0, 0.1), about(1.0, 0.1)), (about(5.0, 0.1), about(5.0, 0.1))]
    assert trend("FID", shrinking) == "unmoved"
    assert trend(
        "coverage", [(about(0.9, 0.01), about(0.9, 0.01)), (about(0.5, 0.01), about(0.5, 0.01))]
    ) == ("unmoved")
