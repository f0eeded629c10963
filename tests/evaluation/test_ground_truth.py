import numpy as np
import pytest

from triptych.data.dataset import Dataset, Split
from triptych.data.datasets import shapes
from triptych.evaluation import ground_truth
from triptych.evaluation.ground_truth import (
    TOLERANCE,
    GroundTruthScores,
    cell_coverages,
    estimate_reached,
    factor_tables,
    ground_truth_scores,
    mean_deviation,
)


def split(count: int, seed: int) -> Split:
    factors = shapes.draw_factors(count, seed)
    return Split(shapes.paint(factors, 32), factors["kind"], None, factors)


SOURCE = Dataset("shapes", "shapes", split(2, 1), split(150, 2), shapes.KINDS, fingerprint="s")


def kept(count: int, rule: dict[str, int], seed: int = 9) -> dict[str, np.ndarray]:
    """Causes of images of which every named cause is below a number."""
    factors = shapes.draw_factors(count, seed)
    inside = np.logical_and.reduce(
        [factors[name] < most for name, most in rule.items()] or [np.ones(count, bool)]
    )
    return {name: values[inside] for name, values in factors.items()}


@pytest.fixture(scope="module")
def of_the_truth() -> GroundTruthScores:
    return ground_truth_scores(split(300, 8).pixels, SOURCE)


def test_real_images_are_precise_and_cover_all(of_the_truth: GroundTruthScores) -> None:
    scores = of_the_truth
    assert scores.precision == 1.0 and scores.precision_low > 0.98 and scores.valid == scores.n == 300
    assert scores.recall_low < 1.0 == scores.recall_high and scores.recall > 0.6
    what, where, everything = scores.grids
    assert (what.cells, where.cells, everything.cells) == (144, 27, 3888)
    assert what.recall > 0.9 and where.recall == 1.0
    assert everything.hit == pytest.approx(everything.hit_expected, abs=25)
    assert (scores.recall, scores.recall_low) == (everything.recall, everything.low)
    assert scores.tolerance == TOLERANCE


def test_two_thousand_real_images_reach_nine_tenths_of_all_cells() -> None:
    everything = cell_coverages(shapes.draw_factors(2000, 1))[-1]
    assert everything.recall > 0.9 and everything.low > 0.85 and everything.high == 1.0
    assert everything.hit == pytest.approx(3888 * (1 - np.exp(-2000 / 3888)), rel=0.03)


def test_the_reader_states_how_well_it_reads(of_the_truth: GroundTruthScores) -> None:
    reader = of_the_truth.reader
    assert (reader.n, reader.kind, reader.color, reader.ground, reader.valid) == (150, 1, 1, 1, 1)
    assert max(reader.radius_px, reader.x_px, reader.y_px) < 0.01
    assert reader.turn_degrees < 0.1 and reader.residual < 0.01


def test_the_reader_is_held_to_the_truth() -> None:
    """Wrong causes of right images: what is read beside them is wrong by so much."""
    reading = ground_truth.read(SOURCE.test.pixels[:40])
    true = {name: values.copy() for name, values in SOURCE.test.factors.items()}
    true["kind"][:10] = (true["kind"][:10] + 1) % 6
    true["x"] += 0.5 / 32
    true["turn"] += 2 * np.pi + 0.1
    facts = ground_truth.inverse_renderer_accuracy(reading, true, 32, TOLERANCE)
    assert facts.kind == 0.75 and facts.color == 1
    assert facts.x_px == pytest.approx(0.5, abs=0.01) and facts.y_px < 0.01
    assert facts.turn_degrees == pytest.approx(np.degrees(0.1), abs=0.1)


@pytest.mark.parametrize("dropped", [1, 3, 5])
def test_dropped_shapes_lower_recall_by_their_share(dropped: int) -> None:
    causes = kept(6000, {"kind": 6 - dropped})
    left = 1 - dropped / 6
    what, where, everything = cell_coverages(causes)
    assert what.recall == pytest.approx(left)
    assert where.recall == 1.0
    assert everything.recall == pytest.approx(left, abs=0.06)
    assert everything.low < left < everything.high
    (kinds, *_) = factor_tables(causes)
    assert kinds.distance == pytest.approx(dropped / 6, abs=0.03)


def test_dropped_shapes_are_detected_in_images_too() -> None:
    causes = kept(300, {"kind": 3})
    scores = ground_truth_scores(shapes.paint(causes, 32), SOURCE, most_real=20)
    assert scores.precision == 1.0
    assert 0.4 < scores.grids[0].recall < 0.55
    assert scores.factors[0].shares[3:] == (0, 0, 0)


def test_shapes_that_never_leave_a_corner_cover_one_in_nine_places() -> None:
    causes = shapes.draw_factors(5000, 4)
    even = ground_truth._even(causes)
    near = (even["x"] < 1 / 3) & (even["y"] < 1 / 3)
    what, where, everything = cell_coverages({name: values[near] for name, values in causes.items()})
    assert what.recall > 0.95 and where.recall == pytest.approx(1 / 9)
    assert everything.low < 1 / 9 < everything.high


def test_one_image_repeated_is_precise_and_covers_nothing() -> None:
    scores = ground_truth_scores(np.repeat(split(1, 5).pixels, 200, 0), SOURCE, most_real=20)
    assert scores.precision == 1.0
    assert scores.recall == scores.recall_low == 1 / 3888 and scores.recall_high < 0.01
    assert scores.grids[0].hit == 1 and scores.grids[0].hit_expected > 100
    assert scores.factors[0].distance == pytest.approx(5 / 6)


def test_what_is_no_shape_is_not_precise() -> None:
    real = split(60, 6).pixels
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, real.shape, dtype=np.uint8)
    padded = np.pad(real.astype(float), ((0, 0), (2, 2), (2, 2), (0, 0)), "edge")
    blurred = np.mean([padded[:, i : i + 32, j : j + 32] for i in range(5) for j in range(5)], 0).astype(
        np.uint8
    )
    blended = ((real.astype(int) + real[::-1]) // 2).astype(np.uint8)
    for images in (noise, blurred, blended):
        scores = ground_truth_scores(images, SOURCE, most_real=20)
        assert scores.precision == 0 and scores.precision_high < 0.07 and scores.recall == 0
        assert scores.recall_high == 1  # of no valid sample nothing is known
    grainy = np.clip(real + rng.normal(0, 6, real.shape), 0, 255).astype(np.uint8)
    assert ground_truth_scores(grainy, SOURCE, most_real=20).precision == 1.0


def test_half_junk_halves_precision_and_leaves_recall() -> None:
    real = split(60, 3).pixels
    noise = np.random.default_rng(0).integers(0, 256, real.shape, dtype=np.uint8)
    both = np.concatenate([real, noise])
    alone, mixed = (ground_truth_scores(images, SOURCE, most_real=20) for images in (real, both))
    assert mixed.precision == 0.5 and mixed.precision_low < 0.5 < mixed.precision_high
    assert mixed.grids == alone.grids and mixed.factors == alone.factors


def test_reached_counts_the_cells_that_were_not_hit() -> None:
    assert estimate_reached(np.zeros(10, int)) == (0, 0, 10)
    assert estimate_reached(np.full(10, 7)) == (10, 10, 10)
    # S = 6, f1 = 3, f2 = 1: 6 + 3 * 2 / (2 * 2)
    estimate, low, high = estimate_reached(np.array([1, 1, 1, 2, 3, 4] + [0] * 94))
    assert estimate == 7.5 and 6 <= low < 7.5 < high
    assert estimate_reached(np.array([1] * 9 + [3, 0]))[0] == 11  # never more than there are
    assert estimate_reached(np.array([1] * 4 + [0] * 40)) == (10, 4, 44)  # none twice: no end


@pytest.mark.parametrize(
    ("model", "cells", "n"),
    [
        (3888, 3888, 60),
        (3888, 3888, 2000),
        (1944, 3888, 1000),
        (300, 3888, 2000),
        (72, 144, 150),
        (144, 144, 400),
    ],
)
def test_the_interval_of_reached_cells_covers(model: int, cells: int, n: int) -> None:
    rng = np.random.default_rng(n)
    reached = [
        estimate_reached(np.bincount(rng.integers(model, size=n), minlength=cells)) for _ in range(400)
    ]
    assert np.mean([low <= model <= high for _, low, high in reached]) >= 0.93
    if model < cells:  # else the cut at `cells` takes a little
        assert np.mean([estimate for estimate, *_ in reached]) == pytest.approx(model, rel=0.02)


def test_mean_deviation_is_the_average_over_draws() -> None:
    rng = np.random.default_rng(0)
    for n, p in ((1, 0.25), (10, 1 / 6), (500, 0.25)):
        drawn = np.abs(rng.binomial(n, p, 100_000) - n * p)
        assert mean_deviation(n, p) == pytest.approx(drawn.mean(), rel=0.02)


def test_factors_of_the_truth_are_even() -> None:
    tables = factor_tables(shapes.draw_factors(4000, 7))
    assert [table.name for table in tables] == ["kind", "color", "ground", "radius", "x", "y", "turn"]
    for table in tables:
        assert sum(table.shares) == pytest.approx(1) and len(table.bins) == len(table.shares)
        assert table.distance < 2.5 * table.distance_expected
    assert tables[-1].n < 4000 * 0.7  # circles and rings have no turn
    assert tables[3].bins[0] == "0.14 to 0.17" and tables[4].bins[0] == "-1.00 to -0.67"


def test_a_record_survives_json(of_the_truth: GroundTruthScores) -> None:
    assert GroundTruthScores.model_validate_json(of_the_truth.model_dump_json()) == of_the_truth


def test_bad_input_is_refused_with_a_sentence() -> None:
    plain = Dataset("digits", "digits", Split(SOURCE.test.pixels), Split(SOURCE.test.pixels))
    with pytest.raises(ValueError, match="need known factors, which digits does not have: use shapes"):
        ground_truth_scores(SOURCE.test.pixels, plain)
    with pytest.raises(ValueError, match=r"expected samples \(N, \(32, 32, 3\)\)"):
        ground_truth_scores(np.zeros((3, 16, 16, 3), np.uint8), SOURCE)
    with pytest.raises(ValueError, match="N >= 1"):
        ground_truth_scores(SOURCE.test.pixels[:0], SOURCE)
    with pytest.raises(ValueError, match="tolerance must be a residual above 0"):
        ground_truth_scores(SOURCE.test.pixels, SOURCE, tolerance=0)
