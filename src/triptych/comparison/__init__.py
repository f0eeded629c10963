"""Duels and rankings: models compared under one protocol."""
