"""The page a privacy officer gets by mail: one file, no script, nothing loaded, light and dark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from auditor.audit import Audit
from reports import claim, comparison, words
from reports import rows as read
from reports.comparison import Comparison, guarantee_facts
from reports.html.charts import Drawing, overview_drawing, series_drawing
from reports.html.comparison import comparison_drawing
from reports.rows import Answer, Reading, Row

CHART_BYTES = 190_000  # charts with their tables; what comes later is left to audit.json, to stay below 300 kB
COMPARED_BYTES, ARM_BYTES = 165_000, 2_000  # in a comparison its picture and so much for each arm come off first
ARM_ROWS = 30  # rows of the defences that a family of a comparison lists
LOUD_ROWS = 40  # judged rows that a family shows in full, worst first
FOLDED_ROWS = 60
QUIET_ROWS = 4  # passes with nothing proven that a family shows in full; the others are folded

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
    judged: list[Row]
    quiet: list[Row]
    others: list[Row]
    arms: list[Row]
    charts: list[ChartOnPage]
    charts_left_out: int


@dataclass(frozen=True, slots=True)
class ClaimOnPage:
    """One seed of the audit of a claim."""

    seed: int
    facts: list[tuple[str, str]]
    bounds: list[claim.Bound]
    word: str
    said: str


@dataclass(frozen=True, slots=True)
class Arms:
    """Judged rows of each defence side by side."""

    defenses: list[str]
    lines: list[tuple[str, list[Row | None]]]


class HtmlReport:
    """One self-contained page with charts."""

    id = "html"
    filename = "audit.html"

    def render(self, audit: Audit) -> str:
        """The page; every string of the document is escaped by the template engine."""
        reading = Reading.of(audit)
        safe = reading.audit
        compared = None if safe.matrix is None else Comparison.of(safe.matrix)
        picture = None if compared is None else comparison_drawing("comparison", compared)
        folder = files("reports.html")
        style = folder.joinpath("style.css").read_text(encoding="utf-8")
        source = folder.joinpath("page.html.j2").read_text(encoding="utf-8")
        # No loader: the template can include nothing. Undefined names are errors, not blanks.
        environment = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
        )
        page = environment.from_string(source)
        return page.render(
            audit=safe,
            style=Markup(style),
            tone=lambda status: _TONES.get(status, "none"),
            band=words.band,
            number=words.number,
            interval=words.interval,
            measured=words.measured,
            holders=words.holders,
            counted=words.counted,
            folded_rows=FOLDED_ROWS,
            arm_rows=ARM_ROWS,
            sentence=read.sentence,
            points=comparison.points,
            points_interval=comparison.points_interval,
            guarantee_text=comparison.guarantee_text,
            seconds=comparison.seconds,
            headline=read.headline(safe),
            verdict_lines=read.verdict_lines(safe),
            coverage=read.coverage(safe),
            target_facts=read.target_facts(safe),
            clean_facts=read.clean_facts(safe),
            defense_facts=read.defense_facts(safe),
            started=words.moment(safe.started),
            answers=read.answers(reading),
            steps=read.next_steps(reading),
            validity=read.validity(safe),
            families=_families(reading, len(picture.svg) if picture else 0),
            matrix=_matrix(reading),
            compared=compared,
            compared_drawing=picture and _on_page(picture, "in percent and points; bold: value, below: difference"),
            claims=_claims(safe),
            bound_heads=claim.HEADS,
            guarantees=_guarantees(safe),
            gaps=read.listed_gaps(safe),
            unasked=[answer.title.lower() for answer in read.answers(reading) if answer.status == "not tested"],
            config=_config(safe),
        )


def _families(reading: Reading, picture_bytes: int) -> list[FamilyOnPage]:
    audit = reading.audit
    answers = {answer.family: answer for answer in read.answers(reading)}
    room = CHART_BYTES
    if audit.matrix is not None:
        room = COMPARED_BYTES - picture_bytes - ARM_BYTES * len(audit.matrix.rows)
    sections = []
    asked = {cell.family for cell in audit.cells}
    for index, family in enumerate(name for name in read.families(audit) if name in asked):
        judged, others = reading.judged_in(family), reading.others_in(family)
        arms: list[Row] = []
        if audit.matrix is not None:  # the target in full; the numbers of its defences are folded
            arms = [row for row in (*judged, *others) if row.defense != "none"]
            judged, others = ([row for row in rows if row.defense == "none"] for rows in (judged, others))
        loud, quiet = [row for row in judged if not row.is_quiet], [row for row in judged if row.is_quiet]
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
                title=words.TITLES.get(family, family),
                question=words.QUESTIONS.get(family, ""),
                is_other=family not in words.FAMILIES,
                answer=answers.get(family),
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
    audit: Audit, family: str, index: int, judged: list[Row]
) -> Iterator[tuple[str, Callable[[], Drawing | None]]]:
    """Where each chart of a family comes from, and how to draw it: what does not fit is never drawn."""
    yield "every judged number, worst first", partial(overview_drawing, f"overview-{index}", family, judged)
    for number, chart in enumerate(read.charts(audit, family)):
        if audit.matrix is not None and chart.defense != "none":
            continue
        source = chart.probe if chart.defense == "none" else f"{chart.probe} on {chart.defense}"
        if chart.other_seeds:
            source += f", seed {chart.seed}; {words.counted(len(chart.other_seeds), 'more seed')} in audit.json"
        yield source, partial(series_drawing, f"chart-{index}-{number}", chart.series)


def _matrix(reading: Reading) -> Arms | None:
    """Judged numbers by defence; None without a defence, and where a comparison shows them."""
    rows = reading.judged
    defenses = sorted({row.defense for row in rows}, key=lambda name: (name != "none", name))
    if reading.audit.matrix is not None or defenses in ([], ["none"]) or read.is_claim(reading.audit):
        return None
    lines: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.probe, row.measurement, row.subset), {})[row.defense] = row
    named = ["no defence" if name == "none" else name for name in defenses]
    listed: list[tuple[str, list[Row | None]]] = [
        (f"{probe} · {words.measured(name, subset)}", [found.get(defense) for defense in defenses])
        for (probe, name, subset), found in lines.items()
    ]
    return Arms(named, listed)


def _claims(audit: Audit) -> list[ClaimOnPage]:
    """What was asked and found at each seed; empty where the document is no audit of a claim."""
    if not read.is_claim(audit):
        return []
    return [ClaimOnPage(cell.seed, claim.facts(cell), claim.bounds(cell), *claim.verdict(cell)) for cell in audit.cells]


def _guarantees(audit: Audit) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each defence's guarantee once, all of its facts: never a bare epsilon."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    given = [(audit.target.defense if c.defense == "none" else c.defense, c.guarantee) for c in audit.cells]
    given += [(row.defense, row.guarantee) for row in audit.matrix.rows] if audit.matrix else []
    for name, guarantee in given:
        if guarantee:
            facts = guarantee_facts(guarantee)
            found.setdefault((name, json.dumps(facts)), facts)
    return [(name, facts) for (name, _), facts in found.items()]


def _config(audit: Audit) -> str:
    facts = {"config": audit.config, "split": audit.target.split, "provenance": audit.target.provenance}
    return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, default=str)
