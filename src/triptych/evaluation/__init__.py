"""Samples in, scores out: evaluations, their records, and the classifiers they use."""
