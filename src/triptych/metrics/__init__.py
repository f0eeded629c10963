"""Scores as pure functions of features: NumPy arrays (N, D) in, numbers out, float64 statistics.

One metric per module (`fid`, `kid`, `prdc`, `inception_score`, ...), listed in `suite`. `stats` has intervals
and paired differences, `extractors` turns images into features, `knn` finds exact neighbors, `score` defines
a score and the card that says how it was measured, `conformance` checks all of it against known answers.
"""
