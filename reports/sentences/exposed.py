"""The most exposed edges and training items by name, where they were asked for, and what the list itself is."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.document import Result
from auditor.document.exposed import Exposed, ExposedItem
from reports.sentences import names
from reports.sentences.numbers import Shares, count, digits
from reports.sentences.templates import template

TITLE = "Most exposed"
WARNING = "Indices of training data, as confidential as the data; --exposed 0 leaves them out."
HAND_ON = (
    "Pass them on only to whoever may see the data itself: for everybody else, auditor report audit.json --format html "
    "--exposed 0 makes this page without them."
)
ELSEWHERE = "who is most exposed stands in audit.json and audit.html alone, since the indices are training data"
NOBODY = "nobody is named: no test of edges or members proves that the model adds to the guess without it"


def label(result: Result, item: str) -> str:
    """What found them: `Links read from what queries change`."""
    return template(result.finding).brief.label(result, item)


def line(listed: Exposed) -> str:
    """`12–407, 33–98 (2 of 5,278)`, the most exposed first."""
    return f"{', '.join(map(name, listed.items))} ({digits(len(listed.items))} of {digits(listed.of)})"


def name(item: ExposedItem) -> str:
    """`12–407` for an edge, `12` for an item."""
    return "–".join(map(str, item.ids))


def about(listed: Exposed, seeds: int = 1) -> str:
    """What the columns count, and how the list was made."""
    told = f"of {digits(listed.of)}, by how much sooner they are named than by {names.control(listed.control)}"
    return told + (f"; the first of {count(seeds, 'seed')}, the others are in audit.json" if seeds > 1 else "")


def heads(listed: Exposed, item: str) -> list[str]:
    """Heads of `rows`."""
    is_edge = len(listed.items[0].ids) > 1
    one, others = ("link", "unlinked pairs") if is_edge else (item, "outsiders")
    share = _shares(listed)
    before = [f"{others} named before it, of {digits(share.of)}: {who}" for who in ("with the model", "without")]
    return [one, *([] if is_edge else ["class", "degree" if item == "node" else "nodes"]), *before]


def rows(listed: Exposed) -> list[list[str]]:
    """One line an edge or item."""
    share = _shares(listed)
    known = [[] if each.label is None else [str(each.label), str(each.size)] for each in listed.items]
    return [
        [name(each), *more, share.bare(each.with_model), share.bare(each.without_model)]
        for each, more in zip(listed.items, known, strict=True)
    ]


def _shares(listed: Exposed) -> Shares:
    return Shares.comparing(*_ends(listed.items))


def _ends(items: Sequence[ExposedItem]) -> list[float]:
    return [end for each in items for end in (each.with_model, each.without_model)]
