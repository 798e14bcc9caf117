"""The dossier as a page of its own: the Markdown of `reports.dossier`, with the style of the report."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from auditor.document import Audit
from reports.dossier import DossierReport

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<div class="wrap"><main class="card dossier">
{{ text }}</main>
<footer>Rendered from audit.json alone. This page runs no script and loads nothing.</footer>
</div>
</body>
</html>
"""


class DossierPage:
    """One self-contained page; every string of the document is escaped, and no HTML in it is read."""

    id = "dossier-html"
    filename = "audit.dossier.html"
    opening = r"<!doctype html>.*<title>Audit dossier of "

    def render(self, audit: Audit) -> str:
        """The page."""
        text = DossierReport().render(audit)
        title = text.partition("\n")[0].lstrip("# ").replace("\\", "")
        page = Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
        style = files("reports.html").joinpath("style.css").read_text(encoding="utf-8")
        body = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
        wide = body.render(text).replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
        return page.render(title=title, style=Markup(style), text=Markup(wide)) + "\n"
