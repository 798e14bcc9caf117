"""What every format shows, in one order: judged results, answers, charts, checks, and what gave no number.

Selections and orders alone: nothing is measured, joined or judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.document import NONE, RECIPE, Audit, CellRow, Result, Series, ValidityRow
from auditor.document.exposed import Exposed
from auditor.document.facts import SEVERITIES, ClaimFacts
from reports.sentences import names
from reports.sentences.compose import (
    ABSENT,
    SEEN,
    UNANSWERED,
    UNASKED,
    proven,
    said,
    spoiled_by,
    together_void,
    unanswered,
    word,
)
from reports.sentences.templates import template

_STATUSES = ("fail", "inconclusive", "accepted", "pass")
_CHECKS = ("fail", "warn", "not_checked", "pass")


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the questions, answered by the judged result of its family that is nearest to its limit.

    `status` is a word for people; `asked` is whether any test of it was in the run; `more` is how many further ways of
    asking the same thing end alike.
    """

    family: str
    title: str
    question: str
    status: str
    text: str
    result: Result | None
    asked: bool = True
    more: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was asked for and gave no number; equal reasons of several seeds are one."""

    probe: str
    family: str
    status: str
    reason: str
    arm: str
    seeds: tuple[int, ...]

    @property
    def source(self) -> str:
        """Probe, and the arm it was run on."""
        return names.source(self.probe, self.arm)


@dataclass(frozen=True, slots=True)
class Chart:
    """One series to draw, and the seeds whose like is left to `audit.json`."""

    family: str
    probe: str
    arm: str
    seed: int
    other_seeds: tuple[int, ...]
    series: Series


@dataclass(frozen=True, slots=True)
class Named:
    """A list of the most exposed, the result that says how well the same scores rank, and how many seeds have one."""

    result: Result
    exposed: Exposed
    seeds: int


def judged(audit: Audit) -> list[Result]:
    """Results with a judgement, worst first."""
    return sorted((result for result in audit.results if result.judgement is not None), key=_worst_first)


def shown(audit: Audit) -> list[Result]:
    """Results that are shown and not judged: those `only_shown` first, then in document order."""
    alone = only_shown(audit)
    found = {id(result) for result in alone}
    return alone + [result for result in audit.results if result.judgement is None and id(result) not in found]


def only_shown(audit: Audit) -> list[Result]:
    """The results of tests that judge nothing, in document order: nothing else says what such a test found."""
    judging = {(result.probe, result.arm) for result in audit.results if result.judgement is not None}
    return [result for result in audit.results if (result.probe, result.arm) not in judging]


def undefended(audit: Audit) -> list[Result]:
    """Judged results that the answers rest on: none of a new training, and in a comparison none under a defence."""
    if audit.comparison is None:
        return [result for result in judged(audit) if result.arm != RECIPE]
    return [result for result in judged(audit) if result.arm == NONE]


def nearest(results: Iterable[Result]) -> list[Result]:
    """Those over their limits first, then those in which something is proven, each by how near its limit that is."""

    def key(result: Result) -> tuple[bool, bool, float]:
        is_proven, lo = proven(result)
        if lo is None:
            lo = 0.0 if is_proven else float("-inf")
        return not result.has_status("fail"), not is_proven, -lo

    return sorted(results, key=key)


def briefly(audit: Audit, near: Sequence[Result]) -> list[Answer]:
    """What fits on a screen: of each question its answer; behind it, without their texts, what else is over or open.

    Ways of asking one thing that end alike are one line, and so are results that the same failed checks spoil.

    `near`: the deciding results, those nearest to their limits first.
    """
    lines = []
    for answer in _answers(audit, near):
        lines.append(answer)
        for result in of_family(near, answer.family):
            if result is not answer.result and (status := word(result)) not in (SEEN, ABSENT):
                lines.append(replace(answer, status=status, text="", result=result))
    return _folded(_without_void(lines, item(audit)))


def _without_void(lines: Sequence[Answer], noun: str) -> Iterator[Answer]:
    """The lines, with one that counts them for all results of a question that do not count for the same reason."""
    found: dict[tuple[str, tuple[str, ...]], list[Result]] = {}
    for line in lines:
        if line.result is not None and (why := spoiled_by(line.result)):
            found.setdefault((line.family, why), []).append(line.result)
    for line in lines:
        same = [] if line.result is None else found.get((line.family, spoiled_by(line.result)), [])
        if len(same) < 2:
            yield line
        elif same[0] is line.result:
            yield replace(line, text=together_void(same, noun), result=None)


def void_groups(results: Iterable[Result]) -> list[list[Result]]:
    """Results that do not count, two or more of each reason together."""
    found: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        if why := spoiled_by(result):
            found.setdefault(why, []).append(result)
    return [same for same in found.values() if len(same) > 1]


def _folded(lines: Iterable[Answer]) -> list[Answer]:
    """The lines, with one for all ways of asking one question that end alike: the first, which counts the others."""
    kept: dict[object, Answer] = {}
    for line in lines:
        result = line.result
        key: object = id(line)
        if result is not None and template(result.finding).brief.is_asked_often:
            key = (result.finding, result.question, line.status)
        first = kept.get(key)
        kept[key] = line if first is None else replace(first, more=first.more + 1)
    return list(kept.values())


def deciding(audit: Audit) -> list[Result]:
    """What a verdict rests on: `undefended`, and what is over its limit in models that the recipe trained anew."""
    if audit.comparison is not None:
        return undefended(audit)
    return [result for result in judged(audit) if result.arm != RECIPE or result.has_status("fail")]


def is_control(audit: Audit, result: Result) -> bool:
    """Whether it is about a control of a comparison: shown, and decides nothing."""
    return audit.comparison is not None and result.arm in audit.comparison.controls


def of_family(results: Iterable[Result], family: str) -> list[Result]:
    """Results of one family."""
    return [result for result in results if result.family == family]


def is_quiet(result: Result) -> bool:
    """A pass with nothing proven: it may be left out where space is short."""
    return result.judgement is not None and result.judgement.status == "pass" and result.judgement.severity == "none"


def is_settled(result: Result) -> bool:
    """Whether its judgement says something: it is decided, and rests on no failed check."""
    judgement = result.judgement
    return judgement is not None and judgement.status != "inconclusive" and not judgement.untrusted


def touching(audit: Audit, cells: Mapping[str, CellRow], result: Result) -> list[ValidityRow]:
    """The checks that bear on a result, of the target and of its own cells; `cells` are the document's by key."""
    rows = [row for row in audit.validity if row.bears_on(result.probe)]
    own = (row for key in dict.fromkeys(result.cells) for row in cells[key].validity)
    return rows + [row for row in own if row.spoils(result.access)]


def source(result: Result) -> str:
    """Probe, and the arm it was run on."""
    return names.source(result.probe, result.arm)


def item(audit: Audit) -> str:
    """What one test item of the target is."""
    return names.items(audit.target.task.level)


def families(audit: Audit) -> tuple[str, ...]:
    """Families of the document: the three questions first, others in the order they appear."""
    return tuple(dict.fromkeys((*names.FAMILIES, *(cell.family for cell in audit.cells))))


def is_claim(audit: Audit) -> bool:
    """Whether the document is the audit of a claimed (epsilon, delta); before a result its plan says so."""
    if audit.results:
        return any(isinstance(result.facts, ClaimFacts) for result in audit.results)
    return any("preregistration" in cell.params for cell in audit.cells)


def answers(audit: Audit) -> list[Answer]:
    """The three questions of an audit, asked or not; in a comparison they are about the undefended target.

    The audit of a claim asks one question of its own.
    """
    return _answers(audit, nearest(deciding(audit)))


def _answers(audit: Audit, near: Sequence[Result]) -> list[Answer]:
    asked = dict.fromkeys(cell.family for cell in audit.cells) if is_claim(audit) else names.FAMILIES
    own = near if audit.comparison is not None else [result for result in near if result.arm != RECIPE]
    return [_answer(audit, family, of_family(own, family)) for family in asked]


def missing(audit: Audit) -> list[Missing]:
    """Cells that do not apply or broke off."""
    found: dict[tuple[str, str, str, str, str], list[int]] = {}
    for cell in audit.cells:
        if cell.status != "ok":
            reason = cell.reason or "no reason given"
            found.setdefault((cell.probe, cell.family, cell.status, reason, cell.arm), []).append(cell.seed)
    return [Missing(*key, seeds=tuple(seeds)) for key, seeds in found.items()]


def listed_missing(audit: Audit) -> list[Missing]:
    """The same as they are listed: in a comparison one line for all arms that share probe, status and reason.

    A comparison says itself which defences were not fitted, and why: their cells are not told again.
    """
    if audit.comparison is None:
        return missing(audit)
    unfitted = {arm.arm for arm in audit.comparison.arms if arm.reason and not arm.headlines}
    found: dict[tuple[str, str, str], list[Missing]] = {}
    for each in (each for each in missing(audit) if each.arm not in unfitted):
        found.setdefault((each.probe, each.status, each.reason), []).append(each)
    return [
        first if not more else replace(first, arm=", ".join(each.arm for each in (first, *more)))
        for first, *more in found.values()
    ]


def charts(audit: Audit, family: str) -> list[Chart]:
    """The series of the first seed of each probe and arm."""
    found: dict[tuple[str, str, str], list[tuple[CellRow, Series]]] = {}
    for cell in audit.cells:
        if cell.status == "ok" and cell.family == family:
            for series in cell.series:
                found.setdefault((cell.probe, cell.arm, series.id), []).append((cell, series))
    return [
        Chart(family, probe, arm, pairs[0][0].seed, tuple(cell.seed for cell, _ in pairs[1:]), pairs[0][1])
        for (probe, arm, _), pairs in found.items()
    ]


def exposed(audit: Audit) -> list[Named]:
    """Lists of the most exposed that the first seed of each test has, those nearest to their limits first."""
    found: dict[tuple[str, str, str], list[Exposed]] = {}
    for cell in audit.cells:
        for listed in cell.exposed:
            if listed.items:
                found.setdefault((cell.probe, listed.finding, listed.subset), []).append(listed)
    own: dict[tuple[str, str, str], list[Result]] = {}
    for result in nearest(undefended(audit)):
        own.setdefault((result.probe, result.finding, result.subset), []).append(result)
    return [
        Named(next((r for r in results if r.question == "ranking"), results[0]), found[key][0], len(found[key]))
        for key, results in own.items()
        if key in found
    ]


def asks_who(audit: Audit) -> bool:
    """Whether the run was to name the most exposed, and had a test that could."""
    return bool(audit.config.get("exposed")) and any(cell.family == "privacy" for cell in audit.cells)


def checks(audit: Audit) -> list[ValidityRow]:
    """Validity rows of the document and of its cells, failed ones first, repeated ones once.

    Seeds and arms have the same checks: rows that differ in their evidence only become one, and say so. In a comparison
    a row names the arms that it is about, unless that is the target as it is.
    """
    every = [(row, NONE) for row in audit.validity]
    every += [(row, cell.arm if audit.comparison else NONE) for cell in audit.cells for row in cell.validity]
    groups: dict[tuple[str, str, tuple[str, ...] | None], list[tuple[ValidityRow, str]]] = {}
    for row, arm in every:
        groups.setdefault((row.id, row.status, row.touches), []).append((row, arm))
    return sorted(map(_as_one, groups.values()), key=lambda row: _CHECKS.index(row.status))


def _as_one(rows: Sequence[tuple[ValidityRow, str]]) -> ValidityRow:
    first, alike = rows[0][0], len({row.evidence for row, _ in rows}) - 1
    return first.model_copy(update={"evidence": names.together(first.evidence, alike, [arm for _, arm in rows])})


def _answer(audit: Audit, family: str, results: Sequence[Result]) -> Answer:
    """From the results of the family that it rests on, those nearest to their limits first."""
    title, question = names.TITLES.get(family, family), names.QUESTIONS.get(family, "")
    if results:
        return Answer(family, title, question, word(results[0]), said(results[0], item(audit)), results[0])
    cells = [c for c in audit.cells if c.family == family and (audit.comparison is None or c.arm == NONE)]
    absent = [m for m in missing(audit) if m.family == family and (audit.comparison is None or m.arm == NONE)]
    text = unanswered([(m.source, m.status, m.reason) for m in absent[:3]], asked=bool(cells))
    return Answer(family, title, question, UNANSWERED if cells else UNASKED, text, None, asked=bool(cells))


def _worst_first(result: Result) -> tuple[int, int, int, float]:
    judgement = result.judgement
    assert judgement is not None
    excess = None if result.excess is None else result.excess.value
    return (
        _STATUSES.index(judgement.status),
        -SEVERITIES.index(judgement.severity),
        -SEVERITIES.index(judgement.severity_upper),
        float("inf") if excess is None else -excess,
    )
