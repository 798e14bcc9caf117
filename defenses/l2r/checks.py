"""What a reweighting can be believed by: the head was folded back as it was read, and the weights are what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from auditor.audit import Measurement, ValidityRow
from auditor.targets.forward import ForwardAdapter
from auditor.targets.target import Target
from defenses.l2r.diagnostics import NOTHING
from defenses.l2r.head import TOLERANCE, with_head
from defenses.l2r.items import INTERPOLATES, FrozenHead

DRIFT = 1e-5
TOUCHES = ("defense",)


def head_rows(base: Target, frozen: FrozenHead) -> tuple[ValidityRow, ...]:
    """`head-folds-back` and `head-is-moved-by-weights`, of every refit of the last layer."""
    graph = base.graph
    restored = ForwardAdapter(with_head(base.model, frozen.head, frozen.layer))
    with torch.no_grad():
        logits = restored.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch)
    error = float((logits - base.clean_logits()).abs().max())
    scale = max(1.0, float(base.clean_logits().abs().max()))
    folds = _row(
        "head-folds-back",
        "integrity",
        "pass" if error <= TOLERANCE * scale else "fail",
        f"the original weights put back into {frozen.head.name} give logits that differ by {error:.1e} at most",
    )
    reached = f"training accuracy {frozen.train_accuracy:.3f}"
    if not frozen.interpolates:
        moved = _row("head-is-moved-by-weights", "strength", "pass", f"{reached}, below {INTERPOLATES}")
    elif frozen.on_validation:
        text = f"{reached}: weights barely move such a head; refitted on {len(frozen.y)} validation items"
        moved = _row("head-is-moved-by-weights", "warning", "warn", text)
    else:
        text = f"{reached}, at least {INTERPOLATES}: weights barely move such a head, and validation items are too few"
        moved = _row("head-is-moved-by-weights", "strength", "fail", text)
    return folds, moved


def weight_rows(notes: Mapping[str, Any], floor: float) -> tuple[ValidityRow, ...]:
    """`class-prior`, `ess-floor`, `dependence` of learned weights, from the notes of the fit; `floor` on ESS / N."""
    drift, ess, share = (float(notes[key]) for key in ("class_prior_drift", "ess", "d_permuted_share"))
    holds = ess > floor * (1 + 1e-3)
    return (
        _row(
            "class-prior",
            "warning",
            "pass" if drift <= DRIFT else "warn",
            f"weights move the class prior by {drift:.1e} at most; expected {DRIFT:g}",
        ),
        _row(
            "ess-floor",
            "warning",
            "pass" if holds else "warn",
            f"ESS is {ess:.2f} N, floor {floor:g} {'not reached' if holds else 'reached: the weights were drawn back'}",
        ),
        _row(
            "dependence",
            "warning",
            "pass" if share <= NOTHING else "warn",
            f"column-shuffled embeddings have {share:.3f} of the dependence of the real ones; above {NOTHING} there is "
            "nothing to remove",
        ),
    )


def dependence_found(notes: Mapping[str, Any]) -> tuple[Measurement, ...]:
    """`l2r-nothing-to-decorrelate`: above 0 where shuffled embeddings keep more than half of the dependence."""
    if "d_permuted_share" not in notes:
        return ()
    share = float(notes["d_permuted_share"])
    found = share > NOTHING
    minority = notes.get("minority_weight")
    text = (
        f"weights leave {notes['d_ratio']:.2f} of the dependence (the same search on column-shuffled embeddings "
        f"{notes['d_ratio_permuted']:.2f}), ESS {notes['ess']:.2f} N"
        + ("" if minority is None else f", minority groups weigh {minority:.1f} on average")
        + f"; shuffled embeddings have {share:.2f} of the dependence of the real ones: "
        + ("nothing to decorrelate" if found else "there is dependence to remove")
    )
    return (
        Measurement(
            name="permuted_dependence_above_half",
            finding="l2r-nothing-to-decorrelate",
            value=max(0.0, share - NOTHING),
            ci=None,
            control=None,
            advantage=None,
            n=1,
            direction="higher_is_worse",
            scale="artifact",
            primary=True,
            text=text,
            notes={"severity": "low"},
        ),
    )


def _row(
    id_: str, kind: Literal["integrity", "strength", "warning"], status: Literal["pass", "warn", "fail"], evidence: str
) -> ValidityRow:
    return ValidityRow(id=id_, kind=kind, status=status, evidence=evidence, touches=TOUCHES)
