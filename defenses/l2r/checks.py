"""What a reweighting can be believed by: the head was folded back as it was read, and the weights are what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from auditor.document import Estimate, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Decorrelation
from auditor.targets.forward import ForwardAdapter
from auditor.targets.target import Target
from defenses.l2r.diagnostics import NOTHING
from defenses.l2r.head import TOLERANCE, with_head
from defenses.l2r.items import INTERPOLATES, FrozenHead

DRIFT = 1e-5


def head_rows(base: Target, frozen: FrozenHead) -> tuple[ValidityRow, ...]:
    """`head-folds-back` and `head-is-moved-by-weights`, of every refit of the last layer."""
    graph = base.graph
    restored = ForwardAdapter(with_head(base.model, frozen.head, frozen.layer))
    with torch.no_grad():
        logits = restored.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    error = float((logits - base.clean_logits()).abs().max())
    scale = max(1.0, float(base.clean_logits().abs().max()))
    folds = check(
        "head-folds-back",
        "integrity",
        error <= TOLERANCE * scale,
        f"the original weights put back into {frozen.head.name} give logits that differ by {error:.1e} at most",
    )
    reached = f"training accuracy {frozen.train_accuracy:.3f}"
    if not frozen.interpolates:
        moved = check("head-is-moved-by-weights", "strength", True, f"{reached}, below {INTERPOLATES}")
    elif frozen.on_validation:
        text = f"{reached}: weights barely move such a head; refitted on {len(frozen.y)} validation items"
        moved = check("head-is-moved-by-weights", "warning", False, text)
    else:
        text = f"{reached}, at least {INTERPOLATES}: weights barely move such a head, and validation items are too few"
        moved = check("head-is-moved-by-weights", "strength", False, text)
    return folds, moved


def weight_rows(notes: Mapping[str, Any], floor: float) -> tuple[ValidityRow, ...]:
    """`class-prior`, `ess-floor`, `dependence` of learned weights, from the notes of the fit; `floor` on ESS / N."""
    drift, ess, share = (float(notes[key]) for key in ("class_prior_drift", "ess", "d_permuted_share"))
    holds = ess > floor * (1 + 1e-3)
    return (
        check(
            "class-prior",
            "warning",
            drift <= DRIFT,
            f"weights move the class prior by {drift:.1e} at most; expected {DRIFT:g}",
        ),
        check(
            "ess-floor",
            "warning",
            holds,
            f"ESS is {ess:.2f} N, floor {floor:g} {'not reached' if holds else 'reached: the weights were drawn back'}",
        ),
        check(
            "dependence",
            "warning",
            share <= NOTHING,
            f"column-shuffled embeddings have {share:.3f} of the dependence of the real ones; above {NOTHING} there is "
            "nothing to remove",
        ),
    )


PERMUTED_DEPENDENCE = Metric("permuted_dependence_above_half", "ratio", "higher", question="artifact")


def dependence_found(notes: Mapping[str, Any]) -> tuple[Measured, ...]:
    """`l2r-nothing-to-decorrelate`: above 0 where shuffled embeddings keep more than half of the dependence."""
    if "d_permuted_share" not in notes:
        return ()
    excess = max(0.0, float(notes["d_permuted_share"]) - NOTHING)
    return (
        measured(
            PERMUTED_DEPENDENCE,
            Estimate(value=excess, n=1),
            finding="l2r-nothing-to-decorrelate",
            judged=True,
            facts=Decorrelation(
                permuted_share=notes["d_permuted_share"],
                ratio=notes["d_ratio"],
                ratio_permuted=notes["d_ratio_permuted"],
                ess=notes["ess"],
                minority_weight=notes.get("minority_weight"),
            ),
        ),
    )
