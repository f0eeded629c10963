"""Runs -> one self-contained HTML file."""

from triptych.report.duel import write_duel
from triptych.report.events import write_events
from triptych.report.tables import write_score_tables
from triptych.report.write import write_report

__all__ = ["write_duel", "write_events", "write_report", "write_score_tables"]
