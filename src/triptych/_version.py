"""The version, and nothing else: whoever needs it imports nothing more."""

__version__ = "0.1.0"
