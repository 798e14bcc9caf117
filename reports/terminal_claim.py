"""The audit of a claim on the terminal: what is claimed, what could be seen, the bounds, the verdict word."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.audit import Audit, CellRow
from reports import claim

_STYLE = {"VIOLATED": "bold red", "UNDERPOWERED": "bold yellow", "CONSISTENT": "bold green"}
_LABEL = 10


def claim_parts(audit: Audit, *, plain: bool) -> Iterable[RenderableType]:
    """Claim, mechanism and plan once; bounds and verdict for every seed."""
    yield Text("\nDifferential privacy  ", style="bold").append(
        "Can the claimed ε and δ be believed?", style="not bold dim"
    )
    yield _facts(audit.cells[0])
    for cell in audit.cells:
        if bounds := claim.bounds(cell):
            if len(audit.cells) > 1:
                yield Text(f"seed {cell.seed}", style="bold")
            yield _table(bounds, plain=plain)
    for cell in audit.cells:
        word, said = claim.verdict(cell)
        if word:
            seed = f" (seed {cell.seed})" if len(audit.cells) > 1 else ""
            yield Text.assemble("\n", (word + seed, _STYLE.get(word.split(" ")[0], "bold")), f": {said}")


def _facts(cell: CellRow) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=_LABEL)
    grid.add_column(ratio=1, overflow="fold")
    for label, text in claim.facts(cell):
        grid.add_row(Text(label, style="dim"), Text(text))
    return grid


def _table(bounds: list[claim.Bound], *, plain: bool) -> Table:
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
