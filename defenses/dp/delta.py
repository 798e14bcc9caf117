"""δ as a parameter: a number, or what follows from the number of units."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from auditor.statistics.accounting import check_delta, default_delta


def _read(value: object) -> object:
    """A number in (0, 1), also one written as text; `auto` as it is."""
    if value == "auto":
        return value
    try:
        delta = float(value)  # type: ignore[arg-type]  # what is no number is refused here
    except (TypeError, ValueError):
        raise ValueError('expected "auto" or a number below 1 / N') from None
    if not 0 < delta < 1:
        raise ValueError('expected "auto" or a number above 0 and below 1 / N')
    return delta


Delta = Annotated[float | Literal["auto"], BeforeValidator(_read)]


def choose_delta(value: Delta, units: int) -> float:
    """δ for N units: the number given, or the largest power of ten at or below 1 / (10 N).

    Raises:
        ConfigError: at or above 1 / N.
    """
    if value == "auto":
        return default_delta(units)
    check_delta(value, units)
    return value
