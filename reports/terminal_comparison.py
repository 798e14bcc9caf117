"""The comparison on the terminal: a line of numbers per defence, its controls behind it, and what may be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from reports.comparison import Cell, Column, Comparison, broken, guarantee_text, points, points_interval, seconds
from reports.rows import Reading
from reports.words import counted

_NUMBER = 14  # columns of `[+10.3, +12.5]`
_LAST = 7  # of `seconds`
_NAME = 15  # at least, for names
_STYLE = {"better": "bold green", "worse": "bold red"}


def comparison_parts(reading: Reading, compared: Comparison, *, width: int, plain: bool) -> Iterable[RenderableType]:
    """Table, words, guarantees, what was not fitted and what was left out, and where the other numbers are."""
    seeds = f"{counted(len(compared.seeds), 'seed')}: {', '.join(map(str, compared.seeds))}"
    yield Text.assemble("\n", ("Comparison", "bold"), ("  What would each defence buy, and at what price?", "dim"))
    columns = _fitting(compared.columns, width)
    yield _table(compared, columns, width=width, plain=plain)
    legend = f"Lines of a row: value, 95 % interval, paired difference Δ to no defence, its interval ({seeds})."
    yield Text(f"{compared.unit} {legend} {compared.marking}", style="dim")
    dropped = [column.title for column in compared.columns if column not in columns]
    if dropped:
        yield Text(f"Not shown at this width: {', '.join(dropped)} (audit.html)", style="dim")
    yield from _said(compared)
    yield from _lists(compared)
    yield Text()
    yield Text(_elsewhere(reading, compared))


def _fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Columns that the width holds: the first of each family before the second of any; document order."""
    room = max((width - _NAME - 1 - _LAST) // (_NUMBER + 1), 1)
    leading = list({column.family: column for column in reversed(columns)}.values())[::-1]
    kept = [*leading, *(column for column in columns if column not in leading)][:room]
    return [column for column in columns if column in kept]


def _table(compared: Comparison, columns: Sequence[Column], *, width: int, plain: bool) -> Table:
    names = width - (_NUMBER + 1) * len(columns) - _LAST - 1
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(ratio=1, overflow="fold")
    for _ in columns:
        table.add_column(width=_NUMBER, overflow="fold")
    table.add_column(width=_LAST, justify="right")
    heads = [Text.assemble(f"{c.family} {c.arrow}", "\n", (_named(c), "dim")) for c in columns]
    table.add_row(Text("defence"), *heads, Text.assemble("seconds", "\n", ("Pareto", "dim")))
    if not plain:
        table.add_row(*(Rule(style="dim") for _ in range(len(columns) + 2)))
    shown = [compared.columns.index(column) for column in columns]
    for k, arm in enumerate(compared.arms):
        if k and not arm.is_control:
            table.add_row()
        label: RenderableType = Text("\n".join(broken(arm.name, names)), style="bold")
        if arm.is_control:
            label = Padding(Text("\n".join(broken(arm.short, names - 2))), (0, 0, 0, 2))
        last = Text.assemble(seconds(arm.row.seconds), "\n", ("front" if arm.row.pareto else "", "bold green"))
        cells = [_number(arm.cells[c]) for c in shown]
        if arm.missing and not arm.row.entries and cells:
            cells[0] = Text(arm.missing, style="bold yellow")
        table.add_row(label, *cells, last)
    return table


def _named(column: Column) -> str:
    return f"{column.title} {column.subset}" if "=" in column.subset else column.title


def _number(cell: Cell | None) -> Text:
    if cell is None:
        return Text("–", style="dim")
    text = Text.assemble(points(cell.entry.value), "\n", (points_interval(cell.entry.ci), "dim"))
    found = cell.to_none
    if found is not None:
        text.append(f"\nΔ {points(found.value, signed=True)}")
        if found.word:
            text.append(f" {found.word}", style=_STYLE[found.word])
        if found.ci is not None:
            text.append("\n" + points_interval(found.ci, signed=True), style="dim")
    return text


def _said(compared: Comparison) -> Iterable[RenderableType]:
    """One bullet per sentence that may be said of a defence."""
    lines = _bullets()
    for arm in compared.asked:
        for word in arm.row.words:
            lines.add_row("•", Text.assemble((arm.name, "bold"), f": {word}"))
    if lines.row_count:
        yield Text("\nWhat may be said", style="bold")
        yield lines


def _lists(compared: Comparison) -> Iterable[RenderableType]:
    fitted = [arm for arm in compared.asked if arm.row.entries]
    lines = _bullets()
    for arm in compared.arms:
        if arm.row.guarantee:
            lines.add_row("•", Text.assemble((arm.name, "bold"), f": {guarantee_text(arm.row)}"))
    without = [arm.name for arm in fitted if not arm.row.guarantee]
    if without:
        lines.add_row("•", Text.assemble((", ".join(without), "bold"), ": no formal guarantee"))
    if compared.standing:
        lines.add_row("•", compared.standing)
    yield from _titled("Guarantees", lines)
    lines = _bullets()
    for arm in compared.arms:
        if arm.missing:
            lines.add_row("•", Text.assemble((arm.name, "bold"), f": {arm.missing}: {arm.row.reason}"))
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


def _elsewhere(reading: Reading, compared: Comparison) -> str:
    """How many numbers were judged on which arms, and where they are."""
    failing = list(dict.fromkeys(row.defense for row in reading.judged if row.status == "fail"))
    order = [arm.name for arm in compared.arms]
    failing.sort(key=lambda name: order.index(name) if name in order else len(order))
    judged = f"{counted(len(reading.judged), 'judged number')} of {counted(len(compared.arms), 'arm')}"
    if failing:
        count = sum(row.status == "fail" for row in reading.judged)
        judged += f", {count} of them failing (on {', '.join(failing)})"
    return f"{judged}: audit.html, audit.json"
