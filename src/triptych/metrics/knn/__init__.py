"""Exact nearest neighbors (`search.k_nearest`) and radius queries (`radius.count_within`).

Results are those of float64 distances to the bit, whatever the chunk size and the number of threads.
"""
