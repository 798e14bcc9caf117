"""Shift: probes on named graphs beside published and recalled figures, and nulls (`python -m benchmarks shift`)."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {
        "Data that is unlike its own, by the protocol of GNNSafe": ["benchmarks.shift.unlike"],
        "Another place in the graph": ["benchmarks.shift.structural"],
        "Larger proteins": ["benchmarks.shift.larger"],
        "Typical graphs": ["benchmarks.shift.typical"],
        "A class that was never seen": ["benchmarks.shift.left_out"],
        "Copies on both sides of a split": ["benchmarks.shift.copies"],
        "Where nothing is to be found": ["benchmarks.shift.nulls"],
        "A random split, over and over": ["benchmarks.shift.retrained"],
        "What intervals hold": ["benchmarks.shift.coverage"],
        "What it costs": ["benchmarks.shift.cost"],
    }
