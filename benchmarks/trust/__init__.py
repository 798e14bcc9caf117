"""Whether verdicts can be believed: null models, planted leaks, coverage of intervals, sense, stability.

Data, models and seeds were fixed in a commit of their own before the method was tuned (see `settings`).
"""

from __future__ import annotations

from pathlib import Path


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train`: these train their own."""
    return []


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    trust = "benchmarks.trust"
    return {
        **{f"Null models, {p}": [trust, "null", "--profile", p] for p in ("quick", "standard", "full")},
        "Null models, quick, without twins": [trust, "null", "--no-retrain"],
        **{f"Planted leaks, {p}": [trust, "planted", "--profile", p] for p in ("quick", "standard")},
        **{f"Influence queries and membership, {p}": [trust, "probes", "--profile", p] for p in ("quick", "standard")},
        "Coverage of intervals": [trust, "coverage"],
        "Policy sense": [trust, "sense"],
        "Stability over seeds": [trust, "stability"],
    }
