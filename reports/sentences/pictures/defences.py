"""Sentences about what defences ship and change, with their numbers."""

from __future__ import annotations

from auditor.document import Result
from auditor.document.facts import (
    Shipped,
)
from auditor.split_report import verb
from reports.sentences import names
from reports.sentences.numbers import (
    Shares,
    count,
    digits,
)
from reports.sentences.pictures.general import plain, sides
from reports.sentences.pictures.privacy import times

# ---- what lies in a file --------------------------------------------------------------------------------------------


def small(result: Result, item: str) -> str:
    """Stored averages of few nodes."""
    facts = result.facts
    if not isinstance(facts, Shipped):
        return member(result, item)
    text = (
        f"{digits(facts.count)} of {count(facts.of, 'stored average')} {verb(facts.count, facts.of)} of under 5 nodes"
    )
    if facts.alone:
        return f"{text}, {digits(facts.alone)} of one"
    return text if facts.smallest is None else f"{text}, the smallest of {count(facts.smallest, 'node')}"


def live(result: Result, item: str) -> str:
    """Training nodes named in the file."""
    facts = result.facts
    if not isinstance(facts, Shipped):
        return plain(result)
    stored = result.control.estimate.value if result.control is not None else None
    text = f"the file holds the ids of {digits(facts.count)} of {count(facts.of, 'training node')}"
    needs = "none" if stored == 0 else digits(stored)
    return text if stored is None else f"{text}; stored averages need {needs}"


def member(result: Result, item: str) -> str:
    """How often a training node is told from another of its cluster."""
    own, beside = sides(result)
    if result.unit != "auc" or result.control is None:
        return plain(result)
    share = Shares.comparing(own, beside)
    other = "by chance" if result.control.name == "chance" else "with averages of other nodes"
    text = f"shown a training node and another of its cluster, it picks the training node {times(share, own)}"
    return f"{text}; {other} {share.bare(beside)}"


# ---- defences -------------------------------------------------------------------------------------------------------


def costs_answers(result: Result, item: str) -> str:
    """S of a defence that costs right answers."""
    where = {"worst_case_accuracy": " under edits", "poisoned_accuracy": " on the poisoned graph"}
    return f"the defence {result.arm} costs right answers{where.get(result.metric, '')}"


def gain(result: Result, item: str) -> str:
    """Right answers with a defence beside its control."""
    own, beside = sides(result)
    by_class = "balanced" in result.metric
    share = Shares.comparing(own, beside, n=0 if by_class else result.estimate.n)
    after = f" after edits of {names.subset(result.subset)}" if result.subset.startswith("eps=") else ""
    right = f"{share(own, item)} right{after}{' (mean of classes)' if by_class else ''}"
    if beside is None:
        return right
    if result.metric == "worst_case_accuracy":
        return f"{right}; {share.bare(beside)} unedited"
    other = names.control(result.control.name) if result.control is not None else "the control"
    return f"{right}; {other} {share.bare(beside)}"


def effect(result: Result, item: str) -> str:
    """Right answers with learned weights beside their control."""
    own, beside = sides(result)
    share = Shares.comparing(own, beside)
    where = f" of {result.subset}" if result.subset else ""
    return f"{share(own, item)}{where} right (mean of classes); the control {share.bare(beside)}"
