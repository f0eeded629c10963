"""Latent-space tools, the same for every model: interpolation, directions, edits, inversion, sweeps."""
