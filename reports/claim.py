"""The audit of a claim, ready to be shown: what is claimed, what could be seen, the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from auditor.audit import CellRow
from reports.words import number

HEADS: Final = ("test", "guesses", "right", "needed", "bound 95 %", "bound at α", "reach twin", "claim")


@dataclass(frozen=True, slots=True)
class Bound:
    """One test at one size, in words under `HEADS`."""

    words: tuple[str, ...]
    is_judged: bool
    is_rejected: bool


def facts(cell: CellRow) -> list[tuple[str, str]]:
    """Claim, mechanism with its caveats, account, power, plan, audited run, as far as the document has them."""
    plan = _mapping(cell.params.get("preregistration"))
    found = [("claim", _text(cell.params.get("claim")))]
    if cell.guarantee is not None:
        found.append(("mechanism", cell.guarantee.headline()))
        found += [("", f"caveat: {caveat}") for caveat in cell.guarantee.own_caveats]
    found += [("account", _text(cell.params.get("account"))), ("power", _text(cell.params.get("power")))]
    if plan:
        found.append(("plan", _plan(plan)))
    found.append(("audited", _text(cell.params.get("audited"))))
    return [(label, text) for label, text in found if text]


def verdict(cell: CellRow) -> tuple[str, str]:
    """The verdict word with its reason, and the rest of the sentence; empty before there is one."""
    word, _, said = _text(cell.params).partition(":")
    return (word, f"{said.strip()}.") if said else ("", "")


def bounds(cell: CellRow) -> list[Bound]:
    """The judged tests, then those that are only shown; empty where nothing was run."""
    power = {_place(row): row for row in _rows(_mapping(cell.params.get("power")).get("rows"))}
    twins = {_place(row): row for row in _rows(cell.params.get("reach_twin"))}
    judged = _rows(cell.params.get("bounds"))
    found = []
    for row in judged:
        needed = power.get(_place(row), {}).get("needed")
        is_rejected = row.get("rejected") is True
        words = (
            "never" if needed is None else _count(needed),
            _number(row.get("lower_95")),
            _number(row.get("lower")),
            _number(twins.get(_place(row), {}).get("lower_95")),
            "rejected" if is_rejected else "not rejected",
        )
        found.append(Bound((*_guessed(row), *words), True, is_rejected))
    for row in _rows(cell.params.get("beside")) if judged else ():
        words = ("", _number(row.get("lower_95")), "", "", "shown, not judged")
        found.append(Bound((*_guessed(row), *words), False, False))
    return found


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


def _guessed(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row.get("test")), _count(row.get("guesses")), _count(row.get("right"))


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
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
