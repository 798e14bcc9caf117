"""Finds the documentation page of a probe, attack, defence or finding: in the checkout, else where the wheel put it."""

from __future__ import annotations

import sysconfig
from pathlib import Path

FOLDERS = ("probes", "defenses", "findings")


def _roots() -> list[Path]:
    checkout = Path(__file__).resolve().parents[2] / "docs"
    return [checkout, Path(sysconfig.get_path("data")) / "share" / "gnn-auditor" / "docs"]


def page(folder: str, id_: str) -> str | None:
    """The text of `docs/<folder>/<id>.md`, or None."""
    for root in _roots():
        path = root / folder / f"{id_}.md"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None


def first_line(folder: str, id_: str) -> str:
    """The first sentence of a page, after its title; empty without a page."""
    text = page(folder, id_) or ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return lines[0].partition(". ")[0].rstrip(".") if lines else ""
