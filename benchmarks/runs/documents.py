"""`gate`, `report` and `diff` on a document of 100 MB: CPU and wall seconds and peak memory, beside the version before.

The document is a real quick audit whose results are repeated, each copy with cells of its own, judged and sealed again.
A version that does not know all of its fields refuses it, and has no seconds then.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditor.document import Audit, CellRow, Result, fingerprint, from_bytes, to_bytes
from auditor.policy import Policy, gate

BEFORE: Final = "94b51b5"
"""The last commit that made the canonical form of every document it read."""
ROOT: Final = Path(__file__).resolve().parents[2]
BYTES: Final = 100_000_000
REFUSED: Final = 2
"""Exit code of a program that does not know a field of the document: one of before the field."""
NOT_READ: Final = "not read"
SHOWN: Final = ("cpu", "wall", "peak")
DAY: Final = datetime.datetime.now(datetime.UTC).date()
"""Of the audit that is made here: it is not judged on a day before its own."""
TRAIN: Final = ("train", "--data", "demo", "--arch", "gcn", "--hidden", "8", "--seed", "0")
VERBS: Final = {
    "gate": ("gate", "{}", "--as-of", DAY.isoformat()),
    "gate --policy strict": ("gate", "{}", "--as-of", DAY.isoformat(), "--policy", "strict"),
    "report": ("report", "{}"),
    "report --format html": ("report", "{}", "--format", "html"),
    "diff": ("diff", "{}", "{}"),
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What one process took: seconds, and GB at its largest."""

    cpu: float
    wall: float
    peak: float


def print_documents() -> None:
    """The table; each verb once, the two versions in turn."""
    with tempfile.TemporaryDirectory() as folder, _before(Path(folder)) as old:
        path = Path(folder) / "audit.json"
        audit = _large(Path(folder))
        path.write_bytes(to_bytes(audit))
        size = path.stat().st_size / 1e6
        print(f"\n## A document of {size:.0f} MB and {len(audit.results):,} results beside {BEFORE}\n")
        print("| command | CPU s before | now | wall s before | now | peak GB before | now | same output |")
        print("|---|---|---|---|---|---|---|---|")
        del audit
        for name, words in VERBS.items():
            (before, said), (now, says) = (_spent(tree, [w.format(path) for w in words]) for tree in (old, ROOT))
            if now is None:
                raise RuntimeError(f"auditor {name} does not read what it wrote")
            pairs = [(None if before is None else getattr(before, what), getattr(now, what)) for what in SHOWN]
            cells = " | ".join(f"{NOT_READ if one is None else f'{one:.2f}'} | {other:.2f}" for one, other in pairs)
            # The place of the document was written as a word before.
            alike = "yes" if said.replace(b"AUDIT.JSON", str(path).encode()) == says else "no"
            print(f"| {name} | {cells} | {NOT_READ if before is None else alike} |", flush=True)


@contextmanager
def _before(folder: Path) -> Iterator[Path]:
    old = folder / "before"
    subprocess.run(["git", "worktree", "add", "--detach", str(old), BEFORE], cwd=ROOT, check=True, capture_output=True)
    try:
        yield old
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(old)], cwd=ROOT, check=False)


def _spent(tree: Path, words: list[str]) -> tuple[Spent | None, bytes]:
    """Runs `auditor WORDS` of a source tree: what it took, None where it refuses to read, and what it printed."""
    env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "auditor", *words], env=env, cwd=tree, stdout=out, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1, REFUSED):
            raise RuntimeError(f"auditor {' '.join(words)} ended with {process.returncode}")
        out.seek(0)
        took = Spent(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e6)
        return None if process.returncode == REFUSED else took, out.read()


def _large(folder: Path) -> Audit:
    """A quick audit of the bundled graph, repeated until it has the size."""
    for words in ((*TRAIN, "-o", "target"), ("run", "target", "--profile", "quick", "--seeds", "0", "-o", "run")):
        done = subprocess.run([sys.executable, "-m", "auditor", *words], cwd=folder, capture_output=True, check=False)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"auditor {' '.join(words)} ended with {done.returncode}: {done.stderr.decode()[-800:]}")
    return repeated(from_bytes((folder / "run" / "audit.json").read_bytes()), BYTES)


def repeated(audit: Audit, size: int) -> Audit:
    """An audit whose results and cells are repeated until it has about `size` bytes; its charts stand there once."""
    bare = [cell.model_copy(update={"series": ()}) for cell in audit.cells]
    one = len(to_bytes(audit.model_copy(update={"cells": tuple(bare)})))
    copies = range(1, max(size // one, 1) + 1)
    cells = [*audit.cells, *(_cell(cell, k) for k in copies for cell in bare)]
    results = [*audit.results, *(_result(result, k, audit.target.name) for k in copies for result in audit.results)]
    coverage = audit.coverage.model_copy(update={"planned": len(cells)})
    whole = {"cells": tuple(cells), "results": tuple(results), "coverage": coverage, "plan": ""}
    return gate(audit.model_copy(update=whole), Policy.named("standard"), as_of=DAY)


def _cell(cell: CellRow, copy: int) -> CellRow:
    return cell.model_copy(update={"key": f"{cell.key}-{copy}", "arm": f"copy-{copy}"})


def _result(result: Result, copy: int, target: str) -> Result:
    arm = f"copy-{copy}"
    by_seed = tuple(each.model_copy(update={"cell": f"{each.cell}-{copy}"}) for each in result.by_seed)
    name = fingerprint(result.finding, target, arm, result.probe, result.metric, result.subset)
    return result.model_copy(update={"arm": arm, "by_seed": by_seed, "fingerprint": name})
