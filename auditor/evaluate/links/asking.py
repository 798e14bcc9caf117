"""What link probes that ask queries need beside the others: which nodes are asked about, and a check of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import SkippedError
from auditor.evaluate.links.twins import shared_rng
from auditor.probe import Cell, Registered
from auditor.targets.queries import COMPARED, UNCHANGED, check_features
from auditor.view import Access

MANY_NODES = 20_000
MOST_QUERIES = {"quick": 500, "standard": 2_000, "full": 2_000}
"""Nodes that are asked about on a large graph; in the quick profile on any."""


def check_queries(cell: Cell) -> None:
    """Raises SkippedError where the served graph cannot be asked about, or no row of it could be changed."""
    if not cell.side.asks_served:
        raise SkippedError(f"needs answers about the graph that is served; [access] queries is {cell.side.queries}.")
    check_features(cell.target)


def asked_nodes(cell: Cell, attack: Registered, max_queries: int | None) -> Tensor | None:
    """The nodes that an attack may ask about, int64 ascending, drawn without the truth; None for all or none."""
    n = cell.target.graph.num_nodes
    if Access.QUERIES not in attack.access:
        return None
    most = max_queries
    if most is None and (n > MANY_NODES or cell.profile == "quick"):
        most = MOST_QUERIES[cell.profile]
    if most is None or most >= n:
        return None
    return torch.from_numpy(shared_rng(cell, "queries").choice(n, most, replace=False)).sort().values


def query_rows(notes: Mapping[str, Any]) -> tuple[ValidityRow, ...]:
    """Whether an unchanged row changes no answer, where queries were asked; `notes` as `run_attack` leaves them."""
    if "moved" not in notes:
        return ()
    way = "by the model itself, one forward a query"
    if notes["engine"] != "full":
        way = f"by {notes['engine']}, within {max(notes['apart'], 1e-16):.0e} of the model itself on {COMPARED} nodes"
    evidence = f"{notes['moved']} answers changed when {UNCHANGED} nodes kept their features; answered {way}"
    return (check("query-consistent", "integrity", notes["moved"] == 0, evidence),)
