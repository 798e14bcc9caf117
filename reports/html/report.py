"""The page a privacy officer gets by mail: one file, no script, nothing loaded, light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from auditor.document import NONE, Audit, Result
from auditor.guarantee import Guarantee
from reports import views
from reports.comparison import Grid, to
from reports.html.charts import Drawing, overview_drawing, series_drawing
from reports.html.comparison import comparison_drawing
from reports.neutral import neutral
from reports.sentences import claim, comparison, names, numbers, target, verdict
from reports.sentences.compose import said, word
from reports.sentences.steps import steps
from reports.sentences.templates import excess_cell
from reports.views import Answer

CHART_BYTES = 190_000  # charts with their tables; what comes later is left to audit.json, to stay below 300 kB
COMPARED_BYTES, ARM_BYTES = 165_000, 2_000  # in a comparison its picture and so much for each arm come off first
ARM_ROWS = 30  # rows of the defences that a family of a comparison lists
LOUD_ROWS = 40  # judged rows that a family shows in full, worst first
FOLDED_ROWS = 60
QUIET_ROWS = 4  # passes with nothing proven that a family shows in full; the others are folded

_FACTS = {
    "level": "level",
    "relation": "relation",
    "epsilon": "epsilon",
    "delta": "delta",
    "accountant": "accountant",
    "mechanism": "mechanism",
    "units": "units",
    "covers": "covers",
    "not_protected": "does not cover",
    "caveats": "caveats",
    "noise_seed": "noise seed",
}
"""Facts of a guarantee, in this order, by the words they have on the page."""
_TONES = {
    "FAILED": "fail",
    "fail": "fail",
    "error": "fail",
    "timeout": "fail",
    "INCOMPLETE": "inconclusive",
    "inconclusive": "inconclusive",
    "warn": "inconclusive",
    "skipped": "inconclusive",
    "accepted": "accepted",
    "PASSED": "pass",
    "pass": "pass",
    "better": "pass",
    "worse": "fail",
}


@dataclass(frozen=True, slots=True)
class ChartOnPage:
    """A drawing with where it comes from."""

    svg: Markup
    title: str
    source: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True, slots=True)
class FamilyOnPage:
    """One family's section."""

    id: str
    title: str
    question: str
    is_other: bool
    answer: Answer | None
    judged: list[Result]
    quiet: list[Result]
    others: list[Result]
    arms: list[Result]
    charts: list[ChartOnPage]
    charts_left_out: int


@dataclass(frozen=True, slots=True)
class Arms:
    """Judged results of each defence side by side."""

    names: list[str]
    lines: list[tuple[str, list[Result | None]]]


class HtmlReport:
    """One self-contained page with charts."""

    id = "html"
    filename = "audit.html"

    def render(self, audit: Audit) -> str:
        """The page; every string of the document is escaped by the template engine."""
        safe = neutral(audit)
        grid = None if safe.comparison is None else Grid.of(safe.comparison)
        picture = None if grid is None else comparison_drawing("comparison", grid)
        folder = files("reports.html")
        style = folder.joinpath("style.css").read_text(encoding="utf-8")
        source = folder.joinpath("page.html.j2").read_text(encoding="utf-8")
        # No loader: the template can include nothing. Undefined names are errors, not blanks.
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
        )
        page = environment.from_string(source)
        item, is_claim = views.item(safe), views.is_claim(safe)
        status, last = verdict.last_line(safe)
        answers = views.answers(safe)
        return page.render(
            audit=safe,
            style=Markup(style),
            tone=lambda status: _TONES.get(status, "none"),
            names=names,
            numbers=numbers,
            excess_cell=excess_cell,
            words=comparison,
            source=views.source,
            word=word,
            said=lambda result: said(result, item),
            to=to,
            folded_rows=FOLDED_ROWS,
            arm_rows=ARM_ROWS,
            status=status,
            last=last,
            further=verdict.further(safe),
            policy=verdict.policy(safe),
            coverage=verdict.coverage(safe),
            target_facts=target.facts(safe.target),
            answers=answers,
            steps=steps(safe, views.undefended(safe)),
            checks=views.checks(safe),
            families=_families(safe, answers, len(picture.svg) if picture else 0),
            matrix=_matrix(safe),
            grid=grid,
            compared_drawing=picture and _on_page(picture, "bold: value, below: difference"),
            claim_lines=claim.lines(safe) if is_claim else [],
            bounds=claim.bound_rows(facts) if is_claim and (facts := claim.found(safe)) else [],
            bound_heads=claim.HEADS,
            guarantees=_guarantees(safe),
            missing=views.listed_missing(safe),
            unasked=[answer.title.lower() for answer in answers if not answer.asked],
            config=_config(safe),
        )


def _families(audit: Audit, answers: list[Answer], picture_bytes: int) -> list[FamilyOnPage]:
    by_family = {answer.family: answer for answer in answers}
    room = CHART_BYTES
    if audit.comparison is not None:
        room = COMPARED_BYTES - picture_bytes - ARM_BYTES * len(audit.comparison.arms)
    sections = []
    asked = {cell.family for cell in audit.cells}
    for index, family in enumerate(name for name in views.families(audit) if name in asked):
        judged, others = (views.of_family(results, family) for results in (views.judged(audit), views.shown(audit)))
        arms: list[Result] = []
        if audit.comparison is not None:  # the target in full; the numbers of its defences are folded
            arms = [result for result in (*judged, *others) if result.arm != NONE]
            judged, others = ([r for r in results if r.arm == NONE] for results in (judged, others))
        loud, quiet = [r for r in judged if not views.is_quiet(r)], [r for r in judged if views.is_quiet(r)]
        charts, left_out = [], 0
        for source, make in _drawings(audit, family, index, judged):
            if room <= 0:
                left_out += 1
                continue
            drawing = make()
            if drawing is None:
                continue
            size = len(drawing.svg) + sum(16 + sum(22 + len(item) for item in line) for line in drawing.rows)
            room -= size
            if room < 0:
                left_out += 1
                continue
            charts.append(_on_page(drawing, source))
        sections.append(
            FamilyOnPage(
                id=family,
                title=names.TITLES.get(family, family),
                question=names.QUESTIONS.get(family, ""),
                is_other=family not in names.TITLES,
                answer=by_family.get(family),
                judged=[*loud[:LOUD_ROWS], *quiet[:QUIET_ROWS]],
                quiet=[*loud[LOUD_ROWS:], *quiet[QUIET_ROWS:]],
                others=others,
                arms=arms,
                charts=charts,
                charts_left_out=left_out,
            )
        )
    return sections


def _on_page(drawing: Drawing, source: str) -> ChartOnPage:
    return ChartOnPage(Markup(drawing.svg), drawing.title, source, drawing.header, drawing.rows, drawing.note)


def _drawings(
    audit: Audit, family: str, index: int, judged: list[Result]
) -> Iterator[tuple[str, Callable[[], Drawing | None]]]:
    """Where each chart of a family comes from, and how to draw it: what does not fit is never drawn."""
    yield "every judged number, worst first", partial(overview_drawing, f"overview-{index}", family, judged)
    for number, chart in enumerate(views.charts(audit, family)):
        if audit.comparison is not None and chart.arm != NONE:
            continue
        source = names.source(chart.probe, chart.arm)
        if chart.other_seeds:
            source += f", seed {chart.seed}; {numbers.count(len(chart.other_seeds), 'more seed')} in audit.json"
        yield source, partial(series_drawing, f"chart-{index}-{number}", chart.series)


def _matrix(audit: Audit) -> Arms | None:
    """Judged results by arm; None without a defence, and where a comparison shows them."""
    results = views.judged(audit)
    arms = sorted({result.arm for result in results}, key=lambda name: (name != NONE, name))
    if audit.comparison is not None or arms in ([], [NONE]) or views.is_claim(audit):
        return None
    lines: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        lines.setdefault((result.probe, names.measured(result)), {})[result.arm] = result
    listed: list[tuple[str, list[Result | None]]] = [
        (f"{probe} · {measured}", [found.get(arm) for arm in arms]) for (probe, measured), found in lines.items()
    ]
    return Arms([names.arm(arm) for arm in arms], listed)


def _guarantees(audit: Audit) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each defence's guarantee once, all of its facts: never a bare epsilon."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    given = [(audit.target.defense, audit.target.guarantee)]
    given += [(arm.arm, arm.guarantee) for arm in audit.comparison.arms] if audit.comparison else []
    for name, guarantee in given:
        if guarantee is not None:
            facts = guarantee_facts(guarantee)
            found.setdefault((name, json.dumps(facts)), facts)
    return [(name, facts) for (name, _), facts in found.items()]


def guarantee_facts(guarantee: Guarantee) -> list[tuple[str, str]]:
    """Every fact of a guarantee, the headline first: never a bare epsilon."""
    facts = guarantee.model_dump(mode="json")
    return [("guarantee", guarantee.headline()), *((label, _plain(facts[key])) for key, label in _FACTS.items())]


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−")
    return str(value)


def _config(audit: Audit) -> str:
    facts = {"config": audit.config, "split": audit.target.split, "provenance": audit.target.provenance}
    return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, default=str)
