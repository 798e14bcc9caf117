"""Flips of a file, played back on this target: verified like any claim, and labelled as what they are.

They were found on another model or in another run. What they do to this one is a fact; what they leave says little,
since nothing was searched here: so they join the envelope of a search, and never stand alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.budgets import Level
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.perturbations import read_flips

TRANSFERRED: Final = "transferred, optimistic"
"""What results call them."""


def play_back(
    files: Sequence[Path], levels: Sequence[Level], verifier: Verifier, tried: list[Tried]
) -> Mapping[str, Mapping[str, Any]]:
    """Adds to `tried` every set of the files, at the smallest budget that it keeps to; what became of each file.

    Of many graphs a set is cut to those that are attacked. One that keeps to no budget or cap is left out.

    Raises:
        ConfigError, DataError: see `read_flips`.
    """
    told = {}
    for path in files:
        flips = read_flips(path, verifier.space)
        used = [_verified(each.name, _attacked(each.keys, verifier), levels, verifier) for each in flips]
        tried += [each for each in used if each is not None]
        told[path.name] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "sets": len(flips),
            "beyond_every_budget": used.count(None),
        }
    return told


def replayed_rows(
    told: Mapping[str, Mapping[str, Any]], levels: Sequence[Level], *, capped: bool
) -> tuple[ValidityRow, ...]:
    """A warning for files none of whose sets could be played back: they were named, and changed nothing."""
    idle = [name for name, each in told.items() if each["sets"] == each["beyond_every_budget"]]
    if not idle:
        return ()
    most = max(level.budget for level in levels)
    rules, larger = ("budgets and caps", "eps, or local-cap") if capped else ("budgets", "eps")
    evidence = f"no set of {', '.join(idle)} keeps to the {rules} here, at most {most} flips: give a larger {larger}"
    return (check("replayed", "warning", False, evidence),)


def _verified(name: str, keys: Tensor, levels: Sequence[Level], verifier: Verifier) -> Tried | None:
    """One set at the first budget that allows it; None where none does."""
    for place, level in enumerate(levels):
        claim = FlipSet(level.budget, keys)
        try:
            verified = verifier.check(claim, item_budgets=level.item_budgets)
        except EvaluationError:  # more flips than are allowed here, at a node or in all
            continue
        return Tried(TRANSFERRED, "heuristic", name, place, verified, claim)
    return None


def _attacked(keys: Tensor, verifier: Verifier) -> Tensor:
    """The keys inside graphs that are attacked; all of them on one graph."""
    batch = verifier.space.graph.batch
    if batch is None:
        return keys
    u, _ = verifier.space.ends(keys)
    return keys[torch.isin(batch[u], verifier.items)]
