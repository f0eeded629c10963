"""Data sets: sources of images, their one-time preparation, and reproducible batches."""
