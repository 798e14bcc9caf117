"""Accuracy and calibration inside strata of today's test items, each against the rest of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.data.graph import Graph
from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import Group
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.calibration import calibration_rows, reliability_series
from auditor.evaluate.shift.reference import ACCURACY, Reference, level, within
from auditor.evaluate.shift.worst_group import worst_group
from auditor.outcomes import ShiftOutcome
from auditor.probe import Cell, CellResult
from auditor.statistics import classification
from auditor.statistics.clustered import Resamples, accuracy_interval, effective_wilson, hull, newcombe, percentile
from auditor.statistics.two_sample import ks_distance, ks_permutation_p

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
MIN_STRATUM = 30
NO_SUPPORT = 0.01
FINDING = "shift-worst-group"
WORST_GROUP = Metric("worst_group_accuracy", "share", "lower", "worst-group")


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """Test items with one property in one range.

    Attributes:
        by: `degree`, `class`, …
        name: the range, `2–3`.
        members: bool [n] over the ID items.
        support: share of the training items in the range; None where the property is measured from them.
        diagnostic: cut with the true label, hence never gated.
    """

    by: str
    name: str
    members: Mask
    support: float | None = None
    diagnostic: bool = False

    @property
    def subset(self) -> str:
        """As results name it."""
        return f"{self.by}={self.name}"

    def facts(self, **found: Any) -> Group:
        """The group as a record, with what else was found of it."""
        members = int(self.members.sum())
        return Group(
            cut_by=self.by, group=self.name, members=members, support=self.support, diagnostic=self.diagnostic, **found
        )


def measure_strata(cell: Cell, reference: Reference, outcome: ShiftOutcome) -> CellResult:
    """Checks that the strata are what they are called, adds those cut with the truth, compares each with the rest.

    Calibration needs no strata: it is measured where no property splits the test items.

    Raises:
        SkippedError: no property splits the test items, and the model gives no confidence: nothing could be judged.
        EvaluationError: a stratum is not what it claims to be.
    """
    claimed = _claimed_strata(reference, outcome)
    if not claimed and not reference.has_posteriors:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.skipped.items())
        raise SkippedError(f"no property splits the test items, and the model gives no confidence: {reasons}")
    true, left_out = _label_strata(reference)
    strata = [*claimed, *true]
    resamples = reference.resamples(cell, 1000)
    clean = reference.clean_accuracy(resamples)
    groups = [_stratum_row(reference, stratum, resamples) for stratum in strata]
    rows = [*groups, *_worst_rows(cell, reference, claimed)]
    series = [_strata_series(strata, groups, clean)] if strata else []
    if reference.has_posteriors:
        rows += calibration_rows(cell, reference, resamples)
        series.append(reliability_series(reference))
    return CellResult(
        access=(),
        measured=tuple(rows),
        series=tuple(series),
        validity=(*reference.rows(), *([_support_row(claimed)] if claimed else ())),
        params={
            "id": reference.describe(clean),
            "skipped": dict(outcome.skipped),
            "left_out": left_out,
            "train_against_test": _train_test(cell, reference, outcome),
            "replicates": resamples.replicates,
        },
    )


def _claimed_strata(reference: Reference, outcome: ShiftOutcome) -> list[Stratum]:
    """The attack's strata, re-measured.

    Raises:
        EvaluationError: strata of one property share items, leave some out, are too small, or overlap in value.
    """
    position = torch.full((reference.target.graph.num_items,), -1, dtype=torch.int64)
    position[reference.items] = torch.arange(len(reference.items))
    strata: list[Stratum] = []
    for given in outcome.sets:
        rows = position[given.items]
        if given.graph is not None or bool((rows < 0).any()) or len(torch.unique(rows)) != len(rows):
            raise EvaluationError(f"the stratum {given.name}={given.severity} is not a set of distinct test items.")
        members = np.zeros(len(reference.items), dtype=bool)
        members[rows.numpy()] = True
        if given.name not in outcome.properties:
            raise EvaluationError(f"the stratum {given.name}={given.severity} comes without the values it is cut by.")
        values = outcome.properties[given.name].numpy()
        mine = values[given.items.numpy()]
        train = values[reference.target.split.train.numpy()]
        support = float(((train >= mine.min()) & (train <= mine.max())).mean())
        strata.append(Stratum(given.name, given.severity, members, None if given.name in outcome.relative else support))
    for name in dict.fromkeys(stratum.by for stratum in strata):
        own = [stratum for stratum in strata if stratum.by == name]
        _check_partition(name, own, outcome.properties[name][reference.items].numpy())
    return strata


def _check_partition(name: str, strata: list[Stratum], values: Floats) -> None:
    covered = np.sum([stratum.members for stratum in strata], axis=0)
    if (covered != 1).any():
        raise EvaluationError(f"strata by {name} hold {int((covered != 1).sum())} test items not exactly once.")
    if len(strata) < 2 or min(int(stratum.members.sum()) for stratum in strata) < MIN_STRATUM:
        raise EvaluationError(f"strata by {name} are fewer than 2, or one has fewer than {MIN_STRATUM} items.")
    ranges = sorted((values[s.members].min(), values[s.members].max()) for s in strata)
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        raise EvaluationError(f"strata by {name} overlap in the value they are cut by.")


def _label_strata(reference: Reference) -> tuple[list[Stratum], dict[str, int]]:
    """Strata by true class and, for nodes, by homophily; those below 30 items are left out and counted."""
    cuts = {f"class={c}": ("class", str(c), reference.y == c) for c in range(reference.target.num_classes)}
    if reference.target.task.level == "node":
        h = homophily(reference.target.graph)[reference.items.numpy()]
        for name, inside in (
            ("<0.5", h < 0.5),
            ("0.5–1", (h >= 0.5) & (h < 1)),
            ("1", h == 1),
            ("isolated", np.isnan(h)),
        ):
            cuts[f"homophily={name}"] = ("homophily", name, inside)
    strata, left_out = [], {}
    for subset, (property_, name, inside) in cuts.items():
        if MIN_STRATUM <= inside.sum() < len(inside):
            strata.append(Stratum(property_, name, inside, diagnostic=True))
        elif inside.any() and not inside.all():
            left_out[subset] = int(inside.sum())
    return strata, left_out


def homophily(graph: Graph) -> Floats:
    """Share of each node's neighbours with its label, float64 [N]; NaN without neighbours. Loops ignored."""
    keys = graph.pair_keys()
    u, v = keys // graph.num_nodes, keys % graph.num_nodes
    same = (graph.y[u] == graph.y[v]).double()
    total, alike = torch.zeros(graph.num_nodes).double(), torch.zeros(graph.num_nodes).double()
    for end in (u, v):
        total.index_add_(0, end, torch.ones_like(same))
        alike.index_add_(0, end, same)
    out: Floats = (alike / total).numpy()
    return out


def _stratum_row(reference: Reference, stratum: Stratum, resamples: Resamples) -> Measured:
    correct, inside = reference.clean.correct, stratum.members
    accuracy, rest = float(correct[inside].mean()), float(correct[~inside].mean())
    bounds = accuracy_interval(correct, resamples, inside)
    rest_bounds = accuracy_interval(correct, resamples, ~inside)
    gap = hull(
        percentile(resamples.means(correct, ~inside) - resamples.means(correct, inside)),
        newcombe(
            rest,
            effective_wilson(correct[~inside], resamples.blocks[~inside]),
            accuracy,
            effective_wilson(correct[inside], resamples.blocks[inside]),
        ),
    )
    contrast = within(rest - accuracy, gap, len(correct)).negated()
    others = Control(
        name="the rest of the test items",
        estimate=within(rest, rest_bounds, int((~inside).sum())),
        contrast=contrast,
    )
    return measured(
        ACCURACY,
        within(accuracy, bounds, int(inside.sum())),
        finding=FINDING,
        subset=stratum.subset,
        controls=(others,),
        facts=stratum.facts(prior_adjusted_gap=_adjusted(reference, inside), constant=_constant(reference, inside)),
    )


def _adjusted(reference: Reference, inside: Mask) -> float | None:
    """Gap to the rest at equal class mix; None when they share no class."""
    classes, y, predicted = reference.target.num_classes, reference.y, reference.clean.predicted
    try:
        return classification.prior_adjusted_gap(
            classification.recalls(y[~inside], predicted[~inside], classes),
            classification.recalls(y[inside], predicted[inside], classes),
            classification.priors(y[~inside], classes),
        )
    except ValueError:
        return None


def _worst_rows(cell: Cell, reference: Reference, strata: list[Stratum]) -> list[Measured]:
    """Worst group over all properties (the one that is judged) and inside each; none without strata."""
    names = list(dict.fromkeys(stratum.by for stratum in strata))
    rows = [_worst_row(cell, reference, strata, "all properties", judged=True)] if strata else []
    if len(names) > 1:
        for name in names:
            own = [stratum for stratum in strata if stratum.by == name]
            rows.append(_worst_row(cell, reference, own, name, judged=False))
    return rows


def _worst_row(cell: Cell, reference: Reference, strata: list[Stratum], subset: str, *, judged: bool) -> Measured:
    names = dict.fromkeys(stratum.by for stratum in strata)
    whole = reference.target.task.level == "node" and reference.blocks.modelled
    worst = worst_group(
        reference.clean.correct,
        [[s.members for s in strata if s.by == name] for name in names],
        reference.blocks.ids if whole else None,
        items_as_blocks=reference.blocks.ids,
        rng=cell.rng("partitions", subset),
    )
    stratum = strata[worst.index]
    own = within(worst.value, worst.bounds, int(stratum.members.sum()))

    def chance(name: str, value: float) -> Control:
        # Another group may be worse than the one that looks worst, and its interval wider.
        ends = worst.lowest - value, worst.bounds[1] - value
        contrast = within(worst.value - value, ends, len(reference.items))
        return Control(name=name, estimate=Estimate(value=value), contrast=contrast)

    controls = [chance("worst of random groups of the same sizes", worst.by_items)]
    if worst.by_blocks is not None:
        controls.append(chance("worst of random groups of whole blocks", worst.by_blocks))
    return measured(
        WORST_GROUP,
        own,
        finding=FINDING,
        subset=subset,
        controls=controls,
        judged=judged,
        p_adjusted=worst.p if judged else None,
        facts=stratum.facts(
            groups=len(strata),
            permutation_p=worst.p,
            confidence_level=worst.confidence,
            detectable=worst.detectable,
            constant=_constant(reference, stratum.members),
        ),
    )


def _constant(reference: Reference, inside: Mask) -> float:
    """Share of the commonest class of a group: a group that is mostly of one class is easy."""
    return float(classification.priors(reference.y[inside], reference.target.num_classes).max())


def _train_test(cell: Cell, reference: Reference, outcome: ShiftOutcome) -> dict[str, dict[str, float]]:
    """Kolmogorov–Smirnov distance of train and test items in each property, with its permutation p."""
    split = reference.target.split
    result = {}
    for name, values in outcome.properties.items():
        if name not in outcome.relative:
            train, test = values[split.train].numpy(), values[split.test].numpy()
            p = ks_permutation_p(train, test, rng=cell.rng("ks", name))
            result[name] = {"ks": ks_distance(train, test), "p": p}
    return result


def _support_row(strata: list[Stratum]) -> ValidityRow:
    bare = [s.subset for s in strata if s.support is not None and s.support < NO_SUPPORT]
    return check(
        "shift-support",
        "warning",
        not bare,
        f"fewer than 1 % of the training items lie in {', '.join(bare)}."
        if bare
        else "every stratum holds at least 1 % of the training items.",
    )


def _strata_series(strata: list[Stratum], rows: list[Measured], clean: Estimate) -> Series:
    """Accuracy of every stratum with its interval, one curve per property, and the whole test set."""
    curves, place = [], 0
    for name in dict.fromkeys(stratum.by for stratum in strata):
        own = [row for stratum, row in zip(strata, rows, strict=True) if stratum.by == name]
        curves.append(
            Curve(
                name=name,
                x=tuple(float(place + k) for k in range(len(own))),
                y=tuple(row.estimate.value for row in own),
                lo=tuple(row.estimate.lo for row in own),
                hi=tuple(row.estimate.hi for row in own),
                labels=tuple(row.subset.replace("=", " ", 1) for row in own),
            )
        )
        place += len(own)
    curves.append(level("all test items", clean, place - 1))
    return Series(
        id="strata",
        kind="strata",
        title="Accuracy inside strata of the test items",
        x_label="stratum",
        y_label="accuracy",
        curves=tuple(curves),
    )
