"""An audit with fewer of the edges and items that it names, for whoever may not see the data."""

from __future__ import annotations

from auditor.document.audit import Audit, CellRow
from auditor.document.serial import sealed


def naming(audit: Audit, most: int, *, seal: bool = True) -> Audit:
    """The audit with at most `most` edges or items in each of its lists of the most exposed; no number changes.

    It is what a run with that limit would have written, besides the keys of its cells.

    Args:
        audit: an audit document.
        most: 0 leaves every list out.
        seal: whether it gets the digest of its new content; one that is only shown needs none.
    """
    asked = audit.config.get("exposed", 0)
    is_within = not isinstance(asked, int) or asked <= most
    if is_within and all(len(listed.items) <= most for cell in audit.cells for listed in cell.exposed):
        return audit
    fewer = audit.model_copy(
        update={
            "cells": tuple(_naming(cell, most) if cell.exposed else cell for cell in audit.cells),
            "config": {**audit.config, "exposed": most},
        }
    )
    return sealed(fewer) if seal else fewer


def _naming(cell: CellRow, most: int) -> CellRow:
    kept = [listed.model_copy(update={"items": listed.items[:most]}) for listed in cell.exposed] if most else []
    return cell.model_copy(update={"exposed": tuple(kept)})
