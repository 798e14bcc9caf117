"""Differential privacy: gradients that are per record, audits of the mechanisms, utility beside edge-free models."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {
        "Per-record gradients: correctness and speed": ["benchmarks.dp_gradients"],
        "Audits of the mechanisms": ["benchmarks.dp_audits"],
        "Utility of DP-SGD, and audits of planted bugs": ["benchmarks.dp_training"],
        "Utility of edge-level privacy beside edge-free models": ["benchmarks.dp_utility"],
    }
