"""Measurements of one thing, joined over the seeds of its cells (reports spec 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.audit import Advantage, CellRow, Control, Interval, Limit, Measurement, Scale
from auditor.statistics.intervals import join_seeds

# Retrained arms: each seed has weights of its own, so that the worst seed is no adversary's choice.
_RETRAINED = "robustness-poisoning"


@dataclass(frozen=True, slots=True)
class Joined:
    """One (finding id, target, defence, probe, measurement, subset) over its seeds.

    Attributes:
        fingerprint: sha256 of exactly these words; holds no measured value, so it survives retraining.
        value, ci, control, advantage: joined over seeds.
        cells, rows: the cells and their measurements behind it, in cell order.
        p_adjusted: the largest over seeds; None when no seed has one.
        text: the sentence of the seed nearest the joined value (worst seed: of that seed).
        spread: advantages of all seeds, ascending; empty with one seed.
        worst_seed: the seed shown when one adversary's best try is the result, else None.
    """

    finding: str
    target: str
    defense: str
    probe: str
    family: str
    name: str
    subset: str
    fingerprint: str
    cells: tuple[CellRow, ...]
    rows: tuple[Measurement, ...]
    value: float | None
    ci: Interval | None
    control: Control | None
    advantage: Advantage | None
    p_adjusted: float | None
    text: str
    spread: tuple[float, ...]
    worst_seed: int | None

    @property
    def seeds(self) -> int:
        """Number of seeds behind the value."""
        return len(self.rows)

    @property
    def averaged(self) -> tuple[float, ...]:
        """Advantages the mean was taken over; empty for one seed and where the worst seed is the result."""
        return self.spread if self.worst_seed is None else ()

    @property
    def primary(self) -> bool:
        """Whether any seed calls it primary."""
        return any(row.primary for row in self.rows)

    @property
    def scale(self) -> Scale:
        """Scale of the severity bands."""
        return self.rows[0].scale

    @property
    def limit(self) -> Limit | None:
        """The named limit its harness registered, if any."""
        return self.rows[0].limit

    @property
    def n(self) -> int:
        """Items behind one seed's number."""
        return max(row.n for row in self.rows)

    @property
    def access(self) -> tuple[str, ...]:
        """What the adversary held, in the order of the first cell that names it."""
        return tuple(dict.fromkeys(word for cell in self.cells for word in cell.access))


def fingerprint(finding: str, target: str, defense: str, probe: str, name: str, subset: str) -> str:
    """Sha256 (hex) of exactly these words."""
    return hashlib.sha256("\0".join((finding, target, defense, probe, name, subset)).encode()).hexdigest()


def join_cells(cells: Sequence[CellRow], target_name: str) -> tuple[Joined, ...]:
    """Every measurement of the finished cells, joined over seeds, in the order they first appear."""
    groups: dict[tuple[str, ...], list[tuple[CellRow, Measurement]]] = {}
    for cell in cells:
        if cell.status != "ok":
            continue
        for row in cell.measurements:
            key = (row.finding, target_name, cell.defense, cell.probe, row.name, row.subset)
            groups.setdefault(key, []).append((cell, row))
    return tuple(_join(key, pairs) for key, pairs in groups.items())


def _join(key: tuple[str, ...], pairs: Sequence[tuple[CellRow, Measurement]]) -> Joined:
    finding, target, defense, probe, name, subset = key
    cells, rows = tuple(cell for cell, _ in pairs), tuple(row for _, row in pairs)
    family = cells[0].family
    # Attack seeds on the same weights are tries of one adversary: the worst counts. A defence is refitted per seed.
    worst = family == "adversarial" and defense == "none" and finding != _RETRAINED
    shown = _worst(rows) if worst else None
    advantage = rows[shown].advantage if shown is not None else _joined_advantage(rows)
    values = sorted(r.advantage.value for r in rows if r.advantage is not None and r.advantage.value is not None)
    adjusted = [row.p_adjusted for row in rows if row.p_adjusted is not None]
    value, ci = (rows[shown].value, rows[shown].ci) if shown is not None else _joined_value(rows)
    return Joined(
        finding=finding,
        target=target,
        defense=defense,
        probe=probe,
        family=family,
        name=name,
        subset=subset,
        fingerprint=fingerprint(*key),
        cells=cells,
        rows=rows,
        value=value,
        ci=ci,
        control=rows[shown].control if shown is not None else _joined_control(rows),
        advantage=advantage,
        p_adjusted=max(adjusted) if adjusted else None,
        text=rows[shown].text if shown is not None else _nearest_text(rows, advantage),
        spread=tuple(values) if len(values) > 1 else (),
        worst_seed=cells[shown].seed if shown is not None and len(rows) > 1 else None,
    )


def _worst(rows: Sequence[Measurement]) -> int:
    """Index of the seed with the largest advantage; seeds without one come last."""

    def rank(index: int) -> tuple[float, float]:
        advantage = rows[index].advantage
        if advantage is None or advantage.value is None:
            return float("-inf"), float("-inf")
        lo = advantage.ci.lo
        return advantage.value, float("-inf") if lo is None else lo

    return max(range(len(rows)), key=rank)


def _joined_value(rows: Sequence[Measurement]) -> tuple[float | None, Interval | None]:
    values = [row.value for row in rows]
    intervals = [row.ci for row in rows]
    return _over_seeds(values, intervals)


def _joined_advantage(rows: Sequence[Measurement]) -> Advantage | None:
    """None as soon as one seed has no advantage: a join over the others would hide that."""
    found = [row.advantage for row in rows if row.advantage is not None]
    if len(found) < len(rows):
        return None
    value, interval = _over_seeds([a.value for a in found], [a.ci for a in found])
    return None if value is None or interval is None else Advantage(value=value, ci=interval)


def _joined_control(rows: Sequence[Measurement]) -> Control | None:
    controls = [row.control for row in rows if row.control is not None]
    if len(controls) < len(rows):
        return None
    value, interval = _over_seeds([c.value for c in controls], [c.ci for c in controls])
    return Control(name=" / ".join(dict.fromkeys(c.name for c in controls)), value=value, ci=interval)


def _over_seeds(
    values: Sequence[float | None], intervals: Sequence[Interval | None]
) -> tuple[float | None, Interval | None]:
    """Joined value and interval; an end that is open in one seed is open in the join."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None
    bounds = [interval for interval in intervals if interval is not None]
    if len(bounds) < len(values):
        return sum(known) / len(known), None
    closed = [(v if b.lo is None else b.lo, v if b.hi is None else b.hi) for v, b in zip(known, bounds, strict=True)]
    value, lo, hi = join_seeds(known, closed)
    return value, Interval(
        lo=None if any(b.lo is None for b in bounds) else lo, hi=None if any(b.hi is None for b in bounds) else hi
    )


def _nearest_text(rows: Sequence[Measurement], advantage: Advantage | None) -> str:
    """The sentence of the seed whose advantage is nearest the joined one."""
    if advantage is None or advantage.value is None:
        return rows[0].text
    middle = advantage.value

    def distance(row: Measurement) -> float:
        if row.advantage is None or row.advantage.value is None:
            return float("inf")
        return abs(row.advantage.value - middle)

    return min(rows, key=distance).text
