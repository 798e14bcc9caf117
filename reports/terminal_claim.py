"""The audit of a claim on the terminal: what is claimed, what could be seen, the bounds, the verdict word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from auditor.audit import Audit, CellRow
from reports.words import number

_STYLE = {"VIOLATED": "bold red", "UNDERPOWERED": "bold yellow", "CONSISTENT": "bold green"}
_HEADS = ("test", "guesses", "right", "needed", "bound 95 %", "bound at α", "reach twin", "claim")
_LABEL = 10


def claim_parts(audit: Audit, *, plain: bool) -> Iterable[RenderableType]:
    """Claim, mechanism and plan once; bounds and verdict for every seed."""
    first = audit.cells[0]
    yield Text("\nDifferential privacy  ", style="bold").append(
        "Can the claimed ε and δ be believed?", style="not bold dim"
    )
    yield _facts(first)
    for cell in audit.cells:
        rows = _rows(cell.params.get("bounds"))
        if rows:
            if len(audit.cells) > 1:
                yield Text(f"seed {cell.seed}", style="bold")
            yield _bounds(cell, rows, plain=plain)
    for cell in audit.cells:
        word, _, said = _text(cell.params).partition(":")
        if said:
            seed = f" (seed {cell.seed})" if len(audit.cells) > 1 else ""
            yield Text.assemble("\n", (word + seed, _STYLE.get(word.split(" ")[0], "bold")), f":{said}.")


def _facts(cell: CellRow) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.add_column(width=_LABEL)
    grid.add_column(ratio=1, overflow="fold")
    plan = _mapping(cell.params.get("preregistration"))
    facts = [("claim", _text(cell.params.get("claim")))]
    if cell.guarantee is not None:
        facts.append(("mechanism", cell.guarantee.headline()))
        facts += [("", f"caveat: {caveat}") for caveat in cell.guarantee.own_caveats]
    facts += [("account", _text(cell.params.get("account"))), ("power", _text(cell.params.get("power")))]
    if plan:
        facts.append(("plan", _plan(plan)))
    for label, text in facts:
        if text:
            grid.add_row(Text(label, style="dim"), Text(text))
    return grid


def _plan(plan: Mapping[str, Any]) -> str:
    """What was fixed before any score was seen."""
    sizes, tests = (", ".join(map(str, _items(plan.get(key)))) for key in ("guess_sizes", "tests"))
    canaries = (
        f"{plan.get('canaries')} canaries, {sizes} guesses"
        if plan.get("mode") == "one-run"
        else f"{sizes} + {sizes} judged"
    )
    return (
        f"{plan.get('mode')}: {canaries}; tests {tests}, each at α {_number(plan.get('alpha_share'))} of "
        f"{_number(plan.get('alpha'))}; score: {plan.get('score')}; seed {plan.get('seed')}"
    )


def _bounds(cell: CellRow, rows: list[Mapping[str, Any]], *, plain: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for k in range(len(_HEADS)):
        table.add_column(justify="left" if k in (0, 7) else "right")
    table.add_row(*(Text(head, style="dim") for head in _HEADS))
    if not plain:
        table.add_row(*(Rule(style="dim") for _ in _HEADS))
    power = {_place(row): row for row in _rows(_mapping(cell.params.get("power")).get("rows"))}
    twins = {_place(row): row for row in _rows(cell.params.get("reach_twin"))}
    for row in rows:
        needed = power.get(_place(row), {}).get("needed")
        rejected = row.get("rejected") is True
        table.add_row(
            str(row.get("test")),
            _count(row.get("guesses")),
            _count(row.get("right")),
            "never" if needed is None else _count(needed),
            _number(row.get("lower_95")),
            _number(row.get("lower")),
            _number(twins.get(_place(row), {}).get("lower_95")),
            Text("rejected" if rejected else "not rejected", style="bold red" if rejected else ""),
        )
    for row in _rows(cell.params.get("beside")):
        shown = (
            str(row.get("test")),
            _count(row.get("guesses")),
            _count(row.get("right")),
            "",
            _number(row.get("lower_95")),
        )
        table.add_row(*(Text(word, style="dim") for word in (*shown, "", "", "shown, not judged")))
    return table


def _place(row: Mapping[str, Any]) -> tuple[Any, Any]:
    return str(row.get("test")), str(row.get("guesses"))


def _text(value: Any) -> str:
    """The sentence of a part of the document that a plug-in or an editor may have left out."""
    text = _mapping(value).get("text")
    return text if isinstance(text, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [row for row in _items(value) if isinstance(row, Mapping)]


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–"
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else number(float(value))
