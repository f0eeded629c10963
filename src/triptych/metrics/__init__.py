"""Scores as pure functions of features: NumPy arrays (N, D) in, numbers out, float64 statistics."""

from triptych.metrics.frechet import fid
from triptych.metrics.inception import inception_score
from triptych.metrics.infinity import fd_infinity
from triptych.metrics.intra import intra_class_fid
from triptych.metrics.kernel import kid, kid_blocks
from triptych.metrics.neighbours import density_coverage, precision_recall
from triptych.metrics.path_length import perceptual_path_length
from triptych.metrics.prd import prd_curve, prd_f_scores
from triptych.metrics.spectrum import log_spectral_distance, radial_spectrum, sharpness
from triptych.metrics.vendi import vendi_score

__all__ = [
    "density_coverage",
    "fd_infinity",
    "fid",
    "inception_score",
    "intra_class_fid",
    "kid",
    "kid_blocks",
    "log_spectral_distance",
    "perceptual_path_length",
    "prd_curve",
    "prd_f_scores",
    "precision_recall",
    "radial_spectrum",
    "sharpness",
    "vendi_score",
]
