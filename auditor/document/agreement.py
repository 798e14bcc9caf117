"""What can be recomputed from a document and comes out otherwise: signs that somebody edited it, one sentence each.

Whoever changes a document can give it a digest of its own. What the same number, cell or count says in another place
has to be changed with it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from auditor.document.audit import Audit, CellRow, Comparison, Headline
from auditor.document.codes import BrokeOff, Interrupted, NeverFinished
from auditor.document.results import Numbers, Result
from auditor.statistics.estimate import ANY, Estimate

TOLERANCE = 1e-9
_WORDS = ("ok", "skipped", "error", "timeout")
_RULES_OF_THEIR_OWN = ("claim", "artifact")
"""Questions whose status comes from facts, not from an excess and a threshold."""


def plan_of(keys: Sequence[str]) -> str:
    """Sha256 (hex) of the keys of all planned cells, in any order."""
    return hashlib.sha256("\0".join(sorted(keys)).encode("utf-8", "backslashreplace")).hexdigest()


def contradictions(audit: Audit) -> Iterator[str]:
    """The sentences; nothing for a document that we wrote. What follows from a contradiction is not told after it."""
    for part in (_cells, _results, _coverage, _comparison, _verdict):
        found = list(part(audit))
        yield from found
        if found:
            return


# ---- cells ----------------------------------------------------------------------------------------------------------


def _cells(audit: Audit) -> Iterator[str]:
    keys = [cell.key for cell in audit.cells]
    if len(set(keys)) < len(keys):
        yield "two cells have the same key"


# ---- results --------------------------------------------------------------------------------------------------------


def _results(audit: Audit) -> Iterator[str]:
    cells = {cell.key: cell for cell in audit.cells}
    measured: set[str] = set()
    senses: dict[tuple[str, str], str] = {}
    for result in audit.results:
        measured.update(result.cells)
        if (found := next(_of_result(result, cells, senses), None)) is not None:
            yield found
    for cell in audit.cells:
        if cell.status == "ok" and cell.key not in measured:
            yield f"{cell.probe} seed {cell.seed} is marked ok and has no result"


def _of_result(result: Result, cells: Mapping[str, CellRow], senses: dict[tuple[str, str], str]) -> Iterator[str]:
    for each in result.by_seed:
        cell = cells.get(each.cell)
        if cell is None or cell.status != "ok":
            yield f"{_place(result)} rests on a cell that is not in the document or did not finish"
        elif (cell.probe, cell.arm, cell.seed) != (result.probe, result.arm, each.seed):
            yield f"{_place(result)} rests on a cell of another probe, arm or seed"
        if reason := _of_numbers(each):
            yield f"the difference of {_place(result)} at seed {each.seed} {reason}"
        if not _has_ends_of_controls(each):
            yield f"the interval of the difference of {_place(result)} at seed {each.seed} is not that to its controls"
    if result.seeds != "fixed" and result.seeds != tuple(each.seed for each in result.by_seed):
        yield f"{_place(result)} names the seeds {result.seeds} and holds others"
    if not _is_seed(result) and (reason := _of_numbers(result)):
        yield f"the difference of {_place(result)} {reason}"
    if not _is_joined(result):
        yield f"{_place(result)} is not what its seeds say together"
    if senses.setdefault((result.finding, result.metric), result.worse_when) != result.worse_when:
        yield f"{_place(result)} is worse when {result.worse_when}, and elsewhere the other way round"
    yield from _of_judgement(result)


def _place(result: Result) -> str:
    return " ".join(filter(None, (result.probe, result.metric, result.subset)))


def _is_seed(result: Result) -> bool:
    """Whether its numbers are those of its only seed, the same records: they were looked at there."""
    first = result.by_seed[0]
    return result.estimate is first.estimate and result.contrast is first.contrast and result.controls is first.controls


def _of_numbers(numbers: Numbers) -> str:
    """What is wrong with the differences, as far as their sides are known; empty where nothing is."""
    pairs = [(control.contrast, control) for control in numbers.controls if control.contrast is not None]
    if numbers.contrast is not None and numbers.control is None:
        return "is to a control that is not there"
    if numbers.contrast is not None and numbers.control is not None:
        pairs.append((numbers.contrast, numbers.control))
    fits = (_subtracts(contrast, each.own or numbers.estimate, each.estimate) for contrast, each in pairs)
    return "" if all(fits) else "is not its number less its control's"


def _subtracts(difference: Estimate, own: Estimate, other: Estimate) -> bool:
    if difference.value is None or own.value is None or other.value is None:
        return True
    return math.isclose(difference.value, own.value - other.value, abs_tol=TOLERANCE)


def _has_ends_of_controls(numbers: Numbers) -> bool:
    """Whether the difference of one seed is as its controls have it; true where one of them is not there to say."""
    contrast = numbers.contrast
    if contrast is None:
        return True
    known = {control.name: control.contrast for control in numbers.controls}
    value, lo, hi = (
        known.get(name) for name in (contrast.to, contrast.lo_to or contrast.to, contrast.hi_to or contrast.to)
    )
    if value is None or lo is None or hi is None:
        return True
    return _same(contrast.value, value.value) and _same(contrast.lo, lo.lo) and _same(contrast.hi, hi.hi)


def _is_joined(result: Result) -> bool:
    """Whether the result is what its seeds say together."""
    seeds = result.by_seed
    if result.joined_by == "worst" or len(seeds) == 1:
        shown = next((each for each in seeds if each.seed == result.shown_seed), seeds[0])
        return _close(result.estimate, shown.estimate) and _close(result.contrast, shown.contrast)
    from auditor.statistics.seeds import joined, joined_contrast  # whoever only needs the schema imports no numpy

    contrasts = [each.contrast for each in seeds if each.contrast is not None]
    estimates = [each.estimate for each in seeds]
    # Earlier documents hold the ends of an interval as they came out, also beyond what the number can be.
    ranges = ((result.range, result.range_of_contrasts), (ANY, ANY))
    return any(
        _close(result.estimate, joined(estimates, values))
        and _close(result.contrast, joined_contrast(contrasts, apart) if len(contrasts) == len(seeds) else None)
        for values, apart in ranges
    )


def _of_judgement(result: Result) -> Iterator[str]:
    judgement = result.judgement
    if (judgement is not None) != result.judged:
        said = f"{'' if result.judged else 'not '}judged and has {'no' if result.judged else 'a'} judgement"
        yield f"{_place(result)} is {said}"
    if judgement is None or judgement.threshold is None or result.question in _RULES_OF_THEIR_OWN:
        return
    status = judgement.status
    if status not in ("pass", "fail"):
        return
    excess = result.excess
    lo, hi = (None, None) if excess is None else (excess.lo, excess.hi)
    if status == "pass" and (hi is None or hi > judgement.threshold + TOLERANCE):
        yield f"{_place(result)} is judged a pass, and its excess reaches the threshold"
    if status == "fail" and (lo is None or lo < judgement.threshold - TOLERANCE):
        yield f"{_place(result)} is judged a fail, and its excess is not above the threshold"


def _close(a: Estimate | None, b: Estimate | None) -> bool:
    """Whether two estimates are the same number with the same interval, but for rounding."""
    if a is b or a is None or b is None:
        return a is b
    pairs = ((a.value, b.value), (a.lo, b.lo), (a.hi, b.hi))
    return all(_same(one, other) for one, other in pairs)


def _same(one: float | None, other: float | None) -> bool:
    if one is other or one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


# ---- coverage and comparison ----------------------------------------------------------------------------------------


def _coverage(audit: Audit) -> Iterator[str]:
    cells, coverage = audit.cells, audit.coverage
    counts, stated = Counter(cell.status for cell in cells), coverage.model_dump()
    wrong = [word for word in _WORDS if stated[word] != counts[word]]  # type: ignore[index]
    if wrong:
        yield f"its coverage counts {stated[wrong[0]]} cells as {wrong[0]} and it holds {counts[wrong[0]]}"  # type: ignore[index]
    if coverage.planned < len(cells):
        yield f"it holds {len(cells)} cells and says that {coverage.planned} were planned"
    if coverage.planned > len(cells) and audit.verdict.status == "PASSED":
        yield f"it passed with {len(cells)} of {coverage.planned} planned cells"
    if audit.plan and coverage.planned == len(cells) and audit.plan != plan_of([cell.key for cell in cells]):
        yield "its cells are not those that were planned"


def _comparison(audit: Audit) -> Iterator[str]:
    if audit.comparison is None:
        return
    numbers = _headlines(audit.comparison)
    for (arm, *name), headline in numbers.items():
        for difference in headline.differences:
            other = numbers.get((difference.to, *name))
            if other is None:
                continue
            pairs = zip(headline.by_seed, other.by_seed, strict=False)
            own = [a - b for a, b in pairs if a is not None and b is not None]
            if difference.by_seed and not _all_same(difference.by_seed, own):
                yield f"the difference of {arm} to {difference.to} in {' '.join(filter(None, name))} is not theirs"


def _headlines(comparison: Comparison) -> dict[tuple[str, ...], Headline]:
    return {
        (arm.arm, each.family, each.probe, each.metric, each.subset, each.shown): each
        for arm in comparison.arms
        for each in arm.headlines
    }


def _all_same(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))


# ---- verdict --------------------------------------------------------------------------------------------------------


def _verdict(audit: Audit) -> Iterator[str]:
    verdict, planned = audit.verdict, audit.coverage.planned
    controls = frozenset() if audit.comparison is None else audit.comparison.controls
    own = [r.judgement for r in audit.results if r.judgement is not None and r.arm not in controls]
    counts = Counter(judgement.status for judgement in own)
    for word in ("pass", "fail", "inconclusive", "accepted"):
        if verdict.counts.get(word, counts[word]) != counts[word]:
            yield f"its verdict counts {verdict.counts[word]} as {word}, and its results {counts[word]}"
    for code in verdict.codes:
        if isinstance(code, NeverFinished | Interrupted) and code.planned != planned:
            yield f"its verdict names {code.planned} planned cells and its coverage {planned}"
    broken = {(c.probe, c.arm, c.seed) for c in audit.cells if c.status in ("error", "timeout")}
    if {(c.probe, c.arm, c.seed) for c in verdict.codes if isinstance(c, BrokeOff)} - broken:
        yield "its verdict names a cell that broke off and that it does not hold"
    if verdict.status == "PASSED":
        if counts["fail"] or broken or any(judgement.untrusted for judgement in own):
            yield "it passed, and a result fails or does not count, or a cell broke off"
        if verdict.exit_code != 0:
            yield f"it passed with exit code {verdict.exit_code}"
