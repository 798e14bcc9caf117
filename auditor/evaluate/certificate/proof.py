"""What a vote proves at each number of edits, beside what was seen: the same for graphs and for nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from auditor.document import ValidityRow

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Edits = Literal["flips", "additions", "deletions"]


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """One number of edits.

    Attributes:
        kind: which edits it holds for.
        edits: how many.
        certified: items that are right whatever these edits are, bool [n].
        random: share of the random sets of as many edits under which each item was right, [n]; None where none was
            tried.
        found: items that were right under every set of at most as many edits that was tried, bool [n]; likewise.
        exact: whether every set of so many edits was tried.
    """

    kind: Edits
    edits: int
    certified: Bools
    random: Floats | None = None
    found: Bools | None = None
    exact: bool = False

    @property
    def subset(self) -> str:
        """How numbers name it."""
        return f"{self.kind}={self.edits}"


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What is known of one vote.

    Attributes:
        model: what votes: `parts` of the edges, or copies with `noise`.
        voters: how many answers make a vote.
        items: ids, int64 [n].
        right: items that the vote gets right, bool [n].
        target: items that the model itself gets right.
        levels: fewest edits first.
        abstained: items on which no class surely has more than half of all copies.
        rows: checks.
        params: plain values.
    """

    model: Literal["parts", "noise"]
    voters: int
    items: Tensor
    right: Bools
    target: Bools
    levels: tuple[Proven, ...]
    abstained: int
    rows: tuple[ValidityRow, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
