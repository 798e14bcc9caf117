"""Privacy: what each probe finds beside published figures and its own controls."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    extraction = "benchmarks.privacy.extraction"
    return {
        "Model extraction": [extraction],
        "Model extraction from labels alone": [extraction, "--param", "answers=labels", "budgets=25"],
    }
