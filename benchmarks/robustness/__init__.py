"""Robustness: our searches beside PyG's on the same weights, and beside the figures they are held to."""

from __future__ import annotations

from pathlib import Path

NODE, FEWER, GRAPH = ("gcn", "gin", "sage", "gat"), ("gcn", "gat", "sage"), ("gin",)
"""Architectures on Cora (and an APPNP), on Citeseer, and on graphs to be classified as a whole."""
NAMES = (
    *(("cora", arch) for arch in NODE),
    *(("citeseer", arch) for arch in FEWER),
    *(("tu_mutag", arch) for arch in GRAPH),
)


def targets(folder: Path) -> list[list[str]]:
    """Arguments of `auditor train` for every target that is attacked."""
    return [
        ["--data", data, "--arch", arch, "--hidden", "64", "--seed", "0", "-o", str(folder / f"{data}-{arch}")]
        for data, arch in NAMES
    ]


def commands(folder: Path) -> dict[str, list[str]]:
    """Title and module with arguments of each benchmark."""
    cora = str(folder / "cora-gcn")
    return {
        "Structure evasion beside PRBCD and GRBCD": [
            "benchmarks.robustness.prbcd",
            *(str(folder / f"{data}-{arch}") for data, arch in NAMES),
            "--appnp",
            cora,
        ],
        "Every probe on a GCN of Cora, beside its goals": ["benchmarks.robustness.goals", cora],
        "A GCN on the graph's largest singular vectors": ["benchmarks.robustness.low_rank", cora],
    }
