"""Floor 5, the metric probe: real pictures, spoilt in known ways, before every metric there is.

Which score can be believed is found out by lying to it.
"""

from triptych.probe.measuring import BETTER, COPY_METRICS
from triptych.probe.records import Graded, Probe, Reading, Row
from triptych.probe.running import KINDS, probe

__all__ = ["BETTER", "COPY_METRICS", "KINDS", "Graded", "Probe", "Reading", "Row", "probe"]
