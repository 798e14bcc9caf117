"""Privacy: each probe on named graphs beside its controls, one module a probe (`python -m benchmarks privacy`)."""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    extraction = "benchmarks.privacy.extraction"
    return {
        "GraphMI": ["benchmarks.privacy.graphmi", "--forms", "knn,dense"],
        "The search in cells": ["benchmarks.privacy.neighbours", "--nodes", "10000", "--found-in", "24", "48"],
        "Influence queries": ["benchmarks.privacy.influence"],
        "Links by likeness of answers, embeddings and explanations": ["benchmarks.privacy.similarity"],
        "Membership of nodes": ["benchmarks.privacy.membership"],
        "A sensitive column": ["benchmarks.privacy.attribute"],
        "Model extraction": [extraction],
        "Model extraction from labels alone": [extraction, "--param", "answers=labels", "budgets=25"],
    }
