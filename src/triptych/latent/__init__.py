"""Steering: the same acts for every family, in terms of its noise and, where it has one, its style space."""
