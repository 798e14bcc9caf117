"""Defences without a formal guarantee, each beside the control that lacks only its idea."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {
        "L2R-GNN": ["benchmarks.l2r"],
        "Joint-cluster and repair": ["benchmarks.joint_cluster"],
        "Temperature": ["benchmarks.calibration"],
    }
