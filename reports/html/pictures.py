"""Pictures of boxes and dots: they fit any page, and every number in them is written beside them.

What they share is a scale in percent of their width, so that a style sheet places them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auditor.document import NONE, Audit, Estimate, Headline
from auditor.document.facts import Group, LinkFacts, LinkList, MemberFacts
from reports import views
from reports.comparison import Grid, Row, leading, to
from reports.sentences import comparison as words
from reports.sentences import names
from reports.sentences.briefs.privacy import accused
from reports.sentences.compose import ABSENT, OPEN, OVER, SEEN, beside_limit, nearness, word
from reports.sentences.numbers import MISSING, Shares, count, digits, plural
from reports.sentences.templates import template

SIGNS = {OVER: "✕", OPEN: "?", SEEN: "•", ABSENT: "✓"}
"""A status is never told by its colour alone."""
_FIRST, _LAST = -1.0, 3.0
"""Ends of the scale of `overview`, in limits."""
_NEAR_SHOWN = 16
_GROUPS_SHOWN = 8
_ROWS_SHOWN = 16
_COLUMNS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Track:
    """A dot with its interval.

    Attributes:
        at, lo, hi: places in percent of the width; None where there is no number.
        text: the same in words.
        label: what it is; empty where a table says so.
        status, word: of the judgement.
        mark: place of what it is compared with; None without that.
    """

    at: float | None
    lo: float
    hi: float
    text: str
    label: str = ""
    status: str = ""
    word: str = ""
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from 0 with its interval; `role` says whose number it is."""

    label: str
    value: str
    width: float
    lo: float | None
    hi: float | None
    role: str = "value"


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars on one scale, with a title and what they count."""

    title: str
    about: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """One model of a comparison: its name, what it is, and a cell for each column."""

    name: str
    about: str
    is_control: bool
    cells: tuple[tuple[str, Track | None], ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """The picture of a comparison: heads with their units, and rows; `left_out` rows are in the matrix alone."""

    heads: tuple[tuple[str, str], ...]
    rows: tuple[ComparedRow, ...]
    left_out: int


def overview(audit: Audit) -> tuple[list[Track], int]:
    """How close each judged result is to its limit, nearest first, and how many more there are."""
    found = [(result, scaled) for result in views.nearest(views.undefended(audit)) if (scaled := nearness(result))]
    item = views.item(audit)
    tracks = []
    for result, scaled in found[:_NEAR_SHOWN]:
        assert result.judgement is not None  # it has a limit
        status = word(result)
        label = template(result.finding).brief.label(result, item)
        place = _track(scaled, _FIRST, _LAST, beside_limit(result))
        tracks.append(
            Track(
                place.at,
                place.lo,
                place.hi,
                place.text,
                label,
                "seen" if status == SEEN else result.judgement.status,
                f"{SIGNS.get(status, '–')} {status}",
            )
        )
    return tracks, len(found) - len(tracks)


def limit_marks() -> tuple[float, float, float]:
    """Places of no effect, the limit and twice the limit."""
    none, limit, twice = (_place(value, _FIRST, _LAST) for value in (0.0, 1.0, 2.0))
    return none, limit, twice


def links(audit: Audit) -> Bars | None:
    """Links among the likeliest pairs, by what the guesser has; None where no test found any list."""
    item = views.item(audit)
    found: list[tuple[str, LinkList]] = []
    for result in views.undefended(audit):
        facts = result.facts
        if isinstance(facts, LinkFacts) and facts.links is not None and facts.low_fpr is None:
            found.append((template(result.finding).brief.label(result, item), facts.links))
    if not found:
        return None
    first = found[0][1]
    alike = [(label, listed) for label, listed in found if listed.n_links == first.n_links]
    rows = [(label, listed.k, "value") for label, listed in alike]
    best = max((listed.m for _, listed in alike if listed.m is not None), key=lambda m: m.value or 0.0, default=None)
    rows += [("Without the model", best, "control")] if best is not None else []
    rows.append(("Blindly", first.r, "reference"))
    about = f"the {digits(first.n_links)} likeliest pairs of each guess, as many as there are links"
    return Bars("Real links among the likeliest pairs", about, _bars(rows, lambda value: digits(value)))


def members(audit: Audit) -> Bars | None:
    """Members found where few others are accused, by what was asked; None where no such rate was judged."""
    item = views.item(audit)
    found = [
        (template(result.finding).brief.label(result, item).partition(",")[0], facts.low_fpr)
        for result in views.undefended(audit)
        if isinstance(facts := result.facts, MemberFacts) and facts.low_fpr is not None and result.judgement is not None
    ]
    if not found:
        return None
    first = found[0][1]
    alike = [(label, low) for label, low in found if low.fpr == first.fpr]
    rows = [(label, low.attack, "value") for label, low in alike]
    best = max((low.control for _, low in alike if low.control is not None), key=_height, default=None)
    rows += [("Without the model", best, "control")] if best is not None else []
    rows.append(("Blindly", Estimate(value=first.chance), "reference"))
    share = Shares.comparing(*(estimate.value for _, estimate, _ in rows), first.fpr)
    about = f"of {digits(share.of)}, {accused(share, first)}"
    return Bars(f"Training {plural(item)} found at few false accusations", about, _bars(rows, share.bare))


def _height(estimate: Estimate) -> float:
    return estimate.value or 0.0


def groups(audit: Audit) -> Bars | None:
    """Right answers by group, weakest first; None where none was measured."""
    found = [
        (result, facts)
        for result in views.shown(audit)
        if isinstance(facts := result.facts, Group)
        and facts.groups == 1
        and not facts.diagnostic
        and result.arm == NONE
        and result.estimate.value is not None
    ]
    if not found:
        return None
    found.sort(key=lambda pair: pair[0].estimate.value or 0.0)
    item, clean = views.item(audit), audit.target.clean
    everything = [] if clean is None else [(f"All {count(clean.n, f'test {item}')}", clean, "control")]
    rows = [
        (f"{digits(facts.members)} with {names.group(facts.cut_by, facts.group)}", result.estimate, "value")
        for result, facts in found[:_GROUPS_SHOWN]
    ]
    share = Shares.comparing(*(estimate.value for _, estimate, _ in (*everything, *rows)))
    more = len(found) - len(rows)
    about = f"of {digits(share.of)}, weakest first" + (f"; {count(more, 'more group')} in the tables" if more else "")
    if any(isinstance(r.facts, Group) and r.facts.diagnostic for r in views.shown(audit)):
        about += ", and groups that only the true labels tell apart" if more else "; not those that true labels define"
    return Bars("Right answers, by group", about, _bars([*everything, *rows], share.bare, least=1.0))


def compared(audit: Audit, grid: Grid) -> Compared | None:
    """Models by the questions of a comparison, each number above a dot; None where no arm has a number."""
    if not grid.columns:
        return None
    shown = leading(grid.columns, _COLUMNS_SHOWN)
    rows = grid.rows[:_ROWS_SHOWN]
    over = {r.arm: r.estimate for r in audit.results if r.question == "over-confidence"}
    heads = [(words.head(grid.columns[k], audit.results)[0], _unit(grid.columns[k])) for k in shown]
    columns = [[None if row.cells[k] is None else row.cells[k].estimate for row in rows] for k in shown]  # type: ignore[union-attr]
    texts = [[_value(row.cells[k]) for row in rows] for k in shown]
    if over:
        heads.append(("confidence", "points from accuracy, nearer 0 is better"))
        columns.append([over.get(row.name) for row in rows])
        texts.append([words.confidence(audit.results, row.name) for row in rows])
    cells = [_column(column, text) for column, text in zip(columns, texts, strict=True)]
    return Compared(
        tuple(heads),
        tuple(
            ComparedRow(_name(row), _about(row), row.is_control, tuple(column[k] for column in cells))
            for k, row in enumerate(rows)
        ),
        len(grid.rows) - len(rows),
    )


def _name(row: Row) -> str:
    return row.short if row.is_control else names.arm(row.name)


def _about(row: Row) -> str:
    if row.arm.reason:
        return words.missing(row.arm)
    return "a control" if row.is_control else "asked for" if row.is_asked else "your model as it is"


def _unit(column: Headline) -> str:
    better = "more is better" if column.worse_when == "lower" else "less is better"
    return ", ".join(filter(None, (names.column(column)[1], better)))


def _value(cell: Headline | None) -> str:
    if cell is None:
        return MISSING
    found = to(cell)
    return words.number(cell)[0] + (" *" if found is not None and found.mark else "")


def _column(column: Sequence[Estimate | None], texts: Sequence[str]) -> list[tuple[str, Track | None]]:
    """One scale for all rows of a column; the first row, no defence, is the mark of every other."""
    ends = [
        end for each in column if each is not None for end in (each.value, each.lo, each.hi) if end is not None
    ] or [0.0]
    room = 0.06 * (max(ends) - min(ends)) or 0.01
    first, last = min(ends) - room, max(ends) + room
    mark = None if column[0] is None or column[0].value is None else _place(column[0].value, first, last)
    found: list[tuple[str, Track | None]] = []
    for each, text in zip(column, texts, strict=True):
        if each is None or each.value is None:
            found.append((text, None))
            continue
        place = _track(each, first, last, text)
        found.append((text, Track(place.at, place.lo, place.hi, text, mark=mark)))
    return found


def _track(estimate: Estimate, first: float, last: float, text: str) -> Track:
    lo = 0.0 if estimate.lo is None else _place(estimate.lo, first, last)
    hi = 100.0 if estimate.hi is None else _place(estimate.hi, first, last)
    return Track(None if estimate.value is None else _place(estimate.value, first, last), lo, hi, text)


def _bars(
    rows: Sequence[tuple[str, Estimate, str]], write: Callable[[float | None], str], least: float = 0.0
) -> tuple[Bar, ...]:
    top = max([least, *(end for _, each, _ in rows for end in (each.value, each.hi) if end is not None)]) or 1.0

    def place(value: float | None) -> float | None:
        return None if value is None else _place(value, 0.0, top)

    return tuple(
        Bar(label, write(each.value), place(each.value) or 0.0, place(each.lo), place(each.hi), role)
        for label, each, role in rows
    )


def _place(value: float, first: float, last: float) -> float:
    return round(min(max(100 * (value - first) / (last - first), 0.0), 100.0), 1)
