"""Every number of an audit as tables of at most 100 columns, for whoever asks for more than the screen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.document import Audit, Result
from reports import views
from reports.sentences import exposed, names, target, verdict
from reports.sentences.compose import left_out, said, word
from reports.sentences.numbers import MISSING, called, count, interval_cell, value_cell
from reports.sentences.templates import excess_cell
from reports.terminal.claim import claim_parts
from reports.terminal.comparison import comparison_parts
from reports.terminal.layout import STYLE, grid, styled

NARROW = 95  # columns below which the five columns no longer fit
_LOUD_SHOWN = 60  # of one family that do not pass, worst first: a screen is no list of a thousand
_PASSING_SHOWN = 4  # worst first; the others are counted
_UNJUDGED_SHOWN = 3
_MISSING_SHOWN = 12


def every_number(audit: Audit, *, width: int, plain: bool) -> Iterable[RenderableType]:
    """Target, trust, one table per family, every answer in a sentence, what to do, and what the policy allows."""
    yield from _head(audit)
    yield from _trust(audit)
    if audit.comparison is not None:
        yield from comparison_parts(audit, audit.comparison, width=width, plain=plain)
    elif views.is_claim(audit):
        yield from claim_parts(audit, plain=plain)
    else:
        for family in views.families(audit):
            yield from _family(audit, family, plain=plain, narrow=width < NARROW)
        yield from _exposed(audit)
    yield from _missing(audit)
    yield Text(f"\n{verdict.policy(audit)}", style="dim")


def _head(audit: Audit) -> Iterable[RenderableType]:
    run = f"profile {audit.profile}, {called('seed', audit.seeds)}"
    yield Text.assemble((audit.target.name, "bold"), (f"  {run}", "dim"))
    for fact in target.facts(audit.target):
        yield Text(fact, style="dim")


def _trust(audit: Audit) -> Iterable[RenderableType]:
    rows = views.checks(audit)
    if not rows:
        return
    yield Text.assemble("\n", ("Can this audit be trusted?", "bold"), f"  {target.passed(rows)}")
    lines = grid(4, 12)
    for row in rows:
        if row.status != "pass":
            touches = "" if row.touches is None else f" (touches {', '.join(row.touches) or 'nothing asked for'})"
            lines.add_row("", styled(names.CHECKS[row.status], row.status), Text(f"{row.id}: {row.evidence}{touches}"))
    if lines.row_count:
        yield lines


def _family(audit: Audit, family: str, *, plain: bool, narrow: bool) -> Iterable[RenderableType]:
    judged, others = (views.of_family(results, family) for results in (views.judged(audit), views.shown(audit)))
    if not judged and not others:
        return
    passing = [result for result in judged if _status(result) == "pass"]
    loud = [result for result in judged if _status(result) != "pass"]
    extra = (views.of_family(views.only_shown(audit), family) if judged else others)[:_UNJUDGED_SHOWN]
    listed = [*loud[:_LOUD_SHOWN], *passing[:_PASSING_SHOWN], *extra]
    title, question = names.TITLES.get(family, family), names.QUESTIONS.get(family, "")
    yield Text.assemble("\n", (title, "bold"), ("  " + question, "dim"))
    yield from _stacked(listed) if narrow else _tables(listed, plain=plain)
    lines = grid(2)
    for result in _worth_a_sentence(listed):
        lines.add_row(Text("•", style=STYLE.get(_status(result), "")), Text(said(result, views.item(audit))))
    yield lines
    beyond = max(len(loud) - _LOUD_SHOWN, 0)
    if more := left_out(max(len(passing) - _PASSING_SHOWN, 0), len(others) - len(extra), beyond):
        yield Padding(Text(f"{more} (audit.html, audit.json)", style="dim"), (0, 0, 0, 2))


def _exposed(audit: Audit) -> Iterable[RenderableType]:
    """Every list of the most exposed as a table."""
    found, item = views.exposed(audit), views.item(audit)
    if found:
        yield Text.assemble("\n", (exposed.TITLE, "bold"), f"  {exposed.WARNING}")
    for each in found:
        about = f"  {views.source(each.result)}, {exposed.about(each.exposed, each.seeds)}"
        yield Text.assemble((exposed.label(each.result, item), "bold"), (about, "dim"))
        table = Table(box=None, pad_edge=False, expand=True)
        for head in exposed.heads(each.exposed, item):
            table.add_column(Text(head, style="dim"), overflow="fold", ratio=1)
        for row in exposed.rows(each.exposed):
            table.add_row(*map(Text, row))
        yield table


def _status(result: Result) -> str:
    return "" if result.judgement is None else result.judgement.status


def _worth_a_sentence(results: Sequence[Result]) -> list[Result]:
    """Every result that does not pass, and the first of each probe: a pass is a result that wants words too."""
    first: dict[str, Result] = {}
    for result in results:
        first.setdefault(views.source(result), result)
    return [r for r in results if _status(r) not in ("", "pass") or first[views.source(r)] is r]


def _stacked(results: Sequence[Result]) -> Iterable[RenderableType]:
    """The same numbers for a terminal too narrow for five columns: each result as three lines."""
    before = ""
    for result in results:
        if (own := views.source(result)) != before:
            before = own
            yield Text.assemble((own, "bold"), (f"  holding {names.holders(result.access)}", "dim"))
        what, value, beside, excess, judged = (_flat(cell.plain) for cell in _cells(result))
        yield Text.assemble((f"  {what}", "bold"), f"  {value}")
        yield Text(f"    beside {beside}")
        yield Text.assemble(f"    excess {excess}  ", (judged, STYLE.get(_status(result), "")))


def _flat(text: str) -> str:
    return ", ".join(line.strip() for line in text.split("\n") if line.strip())


def _tables(results: Sequence[Result], *, plain: bool) -> Iterable[RenderableType]:
    """One heading, then the rows of each probe under its name and what the adversary holds."""
    heading = _table()
    words = ("measured", "value", "beside the control", "excess, 95 %", "judged, size")
    heading.add_row(*(Text(word, style="dim") for word in words))
    yield heading
    if not plain:
        yield Rule(style="dim")
    groups: dict[tuple[str, tuple[str, ...]], list[Result]] = {}
    for result in results:
        groups.setdefault((views.source(result), result.access), []).append(result)
    for (source, access), members in groups.items():
        yield Text.assemble((source, "bold"), (f"  holding {names.holders(access)}", "dim"))
        table = _table()
        for result in members:
            table.add_row(*_cells(result))
        yield table


def _table() -> Table:
    """Columns of fixed widths, so that the tables of several probes stand under one heading."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(min_width=16, overflow="fold", ratio=1)
    table.add_column(width=16, overflow="fold")
    table.add_column(width=19, overflow="fold")
    table.add_column(width=18, overflow="fold")
    table.add_column(width=16, overflow="fold")
    return table


def _cells(result: Result) -> tuple[Text, ...]:
    unit = result.unit
    what = Text("\n".join(filter(None, (names.measured(result), names.joined_by(result)))))
    value = Text.assemble(
        value_cell(result.own.value, unit),
        "\n",
        (interval_cell(result.own, unit), "dim"),
    )
    control = result.control
    beside = Text(MISSING)
    if control is not None:
        beside = Text.assemble(value_cell(control.estimate.value, unit), "\n", _breakable(control.name))
    excess, between = excess_cell(result)
    gained = Text.assemble((excess, "bold"), "\n", (between, "dim"))
    judgement = result.judgement
    if judgement is None:
        return what, value, beside, gained, Text(word(result), style="dim")
    judged = styled(word(result), judgement.status)
    judged.append("\n" + names.band(judgement.severity, judgement.severity_upper))
    return what, value, beside, gained, judged


def _breakable(name: str) -> str:
    """A name like `counterfactual/degree+class` as words, so that it wraps between them."""
    return re.sub(r"(?<=\S)/(?=\S)", " ", name)


def _missing(audit: Audit) -> Iterable[RenderableType]:
    found = views.listed_missing(audit)
    if not found:
        return
    yield Text.assemble("\n", ("Not tested", "bold"))
    lines = grid(2, 14)
    for each in found[:_MISSING_SHOWN]:
        seeds = "" if len(each.seeds) == 1 else f" ({count(len(each.seeds), 'seed')})"
        lines.add_row("", styled(names.CELLS[each.status], each.status), Text(f"{each.source}{seeds}: {each.reason}"))
    if len(found) > _MISSING_SHOWN:
        lines.add_row("", "", Text(f"and {len(found) - _MISSING_SHOWN} more (audit.json)", style="dim"))
    yield lines
