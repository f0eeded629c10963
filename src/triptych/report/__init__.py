"""Floor 5: runs -> one self-contained HTML file."""

from triptych.report.write import write_report

__all__ = ["write_report"]
