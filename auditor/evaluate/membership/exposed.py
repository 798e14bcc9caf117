"""The training items that the model gives away most, as indices."""

from __future__ import annotations

from torch import Tensor

from auditor.document import Measured
from auditor.document.exposed import Exposed, ExposedItem
from auditor.evaluate.membership.scoring import Scored
from auditor.statistics.exposure import most_exposed


def exposed_members(scored: Scored, sizes: Tensor, *, of: Measured, count: int) -> Exposed:
    """The members that attack and side knowledge together name sooner than the strongest guess without the model.

    Args:
        scored: members and others.
        sizes: degree of each node, or nodes of each graph, int64 [items].
        of: a number of these scores, to whose finding and subset the list belongs.
        count: the most that it may hold.
    """
    trial, strongest = scored.trial, scored.comparisons()[0]
    other = None if strongest.other is None else scored.columns[strongest.other]
    found = most_exposed(scored.columns[strongest.own], other, trial.member, count)
    items = [
        ExposedItem(
            ids=(item,),
            with_model=float(own),
            without_model=float(guess),
            label=int(trial.y[place]),
            size=int(sizes[item]),
        )
        for place, item, own, guess in zip(
            found.places, trial.items[found.places].tolist(), found.own, found.other, strict=True
        )
    ]
    return Exposed(finding=of.finding, subset=of.subset, of=trial.members, control=strongest.name, items=tuple(items))
