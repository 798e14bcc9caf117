"""What a run costs: beside the version before, as the graph grows, and of large documents."""

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
        "Large documents": ["benchmarks.runs", "documents"],
    }
