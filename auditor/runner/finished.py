"""A cell that is done, and its line in the record of a run."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from auditor.document import RECIPE, CellRow, Measured
from auditor.document.audit import CellStatus
from auditor.errors import AuditorError
from auditor.printable import error_text
from auditor.runner.plain import Edits, Scores
from auditor.runner.plan import PlannedCell
from auditor.targets.tag import Made


@with_config(ConfigDict(extra="forbid", ser_json_inf_nan="null"))
@dataclass(frozen=True, slots=True)
class Finished:
    """One cell that is done, with the numbers it gave.

    Attributes:
        row: as the document holds it.
        access: what the adversary held.
        measured: the numbers; none unless the cell is `ok`.
        tries: seeds are tries of one adversary on the same weights: the worst one is the result.
        fixed: the probe draws nothing, so that one cell says all.
        flips: edits that it found, for every other arm of a comparison.
        made: the model that it fitted.
        scores: what that model gets right, under everybody's edits.
        misfit: it was refused since a parameter does not fit this target: a mistake of whoever asked.
        models: files of the models that were trained for it, or taken from the disk.
        edits: the file of its verified edits, in base64; empty where none is kept.
    """

    row: CellRow
    access: tuple[str, ...] = ()
    measured: tuple[Measured, ...] = ()
    tries: bool = False
    fixed: bool = False
    flips: tuple[Edits, ...] = ()
    made: Made | None = None
    scores: Scores | None = None
    misfit: bool = False
    models: tuple[str, ...] = ()
    edits: str = ""


_ADAPTER: TypeAdapter[Finished] = TypeAdapter(Finished)


def to_line(finished: Finished) -> bytes:
    """One line of JSON, without a newline at its end."""
    return _ADAPTER.dump_json(finished)


def from_line(line: bytes) -> Finished:
    """The cell of a line.

    Raises:
        ValueError: it is no such line, or only a part of one.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        raise ValueError(f"no line of a finished cell: {error.error_count()} faults") from None


def row_of(planned: PlannedCell, status: CellStatus, reason: str) -> CellRow:
    """The row of a cell before it has run, or that never will."""
    return CellRow(
        key=planned.key,
        probe=planned.spec,
        family=planned.family,
        arm=planned.arm,
        seed=planned.seed,
        status=status,
        reason=reason,
        lacks=planned.lacks,
        params=dict(planned.params),
    )


def unmade(arm: str, why: str) -> str:
    """What the rows of an arm say whose model could not be made."""
    return f"the recipe was not trained anew: {why}" if arm == RECIPE else f"{arm} was not fitted: {why}"


def said_of(error: BaseException) -> str:
    """What an error says, with its class unless it is one of ours."""
    return error_text(error, named=not isinstance(error, AuditorError))
