"""What one corruption did to a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from auditor.data.graph import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """An edited graph and the claim about it.

    Attributes:
        graph: after the edit.
        node_ids: which nodes of the graph before are left, int64 ascending; None for all.
        claimed_rate: share of edges, non-zero feature entries or nodes edited; None where there is no such share.
        leaves_domain: whether features became ones that real data could not hold.
        notes: plain values printed with the row.
    """

    graph: Graph
    node_ids: Tensor | None = None
    claimed_rate: float | None = None
    leaves_domain: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
