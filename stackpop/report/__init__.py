"""Pages on sweeps: `write_report`, one self-contained HTML file on one; `markdown.write_page`, Markdown on many."""

from stackpop.report.files import report_page, write_report

__all__ = ["report_page", "write_report"]
