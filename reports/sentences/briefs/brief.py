"""A result in a label and a figure: the form, and what serves every family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auditor.document import Result
from auditor.document.facts import (
    Shipped,
)
from reports.sentences import names
from reports.sentences.numbers import digits, plural, value_cell


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that people can picture.

    Attributes:
        large: the number itself, a few signs: `135 of 905`, `92 → 72 of 100`.
        text: what it counts, and what it is compared with; continues `large`.
        line: both as a clause without a capital and a full stop.
    """

    large: str
    text: str
    line: str


Drawn = Callable[[Result, str], Figure]


Words = Callable[[Result, str], str]


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to do that is a command.

    Attributes:
        defense: what `--defense` is given.
        cost: what it takes and what it changes, a sentence.
        needs: further options that only the user can fill in (`--group COLUMN`).
        compares: whether it is to be compared first, since it costs accuracy or may not help.
        of: the access that it makes worth less; empty where it helps whatever an adversary holds.
    """

    defense: str
    cost: str
    needs: str = ""
    compares: bool = False
    of: str = ""


def plain_label(result: Result, item: str) -> str:
    """The question of a result, and of which items."""
    text = names.asked(result)
    return f"{text[:1].upper()}{text[1:]}" + (f" ({names.subset(result.subset, [result])})" if result.subset else "")


def own_and_control(result: Result, item: str) -> Figure:
    """Any number beside its control."""
    control = result.control
    value = value_cell(result.own.value, result.unit)
    what = names.metric(result.metric)
    if control is None:
        return Figure(value, what, f"{what} is {value}")
    other = f"{value_cell(control.estimate.value, result.unit)} with {names.control(control.name)}"
    return Figure(value, f"{what}; {other}", f"{what} is {value}, {other}")


@dataclass(frozen=True, slots=True)
class Brief:
    """How a finding is put in a few words; every part has a general form.

    Attributes:
        who: who can do it, `anyone who receives the answers`; empty where nobody has to attack.
        exposure: while this holds, a result over its limit matters: `links are confidential`.
        label: its name in a list of results.
        figure: see `Figure`; without one the picture of the finding stands in.
        remedies: what to do that is a command, the cheapest first.
        is_asked_often: several results of one question are ways of asking it: where space is short the one nearest to
            its limit stands for those that end alike.
    """

    who: str = ""
    exposure: str = "anyone relies on it"
    label: Words = plain_label
    figure: Drawn | None = None
    remedies: tuple[Remedy, ...] = field(default=())
    is_asked_often: bool = False


GENERAL: Final = Brief()


def said(text: str) -> Words:
    """Words that are the same for every result, but for what its adversary holds."""
    return lambda result, item: names.filled(text, result.access)


def budget_label(text: str) -> Words:
    """A label with the budget of edits."""
    return lambda result, item: f"{text} ({names.subset(result.subset, [result])})" if result.subset else text


def defended_label(result: Result, item: str) -> str:
    """What a defence costs, with its name."""
    return f"{plain_label(result, item)}, {names.arm(result.arm)}"


# ---- what lies in a file --------------------------------------------------------------------------------------------


def shipped(stored: str, how: str) -> Drawn:
    """How many of what is stored: `3 of 20`, `stored averages of under 5 nodes`."""

    def figure(result: Result, item: str) -> Figure:
        facts = result.facts
        if not isinstance(facts, Shipped):
            return own_and_control(result, item)
        large = f"{digits(facts.count)} of {digits(facts.of)}"
        text = f"{plural(stored)} {how}"
        return Figure(large, text, f"{large} {text}")

    return figure
