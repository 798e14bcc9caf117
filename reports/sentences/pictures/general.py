"""Sentences about any result, and parts that several families share."""

from __future__ import annotations

from auditor.document import Control, Result
from auditor.document.facts import (
    Decorrelation,
)
from reports.sentences import names
from reports.sentences.numbers import (
    MISSING,
    Shares,
    digits,
    value_cell,
)


def nothing(result: Result, item: str) -> str:
    """Dependence that shuffled columns have too."""
    facts = result.facts
    if not isinstance(facts, Decorrelation):
        return plain(result)
    share = Shares.comparing(facts.permuted_share)
    return f"shuffled columns depend {share(facts.permuted_share)} as much as the real ones"


# ---- everything else ------------------------------------------------------------------------------------------------


def plain(result: Result, item: str = "") -> str:
    """A number beside its control: `robust accuracy is 61.2 %, 80.1 % with random edits`."""
    value = value_cell(result.estimate.value, result.unit)
    if result.metric == "precision@edges":
        return f"of as many likeliest pairs as there are links {value} are links"
    what = {"rauc": "the area under accuracy against edits"}.get(result.metric, names.metric(result.metric))
    text = f"{what} is {value}"
    control = result.control
    if control is None:
        return text
    return f"{text}, {value_cell(control.estimate.value, result.unit)} with {names.control(control.name)}"


def other(result: Result, item: str) -> str:
    """S of a finding without words of its own."""
    beside = "its control" if result.control is None else names.control(result.control.name)
    return f"the model does worse than {beside} in {names.metric(result.metric)}"


def sides(result: Result) -> tuple[float | None, float | None]:
    """Own number and that of the control, on the items that the two were compared on: they subtract to the contrast."""
    control: Control | None = result.control
    return result.own.value, None if control is None else control.estimate.value


def points(value: float | None) -> str:
    """Percentage points without a sign."""
    return MISSING if value is None else digits(abs(100 * value), 1)
