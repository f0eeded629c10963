"""Intervals, resampling and paired differences."""
