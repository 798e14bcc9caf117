"""Which validity rows touch a result, and what they do to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from auditor.document import CellRow, Result, ValidityRow


@dataclass(frozen=True, slots=True)
class Trust:
    """What the touching rows say.

    Attributes:
        integrity: failed rows of kind integrity; neither a pass nor a fail can be believed.
        strength: failed rows of kind strength; a pass cannot be believed, a verified breach stays true.
        warned: whether a row warns.
        noise_floor: share of the items whose label changes by chance alone; 0 where none does.
    """

    integrity: tuple[str, ...]
    strength: tuple[str, ...]
    warned: bool
    noise_floor: float = 0.0

    @property
    def failed(self) -> tuple[str, ...]:
        """Ids of all failed rows, integrity first."""
        return (*self.integrity, *self.strength)


def trust_of(result: Result, validity: Sequence[ValidityRow], cells: Mapping[str, CellRow]) -> Trust:
    """What the rows that touch a result say about it.

    Args:
        result: judged.
        validity: rows about the target; each says which probes it touches.
        cells: by key; the rows of a cell touch that cell's results, and no others; of these those of an adversary who
            holds what the row is about.
    """
    rows = [row for row in validity if row.bears_on(result.probe)]
    own = (row for key in dict.fromkeys(result.cells) for row in cells[key].validity)
    rows += [row for row in own if row.spoils(result.access)]
    failed = [row for row in rows if row.status == "fail"]
    return Trust(
        integrity=_ids(row for row in failed if row.kind == "integrity"),
        strength=_ids(row for row in failed if row.kind == "strength"),
        warned=any(row.status == "warn" or (row.status == "fail" and row.kind == "warning") for row in rows),
        noise_floor=max((row.noise_floor or 0.0 for row in rows), default=0.0),
    )


def _ids(rows: Iterable[ValidityRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.id for row in rows))
