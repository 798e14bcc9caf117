"""Makes docs/images from an audit: the terminal report as SVG, the top of the page as PNG.

`python docs/site/screenshots.py out/demo docs/images`, after `auditor demo -o out/demo`.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from auditor.document import from_bytes
from reports.html.report import HtmlReport
from reports.terminal.report import WIDTH, TerminalReport

PAGE_WIDTH, PAGE_HEIGHT = 1280, 1340
MAX_PNG_BYTES = 300_000
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def terminal_svg(audit_json: bytes) -> str:
    """The terminal report at 100 columns as SVG; the viewer's own monospace font, nothing fetched."""
    console = Console(
        record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="standard", highlight=False,
        _environ={},
    )  # fmt: skip
    TerminalReport().print(from_bytes(audit_json), console, path="demo/audit.json")
    svg = console.export_svg(title="auditor demo", theme=MONOKAI, unique_id="auditor-demo")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", FONTS)


def page_png(audit_json: bytes, out: Path) -> None:
    """The top of the HTML report, as wide as a laptop shows it.

    Raises:
        SystemExit: no chromium here, or the picture is too large for a README.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no chromium here: install it to photograph the page")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "audit.html"
        page.write_text(HtmlReport().render(from_bytes(audit_json)), encoding="utf-8")
        subprocess.run(
            [
                chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-sync",
                "--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}/profile",
                f"--window-size={PAGE_WIDTH},{PAGE_HEIGHT}", f"--screenshot={out.resolve()}", page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    if out.stat().st_size > MAX_PNG_BYTES:
        sys.exit(f"{out} has {out.stat().st_size} bytes; expected at most {MAX_PNG_BYTES}")


def main(audit_folder: str, images: str) -> None:
    """Writes demo.svg and report.png."""
    document, folder = (Path(audit_folder) / "audit.json").read_bytes(), Path(images)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo.svg").write_text(terminal_svg(document), encoding="utf-8")
    page_png(document, folder / "report.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
