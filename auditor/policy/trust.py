"""Which validity rows touch a finding, and what they do to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auditor import registry
from auditor.audit import CellRow, ValidityRow
from auditor.joined import Joined
from auditor.taxonomy import FINDING_IDS

FAMILIES = ("privacy", "adversarial", "shift", "artifact", "dp")


@dataclass(frozen=True, slots=True)
class Trust:
    """What the touching rows say.

    Attributes:
        integrity: failed rows of kind integrity; neither a pass nor a fail can be believed.
        strength: failed rows of kind strength; a pass cannot be believed, a verified breach stays true.
        warned: whether a row warns.
    """

    integrity: tuple[str, ...]
    strength: tuple[str, ...]
    warned: bool

    @property
    def failed(self) -> tuple[str, ...]:
        """Ids of all failed rows, integrity first."""
        return (*self.integrity, *self.strength)


class TrustBook:
    """The validity rows of an audit, asked per finding.

    Rows of the target touch what they name. Rows of a cell touch that cell's findings only, wherever else they are
    listed. A word that nobody knows touches everything: a typing error must not turn a failed check into a pass.
    """

    def __init__(self, validity: Sequence[ValidityRow], cells: Sequence[CellRow]) -> None:
        owned = [row for cell in cells for row in cell.validity]
        self._general = [row for row in validity if row not in owned]
        known = {"all", *FAMILIES, *FINDING_IDS, *registry.probes()}
        for cell in cells:
            known |= {cell.family, cell.probe, _id(cell.probe)}
            known |= {word for m in cell.measurements for word in (m.finding, m.name)}
        self._known = known

    def of(self, joined: Joined) -> Trust:
        """What the rows that touch a finding say about it."""
        words = {"all", joined.family, joined.probe, _id(joined.probe), joined.finding, joined.name}
        own = [row for cell in joined.cells for row in cell.validity]
        rows = [row for row in (*self._general, *own) if self._touches(row, words)]
        failed = [row for row in rows if row.status == "fail"]
        return Trust(
            integrity=_ids(row for row in failed if row.kind == "integrity"),
            strength=_ids(row for row in failed if row.kind == "strength"),
            warned=any(row.status == "warn" or (row.status == "fail" and row.kind == "warning") for row in rows),
        )

    def _touches(self, row: ValidityRow, words: set[str]) -> bool:
        return any(word in words or word not in self._known for word in row.touches)


def _id(probe: str) -> str:
    return probe.partition(":")[0]


def _ids(rows: Iterable[ValidityRow]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.id for row in rows))
