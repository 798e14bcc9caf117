"""Corrupted data against clean data, item by item: how far accuracy falls, and whether confidence notices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.data.graph import Graph
from auditor.document import Control, Curve, Estimate, Measured, Metric, Series, ValidityRow, check, measured
from auditor.document.facts import Damage
from auditor.errors import AuditorError, SkippedError
from auditor.evaluate.shift.claims import check_claim, item_rows
from auditor.evaluate.shift.damaged import Damaged, Fall
from auditor.evaluate.shift.detection import Halves, detection_rows
from auditor.evaluate.shift.reference import ACCURACY, Reference, answers, level, mean_metrics, set_metrics, within
from auditor.outcomes import ShiftedSet, ShiftOutcome
from auditor.probe import Cell, CellResult
from auditor.statistics.clustered import Resamples, design_effect, drawn_accuracy_interval, hull, paired_gap_interval
from auditor.statistics.intervals import agresti_min
from auditor.statistics.multiplicity import bootstrap_p, holm, replicates_for
from auditor.targets.target import Capability

Floats = NDArray[np.float64]
TESTED_GAP = 0.05
"""Fall that Holm's p-values test: the threshold of the standard policy."""
SMALL_GRAPH = 100
"""Nodes up to which graphs may be molecules."""
CLEAN = "clean data, same items"
NON_FINITE_RATE = Metric("non_finite_rate", "share", "higher", "non-finite")


def measure_corruption(
    cell: Cell, reference: Reference, outcome: ShiftOutcome, *, renormalise: bool, gate_noise: bool
) -> CellResult:
    """Runs the model on every corrupted set, re-measures the claims, and takes differences item by item.

    Raises:
        SkippedError: every kind was skipped.
        EvaluationError: a claim does not hold.
    """
    skipped = dict(outcome.skipped)
    groups, zero, checked = _run_sets(reference, outcome, skipped, renormalise=renormalise)
    if not groups:
        reasons = "; ".join(f"{kind}: {reason}" for kind, reason in skipped.items())
        raise SkippedError(f"nothing can be corrupted here: {reasons}")
    judged = [group for group in groups if group.is_judged(gate_noise=gate_noise)]
    resamples = reference.resamples(cell, replicates_for(len(judged)))
    falls = [_fall(cell, reference, group, resamples) for group in groups]
    tested = [fall for fall in falls if fall.of in judged]
    p_values = holm([bootstrap_p(fall.replicates, TESTED_GAP) for fall in tested])
    adjusted = {fall.of.subset: p for fall, p in zip(tested, p_values, strict=True)}
    clean = reference.clean_accuracy(resamples)
    halves = Halves.of(reference, rng=cell.rng("halves")) if reference.has_posteriors else None
    rows: list[Measured] = []
    for fall in falls:
        facts = _damage(reference, fall.of)
        rows.append(_accuracy_row(fall, clean, adjusted.get(fall.of.subset), facts))
        if halves:
            rows += detection_rows(reference, fall, resamples, halves)
        rows += _non_finite_rows(reference, fall.of, facts)
    return CellResult(
        access=(),
        measured=tuple(rows),
        series=(_severity_series(falls, clean),),
        validity=(
            *reference.rows(),
            *_molecule_rows(reference),
            _zero_row(zero),
            _claims_row(checked),
            *([halves.row()] if halves else ()),
        ),
        params={
            "id": reference.describe(clean),
            "skipped": skipped,
            "draws": outcome.notes.get("draws"),
            "replicates": resamples.replicates,
            "gated": [fall.of.subset for fall in tested],
        },
    )


def _run_sets(
    reference: Reference, outcome: ShiftOutcome, skipped: dict[str, str], *, renormalise: bool
) -> tuple[list[Damaged], dict[str, int], int]:
    """The model's answers on every set, grouped; answers that changed at severity 0 by kind; claims checked."""
    groups: dict[tuple[str, str], Damaged] = {}
    zero: dict[str, int] = {}
    checked = 0
    handle = reference.target.handle()
    inductive: str | None = None
    for shifted in outcome.sets:
        if shifted.name in skipped:
            continue
        if reference.target.molecules and shifted.edits in ("edges", "nodes"):
            shifted = replace(shifted, labels="doubtful")  # another molecule, whose label nobody knows
        rate = check_claim(reference, shifted)
        checked += 1
        graph = shifted.graph
        assert graph is not None
        if graph.task.level == "node" and graph.num_nodes < reference.graph.num_nodes:
            inductive = _not_inductive(reference) if inductive is None else inductive
            if inductive:
                skipped[shifted.name] = inductive
                continue
        graph, again = _renormalised(reference, shifted, graph) if renormalise else (graph, None)
        with torch.no_grad():
            asked = handle if shifted.node_ids is None else reference.target.with_nodes(shifted.node_ids)
            logits = asked.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        given = answers(logits, graph, item_rows(reference, shifted), reference.y, reference.target)
        if shifted.severity == "0":
            zero[shifted.name] = int((given.log_p != reference.clean.log_p).any(axis=1).sum())
            continue
        group = groups.setdefault((shifted.name, shifted.severity), Damaged.like(shifted))
        group.add(given, shifted, rate, again)
    return list(groups.values()), zero, checked


def _renormalised(reference: Reference, shifted: ShiftedSet, graph: Graph) -> tuple[Graph, bool | None]:
    """The corrupted graph after the target's own feature transform, and whether it was applied; None without one.

    Rows are scaled to sum 1 again, as whoever serves the model would. Only rows that changed are touched, so that
    severity 0 stays identical. Noise leaves negative entries, for which a row sum is no scale: nothing is applied.
    """
    if reference.target.transform != "row-normalize" or shifted.edits != "features":
        return graph, None
    if bool((graph.x < 0).any()):
        return graph, False
    moved = (graph.x != reference.graph.x).any(dim=1)
    total = graph.x.sum(dim=1)
    scale = torch.where(moved & (total > 0), total, torch.ones_like(total))
    return replace(graph, x=graph.x / scale.unsqueeze(1)), True


def _not_inductive(reference: Reference) -> str:
    """Why the model cannot be asked about fewer nodes, or nothing: it is tried on one node less, in reverse order."""
    graph = reference.graph
    if Capability.ANY_NODES not in reference.target.capabilities:
        return f"the model knows these {graph.num_nodes} nodes only"
    keep = torch.arange(graph.num_nodes - 1)
    turn = keep.flip(0)
    handle = reference.target.handle()
    try:
        less = graph.induced(keep)
        back = less.taking(turn, turn)
        with torch.no_grad():
            straight = handle.logits(less.x, less.edge_index, less.edge_weight, None, less.fields)
            turned = handle.logits(back.x, back.edge_index, back.edge_weight, None, back.fields)
    except SkippedError as reason:
        return str(reason)
    except (AuditorError, RuntimeError, IndexError, KeyError, ValueError) as error:
        return f"the model cannot be run on fewer nodes ({type(error).__name__})"
    if torch.allclose(turned[turn], straight, rtol=1e-3, atol=1e-4):
        return ""
    return "the model's answer depends on the order of the nodes, so that fewer nodes would be taken for others"


def _fall(cell: Cell, reference: Reference, group: Damaged, resamples: Resamples) -> Fall:
    picks = cell.rng("picks", group.name, group.severity).integers(0, len(group.draws), resamples.replicates)
    clean, shifted = reference.clean.correct, group.correct
    replicates = resamples.means_of_draws(clean - shifted, picks)
    return Fall(
        of=group,
        left=within(group.accuracy, drawn_accuracy_interval(shifted, resamples, picks), len(clean)),
        value=float(clean.mean() - shifted.mean()),
        bounds=paired_gap_interval(clean, shifted, replicates),
        replicates=replicates,
        picks=picks,
    )


def _damage(reference: Reference, group: Damaged) -> Damage:
    correct = group.correct
    mean_lost = reference.clean.correct - correct.mean(axis=0)
    return Damage(
        damage=group.name,
        severity=group.severity,
        draws=len(group.draws),
        labels=group.labels,
        by_draw=tuple(float(row.mean()) for row in correct),
        measured_rate=float(np.mean(group.rates)) if group.rates else None,
        design_effect=design_effect(mean_lost - mean_lost.mean(), reference.blocks.ids),
        leaves_domain=group.leaves_domain,
        metrics=mean_metrics([set_metrics(draw, reference.y, reference.target.num_classes) for draw in group.draws]),
        remarks=group.remarks,
    )


def _accuracy_row(fall: Fall, clean: Estimate, p_adjusted: float | None, facts: Damage) -> Measured:
    is_judged = p_adjusted is not None
    contrast = within(fall.value, fall.bounds, clean.n).negated()
    return measured(
        ACCURACY,
        fall.left,
        finding="shift-gap",
        subset=fall.of.subset,
        controls=(Control(name=CLEAN, estimate=clean, contrast=contrast),),
        judged=is_judged,
        p_adjusted=p_adjusted,
        p_for=TESTED_GAP if is_judged else None,
        facts=facts,
    )


def _non_finite_rows(reference: Reference, group: Damaged, facts: Damage) -> list[Measured]:
    """One row where the model answered NaN or infinity on corrupted data, none otherwise."""
    broken = np.stack([~draw.finite for draw in group.draws]).astype(np.float64)
    rate = float(broken.mean())
    if rate == 0:
        return []
    n = len(reference.items)
    clean = (~reference.clean.finite).astype(np.float64)
    before = float(clean.mean())
    both = float((broken * clean).sum()) / len(broken)
    new, healed = float(broken.sum()) / len(broken) - both, float(clean.sum()) - both
    lo, hi = agresti_min(both, new, healed, n - both - new - healed)
    ends = min(max(lo + before, 0.0), rate), min(max(hi + before, rate), 1.0)
    more = within(rate - before, hull((lo, hi), (rate - before, rate - before)), n)
    return [
        measured(
            NON_FINITE_RATE,
            within(rate, ends, n),
            finding="shift-non-finite",
            subset=group.subset,
            controls=(Control(name=CLEAN, estimate=Estimate(value=before, n=n), contrast=more),),
            judged=True,
            facts=facts,
        )
    ]


def _molecule_rows(reference: Reference) -> tuple[ValidityRow, ...]:
    """What edits of nodes and edges mean to graphs that are molecules, or may be; none for nodes and large graphs."""
    graph, known = reference.target.graph, reference.target.molecules
    if graph.batch is None or known is False:
        return ()
    if known:
        evidence = "a node or an edge more or less makes another molecule: such falls are shown, not judged."
        return (check("shift-molecules", "warning", True, evidence),)
    nodes = int(torch.bincount(graph.batch).median())
    if nodes > SMALL_GRAPH:
        return ()
    evidence = (
        f"nobody says whether these graphs (median {nodes} nodes) are molecules. They are taken for none, so that "
        "falls under edits of nodes and edges are judged; with [data] molecules = true such falls are shown alone."
    )
    return (check("shift-molecules", "warning", None, evidence),)


def _zero_row(zero: Mapping[str, int]) -> ValidityRow:
    if not zero:
        return check("shift-severity-zero", "integrity", None, "no set at severity 0 was given.")
    changed = ", ".join(f"{name} {count} items" for name, count in zero.items() if count)
    evidence = (
        f"at severity 0 answers change: {changed}."
        if changed
        else f"severity 0 of {', '.join(zero)} gives the clean answers bit for bit."
    )
    return check("shift-severity-zero", "integrity", not changed, evidence)


def _claims_row(checked: int) -> ValidityRow:
    evidence = f"{checked} edited graphs re-measured: rates as claimed, nothing else touched."
    return check("shift-claims", "integrity", True, evidence)


def _severity_series(falls: list[Fall], clean: Estimate) -> Series:
    """Accuracy by severity, one curve per kind from the clean point on, and the clean line."""
    curves = []
    for kind in dict.fromkeys(fall.of.name for fall in falls):
        own = [fall for fall in falls if fall.of.name == kind]
        points = [clean, *(fall.left for fall in own)]
        curves.append(
            Curve(
                name=kind,
                x=tuple(map(float, range(len(points)))),
                y=tuple(point.value for point in points),
                lo=tuple(point.lo for point in points),
                hi=tuple(point.hi for point in points),
                labels=("clean", *(fall.of.severity for fall in own)),
            )
        )
    curves.append(level("clean data", clean, max(len(curve.x) for curve in curves) - 1))
    return Series(
        id="severity",
        kind="severity",
        title="Accuracy under blind corruption",
        x_label="severity (1 = mildest)",
        y_label="accuracy",
        curves=tuple(curves),
    )
