"""Accuracy and calibration inside strata of today's test items, each against the rest of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.audit import Advantage, Control, Curve, Limit, Measurement, Series, ValidityRow
from auditor.data.graph import Graph
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.calibration import calibration_rows, reliability_series
from auditor.evaluate.shift.reference import Reference, interval
from auditor.evaluate.shift.worst_group import WorstGroup, worst_group
from auditor.probe import Cell, Result, ShiftOutcome
from auditor.statistics import classification
from auditor.statistics.clustered import Resamples, accuracy_interval, effective_wilson, hull, newcombe, percentile
from auditor.statistics.two_sample import ks_distance, ks_permutation_p

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
MAX_EXCESS = 0.10
MIN_STRATUM = 30
NO_SUPPORT = 0.01


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
        """As measurements name it."""
        return f"{self.by}={self.name}"


def measure_strata(cell: Cell, reference: Reference, outcome: ShiftOutcome) -> Result:
    """Checks that the strata are what they are called, adds those cut with the truth, compares each with the rest."""
    claimed = _claimed_strata(reference, outcome)
    skipped = dict(outcome.notes.get("skipped", {}))
    if not claimed:
        raise SkippedError("no property splits the test items: " + "; ".join(f"{k}: {v}" for k, v in skipped.items()))
    true, left_out = _label_strata(reference)
    resamples = reference.resamples(cell, 1000)
    rows = [_stratum_row(reference, stratum, resamples) for stratum in (*claimed, *true)]
    rows += _worst_rows(cell, reference, claimed)
    has_posteriors = reference.has_posteriors
    if has_posteriors:
        rows += calibration_rows(cell, reference, resamples)
    series = [_strata_series([*claimed, *true], rows, reference, resamples)]
    if has_posteriors:
        series.append(reliability_series(reference))
    comparison = _train_test(cell, reference, outcome)
    return Result(
        access=(),
        measurements=tuple(rows),
        series=tuple(series),
        validity=(*reference.rows(), _support_row(claimed)),
        params={
            "id": reference.describe(resamples),
            "skipped": skipped,
            "left_out": left_out,
            "train_against_test": comparison,
            "replicates": resamples.replicates,
        },
    )


def _claimed_strata(reference: Reference, outcome: ShiftOutcome) -> list[Stratum]:
    """The attack's strata, re-measured.

    Raises:
        EvaluationError: strata of one property share items, leave some out, are too small, or overlap in value.
    """
    relative = set(outcome.notes.get("relative_to_training", ()))
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
        strata.append(Stratum(given.name, given.severity, members, None if given.name in relative else support))
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
    if reference.target.task == "node":
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


def _stratum_row(reference: Reference, stratum: Stratum, resamples: Resamples) -> Measurement:
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
    notes: dict[str, Any] = {"support": stratum.support, "diagnostic": stratum.diagnostic}
    if stratum.by != "class":
        notes["prior_adjusted_gap"] = _adjusted(reference, inside)
    why = "; cut with the true label, diagnostic" if stratum.diagnostic else ""
    return Measurement(
        name="accuracy",
        subset=stratum.subset,
        finding="shift-worst-group",
        value=accuracy,
        ci=interval(bounds),
        control=Control(name="the rest of the test items", value=rest, ci=interval(rest_bounds)),
        advantage=Advantage(value=rest - accuracy, ci=interval(gap)),
        n=int(inside.sum()),
        direction="lower_is_worse",
        scale="gap",
        text=f"accuracy {100 * accuracy:.1f} % where {stratum.by} is {stratum.name}, "
        f"{100 * rest:.1f} % in the rest of the test items{why}",
        notes=notes,
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


def _worst_rows(cell: Cell, reference: Reference, strata: list[Stratum]) -> list[Measurement]:
    """Worst group over all properties (the one that is judged) and inside each."""
    rows = [_worst_row(cell, reference, strata, "all properties", primary=True)]
    names = list(dict.fromkeys(stratum.by for stratum in strata))
    if len(names) > 1:
        for name in names:
            own = [stratum for stratum in strata if stratum.by == name]
            rows.append(_worst_row(cell, reference, own, name, primary=False))
    return rows


def _worst_row(cell: Cell, reference: Reference, strata: list[Stratum], subset: str, *, primary: bool) -> Measurement:
    names = dict.fromkeys(stratum.by for stratum in strata)
    whole = reference.target.task == "node" and reference.blocks.modelled
    worst = worst_group(
        reference.clean.correct,
        [[s.members for s in strata if s.by == name] for name in names],
        reference.blocks.ids if whole else None,
        items_as_blocks=reference.blocks.ids,
        rng=cell.rng("partitions", subset),
    )
    stratum = strata[worst.index]
    excess = worst.control - worst.value
    controls = [Control(name="worst of random groups of the same sizes", value=worst.by_items)]
    if worst.by_blocks is not None:
        controls.append(Control(name="worst of random groups of whole blocks", value=worst.by_blocks))
    return Measurement(
        name="worst_group_accuracy",
        subset=subset,
        finding="shift-worst-group",
        value=worst.value,
        ci=interval(worst.bounds),
        control=min(controls, key=lambda control: float(control.value or 0.0)),
        controls=tuple(controls),
        advantage=Advantage(
            value=excess, ci=interval((worst.control - worst.bounds[1], worst.control - worst.bounds[0]))
        ),
        n=int(stratum.members.sum()),
        direction="lower_is_worse",
        scale="gap",
        limit=Limit(name="max_worst_group_excess_pt", value=MAX_EXCESS) if primary else None,
        p_adjusted=worst.p if primary else None,
        primary=primary,
        text=_worst_text(worst, stratum, len(strata)),
        notes={
            "stratum": stratum.subset,
            "groups": len(strata),
            "permutation_p": worst.p,
            "confidence_level": 1 - 0.05 / len(strata),
        },
    )


def _worst_text(worst: WorstGroup, stratum: Stratum, groups: int) -> str:
    seen = f"{100 * worst.value:.1f} % where {stratum.by} is {stratum.name} (n = {int(stratum.members.sum())})"
    if worst.p > 0.025 or worst.value >= worst.control:
        return (
            f"no group below what {groups} random groups show: worst {seen}, "
            f"worst of random groups {100 * worst.control:.1f} %"
        )
    return (
        f"worst of {groups} groups {seen}, {100 * (worst.control - worst.value):.1f} pt below the worst of as many "
        f"random groups ({100 * worst.control:.1f} %), p = {worst.p:.3f}"
    )


def _train_test(cell: Cell, reference: Reference, outcome: ShiftOutcome) -> dict[str, dict[str, float]]:
    """Kolmogorov–Smirnov distance of train and test items in each property, with its permutation p."""
    relative = set(outcome.notes.get("relative_to_training", ()))
    split = reference.target.split
    result = {}
    for name, values in outcome.properties.items():
        if name not in relative:
            train, test = values[split.train].numpy(), values[split.test].numpy()
            p = ks_permutation_p(train, test, rng=cell.rng("ks", name))
            result[name] = {"ks": ks_distance(train, test), "p": p}
    return result


def _support_row(strata: list[Stratum]) -> ValidityRow:
    bare = [s.subset for s in strata if s.support is not None and s.support < NO_SUPPORT]
    return ValidityRow(
        id="shift-support",
        kind="warning",
        status="warn" if bare else "pass",
        evidence=f"fewer than 1 % of the training items lie in {', '.join(bare)}."
        if bare
        else "every stratum holds at least 1 % of the training items.",
        touches=("shift",),
    )


def _strata_series(
    strata: list[Stratum], rows: list[Measurement], reference: Reference, resamples: Resamples
) -> Series:
    """Accuracy of every stratum with its interval, one curve per property, and the whole test set."""
    curves, place = [], 0
    for name in dict.fromkeys(stratum.by for stratum in strata):
        own = [row for stratum, row in zip(strata, rows, strict=False) if stratum.by == name]
        curves.append(
            Curve(
                name=name,
                x=tuple(float(place + k) for k in range(len(own))),
                y=tuple(row.value for row in own),
                lo=tuple(row.ci.lo for row in own if row.ci),
                hi=tuple(row.ci.hi for row in own if row.ci),
                labels=tuple(row.subset.replace("=", " ", 1) for row in own),
            )
        )
        place += len(own)
    lo, hi = accuracy_interval(reference.clean.correct, resamples)
    overall = reference.accuracy
    curves.append(
        Curve(
            name="all test items",
            role="reference",
            x=(0.0, float(place - 1)),
            y=(overall, overall),
            lo=(lo, lo),
            hi=(hi, hi),
        )
    )
    return Series(
        id="strata",
        kind="strata",
        title="Accuracy inside strata of the test items",
        x_label="stratum",
        y_label="accuracy",
        curves=tuple(curves),
    )
