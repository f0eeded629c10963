"""Known answers: golden vectors, closed forms and identities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from triptych.metrics.conformance.records import Check
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.fid import fid
from triptych.metrics.fid_infinity import fd_infinity
from triptych.metrics.inception_score import inception_score
from triptych.metrics.intra_class_fid import intra_class_fid
from triptych.metrics.kid import kid, kid_blocks
from triptych.metrics.memorization import authenticity, near_duplicate_test
from triptych.metrics.path_length import perceptual_path_length
from triptych.metrics.prd import prd_f_scores
from triptych.metrics.prdc import density_coverage, precision_recall
from triptych.metrics.spectral import log_spectral_distance, sharpness
from triptych.metrics.suite import estimates
from triptych.metrics.vendi import vendi_score

GOLDEN = "golden vector"
CLOSED = "closed form"
EXACT = "definition"
DIGITS = 1e-9  # golden values have ten digits
DRAWS = 40


@dataclass(frozen=True)
class Vectors:
    """Features of a real and of a fake set."""

    name: str
    real: np.ndarray
    fake: np.ndarray


def golden() -> Vectors:
    """500 real and 500 fake rows of 16 normal features, the fake ones slightly wider and shifted."""
    rng = np.random.default_rng(0)
    real = rng.standard_normal((500, 16))
    return Vectors("golden", real, rng.standard_normal((500, 16)) * 1.2 + 0.1)


def lattice(k: int = 3) -> Vectors:
    """Integers, so that distances equal radii: two fakes at a radius, one inside, the rest far away."""
    far = 10 * k + np.arange(max(k - 1, 2))
    fake = np.concatenate([[-k, 4 * k, -1], far])
    return Vectors("at the radius", np.arange(3 * k + 1.0)[:, None], fake.astype(np.float64)[:, None])


def checks() -> list[Check]:
    """All known answers; takes seconds."""
    return [*_golden(), *_frechet(), *_inception(), *_neighbors(), *_kernel(), *_others(), *_images()]


def _golden() -> list[Check]:
    v = golden()
    results = [
        Check.of("FID", fid(v.real, v.fake), 1.1926942410, DIGITS, GOLDEN),
        Check.of("KID", kid(v.real, v.fake), 0.0822770459, DIGITS, GOLDEN),
    ]
    for k, (p, r, d, c) in {3: (0.506, 0.934, 0.430, 0.652), 5: (0.622, 0.972, 0.4312, 0.808)}.items():
        scores = (*precision_recall(v.real, v.fake, k), *density_coverage(v.real, v.fake, k))
        for name, got, expected in zip(
            ("precision", "recall", "density", "coverage"), scores, (p, r, d, c), strict=True
        ):
            results.append(Check.of(f"{name}, k = {k}", got, expected, DIGITS, GOLDEN))
    with_intervals = estimates(v.real, v.fake)
    results.append(
        Check.of("FID with an interval", with_intervals["FID"].value, 1.1926942410, DIGITS, GOLDEN)
    )
    results.append(
        Check.of("KID with an interval", with_intervals["KID"].value, 0.0822770459, DIGITS, GOLDEN)
    )
    return results


def _frechet() -> list[Check]:
    v, width = golden(), 8
    cross = np.concatenate([np.eye(width), -np.eye(width)]) * np.sqrt((2 * width - 1) / 2)  # covariance 1
    gap = np.arange(width) / 10
    moved = float(gap @ gap) + width * (1 - 1.5) ** 2
    rng = np.random.default_rng(1)
    pairs = [(rng.standard_normal((1000, 64)), rng.standard_normal((1000, 64))) for _ in range(3)]
    bias = 64 * 65 / 2000 + 2 * 64 / 1000
    far = fid(v.real + 1e4, v.fake + 1e4)
    return [
        Check.of("FID of N(0, I) and N(m, s^2 I)", fid(cross, 1.5 * cross + gap), moved, DIGITS, CLOSED),
        Check.of("FID of one set with itself", fid(v.real, v.real), 0, DIGITS, EXACT),
        Check.of("FID of shuffled rows", fid(v.real[::-1], v.fake[::-1]), 1.1926942410, DIGITS, EXACT),
        Check.of("FID far from the origin", far, 1.1926942410, 1e-8, EXACT),
        Check.of("FID's bias, n = 1000, d = 64", _mean(fid(a, b) for a, b in pairs), bias, 0.05, CLOSED),
        Check.of("FD-infinity of one distribution", _mean(fd_infinity(*p) for p in pairs), 0, 0.1, CLOSED),
        Check.of("intra-class FID, classes swapped", *_swapped(cross), DIGITS, CLOSED),
    ]


def _swapped(cluster: np.ndarray) -> tuple[float, float]:
    """Two equal clusters 3 apart along one axis with exchanged labels: each class is 3 off."""
    clusters = np.tile(np.concatenate([cluster, cluster + 3 * np.eye(len(cluster.T))[0]]), (2, 1))
    labels = np.tile(np.repeat([0, 1], len(cluster)), 2)
    return intra_class_fid(clusters, clusters, labels, 1 - labels)[0], 9.0


def _inception() -> list[Check]:
    uniform, one_hot = np.full((100, 10), 0.1), np.tile(np.eye(10), (10, 1))
    return [
        Check.of("IS of uniform probabilities", inception_score(uniform), 1, DIGITS, CLOSED),
        Check.of("IS of ten confident classes", inception_score(one_hot, splits=1), 10, DIGITS, CLOSED),
        Check.of("IS of ten confident classes, 10 splits", inception_score(one_hot), 10, DIGITS, CLOSED),
    ]


def _neighbors() -> list[Check]:
    v, edge = golden(), lattice()
    rng = np.random.default_rng(42)
    narrow, wide = rng.standard_normal((200, 16)) * 0.1, rng.standard_normal((200, 16)) * 3
    collapse, noise = precision_recall(wide, narrow), precision_recall(narrow, wide)
    itself, full = precision_recall(v.real, v.real), density_coverage(v.real, v.real)[1]
    results = [
        Check.of("precision of one set with itself", itself[0], 1, 0, EXACT),
        Check.of("recall of one set with itself", itself[1], 1, 0, EXACT),
        Check.of("coverage of one set with itself", full, 1, 0, EXACT),
        Check.of("precision under mode collapse", collapse[0], 1, 0.2, "at least 0.8"),
        Check.of("recall under mode collapse", collapse[1], 0, 0.3, "at most 0.3"),
        Check.of("precision of noise", noise[0], 0, 0.3, "at most 0.3"),
        Check.of("recall under noise", noise[1], 1, 0.2, "at least 0.8"),
        Check.of("precision at the radius (<=)", precision_recall(edge.real, edge.fake)[0], 0.6, 0, EXACT),
        Check.of(
            "density at the radius (<)",
            density_coverage(edge.real, edge.fake, 3)[0],
            1 / 15,
            DIGITS,
            EXACT,
        ),
    ]
    sets = [(rng.standard_normal((200, 32)), rng.standard_normal((200, 32))) for _ in range(DRAWS)]
    for k in (3, 5):
        scores = [density_coverage(a, b, k) for a, b in sets]
        i = np.arange(1, k + 1)
        expected = 1 - float(np.prod((200 - i) / (400 - i)))
        results.append(
            Check.of(f"coverage expected, k = {k}", _mean(c for _, c in scores), expected, 0.02, CLOSED)
        )
        results.append(Check.of(f"density expected, k = {k}", _mean(d for d, _ in scores), 1, 0.05, CLOSED))
    return results


def _kernel() -> list[Check]:
    v = golden()
    rng = np.random.default_rng(2)
    halves = [kid(rng.standard_normal((100, 16)), rng.standard_normal((100, 16))) for _ in range(DRAWS)]
    blocks = kid_blocks(v.real, v.fake, size=500, blocks=1)[0]
    quick = kid(v.real, v.fake, dot_dtype="float32")
    return [
        Check.of("KID of one distribution", _mean(halves), 0, 0.01, "unbiased; biased: 0.13"),
        Check.of("KID in one block of all", blocks, 0.0822770459, DIGITS, GOLDEN),
        Check.of("KID with float32 dot products", quick, 0.0822770459, 1e-7, GOLDEN),
    ]


def _others() -> list[Check]:
    v = golden()
    corners = np.tile(np.eye(6) * 4, (5, 1))
    same, apart = prd_f_scores(v.real, v.real, runs=1), prd_f_scores(v.real, v.real + 100, runs=1)
    held_out = np.random.default_rng(3).standard_normal((500, 16))
    steps = np.zeros((50, 4))
    return [
        Check.of("Vendi of six orthogonal directions", vendi_score(corners), 6, DIGITS, CLOSED),
        Check.of("Vendi of identical images", vendi_score(np.ones((30, 8))), 1, DIGITS, CLOSED),
        Check.of("PRD F8 of one set with itself", same[0], 1, 1e-6, EXACT),
        Check.of("PRD F1/8 of disjoint sets", apart[1], 0, 1e-6, EXACT),
        Check.of(
            "path length of a straight line", perceptual_path_length(steps, steps + 1e-4), 4, DIGITS, CLOSED
        ),
        Check.of(
            "near duplicates among copies",
            near_duplicate_test(v.real, v.real, held_out).share.value,
            1,
            0,
            EXACT,
        ),
        Check.of("authenticity of copies", authenticity(v.real, v.real).value, 0, 0, EXACT),
    ]


def _images() -> list[Check]:
    board = np.indices((8, 8)).sum(0) % 2 * np.uint8(255)
    boards = np.broadcast_to(board.astype(np.uint8)[None, :, :, None], (3, 8, 8, 1))
    images = np.random.default_rng(4).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)
    extractor = random_conv(16)
    alone = np.concatenate([extractor(images[k : k + 1]) for k in range(8)])
    apart = float(np.abs(extractor(images)[:8] - alone).max())
    return [
        Check.of("sharpness of a checkerboard", sharpness(boards), 64, 1e-5, CLOSED),
        Check.of("spectral distance of one set", log_spectral_distance(images, images), 0, 0, EXACT),
        Check.of("features of an image, alone and in a batch", apart, 0, 0, "largest difference"),
    ]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
