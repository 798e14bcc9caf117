"""What a run costs: how CPU time and memory of each probe grow with the graph."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {"Growth with the graph": ["benchmarks.runs", "growth"]}
