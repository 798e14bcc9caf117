"""A number with its interval, and the paired difference of two: the only carriers of either."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import model_validator

from auditor.records import Model, Number

ROUNDING = 1e-9


class Range(NamedTuple):
    """The values that a number can take; None for no bound on that side."""

    least: float | None = None
    most: float | None = None

    @property
    def of_differences(self) -> Range:
        """The values that the difference of two such numbers can take."""
        if self.least is None or self.most is None:
            return Range()
        return Range(self.least - self.most, self.most - self.least)

    @property
    def turned(self) -> Range:
        """The values of such numbers with their sign turned."""
        return Range(_minus(self.most), _minus(self.least))

    def cut(self, lo: float, hi: float) -> tuple[float, float]:
        """The ends of an interval, moved to the bounds that they lie beyond."""
        return lo if self.least is None else max(lo, self.least), hi if self.most is None else min(hi, self.most)


ANY, SHARES, COUNTS = Range(), Range(0.0, 1.0), Range(0.0, None)


class Estimate(Model):
    """A number with its 95 % interval.

    Attributes:
        value: None where the number is not defined (no item left to measure).
        lo, hi: ends of the interval; None where that end is open. Both None: there is no interval.
        n: items behind it: pairs, nodes, graphs, draws, guesses.
    """

    value: Number
    lo: Number = None
    hi: Number = None
    n: int = 0

    @model_validator(mode="after")
    def _ordered(self) -> Estimate:
        if self.lo is not None and self.hi is not None and self.lo > self.hi:
            raise ValueError(f"interval is reversed: [{self.lo}, {self.hi}]")
        if self.value is not None and (
            (self.lo is not None and self.value < self.lo - ROUNDING)
            or (self.hi is not None and self.value > self.hi + ROUNDING)
        ):
            raise ValueError(f"{self.value} lies outside its interval [{self.lo}, {self.hi}]")
        return self

    @property
    def has_interval(self) -> bool:
        """Whether at least one end is closed."""
        return self.lo is not None or self.hi is not None

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval; None where an end is open."""
        return None if self.lo is None or self.hi is None else (self.hi - self.lo) / 2

    def negated(self) -> Estimate:
        """The same number with its sign turned."""
        return Estimate(value=_minus(self.value), lo=_minus(self.hi), hi=_minus(self.lo), n=self.n)


Share = Annotated[Estimate, SHARES]
MaybeShare = Annotated[Estimate | None, SHARES]
Count = Annotated[Estimate, COUNTS]
MaybeCount = Annotated[Estimate | None, COUNTS]
SharesApart = Annotated[Estimate, SHARES.of_differences]
MaybeSharesApart = Annotated[Estimate | None, SHARES.of_differences]
"""Estimates as fields of a record, with the values that they can take."""


class Contrast(Estimate):
    """A paired difference, own − other, in the unit and sign of the metric itself.

    Attributes:
        to: name of the other side.
        lo_to, hi_to: the other side of an end that was taken from another difference; empty where it is `to`.
    """

    to: str
    lo_to: str = ""
    hi_to: str = ""


def _minus(number: float | None) -> float | None:
    return None if number is None else 0.0 - number  # never −0.0
