"""Severities, from nothing to the worst."""

from __future__ import annotations

from typing import Final, Literal, get_args

Severity = Literal["none", "low", "medium", "high", "critical"]


SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


"""From nothing to the worst."""
