"""Scores as pure functions of features: NumPy arrays (N, D) in, numbers out, float64 statistics."""

from triptych.metrics.frechet import fid
from triptych.metrics.inception import inception_score
from triptych.metrics.kernel import kid
from triptych.metrics.neighbours import density_coverage, precision_recall

__all__ = ["density_coverage", "fid", "inception_score", "kid", "precision_recall"]
