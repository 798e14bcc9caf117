"""Estimates of several seeds become one."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.statistics.estimate import ANY, ROUNDING, Contrast, Estimate, Range
from auditor.statistics.intervals import join_seeds


def joined(estimates: Sequence[Estimate], range_: Range = ANY) -> Estimate:
    """One estimate over seeds that share their items: mean, and `join_seeds` of the intervals.

    An end that is open at one seed is open in the join, and a number that one seed lacks is lacking. The spread of few
    seeds can carry an end past what the number can be, `range_`: it is cut there. Where a seed itself lies outside, the
    number has no such bound, and nothing is cut.
    """
    first = estimates[0]
    if len(estimates) == 1:
        return Estimate(value=first.value, lo=first.lo, hi=first.hi, n=first.n)
    n = max(each.n for each in estimates)
    values = [each.value for each in estimates if each.value is not None]
    if len(values) < len(estimates):
        return Estimate(value=None, n=n)
    closed = [
        (value if each.lo is None else each.lo, value if each.hi is None else each.hi)
        for value, each in zip(values, estimates, strict=True)
    ]
    value, lo, hi = join_seeds(values, closed)
    least, most = range_
    bounds = Range(
        least if least is not None and all(low >= least - ROUNDING for low, _ in closed) else None,
        most if most is not None and all(high <= most + ROUNDING for _, high in closed) else None,
    )
    lo, hi = bounds.cut(lo, hi)
    return Estimate(
        value=value,
        lo=None if any(each.lo is None for each in estimates) else lo,
        hi=None if any(each.hi is None for each in estimates) else hi,
        n=n,
    )


def joined_contrast(contrasts: Sequence[Contrast], range_: Range = ANY) -> Contrast:
    """`joined` of differences; `to` lists the other sides where seeds differ in which was the strongest."""

    def sides(of: Sequence[str]) -> str:
        return " / ".join(dict.fromkeys(of))

    to = sides([each.to for each in contrasts])
    lo, hi = (sides([end or each.to for each, end in zip(contrasts, ends, strict=True)]) for ends in _ends(contrasts))
    return Contrast(
        **joined(contrasts, range_).model_dump(), to=to, lo_to="" if lo == to else lo, hi_to="" if hi == to else hi
    )


def _ends(contrasts: Sequence[Contrast]) -> tuple[list[str], list[str]]:
    return [each.lo_to for each in contrasts], [each.hi_to for each in contrasts]
