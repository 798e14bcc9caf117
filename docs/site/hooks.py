"""MkDocs hooks: every page of the folders below reaches the navigation and its folder's index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

FOLDERS = {"probes": "Probes", "defenses": "Defences", "findings": "Findings", "methods": "Methods"}
INDEXES = [f"{folder}/index.md" for folder in FOLDERS]
MARKER = "<!-- pages -->"


def on_config(config: Any) -> Any:
    """Adds each folder's pages, by name, to the section whose first page is the folder's index."""
    docs = Path(config["docs_dir"])
    for section in config["nav"]:
        for pages in section.values() if isinstance(section, dict) else ():
            if isinstance(pages, list) and pages[0] in INDEXES:
                folder = pages[0].partition("/")[0]
                pages += [f"{folder}/{page.name}" for page in pages_of(docs / folder)]
    return config


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The index of a folder with a table of its pages in place of the marker."""
    folder = page.file.src_uri.removesuffix("/index.md")
    return markdown.replace(MARKER, table_of(Path(config["docs_dir"]) / folder)) if folder in FOLDERS else markdown


def pages_of(folder: Path) -> list[Path]:
    """The pages of a folder, its index left out, sorted by name."""
    return sorted(page for page in folder.glob("*.md") if page.name != "index.md")


def table_of(folder: Path) -> str:
    """A Markdown table: each page with the first sentence behind its title."""
    rows = [f"| [{page.stem}]({page.name}) | {first_sentence(page)} |" for page in pages_of(folder)]
    return "\n".join(["| page | |", "|---|---|", *rows])


def first_sentence(page: Path) -> str:
    """The first sentence after the title, on one line; links lose their targets, which are relative to another page."""
    blocks = [block.strip() for block in page.read_text(encoding="utf-8").split("\n\n") if block.strip()]
    text = " ".join(next((block for block in blocks if not block.startswith("#")), "").split())
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0].replace("|", "\\|")
