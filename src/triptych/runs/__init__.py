"""The run directory, its options and the environment it was made in."""
