"""The dossier that a privacy officer keeps: every claim tied to its cells, interval, control and digests.

What is not settled, does not count or was not tested is never among the claims: it has a section of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from auditor.document import NONE, Audit, CellRow, Decision, Result
from auditor.registry import taxon
from reports import views
from reports.comparison import Grid
from reports.markdown import escape
from reports.neutral import neutral
from reports.sentences import comparison as compared
from reports.sentences import dossier as words
from reports.sentences import names, terms, verdict
from reports.sentences.compose import said, word
from reports.sentences.numbers import closed, count
from reports.sentences.steps import steps

_SETTLED = ("helps", "hurts")
_NO_HEAD = ["| | |", "|---|---|"]


class DossierReport:
    """GitHub-flavoured Markdown, complete: nothing is cut, so that every claim can be found again."""

    id = "dossier"
    filename = "audit.dossier.md"
    opening = "# Audit dossier of "

    def render(self, audit: Audit) -> str:
        """The report; every string of the document is escaped."""
        safe = neutral(audit)
        found = [result for result in views.judged(safe) if not views.is_control(safe, result)]
        settled, target = [r for r in found if views.is_settled(r)], {r.fingerprint for r in views.undefended(safe)}
        families = dict.fromkeys((*views.families(safe), *(result.family for result in found)))
        own = [r for family in families for r in views.of_family(settled, family) if r.fingerprint in target]
        numbered = dict(enumerate(own, start=1))
        elsewhere = [result for result in settled if result.fingerprint not in target]
        sections = (
            _head(safe),
            _answer(safe),
            *(_question(safe, family, numbered) for family in families),
            _elsewhere(safe, dict(enumerate(elsewhere, start=len(own) + 1))),
            _not_evidence(safe, [result for result in found if not views.is_settled(result)]),
            _terms(numbered),
            ["## What this document is not", "", *_items(words.IS_NOT)],
        )
        lines = [line for section in sections if section for line in (*section, "")]
        return "\n".join(lines).rstrip() + "\n"


def _head(audit: Audit) -> list[str]:
    return [
        f"# Audit dossier of {escape(audit.target.name)}",
        "",
        "## What was asked, and of what",
        "",
        *_NO_HEAD,
        *(_row(label, text) for label, text in words.asked(audit)),
    ]


def _answer(audit: Audit) -> list[str]:
    status, last = verdict.last_line(audit)
    answers = [f"{answer.title}: {answer.status}." for answer in views.answers(audit)]
    first = [step.text for step in steps(audit, views.undefended(audit))[:1]]
    told = " ".join((f"{status}. {last}", *answers, *(f"Do first: {text}" for text in first)))
    return ["## The answer", "", escape(told)]


def _question(audit: Audit, family: str, numbered: dict[int, Result]) -> list[str]:
    """The claims of one family; nothing where it was not asked and has none."""
    own = {number: result for number, result in numbered.items() if result.family == family}
    if not own and not any(answer.family == family and answer.asked for answer in views.answers(audit)):
        return []
    title, question = names.TITLES.get(family, family), names.QUESTIONS.get(family, "")
    lines = [f"## {escape(f'{title}: {question}' if question else title)}", ""]
    if not own:
        return [*lines, "No claim: what was tested here is listed as not evidence."]
    return [*lines, *_claims(audit, own)]


def _claims(audit: Audit, numbered: dict[int, Result]) -> list[str]:
    cells, item = {cell.key: cell for cell in audit.cells}, views.item(audit)
    lines: list[str] = []
    for number, result in numbered.items():
        place = "" if result.arm == NONE else f", on {escape(names.arm(result.arm))}"
        lines += [f"### Claim {number}{place}: {word(result)}", "", escape(said(result, item)), "", *_NO_HEAD]
        lines += [_row(label, text) for label, text in _evidence(audit, cells, result)]
        lines.append("")
    return lines[:-1]


def _evidence(audit: Audit, cells: dict[str, CellRow], result: Result) -> list[tuple[str, str]]:
    return [
        ("Evidence", words.evidence(result)),
        ("Measured", words.measured(result)),
        ("Checks", words.checks(views.touching(audit, cells, result))),
        ("Access assumed", words.held(result)),
        ("Speaks to", words.speaks_to(result)),
    ]


def _elsewhere(audit: Audit, numbered: dict[int, Result]) -> list[str]:
    """What is shown of each defence that was asked for, and every claim about another model than the target."""
    told = [
        f"- **{escape(arm)}**: {escape(compared.decided(decision, results=audit.results))}"
        for arm, decision in _decisions(audit)
        if decision.status in _SETTLED
    ]
    lines = [*told, *([""] if told and numbered else []), *_claims(audit, numbered)]
    return [f"## {words.ELSEWHERE}", "", *lines] if lines else []


def _not_evidence(audit: Audit, open_: list[Result]) -> list[str]:
    item = views.item(audit)
    sections = {
        "Not settled, or does not count": [
            *(
                f"{word(result)}: {views.source(result)}, {names.measured(result)}: {said(result, item)}"
                for result in open_
            ),
            *(
                f"not settled: {arm}: {compared.decided(decision, results=audit.results)}"
                for arm, decision in _decisions(audit)
                if decision.status not in _SETTLED
            ),
        ],
        "Not tested": [
            *(
                f"{names.CELLS[each.status]}: {each.source}: {each.reason}"
                + (f" ({count(len(each.seeds), 'seed')})" if len(each.seeds) > 1 else "")
                for each in views.listed_missing(audit)
            ),
            *(f"{answer.title}: {answer.text}" for answer in views.answers(audit) if not answer.asked),
            *words.unasked(audit),
            *(f"{source}: {term}: {words.UNCOVERED}" for source, term in sorted(words.uncovered())),
        ],
        "Checks that did not pass": [
            f"{names.CHECKS[row.status]}: {names.check(row.id)}: {row.evidence}"
            for row in views.checks(audit)
            if row.status != "pass"
        ],
        "What else the verdict says": verdict.further(audit),
    }
    shown = [closed(f"{count(len(views.shown(audit)), 'more number')} in audit.json, shown and not judged")]
    controls = sum(views.is_control(audit, result) for result in views.judged(audit))
    shown += [closed(f"{count(controls, 'result')} in audit.json on controls of defences")] if controls else []
    sections["Only shown"] = shown if views.shown(audit) or controls else []
    lines = ["## Not evidence", "", "What follows supports no claim, in either direction."]
    for title, told in sections.items():
        lines += ["", f"### {title}", "", *_items(dict.fromkeys(told))] if told else []
    return lines


def _terms(numbered: dict[int, Result]) -> list[str]:
    """Every term with the claims that speak to it, and every access by which a claim reaches the training data."""
    found: dict[tuple[str, str], list[int]] = {}
    access: dict[str, list[int]] = {}
    for number, result in numbered.items():
        for term in terms.terms(result.finding, result.access):
            found.setdefault(term, []).append(number)
        if taxon(result.finding).tells_of_data:
            access.setdefault(words.held(result), []).append(number)
    without = words.uncovered()
    shown = [term for term in dict.fromkeys((*terms.every(), *found)) if term not in without]
    lines = ["## Terms, and the claims that speak to them", "", "| List | Term | Spoken to by |", "|---|---|---|"]
    lines += [_row(*term, words.claims(found.get(term, []))) for term in shown]
    for means, numbers in access.items():
        lines.append(_row(terms.EDPB, f"{terms.MEANS}: whoever holds {means}", words.claims(numbers)))
    return lines


def _decisions(audit: Audit) -> list[tuple[str, Decision]]:
    if audit.comparison is None:
        return []
    return [(row.name, decision) for row in Grid.of(audit.comparison).asked for decision in row.arm.decisions]


def _items(texts: Iterable[str]) -> list[str]:
    return [f"- {escape(text)}" for text in texts]


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"
