"""A repair beside its control in words: what was mended, what that cost, and why other nodes could not be mended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from auditor.document import Contrast
from auditor.document.facts import RepairFacts, RepairRun
from auditor.split_report import verb
from reports.sentences.numbers import Differences, called, closed, count, digits, duration, value_cell

SHOWN: Final = 10
"""Ids that a line names; the others are counted."""
_METHODS: Final[Mapping[str, str]] = {"gre-plus": "gradient rewiring", "finetune": "fine-tuning"}
_OUTCOMES: Final[Mapping[str, str]] = {
    "repaired": "repaired",
    "already-right": "right already",
    "fell-again": "not repaired, a later edit made it wrong again",
    "costs-too-much": "not repaired, costs more than the budget",
    "spent": "not repaired, no direction corrects it without hurting training nodes",
    "steps-used": "not repaired, still wrong after the last step",
    "no-gradient": "not repaired, its loss has no finite gradient",
}


def lines(facts: RepairFacts) -> list[str]:
    """All that is said of a repair, a sentence a line."""
    own = facts.own
    said = [
        f"{_mended(own)} within a budget of {Differences.of('share').limit(own.budget)} ({method(own)}, "
        f"{count(own.steps, 'step')}, {duration(own.seconds)})",
        *_beside(facts),
        f"accuracy on the {count(own.test.n, 'test node')} outside the list: {_moved(own.test)}",
        f"accuracy on the {count(own.validation.n, 'validation node')} outside the list, where the budget is read: "
        f"{_moved(own.validation)}",
        f"accuracy on all {count(own.after.n, 'test node')}, the list included: "
        f"{value_cell(own.before.value, 'share')} before, {value_cell(own.after.value, 'share')} after",
        f"right before and wrong now, outside the list: {count(len(own.broken), 'test node')}{_ids(own.broken)}",
    ]
    said += [f"{text}: {digits(len(ids))}{_ids(ids)}" for name, text in _OUTCOMES.items() if (ids := own.ids(name))]
    idle = tuple(row.node for row in own.nodes if row.inactive_anchors)
    if idle:
        said.append(f"edited while a part of the training nodes had no gradient: {digits(len(idle))}{_ids(idle)}")
    if own.ids("repaired"):
        said.append("a repaired label is memorised now, which tells that its node was repaired")
    return [closed(text) for text in said]


def method(run: RepairRun) -> str:
    """What a way to make steps is called."""
    return _METHODS.get(run.method, run.method)


def _beside(facts: RepairFacts) -> list[str]:
    """What the same list comes to without the idea, and the difference; nothing without a control."""
    control, gained = facts.control, facts.gained
    if control is None or gained is None or gained.value is None:
        return []
    write = Differences.of("share", gained, sides=("less", "more"))
    lo, hi = gained.lo or 0.0, gained.hi or 0.0
    word = "better than" if lo > 0 else "worse than" if hi < 0 else "no better than"
    return [
        f"control: by {method(control)} {_mended(control)} within the same budget, accuracy on the test nodes outside "
        f"the list: {_moved(control.test)}",
        f"share of the list that is repaired, paired by node: {write.said(gained.value)} ({write.between(gained)}): "
        f"{word} {method(control)}",
    ]


def _mended(run: RepairRun) -> str:
    mended = len(run.ids("repaired"))
    return f"{digits(mended)} of {count(len(run.asked), 'wrong node')} {verb(mended, len(run.asked))} repaired"


def _moved(contrast: Contrast) -> str:
    """`61.5 points worse (between 42.7 and 74.4)`."""
    harm = contrast.negated()
    if harm.value is None:
        return "not measured"
    write = Differences.of("share", harm)
    return f"{write.said(harm.value)} ({write.between(harm)})"


def _ids(ids: tuple[int, ...]) -> str:
    if not ids:
        return ""
    more = [f"{digits(len(ids) - SHOWN)} more"] if len(ids) > SHOWN else []
    return f" ({called('node', [*ids[:SHOWN], *more])})"
