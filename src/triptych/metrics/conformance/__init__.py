"""Conformance kit: known answers against this installation, and against its peers.

A score is worth what its code is worth: run this before a number is published, and over a function
of one's own before it is believed.
"""
