"""Metric probe: real pictures, spoilt in known ways, before every metric there is.

Which score can be believed is found out by lying to it.
"""
