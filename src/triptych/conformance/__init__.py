"""Floor 5, the conformance kit: known answers against this installation, and against its peers.

A score is worth what its code is worth: run this before a number is published, and over a function
of one's own before it is believed.
"""

from triptych.conformance.grading import Grade, grade
from triptych.conformance.records import Agreement, Check, Conformance
from triptych.conformance.running import conformance

__all__ = ["Agreement", "Check", "Conformance", "Grade", "conformance", "grade"]
