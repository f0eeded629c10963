"""Runs -> one self-contained HTML file."""
