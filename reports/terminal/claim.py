"""The audit of a claim on the terminal: what is claimed, what could be seen, the bounds, the verdict word."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.document import Audit
from reports.sentences import claim, names
from reports.sentences.numbers import closed
from reports.terminal.layout import STYLE, Screen

_LABEL = 10


def claim_screen(audit: Audit, screen: Screen) -> Iterable[RenderableType]:
    """What is claimed, and what of it holds; before a run what would be run."""
    facts, lines = claim.found(audit), claim.lines(audit)
    if facts is None:
        yield from (screen.text(closed(f"{label or 'with'}: {text}")) for label, text in lines)
        return
    yield screen.text(closed(f"Claim: {lines[0][1]}"), "bold")
    yield screen.text(closed(claim.verdict(facts)))
    if odds := claim.odds(facts):
        yield screen.text(odds)
    yield from screen.gap()


def claim_parts(audit: Audit, *, plain: bool) -> Iterable[RenderableType]:
    """Claim, mechanism and plan once; bounds and verdict for every seed."""
    title = Text(f"\n{names.TITLES['dp']}  ", style="bold")
    yield title.append(names.QUESTIONS["dp"], style="not bold dim")
    yield _lines(audit)
    facts = claim.found(audit)
    if facts is None:
        return
    if facts.bounds:
        yield _table(claim.bound_rows(facts), plain=plain)
    yield Text.assemble("\n", (facts.verdict, STYLE[facts.verdict]), f": {closed(claim.why(facts))}")


def _lines(audit: Audit) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=_LABEL)
    grid.add_column(ratio=1, overflow="fold")
    for label, text in claim.lines(audit):
        grid.add_row(Text(label, style="dim"), Text(text))
    return grid


def _table(bounds: list[claim.BoundRow], *, plain: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    last = len(claim.HEADS) - 1
    for k in range(last + 1):
        table.add_column(justify="left" if k in (0, last) else "right")
    table.add_row(*(Text(head, style="dim") for head in claim.HEADS))
    if not plain:
        table.add_row(*(Rule(style="dim") for _ in claim.HEADS))
    for bound in bounds:
        *words, judged = bound.words
        style = "" if bound.is_judged else "dim"
        table.add_row(
            *(Text(word, style=style) for word in words),
            Text(judged, style="bold red" if bound.is_rejected else style),
        )
    return table
