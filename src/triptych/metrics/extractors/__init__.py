"""Feature extractors: images in, features and class probabilities out."""
