import numpy as np
import pytest

from triptych.metrics.class_coverage import (
    ClassDiversity,
    class_counts,
    class_diversity,
    class_diversity_of_counts,
    entropy,
    expected_entropy,
    kl_divergence,
    mode_coverage,
)


def certain(labels: np.ndarray, classes: int, probability: float = 0.99) -> np.ndarray:
    """Probabilities that give each label `probability` and share the rest evenly."""
    p = np.full((len(labels), classes), (1 - probability) / (classes - 1))
    p[np.arange(len(labels)), labels] = probability
    return p


def test_entropy_and_divergence_have_their_closed_forms() -> None:
    assert entropy(np.array([5, 5, 5, 5])) == pytest.approx(np.log(4))
    assert entropy(np.array([0, 9, 0])) == 0
    p, q = np.array([3, 1]), np.array([1, 1])
    assert kl_divergence(p, q) == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert kl_divergence(p, p * 7) == 0
    assert kl_divergence(np.array([0, 4]), np.array([1, 3])) == pytest.approx(np.log(4 / 3))
    assert kl_divergence(np.array([1, 1]), np.array([0, 1])) == np.inf


def test_expected_entropy_is_the_average_over_draws() -> None:
    distribution, n = np.array([0.5, 0.3, 0.15, 0.05]), 12
    rng = np.random.default_rng(0)
    drawn = [entropy(counts) for counts in rng.multinomial(n, distribution, size=4000)]
    standard_error = np.std(drawn) / np.sqrt(len(drawn))
    assert expected_entropy(distribution, n) == pytest.approx(np.mean(drawn), abs=4 * standard_error)
    # Miller 1955: about H - (C - 1) / 2n
    assert expected_entropy(distribution, 5000) == pytest.approx(entropy(distribution) - 3 / 10_000, abs=1e-6)
    assert expected_entropy(np.array([1.0, 0.0]), 9) == 0


def test_samples_of_the_data_distribution_are_at_the_floor() -> None:
    rng = np.random.default_rng(1)
    labels, real = rng.integers(10, size=2000), np.arange(5000) % 10
    result = class_diversity(certain(labels, 10), certain(real, 10))
    assert result.modes.covered == result.modes.low == result.modes.high == result.modes.total == 10
    assert result.modes.expected == pytest.approx(10) and result.modes.missed == ()
    assert result.entropy_real == pytest.approx(np.log(10))
    assert result.kl is not None and result.kl_expected is not None
    assert result.kl_expected == pytest.approx(9 / 4000, rel=0.02)
    assert 0 < result.kl < 4 * result.kl_expected
    assert result.entropy == pytest.approx(result.entropy_expected, abs=0.01)
    assert result.entropy_share == pytest.approx(result.entropy / np.log(10))
    assert sum(result.shares) == pytest.approx(1) and len(result.shares) == 10


def test_dropped_classes_are_missed_and_named() -> None:
    rng = np.random.default_rng(2)
    labels = rng.choice([0, 1, 2, 3, 4, 6, 8, 9], 2000)
    result = class_diversity(certain(labels, 10), certain(np.arange(5000) % 10, 10))
    assert result.modes.missed == (5, 7)
    assert (result.modes.low, result.modes.covered, result.modes.high) == (8, 8, 8)
    assert result.modes.seen == 8
    assert result.kl == pytest.approx(np.log(10 / 8), abs=0.01)
    assert result.kl_low is not None and result.kl_high is not None
    assert result.kl_low < np.log(10 / 8) + 7 / 4000 < result.kl_high


def test_a_few_stray_samples_do_not_cover_a_class() -> None:
    counts = np.array([996, 4])
    result = mode_coverage(counts, np.array([0.5, 0.5]), 1000)
    assert result.seen == 2 and result.covered == 1 and result.missed == (1,)


def test_few_samples_give_a_wide_coverage_interval() -> None:
    result = mode_coverage(np.array([3, 0, 1, 0]), np.full(4, 0.25), 4)
    assert result.covered == 2 and result.low <= 1 and result.high == 4 and result.missed == ()


def test_bounds_of_all_classes_hold_jointly_with_95_percent() -> None:
    rng = np.random.default_rng(3)
    distribution = np.full(8, 1 / 8)
    model = np.array([0.3, 0.3, 0.2, 0.1, 0.06, 0.03, 0.01, 0.0])
    true = int((model >= 0.1 * distribution).sum())
    assert true == 6  # the one of 0.01 is just short of 0.0125
    hits = 0
    for counts in rng.multinomial(400, model, size=400):
        result = mode_coverage(counts, distribution, 400)
        hits += result.low <= true <= result.high
    assert hits >= 380


def test_expected_seen_and_covered_equal_simulated_means() -> None:
    distribution = np.concatenate([np.full(50, 0.015), np.full(50, 0.005)])
    rng = np.random.default_rng(4)
    drawn = [
        mode_coverage(counts, distribution, 200, min_share=0.5)
        for counts in rng.multinomial(200, distribution, size=250)
    ]
    seen_counts = [result.seen for result in drawn]
    assert drawn[0].seen_expected == pytest.approx(np.mean(seen_counts), abs=0.5)
    assert drawn[0].seen_std == pytest.approx(np.std(seen_counts), rel=0.2)
    assert drawn[0].expected == pytest.approx(np.mean([result.covered for result in drawn]), abs=0.5)


def test_standard_deviation_of_seen_classes_is_exact() -> None:
    one = mode_coverage(np.array([1, 0]), np.full(2, 0.5), 1)
    assert (one.seen_expected, one.seen_std) == (1, 0)  # one sample shows one class, whichever
    two = mode_coverage(np.array([1, 1, 0]), np.full(3, 1 / 3), 2)  # one class in a third of cases, else two
    assert two.seen_expected == pytest.approx(5 / 3)
    assert two.seen_std == pytest.approx(np.sqrt(1 / 3 * 2 / 3))


def test_stacked_mnist_reproduces_the_published_count() -> None:
    """1000 modes, 26,000 samples of the truth: all are seen, as published for it."""
    distribution = np.full(1000, 1e-3)
    counts = np.random.default_rng(5).multinomial(26_000, distribution)
    result = mode_coverage(counts, distribution, 26_000)
    assert result.seen == 1000 and result.seen_expected == pytest.approx(1000, abs=1e-6)
    counts[:100] = 0
    assert mode_coverage(counts, distribution, 26_000).seen == 900


def test_noise_counts_for_no_class_among_confident_predictions() -> None:
    rng = np.random.default_rng(6)
    fine, rubbish = certain(np.arange(500) % 5, 10), certain(rng.integers(10, size=500), 10, 0.3)
    real = certain(np.arange(1000) % 10, 10)
    loose, strict = (
        class_diversity(np.concatenate([fine, rubbish]), real, threshold) for threshold in (0.0, 0.9)
    )
    assert loose.modes.covered == 10 and strict.modes.covered == 5
    assert (loose.counted, strict.counted, strict.n) == (1000, 500, 1000)
    assert sum(strict.shares) == pytest.approx(0.5)
    assert strict.kl == pytest.approx(np.log(2))


def test_shares_count_unconfident_predictions_on_both_sides() -> None:
    half = np.concatenate([certain(np.arange(50) % 2, 2), np.full((50, 2), 0.5)])
    result = class_diversity(half, half, 0.9, min_share=0.9)
    assert result.modes.covered == 2 and result.shares_real == (0.25, 0.25)


def test_no_confident_prediction_gives_no_entropy() -> None:
    result = class_diversity(certain(np.arange(40) % 4, 4, 0.5), certain(np.arange(40) % 4, 4), 0.9)
    assert result.counted == 0 and result.entropy is None and result.kl is None
    assert result.modes.covered == 0


def test_class_missing_in_the_data_gives_no_finite_divergence() -> None:
    result = class_diversity_of_counts(np.array([5, 5]), np.array([0, 10]))
    assert result.kl is None and result.kl_low is None and result.modes.total == 1
    assert type(result).model_validate_json(result.model_dump_json()) == result


def test_order_and_duplicates_of_the_data_change_nothing() -> None:
    rng = np.random.default_rng(7)
    fake, real = rng.dirichlet(np.ones(6), 300), rng.dirichlet(np.ones(6), 200)
    once = class_diversity(fake, real)
    assert class_diversity(fake[::-1], np.concatenate([real, real])) == once.model_copy(
        update={"n_real": 400}
    )


def test_the_jackknife_covers_the_mean_of_kl() -> None:
    distribution, model = np.full(6, 1 / 6), np.array([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    rng = np.random.default_rng(8)
    result = [class_diversity_of_counts(c, np.full(6, 100)) for c in rng.multinomial(500, model, size=400)]
    mean = np.mean([f.kl for f in result])
    assert 0.92 <= np.mean([f.kl_low <= mean <= f.kl_high for f in result]) <= 0.98
    assert kl_divergence(model, distribution) < mean


def test_invalid_input_raises_value_error() -> None:
    fine = certain(np.arange(6) % 3, 3)
    with pytest.raises(ValueError, match="4 classes for fake images and 3 for real ones"):
        class_diversity(certain(np.arange(8) % 4, 4), fine)
    with pytest.raises(ValueError, match="each row of fake must be probabilities"):
        class_diversity(fine * np.nan, fine)
    with pytest.raises(ValueError, match=r"expected real probabilities of shape \(N, C\)"):
        class_diversity(fine, np.ones((3, 1)))
    with pytest.raises(ValueError, match="no real image was assigned a class"):
        class_diversity(fine, fine, confidence=0.999)
    with pytest.raises(ValueError, match=r"expected fake counts of shape \(C,\)"):
        class_diversity_of_counts(np.array([0.5, 0.5]), np.array([1, 1]))
    with pytest.raises(ValueError, match="2 classes for fake images and 3 for real ones"):
        class_diversity_of_counts(np.array([1, 1]), np.array([1, 1, 1]))
    with pytest.raises(ValueError, match="got n = 3"):
        mode_coverage(np.array([2, 2]), np.array([0.5, 0.5]), 3)
    with pytest.raises(ValueError, match="min_share must lie in"):
        mode_coverage(np.array([2, 2]), np.array([0.5, 0.5]), 4, min_share=10)


def test_predictions_are_counted_above_the_confidence_threshold() -> None:
    p = np.array([[0.95, 0.05], [0.6, 0.4], [0.1, 0.9]])
    assert class_counts(p).tolist() == [2, 1]
    assert class_counts(p, 0.9).tolist() == [1, 0]  # 0.9 is not above 0.9


def test_records_stored_under_former_names_are_read() -> None:
    counts = np.array([5, 3, 0])
    result = class_diversity_of_counts(counts, np.array([4, 4, 4]), confidence=0.9)
    record = result.model_dump(mode="json")
    former = {"total": "of", "min_share": "due", "seen_std": "seen_spread"}
    record["modes"] = {former.get(name, name): value for name, value in record["modes"].items()}
    record["sure"] = record.pop("confidence")
    assert ClassDiversity.model_validate(record) == result
