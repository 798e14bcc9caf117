"""Whom a model gives away, by name: edges and training items as indices. They are private data themselves."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.document.results import Measured
from auditor.records import Model


class ExposedItem(Model):
    """One private edge, or one item that the model was trained on.

    Attributes:
        ids: the two ends of the edge, or the item; from 0, as in the data.
        with_model: share of the non-edges (of the items that were not trained on) that are named before it by whoever
            has the model and the side knowledge; half of those that are named with it.
        without_model: the same of the strongest guess without the model.
        label: class of the item; None for an edge.
        size: degree of a node, nodes of a graph; None for an edge.
    """

    ids: tuple[int, ...]
    with_model: float
    without_model: float
    label: int | None = None
    size: int | None = None


class Exposed(Model):
    """The most exposed edges or items by one way of asking, the most exposed first.

    Attributes:
        finding, subset: of the numbers that it is the list of.
        of: how many edges or items it was chosen from, every one of them true.
        control: the guess without the model that it is ranked against.
        items: the list.
    """

    finding: str
    subset: str
    of: int
    control: str
    items: tuple[ExposedItem, ...]


def gives_away(numbers: Iterable[Measured]) -> bool:
    """Whether a judged number is above every control: where nothing is proven, nobody is named."""
    found = (number.excess for number in numbers if number.judged)
    return any(excess is not None and excess.lo is not None and excess.lo > 0 for excess in found)
