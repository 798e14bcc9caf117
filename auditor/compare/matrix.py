"""The matrix: every arm beside no defence and beside its controls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.compare.decisions import decisions_of
from auditor.compare.pairing import Compared, Row, rows_of
from auditor.document import Arm, Comparison
from auditor.targets.tag import Made


def comparison_of(compared: Compared, left_out: tuple[str, ...] = ()) -> Comparison:
    """One arm per defence: headline numbers, paired differences, and what may be said of those that were fitted."""
    rows = rows_of(compared)
    said, front = decisions_of(rows, compared), _pareto(list(rows.values()))
    arms = []
    reasons = compared.arms.reasons
    for spec, row in rows.items():
        why = [reasons[spec, seed][1] for seed in compared.seeds if (spec, seed) in reasons]
        arms.append(
            Arm(
                arm=spec,
                control_of=row.request.control_of,
                headlines=tuple(row.headlines.values()),
                decisions=() if why else said[spec],
                seconds=_seconds(spec, compared),
                pareto=spec in front,
                guarantee=None if row.tag is None else row.tag.guarantee,
                notes={} if row.tag is None else {key: v for key, v in row.tag.notes.items() if key != "seconds"},
                reason=why[0] if why else "",
            )
        )
    return Comparison(arms=tuple(arms), seeds=tuple(compared.seeds), left_out=left_out)


def _seconds(spec: str, compared: Compared) -> float | None:
    """Of one fit, mean over seeds; also where the model came from the cache of trained ones."""
    arms = compared.arms
    spent = [
        max(arms.seconds[spec, seed], _fit_seconds(arms.targets.get((spec, seed))))
        for seed in compared.seeds
        if (spec, seed) in arms.seconds
    ]
    return round(float(np.mean(spent)), 3) if spent else None


def _fit_seconds(target: Made | None) -> float:
    noted = None if target is None or target.defense is None else target.defense.notes.get("seconds")
    return float(noted) if isinstance(noted, int | float) else 0.0


def _pareto(rows: Sequence[Row]) -> set[str]:
    """Arms that no other arm beats in every headline at once; one that lacks a headline is on no front.

    A number that only some arms can have, of a probe of one defence's artefact, takes no part.
    """
    shared = dict.fromkeys(column for row in rows for column in row.headlines if column.for_all)
    points = {
        row.spec: np.array(
            [
                (1 if column.worse_when == "lower" else -1) * (row.headlines[column].estimate.value or 0.0)
                for column in shared
            ]
        )
        for row in rows
        if shared and all(column in row.headlines for column in shared)
    }

    def is_beaten(own: NDArray[np.float64]) -> bool:
        return any((other >= own).all() and (other > own).any() for other in points.values())

    return {spec for spec, own in points.items() if not is_beaten(own)}
