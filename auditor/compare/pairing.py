"""Every arm's headline numbers and their paired differences to other arms: own − other at the same seed.

Where every seed is a new fit the interval is over seeds, which takes the place of joining intervals of one trained
model. Two arms made from one trained model are paired over its test items instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from auditor.compare.arms import Arms, DefenseRequest, controls_of
from auditor.compare.columns import Column, columns_of
from auditor.document import NONE, AtSeed, CellRow, Difference, Headline, Result
from auditor.policy.differences import over_items, over_seeds
from auditor.statistics.seeds import joined
from auditor.targets.tag import DefenseTag


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a comparison has made and measured.

    Attributes:
        defenses: every arm, `none` first.
        arms: their fits.
        cells: of the whole run.
        results: joined over seeds.
        seeds: in order.
        constant: accuracy of the best constant guess on the test items.
    """

    defenses: Sequence[DefenseRequest]
    arms: Arms
    cells: Sequence[CellRow]
    results: Sequence[Result]
    seeds: Sequence[int]
    constant: float = 0.0


@dataclass(slots=True, eq=False)
class Row:
    """One arm with what was measured of it.

    Attributes:
        request: as it was asked for, or brought along.
        controls: those that take part, its own first.
        tag: of a fit; None for `none`, and where no fit came about.
        starts_trained: it is the trained model or made from it, so that another seed is no new training.
        numbers: by column and seed.
        headlines: by column, those that it has.
        least: differences of a defence that is served in several ways, in the one in which it gains least.
    """

    request: DefenseRequest
    controls: list[str]
    tag: DefenseTag | None
    starts_trained: bool
    numbers: dict[Column, dict[int, AtSeed]]
    headlines: dict[Column, Headline] = field(default_factory=dict)
    least: dict[Column, dict[str, Difference]] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """Of the defence."""
        return self.request.spec

    def against(self, column: Column) -> dict[str, Difference]:
        """The differences that decide, by the other arm."""
        own = {difference.to: difference for difference in self.headlines[column].differences}
        return self.least.get(column, own)


def rows_of(compared: Compared) -> dict[str, Row]:
    """Every arm by its spec, with headlines joined over seeds and differences to its controls and to `none`."""
    columns, arms = columns_of(compared.results), compared.arms
    rows = {
        request.spec: Row(
            request,
            controls_of(request, compared.defenses),
            arms.tag(request.spec),
            arms.starts_trained(request.spec),
            {column: numbers for column in columns if (numbers := column.at_seeds(request.spec))},
        )
        for request in compared.defenses
    }
    for row in rows.values():
        others = [rows[spec] for spec in (*row.controls, NONE) if spec != row.spec and spec in rows]
        for column in row.numbers:
            row.headlines[column] = _headline(column, row, others, compared.seeds)
            if row.request.modes and column.about == "robustness":
                row.least[column] = _least_of_modes(column, row, rows, compared.seeds)
    return rows


def _headline(column: Column, row: Row, others: Sequence[Row], seeds: Sequence[int]) -> Headline:
    shown = {seed: column.estimate_of(each) for seed, each in row.numbers[column].items()}
    estimate = joined([shown[seed] for seed in seeds if seed in shown], column.range)
    return Headline(
        family=column.family,
        probe=column.probe,
        metric=column.metric,
        subset=column.subset,
        unit=column.unit,
        shown=column.shown,
        worse_when=column.worse_when,
        estimate=estimate,
        by_seed=tuple(shown[seed].value if seed in shown else None for seed in seeds),
        differences=tuple(
            _difference(column, row, other, by_seed)
            for other in others
            if (by_seed := _gains(column, [(row, other)], seeds))
        ),
    )


def _gains(column: Column, pairs: Sequence[tuple[Row, Row]], seeds: Sequence[int]) -> list[float]:
    """Own − other, the least over (own, other) pairs of arms, at every seed that has them all."""

    def at(row: Row, seed: int) -> float | None:
        each = row.numbers.get(column, {}).get(seed)
        return None if each is None else column.estimate_of(each).value

    least = []
    for seed in seeds:
        sides = [(at(own, seed), at(other, seed)) for own, other in pairs]
        found = [own - other for own, other in sides if own is not None and other is not None]
        least += [min(found)] if len(found) == len(pairs) else []
    return least


def _difference(column: Column, row: Row, other: Row, by_seed: Sequence[float]) -> Difference:
    """Against the trained model itself a refit of it gains what the refit gains: that is shown, never judged."""
    if row.spec == NONE or not (row.starts_trained and other.starts_trained):
        return over_seeds(other.spec, by_seed, worse_when=column.worse_when, range_=column.range.of_differences)
    paired = [
        control.contrast
        for each in row.numbers[column].values()
        for control in each.controls
        if control.name == other.spec and control.contrast is not None and not column.probe  # a probe pairs no arms
    ]
    judged = not paired or other.spec != NONE or column.family != "utility"
    range_ = column.range.of_differences
    return over_items(other.spec, by_seed, paired, worse_when=column.worse_when, range_=range_, judged=judged)


def _least_of_modes(column: Column, row: Row, rows: Mapping[str, Row], seeds: Sequence[int]) -> dict[str, Difference]:
    """Each way of serving beside its own controls, which stand in the same order."""
    served = [row, *(rows[mode] for mode in row.request.modes)]
    found = {}
    for others in zip(*([*each.controls, NONE] for each in served), strict=True):
        pairs = [(own, rows[other]) for own, other in zip(served, others, strict=True)]
        if by_seed := _gains(column, pairs, seeds):
            found[others[0]] = over_seeds(
                others[0], by_seed, worse_when=column.worse_when, range_=column.range.of_differences
            )
    return found
