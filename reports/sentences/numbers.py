"""The one place that writes a number: one denominator, no signs, points with one decimal, ranges of what is counted."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from auditor.document import Estimate
from auditor.document.results import Unit
from auditor.split_report import verb

MISSING = "–"
COUNTED_UP_TO = 1000
"""Items up to which a share is written as the count that it is."""
_SAME = 1e-9

Sides = tuple[str, str]
OWNER: Sides = ("better", "worse")
FOUND: Sides = ("less", "more")
AVOIDED: Sides = ("added", "avoided")


# ---- plain numbers and nouns ----------------------------------------------------------------------------------------


def digits(value: float | None, places: int = 0) -> str:
    """Fixed decimals, thousands separated, one minus sign, never a signed zero; a dash for a number that is not there.

    Prose has no signs: whoever writes a difference says in words which side it is on.
    """
    if value is None:
        return MISSING
    text = f"{value:,.{places}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


def decimals(values: Iterable[float | None], marks: Sequence[float] = (), *, least: int = 0, most: int = 4) -> int:
    """Fewest decimals at which no two different values look equal, and none looks like a mark that it is not."""
    known = [value for value in values if value is not None]
    for places in range(least, most):
        pairs = ((a, b) for a in known for b in (*known, *marks) if abs(a - b) > _SAME)
        if all(digits(a, places) != digits(b, places) for a, b in pairs):
            return places
    return most


def shortest(value: float, *, most: int = 3) -> str:
    """As few decimals as state the number: limits are written so."""
    return digits(value, _stated(value, most))


def _stated(value: float, most: int = 3) -> int:
    return next((k for k in range(most) if abs(round(value, k) - value) < _SAME), most)


def plural(noun: str) -> str:
    """`nodes`, `classes`, `queries`, `nodes of that group`; of several words the last one before an `of`."""
    noun, of, rest = noun.partition(" of ")
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies{of}{rest}"
    return f"{noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}{of}{rest}"


def count(n: float, noun: str) -> str:
    """`1 node`, `2,708 nodes`: the one plural rule."""
    text = digits(n)
    return f"{text} {noun if text == '1' else plural(noun)}"


def called(noun: str, names: Sequence[object]) -> str:
    """`seed 0`, `seeds 0, 1 and 2`."""
    return f"{noun if len(names) == 1 else plural(noun)} {listed([str(name) for name in names])}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def closed(text: str) -> str:
    """The text as a sentence: a capital, and a full stop where it has no end of its own."""
    text = text.strip()
    end = "" if text.endswith((".", "?", "!", "…")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}" if text else ""


def lowered(text: str) -> str:
    """The text with a small first letter, to stand inside a sentence."""
    return f"{text[:1].lower()}{text[1:]}"


def moment(iso: str | None) -> str:
    """`28 November 2026, 11:26 UTC`; empty for no time, as it stands where it is none."""
    try:
        at = datetime.datetime.fromisoformat(iso or "")
    except ValueError:
        return iso or ""
    return f"{day(at.date())}, {at:%H:%M} UTC"


def day(date: datetime.date) -> str:
    """`28 November 2026`."""
    return f"{date.day} {date:%B %Y}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `7 min`, `2.1 h`; a dash where nothing was timed."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{digits(seconds, 1 if seconds < 9.95 else 0)} s"
    return f"{digits(seconds / 60)} min" if seconds < 5400 else f"{digits(seconds / 3600, 1)} h"


# ---- shares ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shares:
    """One denominator for all the shares that one sentence compares.

    Attributes:
        of: the denominator.
        places: decimals.
        counted: whether the shares are counts of so many items; rates otherwise.
    """

    of: int
    places: int = 0
    counted: bool = False

    @classmethod
    def comparing(cls, *values: float | None, n: int = 0) -> Shares:
        """Real counts where all of them are counts of at most 1,000 items; else of 100, of 1,000 or of 10,000."""
        known = [value for value in values if value is not None]
        if 0 < n <= COUNTED_UP_TO and all(abs(value * n - round(value * n)) < _SAME * n for value in known):
            return cls(n, counted=True)
        of = 100
        while of < 10_000 and any(_SAME < value < 1 / of for value in known):
            of *= 10
        return cls(of, decimals((value * of for value in known), (0.0, float(of)), most=2))

    def bare(self, value: float | None) -> str:
        """`60`: the number alone, where the denominator was said before."""
        return digits(None if value is None else value * self.of, self.places)

    def __call__(self, value: float | None, noun: str = "") -> str:
        """`60 in 100`, `135 of 905`, `all 905`, `none of 905`, with the noun behind where there is one."""
        named = f" {noun if self.of == 1 else plural(noun)}" if noun else ""
        if value is None:
            return MISSING
        if self.counted and value in (0, 1):
            return f"{'all' if value else 'none of'} {digits(self.of)}{named}"
        return f"{self.bare(value)} {'of' if self.counted else 'in'} {digits(self.of)}{named}"

    def at(self, level: float) -> Shares:
        """How a level that was set stands beside them: `10 in 100` beside `13.8`, with no more decimals than it has."""
        return replace(self, places=_stated(level * self.of))

    def verb(self, value: float | None, one: str = "is", many: str = "are") -> str:
        """The verb behind such a share: `1 of 5 nodes is`, `0 of 1 node is`, `60 in 100 nodes are`."""
        return verb(None if value is None else round(value * self.of, self.places), self.of, one, many)

    def are(self, value: float | None, noun: str) -> str:
        """`60 in 100 nodes are`, `1 of 5 nodes is`."""
        return f"{self(value, noun)} {self.verb(value)}"

    def between(self, estimate: Estimate) -> str:
        """`between 57 and 63`; empty without an interval."""
        return ends(estimate, self.bare)


def ends(estimate: Estimate, write: Callable[[float], str]) -> str:
    """`between a and b`; one open end `at least a`, `at most b`; empty without an interval."""
    lo, hi = estimate.lo, estimate.hi
    if lo is not None and hi is not None:
        return f"between {write(lo)} and {write(hi)}"
    return f"at least {write(lo)}" if lo is not None else f"at most {write(hi)}" if hi is not None else ""


def rate(made: int, items: int, noun: str) -> str:
    """`0.3 per node`, `1 edit per 20 nodes`."""
    return f"1 edit per {count(items / made, noun)}" if made < 0.1 * items else f"{digits(made / items, 1)} per {noun}"


# ---- differences ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Differences:
    """How the differences of one unit are written: points for shares and AUCs, the plain number for others.

    Attributes:
        unit: of the numbers.
        places: decimals.
        sides: words for below and above 0.
    """

    unit: Unit
    places: int
    sides: Sides = OWNER

    @classmethod
    def of(cls, unit: Unit, *parts: Estimate | None, limit: float | None = None, sides: Sides = OWNER) -> Differences:
        """For these differences: one more decimal where rounding would put an end on 0 or on the limit."""
        known = [end for part in parts if part is not None for end in (part.lo, part.hi) if end is not None]
        factor, marks = _FACTOR[unit], [0.0, *([] if limit is None else [limit])]
        least = _LEAST[unit]
        shown = [end for end in known if _is_shown(factor * end)]
        needed = [decimals([factor * end], [factor * mark for mark in marks], least=least) for end in shown]
        return cls(unit, max([least, *needed]), AVOIDED if unit == "errors" and sides == FOUND else sides)

    def bare(self, value: float) -> str:
        """`19.3`: without side and unit; what is not 0 does not look like it, unless four decimals cannot show it."""
        scaled = abs(_FACTOR[self.unit] * value)
        return digits(scaled, decimals([scaled] if self._sign(value) else [], [0.0], least=self.places))

    def plain(self, value: float) -> str:
        """`19.3 points`: without its side."""
        return f"{self.bare(value)}{self.noun}"

    def limit(self, value: float) -> str:
        """`10 points`, `1 point`: a limit, with no more decimals than it has."""
        text = shortest(abs(_FACTOR[self.unit] * value))
        return f"{text} point" if text == "1" and self.noun == " points" else f"{text}{self.noun}"

    @property
    def noun(self) -> str:
        """` points`, ` in 100`, or nothing for a plain number."""
        return _NOUN.get(self.unit, "")

    def sided(self, value: float, noun: str = "") -> str:
        """`19.3 worse`, `1.2 better`; 0 has no side."""
        return f"{self.bare(value)}{noun}" + (f" {self._side(value)}" if self._sign(value) else "")

    def said(self, value: float) -> str:
        """`19.3 points worse`; `no difference` for 0."""
        return self.sided(value, self.noun) if self._sign(value) else "no difference"

    def between(self, estimate: Estimate, *, to: bool = False, noun: bool = False) -> str:
        """`between 13.6 and 25.6`, across 0 `between 1.2 better and 5.4 worse`; open ends `at least`, `at most`.

        Args:
            estimate: the difference; its interval is written.
            to: `13.6 to 25.6 worse` instead, as tables have it.
            noun: with its unit, `between 13.6 and 25.6 points`.
        """
        named = self.noun if noun else ""
        lo, hi = estimate.lo, estimate.hi
        if lo is None and hi is None:
            return ""
        if lo is None or hi is None:
            end, is_lower = (lo, True) if lo is not None else (hi or 0.0, False)
            return f"{'at least' if is_lower == (self._sign(end) >= 0) else 'at most'} {self.sided(end, named)}"
        join = "{} to {}" if to else "between {} and {}"
        if self._sign(lo) < 0 < self._sign(hi):
            return join.format(self.sided(lo, named), self.sided(hi))
        near, far = sorted((abs(lo), abs(hi)))
        side = f" {self._side(lo + hi)}" if to and self._sign(far) else ""
        return join.format(self.bare(near), self.bare(far)) + named + side

    def _sign(self, value: float) -> int:
        """Which side it is shown on; 0 where it is written as 0."""
        return ((value > 0) - (value < 0)) * _is_shown(_FACTOR[self.unit] * value)

    def _side(self, value: float) -> str:
        return self.sides[value > 0]


def _is_shown(scaled: float) -> bool:
    """Whether four decimals tell it from 0: what is less comes from rounding."""
    return abs(scaled) >= 0.00005


_PERCENT = ("share", "errors")
_NOUN = {"share": " points", "auc": " points", "errors": " in 100"}
_FACTOR = {"share": 100.0, "auc": 100.0, "errors": 100.0, "count": 1.0, "epsilon": 1.0, "ratio": 1.0}
_LEAST = {"share": 1, "auc": 1, "errors": 1, "count": 0, "epsilon": 2, "ratio": 2}


# ---- cells of tables ------------------------------------------------------------------------------------------------


def value_cell(value: float | None, unit: Unit) -> str:
    """A number in a table: `60.0 %`, `0.956`, `3`; a dash where there is none. A negative one is named `below 0`."""
    if value is None:
        return MISSING
    return f"{_plain_cell(abs(value), unit)}{' %' if unit in _PERCENT else ''}{' below 0' if value < 0 else ''}"


def interval_cell(estimate: Estimate, unit: Unit) -> str:
    """`57.0 to 63.0 %`, `at least 0.944`; empty without an interval."""
    lo, hi = estimate.lo, estimate.hi
    if lo is None or hi is None:
        return ends(estimate, lambda end: value_cell(end, unit))
    if lo < 0:
        return f"{value_cell(lo, unit)} to {value_cell(hi, unit)}"
    return f"{_plain_cell(lo, unit)} to {_plain_cell(hi, unit)}{' %' if unit in _PERCENT else ''}"


def difference_cell(estimate: Estimate | None, unit: Unit, sides: Sides = OWNER) -> tuple[str, str]:
    """A difference and its interval in a table: `19.3 worse`, `13.6 to 25.6 worse`."""
    if estimate is None or estimate.value is None:
        return MISSING, ""
    write = Differences.of(unit, estimate, sides=sides)
    return write.sided(estimate.value), write.between(estimate, to=True)


def _plain_cell(value: float, unit: Unit) -> str:
    if unit in _PERCENT:
        return digits(100 * value, decimals([100 * value], [0.0, 100.0], least=1))
    if unit == "count":
        return digits(value, 0 if float(value).is_integer() else 1)
    return digits(value, decimals([value], [0.0], least=2 if unit == "epsilon" else 3))
