"""Corrupted data against clean data, item by item: how far accuracy falls, and whether confidence notices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.audit import Advantage, Control, Curve, Limit, Measurement, Series, ValidityRow
from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.evaluate.shift.claims import check_claim, item_rows
from auditor.evaluate.shift.detection import Halves, detection_rows
from auditor.evaluate.shift.reference import Reference, answers, interval, mean_metrics, set_metrics
from auditor.evaluate.shift.shifted_group import Gap, Group
from auditor.probe import Cell, Result, ShiftedSet, ShiftOutcome
from auditor.statistics.clustered import (
    Resamples,
    accuracy_interval,
    design_effect,
    drawn_accuracy_interval,
    paired_gap_interval,
)
from auditor.statistics.intervals import agresti_min
from auditor.statistics.multiplicity import bootstrap_p, holm, replicates_for

Floats = NDArray[np.float64]
MAX_GAP = 0.10


def measure_corruption(
    cell: Cell, reference: Reference, outcome: ShiftOutcome, *, renormalise: bool, gate_noise: bool
) -> Result:
    """Runs the model on every corrupted set, re-measures the claims, and takes differences item by item."""
    skipped = dict(outcome.notes.get("skipped", {}))
    groups, zero, checked = _run_sets(reference, outcome, skipped, renormalise=renormalise)
    gates = sum(group.gated(gate_noise=gate_noise) for group in groups)
    resamples = reference.resamples(cell, replicates_for(gates))
    gaps = [_gap(cell, reference, group, resamples) for group in groups]
    tested = [gap for gap in gaps if gap.group.gated(gate_noise=gate_noise)]
    adjusted = dict(
        zip(
            (gap.group.subset for gap in tested),
            holm([bootstrap_p(gap.replicates, MAX_GAP) for gap in tested]),
            strict=True,
        )
    )
    halves = Halves.of(reference, rng=cell.rng("halves")) if reference.has_posteriors else None
    rows: list[Measurement] = []
    for gap in gaps:
        rows.append(_accuracy_row(reference, gap, resamples, adjusted.get(gap.group.subset)))
        if halves:
            rows += detection_rows(reference, gap, resamples, halves)
        rows += _non_finite_rows(reference, gap.group)
    validity = [*reference.rows(), _zero_row(zero), _claims_row(checked)]
    validity += [halves.row()] if halves else []
    return Result(
        access=(),
        measurements=tuple(rows),
        series=(_severity_series(reference, gaps, resamples),) if gaps else (),
        validity=tuple(validity),
        params={
            "id": reference.describe(resamples),
            "skipped": skipped,
            "draws": outcome.notes.get("draws"),
            "replicates": resamples.replicates,
            "gated": [gap.group.subset for gap in tested],
        },
    )


def _run_sets(
    reference: Reference, outcome: ShiftOutcome, skipped: dict[str, str], *, renormalise: bool
) -> tuple[list[Group], dict[str, int], int]:
    """The model's answers on every set, grouped; answers that changed at severity 0 by kind; claims checked."""
    groups: dict[tuple[str, str], Group] = {}
    zero: dict[str, int] = {}
    checked = 0
    handle = reference.target.handle()
    inductive: str | None = None
    for shifted in outcome.sets:
        if shifted.name in skipped:
            continue
        rate = check_claim(reference, shifted)
        checked += 1
        graph = shifted.graph
        assert graph is not None
        if graph.task == "node" and graph.num_nodes < reference.graph.num_nodes:
            inductive = _not_inductive(reference) if inductive is None else inductive
            if inductive:
                skipped[shifted.name] = inductive
                continue
        graph, note = _retransformed(reference, shifted, graph) if renormalise else (graph, None)
        with torch.no_grad():
            asked = handle if shifted.node_ids is None else reference.target.with_nodes(shifted.node_ids)
            logits = asked.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch)
        given = answers(logits, graph, item_rows(reference, shifted), reference.y, reference.target)
        if shifted.severity == "0":
            zero[shifted.name] = int((given.log_p != reference.clean.log_p).any(axis=1).sum())
            continue
        key = shifted.name, shifted.severity
        if key not in groups:
            mildest = bool(shifted.notes.get("mildest"))
            groups[key] = Group(shifted.name, shifted.severity, shifted.labels, mildest)
        group = groups[key]
        group.draws.append(given)
        group.rates += [] if rate is None else [rate]
        group.notes |= {k: v for k, v in shifted.notes.items() if k != "mildest"}
        group.notes |= {} if note is None else {"transform": note}
    return list(groups.values()), zero, checked


def _retransformed(reference: Reference, shifted: ShiftedSet, graph: Graph) -> tuple[Graph, str | None]:
    """The corrupted graph after the target's own feature transform, and what was done about it.

    Rows are scaled to sum 1 again, as whoever serves the model would. Only rows that changed are touched, so that
    severity 0 stays identical. Noise leaves negative entries, for which a row sum is no scale.
    """
    if reference.target.transform != "row-normalize" or not shifted.name.startswith("feature-"):
        return graph, None
    if bool((graph.x < 0).any()):
        return graph, "row-normalize not re-applied: the corruption left negative entries"
    moved = (graph.x != reference.graph.x).any(dim=1)
    total = graph.x.sum(dim=1)
    scale = torch.where(moved & (total > 0), total, torch.ones_like(total))
    rescaled = Graph(
        graph.x / scale.unsqueeze(1), graph.edge_index, graph.y, graph.edge_weight, graph.batch, graph.name
    )
    return rescaled, "row-normalize re-applied"


def _not_inductive(reference: Reference) -> str:
    """Why the model cannot be asked about fewer nodes, or nothing: it is tried on one node less, in reverse order."""
    graph = reference.graph
    keep = torch.arange(graph.num_nodes - 1)
    less = graph.induced(keep)
    turn = torch.arange(less.num_nodes).flip(0)
    handle = reference.target.handle()
    try:
        with torch.no_grad():
            straight = handle.logits(less.x, less.edge_index, less.edge_weight)
            turned = handle.logits(less.x[turn], less.num_nodes - 1 - less.edge_index, less.edge_weight)
    except (AuditorError, RuntimeError, IndexError, KeyError, ValueError) as error:
        return f"the model cannot be run on fewer nodes ({type(error).__name__})"
    if torch.allclose(turned[turn], straight, rtol=1e-3, atol=1e-4):
        return ""
    return "the model's answer depends on the order of the nodes, so that fewer nodes would be taken for others"


def _gap(cell: Cell, reference: Reference, group: Group, resamples: Resamples) -> Gap:
    picks = cell.rng("picks", group.name, group.severity).integers(0, len(group.draws), resamples.replicates)
    clean, shifted = reference.clean.correct, group.correct
    replicates = resamples.means_of_draws(clean - shifted, picks)
    bounds = paired_gap_interval(clean, shifted, replicates)
    return Gap(group, float(clean.mean() - shifted.mean()), bounds, replicates, picks)


def _accuracy_row(reference: Reference, gap: Gap, resamples: Resamples, p_adjusted: float | None) -> Measurement:
    group, accuracy = gap.group, float(gap.group.correct.mean())
    lo, hi = gap.bounds
    clean_bounds = accuracy_interval(reference.clean.correct, resamples)
    mean_lost = reference.clean.correct - group.correct.mean(axis=0)
    notes: dict[str, Any] = {
        **group.notes,
        "draws": len(group.draws),
        "labels": group.labels,
        "by_draw": [float(row.mean()) for row in group.correct],
        "design_effect_of_gap": design_effect(mean_lost - mean_lost.mean(), reference.blocks.ids),
        **mean_metrics([set_metrics(draw, reference.y, reference.target.num_classes) for draw in group.draws]),
    }
    if group.rates:
        notes["measured_rate"] = float(np.mean(group.rates))
    gated = p_adjusted is not None
    return Measurement(
        name="accuracy",
        subset=group.subset,
        finding="shift-gap",
        value=accuracy,
        ci=interval(drawn_accuracy_interval(group.correct, resamples, gap.picks)),
        control=Control(name="clean data, same items", value=reference.accuracy, ci=interval(clean_bounds)),
        advantage=Advantage(value=gap.value, ci=interval(gap.bounds)),
        n=len(reference.items),
        direction="lower_is_worse",
        scale="gap",
        limit=Limit(name="max_gap_pt", value=MAX_GAP) if gated else None,
        p_adjusted=p_adjusted,
        primary=gated,
        text=f"accuracy {100 * accuracy:.1f} % under {group.subset}, gap to clean data {100 * gap.value:.1f} pt "
        f"[{100 * lo:.1f}, {100 * hi:.1f}]" + ("" if group.labels == "kept" else "; labels doubtful, never gated"),
        notes=notes,
    )


def _non_finite_rows(reference: Reference, group: Group) -> list[Measurement]:
    """One row where the model answered NaN or infinity on corrupted data, none otherwise."""
    broken = np.stack([~draw.finite for draw in group.draws]).astype(np.float64)
    rate = float(broken.mean())
    if rate == 0:
        return []
    n = len(reference.items)
    clean = (~reference.clean.finite).astype(np.float64)
    both = float((broken * clean).sum()) / len(broken)
    new, healed = float(broken.sum()) / len(broken) - both, float(clean.sum()) - both
    bounds = agresti_min(both, new, healed, n - both - new - healed)
    value = rate - float(clean.mean())
    return [
        Measurement(
            name="non_finite_rate",
            subset=group.subset,
            finding="shift-non-finite",
            value=rate,
            ci=interval(
                (
                    min(max(bounds[0] + float(clean.mean()), 0.0), rate),
                    min(max(bounds[1] + float(clean.mean()), rate), 1.0),
                )
            ),
            control=Control(name="clean data, same items", value=float(clean.mean())),
            advantage=Advantage(value=value, ci=interval((min(bounds[0], value), max(bounds[1], value)))),
            n=n,
            direction="higher_is_worse",
            scale="gap",
            primary=True,
            text=f"{100 * rate:.1f} % of the answers under {group.subset} are NaN or infinite; they count as wrong",
        )
    ]


def _zero_row(zero: Mapping[str, int]) -> ValidityRow:
    changed = {name: count for name, count in zero.items() if count}
    if not zero:
        status, evidence = "not_checked", "no set at severity 0 was given."
    elif changed:
        status = "fail"
        evidence = "at severity 0 answers change: " + ", ".join(f"{k} {v} items" for k, v in changed.items()) + "."
    else:
        status, evidence = "pass", f"severity 0 of {', '.join(zero)} gives the clean answers bit for bit."
    return ValidityRow(
        id="shift-severity-zero",
        kind="integrity",
        status=status,  # type: ignore[arg-type]
        evidence=evidence,
        touches=("shift",),
    )


def _claims_row(checked: int) -> ValidityRow:
    return ValidityRow(
        id="shift-claims",
        kind="integrity",
        status="pass",
        evidence=f"{checked} edited graphs re-measured: rates as claimed, nothing else touched.",
        touches=("shift",),
    )


def _severity_series(reference: Reference, gaps: list[Gap], resamples: Resamples) -> Series:
    """Accuracy by severity, one curve per kind from the clean point on, and the clean line."""
    curves = []
    clean_lo, clean_hi = accuracy_interval(reference.clean.correct, resamples)
    kinds = dict.fromkeys(gap.group.name for gap in gaps)
    longest = 0
    for kind in kinds:
        own = [gap for gap in gaps if gap.group.name == kind]
        bounds = [drawn_accuracy_interval(gap.group.correct, resamples, gap.picks) for gap in own]
        curves.append(
            Curve(
                name=kind,
                x=tuple(float(k) for k in range(len(own) + 1)),
                y=(reference.accuracy, *(float(gap.group.correct.mean()) for gap in own)),
                lo=(clean_lo, *(lo for lo, _ in bounds)),
                hi=(clean_hi, *(hi for _, hi in bounds)),
                labels=("clean", *(gap.group.severity for gap in own)),
            )
        )
        longest = max(longest, len(own))
    curves.append(
        Curve(
            name="clean data",
            role="reference",
            x=(0.0, float(longest)),
            y=(reference.accuracy, reference.accuracy),
            lo=(clean_lo, clean_lo),
            hi=(clean_hi, clean_hi),
        )
    )
    return Series(
        id="severity",
        kind="severity",
        title="Accuracy under blind corruption",
        x_label="severity (1 = mildest)",
        y_label="accuracy",
        curves=tuple(curves),
    )
