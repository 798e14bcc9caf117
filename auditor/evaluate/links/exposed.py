"""The private edges that the model gives away most, as indices."""

from __future__ import annotations

from auditor.document.exposed import Exposed, ExposedItem
from auditor.evaluate.links.measure import Beside
from auditor.statistics.exposure import most_exposed


def exposed_links(strongest: Beside, *, finding: str, count: int) -> Exposed:
    """The edges that attack and side knowledge together name sooner than the strongest guess without the model.

    Args:
        strongest: the comparison with that guess.
        finding: that the list belongs to.
        count: the most that it may hold.
    """
    scored, other = strongest.scored, strongest.other
    pairs = scored.pairs
    found = most_exposed(
        scored.columns[strongest.own], None if other is None else scored.columns[other], pairs.is_edge, count
    )
    items = [
        ExposedItem(ids=(int(u), int(v)), with_model=float(own), without_model=float(guess))
        for (u, v), own, guess in zip(pairs.pairs[:, found.places].T, found.own, found.other, strict=True)
    ]
    return Exposed(finding=finding, subset=pairs.subset, of=pairs.positives, control=strongest.name, items=tuple(items))
