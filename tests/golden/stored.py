"""Stored tables: written with one line per row, compared number by number."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.golden.player import SUMS
from tests.golden.table import Table

DATA = Path(__file__).parent / "data"
VERSIONS = ("torch", "numpy", "scipy", "scikit-learn")
SAME_MACHINE, OTHER_MACHINE = 1e-10, 1e-6
MISSING = "missing"
SHOWN = 20


def machine() -> dict[str, str]:
    """What numbers may depend on beyond our own code."""
    return SUMS | {name: importlib.metadata.version(name) for name in VERSIONS}


def write(name: str, table: Table) -> Path:
    """Stores a table."""
    rows = [f"{_json(key)}: {_json(row)}" for key, row in sorted(table.items())]
    text = f'{{"machine": {_json(machine())},\n"rows": {{\n' + ",\n".join(rows) + "\n}}\n"
    path = DATA / f"{name}.json"
    path.write_text(text, encoding="utf-8")
    return path


def read(name: str) -> tuple[dict[str, str], Table]:
    """The machine and the table that were stored."""
    stored = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return stored["machine"], stored["rows"]


def differences(old: Table, new: Table, tolerance: float) -> list[str]:
    """Every value that differs, as `key: old -> new`."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{key}: {before.get(key, MISSING)!r} -> {after.get(key, MISSING)!r}"
        for key in sorted({*before, *after})
        if not _equal(before.get(key, MISSING), after.get(key, MISSING), tolerance)
    ]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by their place; an empty dict or list is a leaf."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    if not inside:
        yield key, value
        return
    for name, item in inside:
        yield from _flat(item, f"{key} / {name}" if key else str(name))


def _equal(old: Any, new: Any, tolerance: float) -> bool:
    """Numbers within the tolerance, relative or absolute; whole numbers and words exactly."""
    if isinstance(old, float) or isinstance(new, float):
        numbers = all(isinstance(side, int | float) and not isinstance(side, bool) for side in (old, new))
        return numbers and math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
    return type(old) is type(new) and bool(old == new)
