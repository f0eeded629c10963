"""Floor 6: runs -> one self-contained HTML file."""

from triptych.report.duel import write_duel
from triptych.report.write import write_report

__all__ = ["write_duel", "write_report"]
