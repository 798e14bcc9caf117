"""Whether a joint-cluster model and the numbers about it can be believed: the validity rows of a fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from auditor.document import ValidityRow, check
from auditor.split_report import counted, verb
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Capability, Target

SUMS = 1e-4


def trust_rows(target: Target, notes: Mapping[str, Any], *, min_occupancy: int) -> tuple[ValidityRow, ...]:
    """Rows of a fitted arm: finite, sums to one, gradient to the edges; occupancy and partition where it has clusters.

    A NaN answers class 0 with a NaN gradient: an attack on it fails, and the model looks robust.

    Args:
        target: defended.
        notes: of the fit.
        min_occupancy: what no cluster may be below.
    """
    logits = target.clean_logits()
    bad = int((~torch.isfinite(logits)).any(dim=1).sum())
    off = float((logits.double().exp().sum(dim=1) - 1).abs().nan_to_num(torch.inf).max())
    having = f"{bad} of {counted(len(logits), 'node')} {verb(bad, len(logits), 'has', 'have')}"
    rows = [
        check("finite-outputs", "integrity", bad == 0, f"{having} a non-finite output"),
        check("marginal-sums-to-one", "integrity", off <= SUMS, f"a node's probabilities miss 1 by {off:.1e} at most"),
        _edge_gradient(target),
    ]
    if "occupancy_min" in notes:
        rows += [_occupancy(notes, min_occupancy), _partition(notes)]
    return tuple(rows)


def _edge_gradient(target: Target) -> ValidityRow:
    if Capability.GRAD_EDGE not in target.capabilities:
        text = "this mode partitions again at every answer and has none: attacks of other modes and arms judge it"
        return check("edge-gradient", "strength", None, text)
    graph, test = target.graph, target.split.test
    relaxed = Relaxation.choose(target.handle(), num_features=graph.num_features, level=target.task.level, graph=graph)
    moved = 0
    if relaxed.kind != "none" and graph.num_edges:
        weight = torch.ones(graph.num_edges, requires_grad=True)
        loss = functional.cross_entropy(
            relaxed.logits(graph.x, graph.edge_index, weight, None, graph.fields)[test], graph.y[test]
        )
        (gradient,) = torch.autograd.grad(loss, weight)
        moved = int((torch.isfinite(gradient) & (gradient != 0)).sum())
    text = f"the test loss has a finite gradient other than 0 to {moved} of {graph.num_edges} directed edges"
    return check("edge-gradient", "strength", moved > 0, text)


def _occupancy(notes: Mapping[str, Any], least: int) -> ValidityRow:
    found = int(notes["occupancy_min"])
    text = (
        f"{notes['clusters_kept']} clusters of {notes['clusters_asked']} asked for, {found} training nodes in the "
        f"smallest (at least {least} wanted), {notes['clusters_merged']} merged, {notes['clusters_fallback']} fallback"
    )
    return check("occupancy", "warning", found >= least and not notes["clusters_fallback"], text)


def _partition(notes: Mapping[str, Any]) -> ValidityRow:
    said = [str(note) for note in notes["partition_notes"]]
    text = (
        f"{notes['partition']} on the graph as given; {float(notes['edge_cut']):.0%} of its edges cut, purity "
        f"{float(notes['purity']):.2f}{''.join(f'; {note}' for note in said)}"
    )
    return check("partition", "warning", not said, text)
