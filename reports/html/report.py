"""The page a privacy officer gets by mail: one file, no script, nothing loaded, light and dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from auditor.document import NONE, RECIPE, Audit, Result
from auditor.guarantee import Guarantee
from reports import views
from reports.comparison import Grid, to
from reports.html import pictures
from reports.html.charts import Drawing, series_drawing
from reports.neutral import neutral
from reports.sentences import claim, comparison, exposed, glossary, names, numbers, target, verdict
from reports.sentences.compose import OPEN, OVER, SEEN, VOID, nearness, said, together_void, word
from reports.sentences.steps import SHOWN, steps
from reports.sentences.templates import excess_cell, figure, who
from reports.views import Answer

PAGE_BYTES = 292_000  # of the whole page: charts, then rows of tables, are left to audit.json to stay below 300 kB
MAIN_CHARTS = ("budget", "reliability")  # kinds of series that are always drawn, in this order
ARM_ROWS = 30  # rows of the defences that a family of a comparison lists
LOUD_ROWS = 20  # judged results that a family says in sentences, worst first
FOLDED_ROWS = 60
FAMILY_CHARTS = 12  # of one family that are drawn at all
QUIET_ROWS = 3  # passes with nothing proven that a family says in full; the others are in its table

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
_SIGNS = {"FAILED": "✕", "INCOMPLETE": "?", "PASSED": "✓"}
_TOLD = ((OVER, "over the limit"), (OPEN, "not settled"), (VOID, "not counted"))
"""What other results of a question amount to, and how it is told."""
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
    "seen": "seen",
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
    is_other: bool
    judged: list[Result]
    quiet: list[Result]
    others: list[Result]
    arms: list[Result]
    charts: list[ChartOnPage]
    charts_left_out: int

    @property
    def void(self) -> list[list[Result]]:
        """Judged results that do not count, together where the same checks spoil them."""
        return views.void_groups(self.judged)

    @property
    def told(self) -> list[Result]:
        """Judged results of which each has a sentence of its own."""
        folded = {id(result) for same in self.void for result in same}
        return [result for result in self.judged if id(result) not in folded]


@dataclass(frozen=True, slots=True)
class Arms:
    """Judged results of each defence side by side."""

    names: list[str]
    lines: list[tuple[str, list[Result | None]]]


class HtmlReport:
    """One self-contained page with charts."""

    id = "html"
    filename = "audit.html"
    opening = r"<!doctype html>.*<title>[^<]*: audit of "

    def render(self, audit: Audit) -> str:
        """The page; every string of the document is escaped by the template engine.

        What is always there is rendered first; charts that are folded away fill what is left of the page's size.
        """
        safe = neutral(audit)
        sections, main = _families(safe), [] if views.is_claim(safe) else _main_charts(safe)
        room = PAGE_BYTES - len(_page(safe, sections, main).encode())
        filled = [_with_charts(section, safe, index, main) for index, section in enumerate(sections)]
        kept = []
        for section in filled:
            charts = []
            for chart in section.charts:
                room -= _bytes(chart)
                if room >= 0:
                    charts.append(chart)
            left_out = len(section.charts) - len(charts) + section.charts_left_out
            kept.append(replace(section, charts=charts, charts_left_out=left_out))
        return _page(safe, kept, main)


@cache
def _template() -> tuple[Template, str]:
    """The template and the style sheet."""
    folder = files("reports.html")
    # No loader: the template can include nothing. Undefined names are errors, not blanks.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True)
    page = environment.from_string(folder.joinpath("page.html.j2").read_text(encoding="utf-8"))
    return page, folder.joinpath("style.css").read_text(encoding="utf-8")


def _page(safe: Audit, sections: list[FamilyOnPage], main: list[ChartOnPage]) -> str:
    grid = None if safe.comparison is None else Grid.of(safe.comparison)
    page, style = _template()
    item, is_claim = views.item(safe), views.is_claim(safe)
    undefended = views.undefended(safe)
    near = views.nearest(views.deciding(safe))
    _, last = verdict.last_line(safe)
    answers = views.answers(safe)
    tracks, tracks_left_out = ([], 0) if is_claim else pictures.overview(safe)
    checks = views.checks(safe)
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
        together_void=lambda results: together_void(results, item),
        figure=lambda result: figure(result, item),
        who=who,
        signs=pictures.SIGNS,
        told=lambda answer: "seen" if answer.status == SEEN else _tone(answer.result),
        to=to,
        folded_rows=FOLDED_ROWS,
        arm_rows=ARM_ROWS,
        sign=_SIGNS[safe.verdict.status],
        status=verdict.last_line(safe)[0],
        headline=verdict.headline(safe),
        decision=_decision(safe, near, item),
        unsettled="" if is_claim or grid is not None else verdict.unsettled(near, item),
        last=last,
        further=verdict.further(safe),
        policy=verdict.policy(safe),
        coverage=verdict.coverage(safe),
        passed=target.passed(checks),
        target_facts=target.facts(safe.target),
        answers=answers,
        others=_others(answers, undefended),
        steps=steps(safe, near)[:SHOWN],
        checks=checks,
        families=sections,
        matrix=_matrix(safe),
        recipe_matrix=any(result.arm == RECIPE for result in safe.results),
        grid=grid,
        again=grid and comparison.again(safe),
        compared=grid and pictures.compared(safe, grid),
        tracks=tracks,
        tracks_left_out=tracks_left_out,
        limitless=0 if is_claim else sum(nearness(result) is None for result in undefended),
        odd_scale=any(result.judgement is not None and result.judgement.threshold == 0 for result in undefended),
        marks=pictures.limit_marks(),
        link_bars=None if is_claim else pictures.links(safe),
        member_bars=None if is_claim else pictures.members(safe),
        group_bars=None if is_claim else pictures.groups(safe),
        main_charts=main,
        no_test=numbers.listed(names.NO_TEST),
        glossary=glossary.entries(is_claim=is_claim, is_comparison=grid is not None),
        claim_lines=claim.lines(safe) if is_claim else [],
        bounds=claim.bound_rows(facts) if is_claim and (facts := claim.found(safe)) else [],
        bound_heads=claim.HEADS,
        guarantees=_guarantees(safe),
        who_words=exposed,
        exposed=views.exposed(safe),
        asks_who=views.asks_who(safe),
        item=item,
        missing=views.listed_missing(safe),
        unasked=[answer.title.lower() for answer in answers if not answer.asked],
        config=_config(safe),
    )


def _tone(result: Result | None) -> str:
    return "none" if result is None or result.judgement is None else _TONES.get(result.judgement.status, "none")


def _decision(audit: Audit, near: list[Result], item: str) -> str:
    """The sentence in the largest type: what to decide, or what is said of the claim or of the defences."""
    if audit.comparison is not None:
        return comparison.headline(audit.target.name, audit.comparison)
    if (facts := claim.found(audit)) is not None:
        return " ".join(filter(None, (numbers.closed(claim.verdict(facts)), claim.odds(facts))))
    return verdict.decision(audit, near, item)


def _others(answers: list[Answer], results: list[Result]) -> dict[str, str]:
    """By family: how many other results are over their limits, open, or do not count."""
    found = {}
    for answer in answers:
        words = [word(r) for r in views.of_family(results, answer.family) if r is not answer.result]
        parts = [(words.count(each), said_of) for each, said_of in _TOLD]
        told = [f"{numbers.count(number, 'other result')} {what}" for number, what in parts if number]
        found[answer.family] = numbers.listed(told)
    return found


def _families(audit: Audit) -> list[FamilyOnPage]:
    """Sections without their charts."""
    sections = []
    asked = {cell.family for cell in audit.cells}
    for family in (name for name in views.families(audit) if name in asked):
        judged, others = (views.of_family(results, family) for results in (views.judged(audit), views.shown(audit)))
        arms: list[Result] = []
        if audit.comparison is not None:  # the target in full; the numbers of its defences are folded
            arms = [result for result in (*judged, *others) if result.arm != NONE]
            judged, others = ([r for r in results if r.arm == NONE] for results in (judged, others))
        loud, quiet = [r for r in judged if not views.is_quiet(r)], [r for r in judged if views.is_quiet(r)]
        sections.append(
            FamilyOnPage(
                id=family,
                title=names.TITLES.get(family, family),
                is_other=family not in names.TITLES,
                judged=[*loud[:LOUD_ROWS], *quiet[:QUIET_ROWS]],
                quiet=[*loud[LOUD_ROWS:], *quiet[QUIET_ROWS:]],
                others=others,
                arms=arms,
                charts=[],
                charts_left_out=0,
            )
        )
    return sections


def _main_charts(audit: Audit) -> list[ChartOnPage]:
    """The first series of each kind that is always drawn, of the target without a defence."""
    drawn = []
    for kind in MAIN_CHARTS:
        found = next((chart for chart in _undefended_charts(audit) if chart.series.kind == kind), None)
        if found is not None:
            drawn.append(_on_page(series_drawing(f"main-{kind}", found.series), _source(found)))
    return drawn


def _undefended_charts(audit: Audit) -> Iterator[views.Chart]:
    for family in views.families(audit):
        for chart in views.charts(audit, family):
            if audit.comparison is None or chart.arm == NONE:
                yield chart


def _with_charts(section: FamilyOnPage, audit: Audit, index: int, main: list[ChartOnPage]) -> FamilyOnPage:
    """The section with every other chart of its family, as many as a page could ever hold; the rest is counted."""
    others = [chart for chart in _undefended_charts(audit) if chart.family == section.id]
    shown = {(chart.title, chart.source) for chart in main}
    others = [chart for chart in others if (chart.series.title, _source(chart)) not in shown]
    charts = [
        _on_page(series_drawing(f"chart-{index}-{number}", chart.series), _source(chart))
        for number, chart in enumerate(others[:FAMILY_CHARTS])
    ]
    return replace(section, charts=charts, charts_left_out=max(len(others) - FAMILY_CHARTS, 0))


def _source(chart: views.Chart) -> str:
    source = names.source(chart.probe, chart.arm)
    if chart.other_seeds:
        source += f", seed {chart.seed}; {numbers.count(len(chart.other_seeds), 'more seed')} in audit.json"
    return source


def _bytes(chart: ChartOnPage) -> int:
    """About what a chart with its table takes on the page."""
    return len(chart.svg) + sum(16 + sum(22 + len(item) for item in line) for line in chart.rows) + 400


def _on_page(drawing: Drawing, source: str) -> ChartOnPage:
    return ChartOnPage(Markup(drawing.svg), drawing.title, source, drawing.header, drawing.rows, drawing.note)


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
