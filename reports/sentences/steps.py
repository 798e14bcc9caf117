"""What to do next: what the findings over their limits ask for, what would settle open ones, what must be mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auditor.document import Audit, Result
from auditor.document.codes import NotSeparable, Settle
from auditor.document.facts import ClaimFacts
from reports.sentences import names
from reports.sentences.codes import ways
from reports.sentences.compose import OPEN, OVER, word
from reports.sentences.templates import template

PUBLISH_NOT = "Do not publish this claim. Recompute it from the mechanism's parameters."
RUN_ONE = "Audit a run as well (--defense, --train or --scores): arithmetic says nothing of the code."
BY_HAND = "Judge by hand what is open: this data cannot settle it."
RECIPE_WANTED = "Give the model's training recipe and audit again: a twin tells a leak from degrees and features."
MORE_CANARIES = "Settle what is open: more canaries or runs."


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, and the findings that it answers."""

    text: str
    findings: tuple[str, ...] = ()


def steps(audit: Audit, results: Iterable[Result]) -> list[Step]:
    """What to do, in the order of the results; equal advice once."""
    item = names.items(audit.target.task.level)
    found: dict[str, list[str]] = {}
    for result in results:
        text = _advice(result, item)
        if text and result.finding not in found.setdefault(text, []):
            found[text].append(result.finding)
    if any(cell.status in ("error", "timeout") for cell in audit.cells):
        found["Find out why tests broke off; until they run, nothing is shown by a pass."] = []
    checks = (*audit.validity, *(row for cell in audit.cells for row in cell.validity))
    if any(row.status == "fail" for row in checks):
        found["Mend the failed checks under “Can this audit be trusted?” and run the audit again."] = []
    return [Step(text, tuple(ids)) for text, ids in found.items()]


def _advice(result: Result, item: str) -> str:
    amount = word(result)
    if isinstance(result.facts, ClaimFacts):
        if amount == OVER:
            return PUBLISH_NOT
        is_static = result.facts.reason == "not-run"
        return "" if amount != OPEN else RUN_ONE if is_static else MORE_CANARIES
    if amount == OVER:
        return template(result.finding).first
    if amount != OPEN:
        return ""
    codes = () if result.judgement is None else result.judgement.codes
    open_ = next((code for code in codes if isinstance(code, Settle)), None)
    if open_ is None:
        return RECIPE_WANTED if any(isinstance(code, NotSeparable) for code in codes) else ""
    enough = ways(open_, template(result.finding).counted(item))
    return f"Settle what is open: {enough}." if enough else BY_HAND
