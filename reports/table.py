"""Every built-in report format, one line each. Imports nothing heavy."""

from auditor.registry import Entry, Table

TABLE = Table(
    entries=(
        Entry(
            "terminal",
            "reports.terminal.report:TerminalReport",
            "tables and verdict for a terminal of 100 columns",
            "text",
        ),
        Entry("json", "reports.json:JsonReport", "the audit document itself, canonical bytes", "data"),
        Entry("html", "reports.html.report:HtmlReport", "one self-contained page with charts", "page"),
        Entry(
            "markdown", "reports.markdown:MarkdownReport", "verdict and worst findings for a CI step summary", "text"
        ),
        Entry("sarif", "reports.sarif:SarifReport", "SARIF 2.1.0 for code scanning", "exchange"),
        Entry("junit", "reports.junit:JunitReport", "JUnit XML, one case per judged finding", "exchange"),
        Entry(
            "dossier",
            "reports.dossier:DossierReport",
            "every claim with its evidence, in the terms of EDPB, OWASP AISVS and MITRE ATLAS",
            "text",
        ),
        Entry("dossier-html", "reports.html.dossier:DossierPage", "the dossier as a page of its own", "text"),
        Entry(
            "cyclonedx",
            "reports.cyclonedx:CyclonedxReport",
            "CycloneDX 1.6 with a model card (needs the extra cyclonedx)",
            "exchange",
        ),
        Entry("csv", "reports.csv:CsvReport", "one row per measurement and seed", "data"),
    )
)
