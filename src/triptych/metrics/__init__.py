"""Scores as pure functions of features: NumPy arrays (N, D) in, numbers out, float64 statistics."""
