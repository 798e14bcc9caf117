"""This version beside the one before worker processes, in one run: whole commands, CPU and wall time, and memory.

The version before is checked out of this repository's own history. Its numbers are compared too: where they differ, it
says how many of them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BEFORE: Final = "24b04c0"
"""The last commit of one process for everything."""
ROOT: Final = Path(__file__).resolve().parents[2]
TRAIN: Final = ("train", "--data", "cora", "--arch", "gcn", "--hidden", "16", "--seed", "0")
PROBES: Final = "graphmi,posterior-similarity,structure-evasion,strata,corruption"
"""What both versions have: the probes that came later are work that the version before did not do."""
RUNS: Final = {"standard": ("--only", PROBES), "quick": ("--profile", "quick", "--only", PROBES)}
STARTS: Final = {"--help": ("--help",), "list": ("list",), "explain graphmi": ("explain", "graphmi")}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one command took, its own processes included: seconds."""

    cpu: float
    wall: float


def spent(tree: Path, *words: str) -> Spent:
    """Runs `auditor WORDS` of a source tree."""
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "auditor", *words], env=env, cwd=tree, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"auditor {' '.join(words)} ended with {done.returncode}: {done.stderr[-800:]}")
    return Spent(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def print_before(times: int) -> None:
    """The table; each command `times` times, the two versions in turn, the least of each."""
    with tempfile.TemporaryDirectory() as folder:
        here, old = Path(folder), Path(folder) / "before"
        subprocess.run(
            ["git", "worktree", "add", "--detach", str(old), BEFORE], cwd=ROOT, check=True, capture_output=True
        )
        try:
            _print(here, old, times)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=False)


def _print(here: Path, old: Path, times: int) -> None:
    spent(ROOT, *TRAIN, "-o", str(here / "target"))
    commands = {f"run, {name}": ("run", str(here / "target"), *more) for name, more in RUNS.items()}
    print(f"\n## This version beside {BEFORE}, {os.cpu_count()} cores, Cora, GCN with 16 hidden units\n")
    print("| command | CPU s before | now | ratio | wall s before | now | ratio |")
    print("|---|---|---|---|---|---|---|")
    documents: dict[str, list[dict[str, Any]]] = {}
    for name, words in commands.items():
        out = {tree: here / f"{name}-{tree.name}" for tree in (old, ROOT)}
        _row(name, *(_least([spent(tree, *words, "-o", str(out[tree])) for _ in range(times)]) for tree in out))
        documents[name] = [json.loads((place / "audit.json").read_bytes()) for place in out.values()]
    starts = {name: (words, words) for name, words in STARTS.items()}
    gates = [("gate", str(here / f"run, quick-{tree.name}" / "audit.json")) for tree in (old, ROOT)]
    for name, sides in {**starts, "gate": tuple(gates)}.items():
        took = [
            [spent(tree, *words) for _ in range(max(3, times))] for tree, words in zip((old, ROOT), sides, strict=True)
        ]
        _row(name, *map(_least, took))
    print()
    for name, (before, now) in documents.items():
        print(f"- {name}: {_differences(before, now)}")


def _row(name: str, before: Spent, now: Spent) -> None:
    cells = (before.cpu, now.cpu, before.cpu / now.cpu, before.wall, now.wall, before.wall / now.wall)
    print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


def _least(found: list[Spent]) -> Spent:
    return Spent(min(each.cpu for each in found), min(each.wall for each in found))


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """How many of the estimates differ by more than rounding; what the version before wrote is read as plain JSON."""
    old, new = _estimates(before), _estimates(now)
    shared = [key for key in old if key in new]
    apart = [key for key in shared if abs((old[key] or 0.0) - (new[key] or 0.0)) > 1e-9]
    return (
        f"{len(shared)} of {len(old)} numbers are in both, {len(apart)} of them differ by more than 1e-9; verdict "
        f"{before['verdict']['status']} before, {now['verdict']['status']} now"
    )


def _estimates(document: dict[str, Any]) -> dict[tuple[str, ...], float | None]:
    names = ("probe", "metric", "subset", "finding")
    return {tuple(row[name] for name in names): row["estimate"]["value"] for row in document["results"]}
