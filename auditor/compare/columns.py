"""The headline numbers of a comparison: what the comparison itself measures, then one column per probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from auditor import registry
from auditor.compare.gain import BALANCED, CLEAN, FAMILY, GATED_BUDGET, POISONED, ROBUST
from auditor.document import AtSeed, Estimate, Metric, Result, excess_of
from auditor.document.facts import LinkFacts
from auditor.document.results import Unit, WorseWhen
from auditor.statistics.estimate import Range

PARTS = ("id", "ood")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One headline number, and the results it is read from.

    Attributes:
        family, probe, metric, subset, unit, shown, worse_when: see `auditor.document.Headline`.
        results: of every arm; of several at one seed the one with the largest excess counts.
        about: what is decided by it; empty where it is only shown.
        for_all: whether every arm can have it.
    """

    family: str
    probe: str
    metric: str
    subset: str
    unit: Unit
    shown: Literal["value", "excess"]
    worse_when: WorseWhen
    results: tuple[Result, ...]
    about: Literal["accuracy", "poisoned-accuracy", "balanced-accuracy", "robustness", "links", ""] = ""
    for_all: bool = True

    def at_seeds(self, arm: str) -> dict[int, AtSeed]:
        """What stands for an arm, by seed; a number that is not defined is left out."""
        found: dict[int, AtSeed] = {}
        for result in self.results:
            for each in result.by_seed if result.arm == arm else ():
                if self.estimate_of(each).value is not None and (
                    each.seed not in found or self._excess(each) > self._excess(found[each.seed])
                ):
                    found[each.seed] = each
        return found

    def estimate_of(self, each: AtSeed) -> Estimate:
        """What is shown of it: the number itself, or its excess over the control."""
        if self.shown == "value":
            return each.estimate
        return Estimate(value=None) if each.contrast is None else excess_of(each.contrast, self.results[0].worse_when)

    @property
    def range(self) -> Range:
        """The values that what is shown can take."""
        first = self.results[0]
        return first.range if self.shown == "value" else first.range_of_contrasts

    def _excess(self, each: AtSeed) -> float:
        excess = None if each.contrast is None else excess_of(each.contrast, self.results[0].worse_when).value
        return float("-inf") if excess is None else excess


def columns_of(results: Sequence[Result]) -> list[Column]:
    """Those that some arm has a number for: utility, then every probe in the order it ran.

    Robust accuracy after every edit found on any arm stands in place of a probe's own number of that name.
    """
    own = [result for result in results if result.family == FAMILY]
    columns = [column for column in _utility(own) if column is not None]
    robust = _robust(own)
    for probe in dict.fromkeys(result.probe for result in results if result.family != FAMILY):
        column = _of_probe(probe, [result for result in results if result.probe == probe])
        if column is not None and column.about == "robustness" and robust is not None:
            column = robust
        if column is not None and column not in columns:
            columns.append(column)
    if robust is not None and robust not in columns:
        columns.append(robust)
    return columns


def _utility(own: Sequence[Result]) -> Iterator[Column | None]:
    yield _measured(own, "utility", CLEAN, "", "accuracy")
    for poison in sorted({result.subset for result in own if result.metric == POISONED.name}):  # one, or none
        yield _measured(own, "utility", POISONED, poison, "poisoned-accuracy")
    there = {result.subset for result in own if result.metric == BALANCED.name}
    for part in [part for part in PARTS if part in there] or [""]:
        yield _measured(own, "utility", BALANCED, part, "balanced-accuracy")


def _robust(own: Sequence[Result]) -> Column | None:
    """At 5 % of the edges, or else at the last budget that was tried."""
    budgets = sorted({result.subset for result in own if result.metric == ROBUST.name})
    if not budgets:
        return None
    subset = GATED_BUDGET if GATED_BUDGET in budgets else budgets[-1]
    return _measured(own, "robustness", ROBUST, subset, "robustness")


def _measured(
    own: Sequence[Result],
    family: str,
    metric: Metric,
    subset: str,
    about: Literal["accuracy", "poisoned-accuracy", "balanced-accuracy", "robustness"],
) -> Column | None:
    """What the comparison itself measured; None where it did not."""
    found = tuple(result for result in own if (result.metric, result.subset) == (metric.name, subset))
    if not found:
        return None
    return Column(family, "", metric.name, subset, metric.unit, "value", metric.worse_when, found, about)


def _of_probe(probe: str, own: Sequence[Result]) -> Column | None:
    """A probe's headline as its registry line says; None where no arm has that number."""
    entry = registry.find_probe(registry.parse_spec(probe)[0])
    head = entry.headline
    found = tuple(
        result
        for result in own
        if result.metric == head.metric and (result.judged if head.subset is None else result.subset == head.subset)
    )
    subsets = {result.subset for result in found}
    if not found or not (head.as_value or any(result.contrast is not None for result in found)):
        return None
    first = found[0]
    return Column(
        family=entry.family,
        probe=probe,
        metric=head.metric,
        subset=subsets.pop() if len(subsets) == 1 else "",
        unit=first.unit,
        shown="value" if head.as_value else "excess",
        worse_when=first.worse_when if head.as_value else "higher",
        results=found,
        about="robustness" if head.metric == ROBUST.name else "links" if isinstance(first.facts, LinkFacts) else "",
        for_all=not entry.defenses,
    )
