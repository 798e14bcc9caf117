"""Harness of heldout-domain: how far the model falls on items of a domain that it was not trained on.

The two sides share no item, so that they are resampled apart. A fall may be a change of the class mix: beside the raw
one stands what is left at equal mix, and the best constant answer. Of larger graphs balanced accuracy is judged, since
classes and sizes go together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Domain as Facts
from auditor.evaluate.shift.blocks import item_blocks
from auditor.evaluate.shift.corruption import NON_FINITE_RATE
from auditor.evaluate.shift.detection import Halves
from auditor.evaluate.shift.domains import Domain, Settings, domain_of
from auditor.evaluate.shift.noticing import noticing_rows
from auditor.evaluate.shift.reference import Reference, answers, inference_graph, set_metrics, within
from auditor.evaluate.shift.sides import Side, accuracy_replicates, adjusted_gap, apart, balanced_replicates
from auditor.parameters import build
from auditor.probe import Cell, CellResult
from auditor.statistics.clustered import Resamples, effective_wilson, newcombe, paired_gap_interval
from auditor.statistics.intervals import wilson

Floats = NDArray[np.float64]
REPLICATES = 1000
REAL_FALL = 0.05
"""Fall that is called one, as for corrupted data."""
MIXED = 0.10
"""Fall that may be a matter of the class mix: the threshold of the standard policy."""
JUDGED = Metric("heldout_quality", "share", "lower", "held-out")
PLAIN = Metric("accuracy", "share", "lower")
BALANCED = Metric("balanced_accuracy", "share", "lower")
ADJUSTED = Metric("accuracy_at_equal_mix", "share", "lower")
MATTHEWS = Metric("matthews_correlation", "ratio", "lower")
BESIDE_CONSTANT = Metric("heldout_accuracy", "share", "lower", "held-out")
GAP, CONSTANT, MIX, NON_FINITE = "shift-heldout-gap", "shift-below-constant", "shift-class-mix", "shift-non-finite"
INSIDE, BEST, COMMONEST, RAW = "test items", "constant", "commonest training class", "the class mix as it is"


def evaluate(cell: Cell) -> CellResult:
    """Asks the model about the held-out items, and compares them with test items that are none of them.

    Raises:
        SkippedError: nothing was held out, or too few items.
        ConfigError: what was named cannot be held out, see `domain_of`.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    domain = domain_of(target, settings)
    reference = Reference.of(cell, domain.inside)
    inside = Side(reference.y, reference.clean, reference.resamples(cell, REPLICATES), target.num_classes)
    outside = _outside(cell, domain)
    facts = _facts(cell, domain, inside, outside)
    subset = f"domain={domain.name}"
    rows = [*_falls(domain, inside, outside, facts, subset), *_beside_constants(cell, inside, outside, facts, subset)]
    halves = Halves.of(reference, rng=cell.rng("halves")) if reference.has_posteriors else None
    if halves:
        real = rows[0].excess is not None and (rows[0].excess.lo or 0.0) > REAL_FALL  # the fall that is judged
        rows += noticing_rows(inside, outside, halves, subset=subset, named=("domain", domain.name), real=real)
    rows += _non_finite(inside, outside, subset)
    return CellResult(
        access=("features", "graph", "posteriors"),
        measured=tuple(rows),
        validity=(*reference.rows(), *_seen_row(domain), *([halves.row()] if halves else ())),
        params={
            "domain": domain.name,
            "by": domain.by,
            "items": len(domain.items),
            "beside": len(domain.inside),
            "left_out": domain.chose,
            "id": reference.describe(inside.accuracy),
            "data": domain.graph.digest() if domain.by == "graph" else "",
            "replicates": REPLICATES,
        },
    )


def _outside(cell: Cell, domain: Domain) -> Side:
    """The model's answers about the held-out items."""
    target = cell.target
    graph = inference_graph(domain.graph, domain.items)
    with torch.no_grad():
        logits = target.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    rows = domain.items if graph.batch is None else torch.arange(len(domain.items))
    y = domain.graph.y[domain.items].numpy()
    blocks = item_blocks(domain.graph, domain.items, rng=cell.rng("blocks"))
    resamples = Resamples.draw(blocks.ids, rng=cell.rng("resamples", "held out"), replicates=REPLICATES)
    return Side(y, answers(logits, graph, rows, y, target), resamples, target.num_classes)


def _facts(cell: Cell, domain: Domain, inside: Side, outside: Side) -> Facts:
    absent = np.flatnonzero((inside.priors > 0) & (outside.priors == 0)).tolist()
    return Facts(
        domain=domain.name,
        by=domain.by,
        items=len(outside.y),
        inside=inside.accuracy,
        outside=outside.accuracy,
        gap=apart(inside, outside, lambda side: side.accuracy, accuracy_replicates),
        adjusted=adjusted_gap(inside, outside),
        balanced=domain.by == "size",
        constant=float(outside.priors.max()),
        prior_distance=float(np.abs(inside.priors - outside.priors).sum() / 2),
        absent_classes=tuple(absent),
        metrics={
            key: value
            for key, value in set_metrics(outside.answers, outside.y, cell.target.num_classes).items()
            if isinstance(value, float) and np.isfinite(value)
        },
    )


def _falls(domain: Domain, inside: Side, outside: Side, facts: Facts, subset: str) -> list[Measured]:
    """The fall that is judged, and the same in other numbers."""

    def row(
        metric: Metric,
        of: Callable[[Side], Estimate],
        replicates: Callable[[Side], Floats],
        *,
        judged: bool = False,
    ) -> Measured:
        control = Control(name=INSIDE, estimate=of(inside), contrast=apart(inside, outside, of, replicates).negated())
        return measured(
            metric, of(outside), finding=GAP, subset=subset, controls=(control,), judged=judged, facts=facts
        )

    by_class = domain.by == "size"
    accuracy = (lambda side: side.accuracy), accuracy_replicates
    balanced = (lambda side: side.balanced), balanced_replicates
    rows = [row(JUDGED, *(balanced if by_class else accuracy), judged=True)]
    rows.append(row(PLAIN, *accuracy) if by_class else row(BALANCED, *balanced))
    beside = Control(name=INSIDE, estimate=inside.matthews)
    rows.append(measured(MATTHEWS, outside.matthews, finding=GAP, subset=subset, controls=(beside,), facts=facts))
    return [*rows, *_at_equal_mix(inside, outside, facts, subset)]


def _at_equal_mix(inside: Side, outside: Side, facts: Facts, subset: str) -> list[Measured]:
    """What is left of the fall at equal class mix; a class mix that makes the fall is a finding of its own."""
    left, gap = facts.adjusted, facts.gap
    if left is None or left.value is None or gap.value is None or gap.lo is None or left.lo is None:
        return []
    own = inside.accuracy
    assert own.value is not None
    ends = (
        max(0.0, own.value - (left.hi if left.hi is not None else 1.0)),
        min(1.0, own.value - left.lo),
    )
    equal = within(own.value - left.value, ends, len(outside.y))
    is_mix = gap.lo > MIXED >= left.lo
    control = Control(name=INSIDE, estimate=own, contrast=left.negated())
    return [measured(ADJUSTED, equal, finding=MIX if is_mix else GAP, subset=subset, controls=(control,), facts=facts)]


def _beside_constants(cell: Cell, inside: Side, outside: Side, facts: Facts, subset: str) -> list[Measured]:
    """Accuracy beside the best constant answer on the same items, and beside the commonest class of the training."""
    split, graph = cell.target.split, cell.target.graph
    commonest = int(torch.bincount(graph.y[split.train & graph.labelled], minlength=outside.classes).argmax())
    controls = []
    for name, answer in ((BEST, int(outside.priors.argmax())), (COMMONEST, commonest)):
        constant = (outside.y == answer).astype(np.float64)
        value = float(constant.mean())
        difference = float(outside.answers.correct.mean()) - value
        replicates = outside.resamples.means(outside.answers.correct - constant)
        bounds = paired_gap_interval(outside.answers.correct, constant[None], replicates)
        controls.append(
            Control(
                name=name,
                estimate=within(value, wilson(float(constant.sum()), len(constant)), len(constant)),
                contrast=within(difference, (min(bounds[0], difference), max(bounds[1], difference)), len(constant)),
            )
        )
    return [
        measured(
            BESIDE_CONSTANT,
            outside.accuracy,
            finding=CONSTANT,
            subset=subset,
            controls=controls,
            against=BEST,
            judged=True,
            facts=facts,
        )
    ]


def _non_finite(inside: Side, outside: Side, subset: str) -> list[Measured]:
    """One row where the model answers NaN or infinity about held-out items, none otherwise."""
    broken, before = (~side.answers.finite for side in (outside, inside))
    if not broken.any():
        return []
    rates = [float(each.mean()) for each in (broken, before)]
    ends = [
        effective_wilson(each.astype(np.float64), side.resamples.blocks)
        for each, side in ((broken, outside), (before, inside))
    ]
    more = within(rates[0] - rates[1], newcombe(rates[0], ends[0], rates[1], ends[1]), len(broken))
    control = Control(name=INSIDE, estimate=within(rates[1], ends[1], len(before)), contrast=more)
    own = within(rates[0], ends[0], len(broken))
    return [measured(NON_FINITE_RATE, own, finding=NON_FINITE, subset=subset, controls=(control,), judged=True)]


def _seen_row(domain: Domain) -> tuple[ValidityRow, ...]:
    """Held-out nodes of the same graph were there in training, unlabelled; graphs and other graphs were not."""
    if domain.by != "column" or domain.graph.batch is not None:
        return ()
    evidence = (
        f"the {len(domain.items)} held-out nodes were in the training graph, unlabelled: nodes that come later were "
        "not, and may do worse."
    )
    return (check("shift-heldout-seen", "warning", False, evidence),)
