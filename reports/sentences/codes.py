"""Codes of judgements and verdicts in words: each is a clause without a capital and without a full stop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from auditor.document import Audit, Result
from auditor.document.codes import (
    AcceptanceExpired,
    Accepted,
    BrokeOff,
    ClaimUnsettled,
    CoverageLost,
    InsideNoise,
    Interrupted,
    JudgementCode,
    NamedAndSkipped,
    NeverFinished,
    NothingJudged,
    NothingMeasured,
    NoThreshold,
    NotMeasured,
    NotSeparable,
    NotSignificant,
    OneSeed,
    OpenAndMustNot,
    OpenInterval,
    PowerOnly,
    ResultUntrusted,
    Settle,
    SplitUnknown,
    StaleAcceptance,
    StandsAnyway,
    TooBlunt,
    TooUncertain,
    Untrusted,
    Unverified,
    VerdictCode,
    Widened,
    WorseThanAccepted,
)
from reports.sentences import names
from reports.sentences.numbers import Differences, count, day, digits, listed

HOPELESS = 10
"""Times the items there are, from which on nobody will collect as many."""


def why(code: JudgementCode, result: Result, items: str) -> str:
    """What a code of a judgement says of its result.

    Args:
        code: of the result's judgement.
        result: which one.
        items: what more of would make its interval shorter (`test node`, `node`).
    """
    match code:
        case OneSeed():
            return "one seed"
        case Widened():
            return f"{digits(code.together)} numbers are judged together, which widens the range"
        case NotSignificant():
            return (
                f"it is not certain after the correction for several tests (p = {digits(code.p, 3)}, "
                f"needed {digits(code.alpha, 3)})"
            )
        case InsideNoise():
            return f"another order of the same nodes changes up to {digits(100 * code.floor, 3)} % of the labels"
        case NotSeparable():
            return (
                f"more than {names.size(code.at_most)} cannot be proven without the model's training recipe: no model "
                "on a rewired graph shows what degrees and features alone would give away"
            )
        case Settle():
            return settle(code, items)
        case TooBlunt():
            return "a difference as large as the limit may go unseen"
        case OpenInterval():
            return "nothing settles it, since the range has no end there"
        case NoThreshold():
            return "the policy sets no limit for it"
        case NotMeasured():
            return "there is nothing to compare it with"
        case Untrusted():
            return f"this result does not count, since {names.checks(code.checks)} failed"
        case StandsAnyway():
            return f"it stands although {names.checks(code.checks)} failed, and a better attack may do more"
        case TooUncertain():
            return f"the evidence is weaker ({code.confidence}) than the policy asks for ({code.needed})"
        case Accepted():
            by = f" by {code.by}" if code.by else " by a rule of the policy" if code.source == "suppress" else ""
            return f"accepted{by} until {day(code.until)}: {code.reason}"
        case AcceptanceExpired():
            return f"it was accepted until {day(code.until)}, which is over"
        case WorseThanAccepted():
            up_to = "" if code.hi is None else f"up to {Differences.of(result.unit).plain(code.hi)}, "
            return f"it is worse than what was accepted ({up_to}{names.size(code.severity)})"
        case _:
            assert_never(code)


def settle(code: Settle, items: str) -> str:
    """What would settle an open result is something to do, or nothing that anybody would do."""
    if enough := ways(code, items):
        return f"this data cannot settle it: {enough} would"
    many = "" if code.items is None else f": that takes about {count(code.items, f'more {items}')}"
    return f"this data cannot settle it{many}; judge by hand"


def ways(code: Settle, items: str) -> str:
    """`5 seeds in all or about 38 more test nodes`; empty where neither is within reach."""
    seeds = [] if code.seeds is None else [f"{count(code.seeds, 'seed')} in all"]
    is_near = code.items is not None and code.items <= HOPELESS * code.there
    more = [f"about {count(code.items or 0, f'more {items}')}"] if is_near else []
    return listed([*seeds, *more], "or")


def all_of(kinds: tuple[type, ...], result: Result, items: str) -> list[str]:
    """Clauses of the codes of these kinds, in the order of the judgement."""
    codes = () if result.judgement is None else result.judgement.codes
    return [why(code, result, items) for code in codes if isinstance(code, kinds)]


def hole(code: VerdictCode, audit: Audit) -> str:
    """What kept an audit from a verdict, or what else the verdict says."""
    match code:
        case BrokeOff():
            return f"{_test(code.probe, code.arm)} with seed {code.seed}: {code.reason}"
        case NeverFinished():
            return f"{digits(code.cells)} of {count(code.planned, 'test')} never started or finished"
        case NamedAndSkipped():
            where = _test(code.probe, code.arm)
            return f"{where} was asked for by name and cannot run here with seed {code.seed}: {code.reason}"
        case SplitUnknown():
            return (
                f"nobody named the items that the model was trained on, and {listed(code.probes)} "
                "need items it has not seen"
            )
        case Unverified():
            return "UNVERIFIED: nothing shows that this is the model you trained; give a reference or a known accuracy"
        case CoverageLost():
            return f"{_test(code.probe, code.arm)} ran when the baseline was written, and not here"
        case NothingMeasured():
            return "no test gave a result"
        case NothingJudged():
            return f"the test {code.probe} gave numbers, none of which can be judged"
        case ResultUntrusted():
            return f"{_named(code.fingerprint, audit)} does not count"
        case ClaimUnsettled():
            return "the claim is neither refuted nor supported"
        case PowerOnly():
            able = "could" if code.possible else "could not"
            return f"only power was asked for and nothing was run; an audit by this plan {able} refute the claim"
        case OpenAndMustNot():
            return f"{_named(code.fingerprint, audit)} is not settled, and the policy does not let that pass"
        case Interrupted():
            return f"stopped after {digits(code.finished)} of {count(code.planned, 'test')}"
        case StaleAcceptance():
            return _stale(code)
        case _:
            assert_never(code)


def holes(codes: Iterable[VerdictCode], audit: Audit) -> list[str]:
    """Clauses of a verdict's codes, equal ones once, and one for all results that do not count."""
    codes = list(codes)
    void = [code for code in codes if isinstance(code, ResultUntrusted)]
    if len(void) < 2:
        return list(dict.fromkeys(hole(code, audit) for code in codes))
    prints = {code.fingerprint for code in void}
    probes = dict.fromkeys(each.probe for each in audit.results if each.fingerprint in prints)
    together = f"{count(len(void), 'result')}{f' of {listed(list(probes))}' if probes else ''} do not count"
    return list(dict.fromkeys(together if isinstance(code, ResultUntrusted) else hole(code, audit) for code in codes))


def _test(probe: str, arm: str) -> str:
    return f"the test {names.source(probe, arm)}"


def _named(fingerprint: str, audit: Audit) -> str:
    found = next((result for result in audit.results if result.fingerprint == fingerprint), None)
    if found is None:
        return f"the result {fingerprint[:12]}"
    return f"the result of {names.source(found.probe, found.arm)}, {names.measured(found)},"


def _stale(code: StaleAcceptance) -> str:
    what = "the acceptance" if code.source == "baseline" else "the suppress rule"
    reasons = {
        "absent": "no result of this audit is meant by it",
        "passes": "the result no longer fails",
        "expired": "it is over" if code.until is None else f"it ended on {day(code.until)}",
    }
    on = f" on {code.target}" if code.target else ""
    return f"{what} of {code.finding}{on} accepts nothing any more: {reasons[code.why]}"
