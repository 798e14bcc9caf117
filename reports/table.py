"""Every built-in report format, one line each. Imports nothing heavy."""

from auditor.registry import Entry, Table

TABLE = Table(
    entries=(
        Entry(
            "terminal", "reports.terminal:TerminalReport", "tables and verdict for a terminal of 100 columns", "text"
        ),
        Entry("json", "reports.json:JsonReport", "the audit document itself, canonical bytes", "data"),
        Entry("html", "reports.html.report:HtmlReport", "one self-contained page with charts", "page"),
    )
)
