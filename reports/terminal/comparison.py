"""The comparison on the terminal: what each defence buys and costs on one screen, and the whole matrix for who asks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.document import Audit, Comparison, Headline, Result
from reports.comparison import Grid, Row, broken, leading, to
from reports.sentences import comparison as words
from reports.sentences import names
from reports.sentences.numbers import MISSING, closed, count
from reports.terminal.layout import Screen

_NUMBER = 14  # columns of `1.2 better to`
_LAST = 7  # of `seconds`
_NAME = 15  # at least, for names
_STYLE = {"better": "bold green", "worse": "bold red"}


_ROWS_SHOWN = 8
_COLUMNS_SHOWN = 4


def comparison_screen(audit: Audit, compared: Comparison, screen: Screen) -> Iterable[RenderableType]:
    """Verdict on the defences, one table, and of each what it buys and costs."""
    grid = Grid.of(compared)
    yield screen.text(words.headline(audit.target.name, compared), "bold")
    yield from screen.gap()
    shown = leading(grid.columns, _COLUMNS_SHOWN)
    rows = _leading_rows(grid)
    sure = {row.name: words.confidence(audit.results, row.name) for row in rows}
    sure = sure if any(text != MISSING for text in sure.values()) else {}
    yield from screen.table(
        ("", *(words.head(grid.columns[k], audit.results)[0] for k in shown), *(["confidence"] if sure else [])),
        (
            "",
            *(f"{names.column(grid.columns[k])[1]} {words.arrow(grid.columns[k])}".strip() for k in shown),
            *(["points"] if sure else []),
        ),
        [(_name(row), *(_value(row.cells[k]) for k in shown), *([sure[row.name]] if sure else [])) for row in rows],
    )
    more = len(grid.rows) - len(rows)
    left = f" {count(more, 'more row')}: --verbose." if more else ""
    if any(row.is_control for row in rows):
        yield screen.text(f"{words.CONTROLS}{left}", "dim")
    elif left:
        yield screen.text(left.strip(), "dim")
    for row in grid.asked:
        yield from screen.gap()
        yield screen.text(f"{row.name}: {words.outcome(row.arm)}", "bold")
        if row.arm.reason:
            yield screen.text(closed(f"{words.missing(row.arm)}: {row.arm.reason}"))
        yield from screen.labelled("Changes", [words.beside_none(row.arm, audit.results)] if row.arm.headlines else [])
        yield from screen.labelled("Buys", words.buys(row.arm, audit.results) or [words.NOTHING_COMPARED])
        yield from screen.labelled("Costs", words.costs(row.arm, audit.results))
        yield from screen.labelled("Use", words.use(row.arm))
        yield from screen.labelled("Guarantee", [closed(words.guarantee(row.arm))])
    if command := words.again(audit):
        yield from screen.gap()
        yield from screen.labelled("Next", [command])
    yield from screen.gap()


def _leading_rows(grid: Grid) -> list[Row]:
    """All rows, or where they are many the ones asked for and the first control of each."""
    if len(grid.rows) <= _ROWS_SHOWN:
        return list(grid.rows)
    kept, last = [], None
    for row in grid.rows:
        if not row.is_control:
            kept.append(row)
        elif row.arm.control_of != last:
            last = row.arm.control_of
            kept.append(row)
    return kept


def _name(row: Row) -> str:
    return f"  {row.short}" if row.is_control else names.arm(row.name)


def _value(cell: Headline | None) -> str:
    return MISSING if cell is None else words.number(cell)[0]


def comparison_parts(audit: Audit, compared: Comparison, *, width: int, plain: bool) -> Iterable[RenderableType]:
    """Table, words, guarantees, what was not fitted and what was left out, and where the other numbers are."""
    grid = Grid.of(compared)
    yield Text.assemble("\n", ("Comparison", "bold"), ("  What would each defence buy, and at what price?", "dim"))
    shown = leading(grid.columns, max((width - _NAME - 1 - _LAST) // (_NUMBER + 1), 1))
    yield _table(grid, shown, width=width, plain=plain)
    yield Text(f"{words.legend(compared)} {words.marking(compared)}", style="dim")
    dropped = [title for k, title in enumerate(words.titles(grid.columns)) if k not in shown]
    if dropped:
        yield Text(f"Not shown at this width: {', '.join(dropped)} (audit.html)", style="dim")
    yield from _said(grid, audit.results)
    yield from _lists(grid, compared)
    yield Text()
    yield Text(words.elsewhere(audit))


def _table(grid: Grid, shown: Sequence[int], *, width: int, plain: bool) -> Table:
    names = width - (_NUMBER + 1) * len(shown) - _LAST - 1
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(ratio=1, overflow="fold")
    for _ in shown:
        table.add_column(width=_NUMBER, overflow="fold")
    table.add_column(width=_LAST, justify="right")
    titles = words.titles(grid.columns)
    heads = [_head(titles[k], grid.columns[k]) for k in shown]
    table.add_row(Text("defence"), *heads, Text.assemble("seconds", "\n", ("Pareto", "dim")))
    if not plain:
        table.add_row(*(Rule(style="dim") for _ in range(len(shown) + 2)))
    for k, row in enumerate(grid.rows):
        if k and not row.is_control:
            table.add_row()
        label: RenderableType = Text("\n".join(broken(row.name, names)), style="bold")
        if row.is_control:
            label = Padding(Text("\n".join(broken(row.short, names - 2))), (0, 0, 0, 2))
        front = ("front" if row.arm.pareto else "", "bold green")
        last = Text.assemble(words.seconds(row.arm.seconds), "\n", front)
        cells = [_number(row.cells[c]) for c in shown]
        if not row.arm.headlines and row.arm.reason and cells:
            cells[0] = Text(words.missing(row.arm), style="bold yellow")
        table.add_row(label, *cells, last)
    return table


def _head(title: str, column: Headline) -> Text:
    what = " ".join(filter(None, (title, column.subset)))
    return Text.assemble(f"{column.family} {words.arrow(column)}", "\n", (what, "dim"))


def _number(cell: Headline | None) -> Text:
    if cell is None:
        return Text(MISSING, style="dim")
    value, interval = words.number(cell)
    text = Text.assemble(value, "\n", (interval, "dim"))
    found = to(cell)
    if found is not None:
        moved, between = words.difference(cell, found)
        text.append(f"\nΔ {moved}{' *' if found.mark else ''}", style=_STYLE.get(found.mark, ""))
        if between:
            text.append("\n" + between, style="dim")
    return text


def _said(grid: Grid, results: Sequence[Result]) -> Iterable[RenderableType]:
    """One bullet per sentence that may be said of a defence."""
    lines = _bullets()
    for row in grid.asked:
        for decision in row.arm.decisions:
            small = (f"  {decision.probe}" if decision.probe else "", "dim")
            lines.add_row(
                "•", Text.assemble((row.name, "bold"), f": {words.decided(decision, row.arm, results)}", small)
            )
    yield from _titled("What may be said", lines)


def _lists(grid: Grid, compared: Comparison) -> Iterable[RenderableType]:
    lines = _bullets()
    for row in grid.rows:
        if row.arm.guarantee:
            lines.add_row("•", Text.assemble((row.name, "bold"), f": {words.guarantee(row.arm)}"))
    without = [row.name for row in grid.asked if row.arm.headlines and not row.arm.guarantee]
    if without:
        lines.add_row("•", Text.assemble((", ".join(without), "bold"), ": no formal guarantee"))
    if standing := words.standing(compared):
        lines.add_row("•", standing)
    yield from _titled("Guarantees", lines)
    lines = _bullets()
    for row in grid.rows:
        if missing := words.missing(row.arm):
            lines.add_row("•", Text.assemble((row.name, "bold"), f": {missing}: {row.arm.reason}"))
    yield from _titled("Not fitted", lines)
    lines = _bullets()
    for line in compared.left_out:
        lines.add_row("•", Text(line))
    yield from _titled("Left out against profile standard", lines)


def _titled(title: str, lines: Table) -> Iterable[RenderableType]:
    if lines.row_count:
        yield Text(f"\n{title}", style="bold")
        yield lines


def _bullets() -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1, overflow="fold")
    return grid
