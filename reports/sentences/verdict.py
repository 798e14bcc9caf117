"""The verdict of an audit in words: what it comes to, what is open, and the last line."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.document import NONE, RECIPE, Audit, Result
from auditor.document.codes import (
    BrokeOff,
    Interrupted,
    NeverFinished,
    NothingMeasured,
    PowerOnly,
    StaleAcceptance,
)
from auditor.split_report import verb
from reports.sentences import claim, names
from reports.sentences.codes import holes
from reports.sentences.compose import OPEN, is_found, word
from reports.sentences.numbers import Differences, Shares, closed, count, digits, listed, lowered
from reports.sentences.templates import called, figure, first, template

_NAMED = 4
WORDS = {"PASSED": "PASSED", "FAILED": "FAILED", "INCOMPLETE": "NO VERDICT (INCOMPLETE)"}


def counted(audit: Audit) -> str:
    """`1 of 16 results over its limit, 1 not settled, 2 accepted`."""
    counts = audit.verdict.counts
    total = sum(counts.get(word, 0) for word in ("pass", "fail", "inconclusive", "accepted"))
    failing, void = counts.get("fail", 0), counts.get("untrusted", 0)
    parts = [f"{digits(failing)} of {count(total, 'result')} over {'its' if failing == 1 else 'the'} limit"]
    open_ = max(counts.get("inconclusive", 0) - void, 0)
    for number, what in ((open_, "not settled"), (void, "not counted"), (counts.get("accepted", 0), "accepted")):
        parts += [f"{digits(number)} {what}"] if number else []
    return ", ".join(parts)


def headline(audit: Audit) -> str:
    """`1 of 16 results is over its limit, 3 are not settled.`: the first line behind name and status."""
    counts = audit.verdict.counts
    total = sum(counts.get(word, 0) for word in ("pass", "fail", "inconclusive", "accepted"))
    if audit.verdict.status == "INCOMPLETE":
        return closed(coverage(audit))
    failing, void = counts.get("fail", 0), counts.get("untrusted", 0)
    over = f"{digits(failing)} of {count(total, 'result')}" if failing else f"none of {count(total, 'result')}"
    parts = [f"{over} {'is over its' if failing < 2 else 'are over their'} limit"]
    open_ = max(counts.get("inconclusive", 0) - void, 0)
    for number, what in ((open_, "not settled"), (void, "not counted"), (counts.get("accepted", 0), "accepted")):
        parts += [f"{digits(number)} {'is' if number == 1 else 'are'} {what}"] if number else []
    return closed(", ".join(parts))


def decision(audit: Audit, results: Sequence[Result], item: str) -> str:
    """What to decide, in one sentence.

    Args:
        audit: whose verdict it is.
        results: judged ones of the target as it is, those nearest to their limits first.
        item: what one test item is.
    """
    if audit.verdict.exit_code == 130 or audit.verdict.status == "INCOMPLETE":
        return f"No answer yet: {lowered(_missing(audit))}"
    failing = next((result for result in results if result.has_status("fail")), None)
    if failing is not None:
        words = template(failing.finding)
        return f"Not ready while {words.brief.exposure}: {figure(failing, item).line}. {first(failing)}"
    accepted = audit.verdict.counts.get("accepted", 0)
    but = f" that nobody has accepted ({digits(accepted)} {'was' if accepted == 1 else 'were'})" if accepted else ""
    text = f"Nothing over the limits of “{audit.verdict.policy}” was found{but}."
    seen = next((result for result in results if result.has_status("pass") and is_found(result)), None)
    if seen is None:
        return text
    return f"{text} Seen within its limit: {closed(figure(seen, item).line)}"


def retrained(audit: Audit) -> str:
    """What new trainings of the recipe come to, of the judged results; empty where none was asked for."""
    results = [result for result in audit.results if result.arm == RECIPE and result.judgement is not None]
    if not results:
        return ""
    counts = {status: sum(r.has_status(status) for r in results) for status in ("fail", "inconclusive", "pass")}
    said = {"fail": "over the limit", "inconclusive": "not settled", "pass": "within the limit or not found"}
    parts = [f"{digits(number)} {said[status]}" for status, number in counts.items() if number]
    return closed(f"of {names.arm(RECIPE)}: {', '.join(parts)}")


def unsettled(results: Sequence[Result], item: str) -> str:
    """`Not settled: “Weakest group”; “1 in 10 nodes gone”.`; empty where nothing is open."""
    open_ = [result for result in results if word(result) == OPEN]
    labels = list(dict.fromkeys(f"“{template(result.finding).brief.label(result, item)}”" for result in open_))
    more = [count(len(labels) - _NAMED, "more result")] if len(labels) > _NAMED else []
    return closed(f"not settled: {'; '.join([*labels[:_NAMED], *more])}") if labels else ""


def _missing(audit: Audit) -> str:
    """What a verdict lacks."""
    if audit.verdict.exit_code == 130:
        return "the run was stopped. What was finished is kept."
    return _incomplete(audit)


def by_arm(audit: Audit) -> str:
    """`without a defence: 1 result over its limit (too much confidence); 4 more on controls`; empty where none is."""
    assert audit.comparison is not None  # of comparisons alone
    failing = [result for result in audit.results if result.has_status("fail")]
    parts = []
    for arm in (arm.arm for arm in audit.comparison.arms if not arm.control_of):
        own = [result for result in failing if result.arm == arm]
        what = listed(list(map(lowered, called(own))))
        where = "without a defence" if arm == NONE else f"with {arm}"
        over = f"{count(len(own), 'result')} over {'its' if len(own) == 1 else 'the'} limit"
        parts += [f"{where}: {over} ({what})"] if own else []
    controls = audit.verdict.counts.get("on_controls", 0)
    more = f"{digits(controls)} {'more ' if parts else ''}on {'a control' if controls == 1 else 'controls'}"
    return "; ".join([*parts, *([more] if controls else [])])


def coverage(audit: Audit) -> str:
    """`13 of 15 tests ran, 1 does not apply, 1 broke off`; `all 15 tests ran`."""
    c = audit.coverage
    if c.ok == c.planned > 1:
        return f"all {count(c.planned, 'test')} ran"
    parts = [f"{digits(c.ok)} of {count(c.planned, 'test')} ran"]
    absent = c.planned - c.ok - c.skipped - c.error - c.timeout
    if c.skipped:
        parts.append(f"{digits(c.skipped)} {'does' if c.skipped == 1 else 'do'} not apply")
    for number, what in ((c.error + c.timeout, "broke off"), (absent, "never started or finished")):
        parts += [f"{digits(number)} {what}"] if number > 0 else []
    return ", ".join(parts)


def further(audit: Audit) -> list[str]:
    """What else the verdict says, without what is listed as not tested or said by its last line."""
    codes = [code for code in audit.verdict.codes if not isinstance(code, BrokeOff | PowerOnly)]
    return [closed(clause) for clause in holes(codes, audit)]


def policy(audit: Audit) -> str:
    """`limits of standard: any large effect; 5 points for mild damage, never for too little confidence`.

    The level, and the questions of this audit that it does not decide: as they were judged.
    """
    v = audit.verdict
    line = f"limits of {v.policy}: any {names.size(v.fail_on)} effect"
    own: dict[str, str] = {}
    for result in audit.results:
        about = names.asked(result)
        if result.question not in ("claim", "artifact") and (text := _limit(result, v.fail_on)):
            own.setdefault(about, f"{text} for {about}")
    return "; ".join(filter(None, (line, ", ".join(own.values()))))


def _limit(result: Result, level: str) -> str:
    """The limit of a judged result; empty where it is what the level of the policy comes to."""
    judgement = result.judgement
    if judgement is None:
        return ""
    limit = judgement.threshold
    if limit is None:
        return "never" if judgement.status == "pass" else ""
    if judgement.set_by == "level":
        return "" if judgement.against == level else f"at least {names.size(judgement.against)}"
    if judgement.floor is not None:
        return f"under {Shares.comparing(judgement.floor)(judgement.floor)}"
    return Differences.of(result.unit).limit(limit)


def last_line(audit: Audit) -> tuple[str, str]:
    """The status word, and the line behind it that ends with the exit code."""
    v, status = audit.verdict, audit.verdict.status
    if v.exit_code == 130:
        stopped = next((code for code in v.codes if isinstance(code, Interrupted)), None)
        kept = "What was finished is kept"
        if stopped is not None:
            done, planned = stopped.finished, stopped.planned
            kept = f"{digits(done)} of {count(planned, 'test')} {verb(done, planned)} kept"
        return "STOPPED", f"{kept}. This is not a pass. Exit code 130."
    if (facts := claim.found(audit)) is not None and v.exit_code in (0, 1, 3):
        accepted = v.counts.get("accepted", 0)
        kept = "Accepted by the baseline. " if accepted else ""
        return facts.verdict, f"{kept}{claim.advice(facts)} Exit code {v.exit_code}{_despite(audit)}."
    if status == "INCOMPLETE":
        return WORDS[status], f"{_incomplete(audit)} Exit code {v.exit_code}."
    text = closed(counted(audit))
    if audit.comparison is not None and (told := by_arm(audit)):
        text += f" {closed(told)}"
    if status == "PASSED":
        return status, f"{text} Other attacks may find more. Exit code {v.exit_code}."
    return status, f"{text} {closed(coverage(audit))} Exit code {v.exit_code}{_despite(audit)}."


def _despite(audit: Audit) -> str:
    """Why a failed audit exits with 0."""
    if audit.verdict.exit_code != 0 or audit.verdict.status != "FAILED":
        return ""
    is_demonstration = audit.argv[:1] == ("demo",)
    return " because this is a demonstration; otherwise 1" if is_demonstration else " because of --exit-zero"


def _incomplete(audit: Audit) -> str:
    """How much ran, and the first reason that the count does not tell."""
    if only := [code for code in audit.verdict.codes if isinstance(code, PowerOnly)]:
        return closed(holes(only, audit)[0]) + " This is not a pass."
    told = (StaleAcceptance, NeverFinished, NothingMeasured)
    reasons = holes([code for code in audit.verdict.codes if not isinstance(code, told)], audit)
    more = f" (and {count(len(reasons) - 1, 'more reason')})" if len(reasons) > 1 else ""
    return closed(": ".join((coverage(audit), *reasons[:1])) + more) + " This is not a pass."
