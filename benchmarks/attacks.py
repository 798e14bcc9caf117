"""Attacks: GraphMI beside link stealing, structure evasion beside the library's PRBCD."""

from __future__ import annotations

from pathlib import Path

SEEDS = ("0", "1")


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train` for every target that a benchmark reads."""
    return [
        ["--data", "cora", "--hidden", "64", "--seed", seed, "-o", str(folder / f"cora-gcn64-{seed}")] for seed in SEEDS
    ]


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    return {
        "GraphMI and link stealing": ["benchmarks.graphmi"],
        "Structure evasion beside PRBCD": [
            "benchmarks.structure_evasion",
            *(str(folder / f"cora-gcn64-{seed}") for seed in SEEDS),
        ],
    }
