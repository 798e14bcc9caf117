"""A result as a sentence: the stem follows from its judgement, the clauses from its template.

Found and over its limit, found within it, not found, cannot tell, not settled, does not count: so no kind of result
lacks a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.document import RECIPE, Estimate, Judgement, Result, excess_of
from auditor.document.codes import (
    AcceptanceExpired,
    Accepted,
    InsideNoise,
    NoThreshold,
    NotMeasured,
    NotSeparable,
    NotSignificant,
    OneSeed,
    OpenInterval,
    Settle,
    StandsAnyway,
    TooBlunt,
    TooUncertain,
    Untrusted,
    Widened,
    WorseThanAccepted,
)
from auditor.document.facts import ClaimFacts
from reports.sentences import claim as claims
from reports.sentences import names
from reports.sentences.codes import all_of
from reports.sentences.numbers import Differences, Shares, closed, count, listed
from reports.sentences.templates import Template, basis, figure, first, picture, sides, template, who

OVER, SEEN, ABSENT, OPEN, ACCEPTED, VOID, SHOWN = (
    "over the limit",
    "seen",
    "not found",
    "not settled",
    "accepted",
    "does not count",
    "shown, not judged",
)
UNIT_WITHOUT_LIMIT = 0.1
_NAMED = 3
"""Results that do not count and are named where all of them are one line."""
UNASKED, UNANSWERED = "not tested", "no answer"
_PASSING = ("within the limit", "within what the policy lets pass")
"""Of what is seen and passes: with a limit, and without one."""
_SETTLING = (
    TooBlunt, Settle, OpenInterval, NoThreshold, NotMeasured, NotSeparable, NotSignificant, InsideNoise, TooUncertain,
)  # fmt: skip


def word(result: Result) -> str:
    """What a judgement amounts to; `seen` is proven and within the limit."""
    judgement = result.judgement
    if judgement is None:
        return SHOWN
    if judgement.status == "inconclusive":
        return VOID if judgement.has(Untrusted) else OPEN
    if judgement.status == "pass":
        return SEEN if is_found(result) else ABSENT
    return OVER if judgement.status == "fail" else ACCEPTED


def said(result: Result, item: str = "node") -> str:
    """All that is said of one result, in full sentences.

    Args:
        result: judged or only shown.
        item: what one test item is (`node`, `graph`).
    """
    judgement = result.judgement
    if judgement is None:
        return closed(shown(result, item))
    stem = _stem(result, judgement, item)
    parts = [f"models that its recipe trained anew: {stem}" if result.arm == RECIPE else stem]
    if judgement.confidence == "low" and judgement.status != "inconclusive":
        parts.append(": ".join(["weak evidence", *all_of((OneSeed,), result, "")]))
    if judgement.has(Widened) and judgement.status != "pass":
        parts += all_of((Widened,), result, "")
    parts += all_of((StandsAnyway, AcceptanceExpired, WorseThanAccepted, Accepted), result, "")
    if not judgement.has(Untrusted) and is_found(result):
        words = template(result.finding)
        parts += [first(result)] if words.is_simple else []
    return " ".join(map(closed, parts))


def brief(result: Result, item: str = "node") -> str:
    """What is said of one result where there is room for two lines.

    Its figure; where it is over its limit or open, the range beside the limit; and by whom.
    """
    judgement, holder = result.judgement, who(result)
    if isinstance(result.facts, ClaimFacts):
        return closed(claims.verdict(result.facts))
    excess = None if judgement is None else _judged_excess(result, judgement)
    decides = result.estimate if result.question == "artifact" else excess
    if judgement is not None and (decides is None or decides.value is None):
        return closed(_stem(result, judgement, item))
    parts = [figure(result, item).line]
    if judgement is not None and judgement.has(Untrusted):
        parts = [f"{all_of((Untrusted,), result, '')[0]}: {parts[0]}"]
    elif judgement is not None and judgement.status != "pass":
        parts += [beside_limit(result), *all_of((Accepted,), result, "")]
    parts += [f"by {holder}"] if holder else []
    return " ".join(map(closed, filter(None, parts)))


def spoiled_by(result: Result) -> tuple[str, ...]:
    """The checks since which a result does not count; empty where it does."""
    judgement = result.judgement
    if judgement is None or word(result) != VOID:
        return ()
    return tuple(check for code in judgement.codes if isinstance(code, Untrusted) for check in code.checks)


def together_void(results: Sequence[Result], item: str = "node") -> str:
    """`9 results do not count, since the check “beats constant” failed: “A”, “B”, “C” and 6 more`.

    Args:
        results: two or more that the same checks spoil.
        item: what one test item is.
    """
    labels = list(dict.fromkeys(f"“{template(r.finding).brief.label(r, item)}”" for r in results))
    named = [*labels[:_NAMED], *([f"{len(labels) - _NAMED} more"] if len(labels) > _NAMED else [])]
    why = f"{count(len(results), 'result')} do not count, since {names.checks(spoiled_by(results[0]))} failed"
    return closed(f"{why}: {listed(named)}")


def alike(status: str, more: int) -> str:
    """`not settled, too: 4 more ways of asking`; empty where there is none."""
    return f"{status}, too: {count(more, 'more way of asking')}" if more else ""


def beside_limit(result: Result) -> str:
    """`14.4 to 25.7 points worse; limit 25 points`; empty without a limit or a range."""
    judgement, own = result.judgement, result.estimate
    excess = None if judgement is None else _judged_excess(result, judgement)
    if judgement is None or excess is None:
        return ""
    limit, floor = judgement.threshold, judgement.floor
    if floor is not None:
        share = Shares.comparing(floor, own.value, own.lo, own.hi)
        return f"{share.between(own)}; at least {share(floor)} is asked for" if own.has_interval else ""
    if limit is None or excess.lo is None:
        return ""
    write = Differences.of(result.unit, excess, limit=limit, sides=sides(result))
    if result.unit == "errors" and excess.lo > 0 and excess.hi is not None:
        ends = f"{write.bare(excess.lo)} to {write.bare(excess.hi)}"
        return f"that avoids {ends} in 100 of the errors of a guess without it; limit {write.limit(limit)}"
    return f"{write.between(excess, to=True, noun=True)}; limit {write.limit(limit)}"


def nearness(result: Result) -> Estimate | None:
    """A judged excess on a scale where 1 is its limit and 0 no effect; None without an excess or a limit.

    Where the limit is no effect at all, both are 1 and 10 points are one unit.
    """
    judgement = result.judgement
    excess = None if judgement is None else _judged_excess(result, judgement)
    if judgement is None or judgement.threshold is None or excess is None or excess.value is None:
        return None
    value, lo, hi = (_scaled(end, judgement.threshold) for end in (excess.value, excess.lo, excess.hi))
    return Estimate(value=value, lo=lo, hi=hi, n=excess.n)


def _scaled(value: float | None, limit: float) -> float | None:
    return None if value is None else 1 + (value - limit) / (limit or UNIT_WITHOUT_LIMIT)


def is_found(result: Result) -> bool:
    """Whether something is proven: the lower end that was judged is above 0."""
    return proven(result)[0]


def proven(result: Result) -> tuple[bool, float | None]:
    """Whether something is proven, and how much of it on the scale of `nearness`; None where there is no end on it."""
    judgement = result.judgement
    excess = None if judgement is None else _judged_excess(result, judgement)
    lo = None if excess is None else excess.lo
    is_proven = (result.estimate.value or 0.0) > 0 if result.question == "artifact" else lo is not None and lo > 0
    if judgement is None or judgement.threshold is None or excess is None or excess.value is None:
        return is_proven, None
    return is_proven, _scaled(lo, judgement.threshold)


def shown(result: Result, item: str = "node") -> str:
    """The picture of a number that is shown and not judged, with its range."""
    if isinstance(result.facts, ClaimFacts):
        return claims.beside(result)
    return picture(result, item)


def left_out(within: int, shown: int, beyond: int = 0) -> str:
    """How many results a list leaves out, none of them worse than those listed, and how many that are not judged."""
    parts = [f"{count(beyond, 'more result')} not within the limit, none worse"] if beyond else []
    parts += [f"{count(within, 'more result')} within the limit, none worse"] if within else []
    parts += [f"{count(shown, 'more number')} shown, not judged"] if shown else []
    return " · ".join(parts)


def unanswered(absent: Sequence[tuple[str, str, str]], *, asked: bool) -> str:
    """Why a question has no answer.

    Args:
        absent: source, status and reason of tests that gave no number.
        asked: whether any test of it was in the run.
    """
    if absent:
        told = (f"{where} {names.CELLS[status]}: {reason}" for where, status, reason in absent)
        return closed(f"not answered: {'; '.join(told)}")
    if asked:
        return "Measured, not judged: no number of this family is one that the policy judges."
    return "Not asked: no test of this family was in this run."


def _stem(result: Result, judgement: Judgement, item: str) -> str:
    if isinstance(result.facts, ClaimFacts):
        return claims.verdict(result.facts)
    words = template(result.finding)
    claim, seen = words.claim(result, item), picture(result, item)
    items = words.counted(item)
    if judgement.has(Untrusted):
        return f"{all_of((Untrusted,), result, items)[0]}: {seen}"
    if result.question == "artifact":
        return _fact(result, judgement, words, claim, seen)
    excess = _judged_excess(result, judgement)
    if excess is None or excess.value is None:
        return f"we cannot tell whether {claim}: {'; '.join(all_of(_SETTLING, result, items)) or seen}"
    extent = _Extent.of(result, judgement, excess)
    if judgement.status in ("fail", "accepted"):
        return f"{claim}: {seen}. {extent.over()}"
    if judgement.status == "pass":
        if is_found(result):
            return f"{claim}, {_PASSING[judgement.threshold is None]}: {seen}. {extent.within()}"
        return f"we did not find that {claim}: {seen}. {extent.excluded()}".rstrip(". ")
    settling = "".join(f"; {clause}" for clause in all_of(_SETTLING, result, items))
    open_ = (
        f"{claim}; whether beyond the limit is not settled" if is_found(result) else f"we cannot tell whether {claim}"
    )
    return f"{open_}: {seen}. {extent.lies()}{settling}"


def _fact(result: Result, judgement: Judgement, words: Template, claim: str, seen: str) -> str:
    """A fact that has no interval: it is there or not."""
    sought = words.sought or "this"
    if result.estimate.value is None:
        return f"we could not look for {sought}: {'; '.join(all_of((NotMeasured,), result, '')) or 'no number'}"
    if result.estimate.value <= 0:
        return f"we looked for {sought} and found none: {seen}"
    within = f", {_PASSING[True]}" if judgement.status == "pass" else ""
    return f"{claim}{within}: {seen}"


def _judged_excess(result: Result, judgement: Judgement) -> Estimate | None:
    """The excess with the ends that were judged: wider ones where several numbers are judged together."""
    excess = result.excess
    wider = next((code for code in judgement.codes if isinstance(code, Widened)), None)
    if excess is None or wider is None:
        return excess
    return Estimate(value=excess.value, lo=wider.lo, hi=wider.hi, n=excess.n)


@dataclass(frozen=True, slots=True)
class _Extent:
    """A judged difference beside its limit, in one unit: `over the limit of standard, 10 points`.

    Attributes:
        value, between: the difference and its range; the number itself where the limit is a floor under it.
        lying: its range with its unit.
        limit: `10 points`, `60 in 100`; empty where none applies.
        whose: the policy whose table holds the limit; empty where it follows from a level or is set by name.
        highest: what cannot be excluded; empty where nothing is left.
        over_what: what a share is of, where it is no difference of what the picture shows.
        apart: both ends of the range in words, where they are against different controls.
        is_floor: the limit is a floor under the number itself.
        is_range: the range has two ends that can be named.
    """

    value: str
    between: str
    lying: str
    limit: str
    whose: str = ""
    highest: str = ""
    over_what: str = ""
    apart: str = ""
    is_floor: bool = False
    is_range: bool = False

    @classmethod
    def of(cls, result: Result, judgement: Judgement, excess: Estimate) -> _Extent:
        """Of a result with an excess."""
        limit, own, floor = judgement.threshold, result.estimate, judgement.floor
        if floor is not None:
            share = Shares.comparing(floor, own.value, own.lo, own.hi)
            return cls(
                share(own.value),
                share.between(own),
                share.between(own),
                share(floor),
                is_floor=True,
                is_range=own.lo is not None and own.hi is not None,
            )
        value, contrast = excess.value or 0.0, result.contrast
        to = "" if contrast is None else contrast.to
        write = Differences.of(result.unit, excess, limit=limit, sides=sides(result))
        between, lying, apart = write.between(excess), write.between(excess, noun=True), ""
        if contrast is not None and (contrast.lo_to or contrast.hi_to):
            apart = _apart(result, excess, write)
            beside = next((c.contrast for c in result.controls if c.name == to), None)
            between = "" if beside is None else write.between(excess_of(beside, result.worse_when))
        is_range = excess.lo is not None and excess.hi is not None
        return cls(
            write.said(value),
            between,
            lying,
            "" if limit is None else write.limit(limit),
            judgement.against if judgement.set_by == "policy" else "",
            "" if excess.hi is None or excess.hi <= 0 else write.plain(excess.hi),
            basis(result, to) if to else "",
            apart,
            is_range=is_range,
        )

    def over(self) -> str:
        """`That is 30.4 points more (between 28.4 and 32.4), over the limit of 10 points`."""
        if not self.limit:
            return self._that()
        amount = f"{self.whose}, {self.limit}" if self.whose else self.limit
        return f"{self._that()}, {'under' if self.is_floor else 'over'} the {self._kind()} of {amount}"

    def within(self) -> str:
        """`That is 5.4 points more (between 4.6 and 6.2); the limit is 25 points`."""
        return self._that() + self._beside_limit()

    def excluded(self) -> str:
        """`Up to 0.4 points cannot be excluded`; nothing where not even that much is left."""
        return f"Up to {self.highest} cannot be excluded" if self.highest else ""

    def lies(self) -> str:
        """`The difference lies between 1.2 less and 15.4 more; the limit is 10 points`."""
        if self.apart:
            return f"{self.apart}{self._beside_limit()}"
        if not self.lying:
            return self._that() + self._beside_limit()
        what = "It" if self.is_floor else f"What is avoided {self.over_what}" if self.over_what else "The difference"
        verb = "lies" if self.is_range else "is"
        return f"{what} {verb} {self.lying}{self._beside_limit()}"

    def _beside_limit(self) -> str:
        of = f" of {self.whose}" if self.whose else ""
        return f"; the {self._kind()}{of} is {self.limit}" if self.limit else ""

    def _kind(self) -> str:
        return "floor" if self.is_floor else "limit"

    def _that(self) -> str:
        start = f"{self.over_what} that is" if self.over_what else "that is"
        return f"{start[0].upper()}{start[1:]} {self.value}" + (f" ({self.between})" if self.between else "")


def _apart(result: Result, excess: Estimate, write: Differences) -> str:
    """`At least 18.8 in 100 of the errors of a are avoided, at most 37.0 in 100 of the errors of b are avoided`."""
    contrast = result.contrast
    assert contrast is not None
    ends = (contrast.lo_to, contrast.hi_to) if result.worse_when == "higher" else (contrast.hi_to, contrast.lo_to)

    def part(is_lower: bool, name: str, end: float | None) -> str:
        of = basis(result, name)
        if end is None:
            return f"{'the least' if is_lower else 'the most'} is not known"
        if not of:
            return f"{'at least' if is_lower else 'at most'} {write.said(end)} beside {names.control(name)}"
        bound = "at least" if is_lower == (end >= 0) else "at most"
        return f"{bound} {write.plain(end)} {of} are {'avoided' if end >= 0 else 'added'}"

    parts = [
        part(lower, name or contrast.to, end)
        for lower, name, end in zip((True, False), ends, (excess.lo, excess.hi), strict=True)
    ]
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}" if basis(result, contrast.to) else f"The difference is {text}"
