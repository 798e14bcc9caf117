"""What the checks of a split say: one row a check, and all of them with the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from auditor.records import Model, Number
from auditor.statistics.estimate import Estimate
from auditor.statistics.multiplicity import holm

Kind = Literal["fault", "excess", "note"]
RowStatus = Literal["pass", "leak", "note", "not_checked"]
ALPHA = 0.01
"""Of all excesses of one audit together: what is more than random splits have."""

KEPT = 1_000  # items that a row names; `found` counts all
NAMED = 5


class SplitRow(Model):
    """One check of a split.

    Attributes:
        id: kebab-case.
        kind: a `fault` cannot be benign; an `excess` is more than random splits of the same items have; a `note` is
            told and decides nothing.
        status: `leak` for a fault or an excess that was found, `note` for something worth reading.
        severity: `high` for a fault, `medium` for an excess, `low` for a note; `none` where nothing was found.
        about: the part, node type or relation; empty where there is one alone.
        found, of: how many items show it, of how many that were looked at.
        expected: median and central 95 % of as many random splits as `n` says; None where there is nothing to expect.
        p: of an excess, corrected by Holm over those of the same audit.
        items: ids, the first 1,000: (node,), (test, its twin in train), (source, target), (place of an event,).
        evidence: what was seen.
        fix: what to do about it; empty where nothing was found.
    """

    id: str
    kind: Kind
    status: RowStatus
    severity: Literal["high", "medium", "low", "none"] = "none"
    about: str = ""
    found: int = 0
    of: int = 0
    expected: Estimate | None = None
    p: Number = None
    items: tuple[tuple[int, ...], ...] = ()
    evidence: str
    fix: str = ""


class SplitReport(Model):
    """Every row about one split.

    Attributes:
        name: of the data or the target.
        level: what is split: `node`, `graph`, `edge` or `event`.
        split: what it is called.
        sizes: items of each part.
        rows: the checks.
        notes: what a reader should know of how the data were read.
        status: `LEAKS` with a leak; `UNDECIDED` where nobody says what was trained on and tested, nothing tests, or no
            check that decides could be made; else `CLEAN`: nothing that was looked for is there more than at random,
            which does not say that no copy differs in a digit.
        exit_code: 1, 3 or 0.
    """

    schema_version: str = "1.0"
    name: str
    level: Literal["node", "graph", "edge", "event"]
    split: str
    sizes: dict[str, int]
    rows: tuple[SplitRow, ...]
    notes: tuple[str, ...] = ()
    status: Literal["CLEAN", "LEAKS", "UNDECIDED"]
    exit_code: Literal[0, 1, 3]

    @classmethod
    def of(
        cls,
        name: str,
        level: Literal["node", "graph", "edge", "event"],
        split: str,
        sizes: dict[str, int],
        rows: Iterable[SplitRow],
        notes: Sequence[str] = (),
    ) -> SplitReport:
        """The report of these rows; excesses are judged together."""
        judged = corrected(tuple(rows))
        leaks = any(row.status == "leak" for row in judged)
        made = any(row.status == "pass" or (row.status == "note" and row.kind == "excess") for row in judged)
        decided = leaks or (made and sizes.get("test", 0) > 0)
        return cls(
            name=name,
            level=level,
            split=split,
            sizes=sizes,
            rows=judged,
            notes=tuple(notes),
            status="LEAKS" if leaks else "CLEAN" if decided else "UNDECIDED",
            exit_code=1 if leaks else 0 if decided else 3,
        )

    @property
    def leaks(self) -> tuple[SplitRow, ...]:
        """Rows that say that something of the test data was visible."""
        return tuple(row for row in self.rows if row.status == "leak")


def fault(
    id_: str,
    found: Sequence[tuple[int, ...]],
    of: int,
    evidence: str,
    fix: str,
    *,
    about: str = "",
    kind: Kind = "fault",
) -> SplitRow:
    """A row about items that cannot be benign, or (`kind` note) that are told alone: found or not."""
    status: RowStatus = "pass" if not found else "note" if kind == "note" else "leak"
    return SplitRow(
        id=id_,
        kind=kind,
        status=status,
        severity="none" if not found else "low" if kind == "note" else "high",
        about=about,
        found=len(found),
        of=of,
        items=tuple(found[:KEPT]),
        evidence=evidence,
        fix=fix if found else "",
    )


def unchecked(id_: str, kind: Kind, evidence: str, fix: str = "", *, about: str = "") -> SplitRow:
    """A check that could not be made, and why."""
    return SplitRow(id=id_, kind=kind, status="not_checked", about=about, evidence=evidence, fix=fix)


def corrected(rows: Sequence[SplitRow]) -> tuple[SplitRow, ...]:
    """The same rows with the excesses judged: a leak where Holm's p over all of them is at most `ALPHA`."""
    tested = [i for i, row in enumerate(rows) if row.p is not None]
    done = list(rows)
    for i, p in zip(tested, holm([float(rows[i].p or 0.0) for i in tested]), strict=True):
        row = rows[i]
        leaks = p <= ALPHA
        done[i] = row.model_copy(
            update={
                "p": p,
                "status": "leak" if leaks else "note" if row.status == "note" else "pass",
                "severity": "medium" if leaks else "low" if row.status == "note" else "none",
                "evidence": f"{row.evidence}; p = {p:.3f}" + (f" of {len(tested)} together" if len(tested) > 1 else ""),
                "fix": row.fix if leaks else "",
            }
        )
    return tuple(done)


def named(items: Sequence[tuple[int, ...]]) -> str:
    """The first few: `3, 8, 11`, or `(3, 8), (8, 11)`."""
    shown = [str(item[0]) if len(item) == 1 else f"({', '.join(map(str, item))})" for item in items[:NAMED]]
    return ", ".join(shown) + (", …" if len(items) > NAMED else "")


def counted(count: int, one: str, many: str = "") -> str:
    """`1 test node`, `1,204 test nodes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def verb(count: float | None, of: float, one: str = "is", many: str = "are") -> str:
    """The verb behind so many of so many: `1 of 5 nodes is`, `0 of 1 node is`, `0 of 5 nodes are`."""
    return one if 1 in (count, of) else many
