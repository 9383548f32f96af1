"""Pages on sweeps: `write_report`, one self-contained HTML file on one; `write_page`, Markdown on many."""

from stackpop.report.html import report_page, write_report
from stackpop.report.markdown import write_page

__all__ = ["report_page", "write_page", "write_report"]
