"""Validity rows of a comparison: could a gain be one of size, over a straw man, or over foreign edits alone?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from auditor.compare.arms import Arms, DefenseRequest
from auditor.compare.gain import PROBE, Bools, paired_by_class
from auditor.data.deeprobust import poisoned_by
from auditor.document import NONE, ValidityRow, check
from auditor.document.audit import CheckStatus
from auditor.statistics.estimate import SHARES
from auditor.statistics.seeds import joined
from auditor.targets.tag import DefenseTag, Made
from auditor.targets.target import Target

MAY_LOSE = 0.01
"""Accuracy that a control may have less than the undefended model before a gain over it is one over a straw man."""


def origin_rows(target: Target) -> tuple[ValidityRow, ...]:
    """`attack-origin` of a poisoned graph, about everything that a comparison measures itself."""
    attack = poisoned_by(target.graph.name)
    if not attack:
        return ()
    text = f"{attack} was made against a plain GCN: a gain on this graph is a gain against transferred edits alone"
    row = check("attack-origin", "warning", False, text)
    return (row.model_copy(update={"touches": (PROBE,)}),)


def control_rows(
    request: DefenseRequest,
    controls: Sequence[Made],
    tag: DefenseTag | None,
    arms: Arms,
    y: NDArray[np.int64],
    parts: Mapping[str, Bools],
) -> tuple[ValidityRow, ...]:
    """`arms-matched`, and over all seeds `weak-control`, of a defence that is judged against its own control.

    Args:
        request: the defence.
        controls: its own first, at one seed.
        tag: of the defence at that seed; one with a Guarantee is not judged by a gain.
        arms: of every seed, scored.
        y: labels of the test items, int64 [n].
        parts: sets of test items, bool [n] by name, whose balanced accuracy stands on its own.
    """
    if not controls or tag is None or tag.guarantee is not None:
        return ()
    tags = [t for t in (tag, *(control.defense for control in controls)) if t is not None]
    rows = []
    sizes = [t.notes.get("encoder_parameters") for t in tags]
    if all(size is not None for size in sizes):
        evidence = (
            f"encoders of {request.spec} and its controls have {', '.join(map(str, sizes))} parameters, "
            f"with their heads {', '.join(str(t.notes.get('parameters')) for t in tags)}"
        )
        rows.append(check("arms-matched", "integrity", len(set(sizes)) == 1, evidence))
    weak = _weak_control(tags[1].spec, arms, y, parts, by_class=request.effect is not None)
    return tuple(rows if weak is None else [*rows, weak])


def _weak_control(
    control: str, arms: Arms, y: NDArray[np.int64], parts: Mapping[str, Bools], *, by_class: bool
) -> ValidityRow | None:
    """What a control has lost to the undefended model, in the accuracy that it is the control of.

    Fails where the whole interval over all seeds is beyond a point, warns where the mean is: one item is no straw man.
    """
    seeds = [seed for spec, seed in arms.scores if spec == control and (NONE, seed) in arms.scores]
    if not seeds:
        return None
    sets = parts if by_class and parts else {"": np.ones(len(y), dtype=bool)}
    what, said, lost = "balanced accuracy" if by_class else "accuracy", [], []
    for part, at in sets.items():
        classes = y[at] if by_class else np.zeros(int(at.sum()), dtype=np.int64)
        pairs = [
            [scores.predicted[at] == y[at] if by_class else scores.clean[at] for scores in both]
            for both in ((arms.scores[control, seed], arms.scores[NONE, seed]) for seed in seeds)
        ]
        found = joined([paired_by_class(own, none, classes) for own, none in pairs], SHARES.of_differences)
        mean, lo, hi = (100 * (end or 0.0) for end in (found.value, found.lo, found.hi))
        said.append(f"{what}{f' on {part}' if part else ''} {mean:+.1f} points [{lo:+.1f}, {hi:+.1f}]")
        lost.append((-(found.value or 0.0), -(found.hi or 0.0)))  # on average, and at least
    proven, seen = (any(each[i] > MAY_LOSE for each in lost) for i in (1, 0))
    status: CheckStatus = "fail" if proven else "warn" if seen else "pass"
    evidence = f"{control} against the undefended model: {'; '.join(said)}; a control may lose 1 point"
    return check("weak-control", "strength", status, evidence)
