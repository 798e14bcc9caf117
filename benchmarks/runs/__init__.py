"""What a run costs: beside the version before, and as the graph grows."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {
        "This version beside the one before": ["benchmarks.runs", "before"],
        "Growth with the graph": ["benchmarks.runs", "growth"],
    }
