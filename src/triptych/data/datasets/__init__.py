"""Sources of images: one source, one file."""
