"""Files of verified edits in the output folder: `perturbations/<cell key>.npz`, part of its transaction.

They travel with the cell, so that a run that goes on, a merge and a cluster have them too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from auditor.runner.plan import PlannedCell

if TYPE_CHECKING:
    from auditor.perturbations import Perturbations

FOLDER: Final = "perturbations"
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of one file: it travels in one line between processes."""


def kept(found: Perturbations | None, cell: PlannedCell) -> tuple[bytes, dict[str, Any]]:
    """The file of a cell, and what its parameters say of it: path and digest.

    Nothing where none is asked for or there are no edits; no file where it would be too large, which is said.
    """
    if found is None or not cell.save_flips:
        return b"", {}
    from auditor.perturbations import to_npz

    raw = to_npz(found, probe=cell.id, seed=cell.seed)
    if len(raw) > MOST_BYTES:
        return b"", {FOLDER: {"left_out": f"{len(raw) / 2**20:.0f} MB, more than {MOST_BYTES / 2**20:.0f} MB"}}
    said = {"file": name_of(cell.key), "sha256": hashlib.sha256(raw).hexdigest(), "sets": len(found.points)}
    return raw, {FOLDER: said}


def name_of(key: str) -> str:
    """Where the file of a cell lies in the output folder."""
    return f"{FOLDER}/{key}.npz"
