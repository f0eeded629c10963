"""Sensitivity study of metrics: real images corrupted in known ways, and which metric notices.

It shows which scores can be trusted to see which fault.
"""
