"""Stored tables: written with one line per row, compared number by number."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.golden.player import SUMS
from tests.golden.table import Table

DATA = Path(__file__).parent / "data"
VERSIONS = ("torch", "numpy", "scipy", "scikit-learn")
SAME_MACHINE, OTHER_MACHINE = 1e-10, 1e-6
OTHER_PATH = 0.1
"""How far a number may move on another machine where a search or a training took another path from a last digit.

Of its size where it is above 1, as sums over a curve are.
"""
HUNDREDTHS = "points"
"""Numbers in hundredths of what others are in."""
SUMMARIES = ("verdict", "exit code", "step")
"""Rows that count the decisions of others."""
MISSING = "missing"
SHOWN = 20


def machine() -> dict[str, str]:
    """What numbers may depend on beyond our own code."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    return SUMS | versions | {"processor": _processor()}


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


def differences_elsewhere(old: Table, new: Table) -> list[str]:
    """What differs from a table of another machine, though it may not.

    Even with one order of sums a processor's own last digits sometimes send a search or a training another way. There
    numbers may move within `OTHER_PATH`, and with them the decisions on that row and those that count it. Everything
    else is as it was: which rows there are, and every row whose numbers did not move.
    """
    apart = {key for key in old.keys() & new.keys() if differences({key: old[key]}, {key: new[key]}, OTHER_MACHINE)}
    moved = {key for key in apart if _moved(old[key], new[key])}
    excused = moved | {key for key in apart if moved and any(word in key for word in SUMMARIES)}
    kept_old, kept_new = ({key: row for key, row in table.items() if key not in excused} for table in (old, new))
    return differences(kept_old, kept_new, OTHER_MACHINE)


def _moved(old: Any, new: Any) -> bool:
    """Whether numbers of a row moved, each of them a little."""
    before, after = dict(_flat(old)), dict(_flat(new))
    floats = [key for key in before.keys() & after.keys() if {type(before[key]), type(after[key])} == {float}]
    sizes = [0.01 if HUNDREDTHS in key.split(" / ") else 1.0 for key in floats]
    numbers = [(before[key] * size, after[key] * size) for key, size in zip(floats, sizes, strict=True)]
    is_apart = any(not _equal(one, other, OTHER_MACHINE) for one, other in numbers)
    return is_apart and all(_equal(one, other, OTHER_PATH) for one, other in numbers)


def _processor() -> str:
    """Vendor, family, model and stepping, where the system tells."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    facts = dict(reversed([[word.strip() for word in line.split(":", 1)] for line in lines if ":" in line]))
    known = [facts[name] for name in ("vendor_id", "cpu family", "model", "stepping") if name in facts]
    return " ".join(known) or platform.machine()


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
