"""Privacy probes: what each finds and costs, one module a probe."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {"Influence queries": ["benchmarks.privacy.influence"]}
