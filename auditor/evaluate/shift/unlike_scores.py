"""Every score of a model on one graph: those of its answers, along edges, and in the space of its embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.evaluate.shift.detectors import detector_scores, kinship, log_posteriors, of_others, propagate
from auditor.evaluate.shift.embedded import Known, embeddings
from auditor.targets.target import ModelHandle


def scores_of(
    handle: ModelHandle,
    graph: Graph,
    known: Known | None,
    *,
    has_logits: bool,
    isolated: str,
    without: Sequence[int] = (),
) -> dict[str, Tensor]:
    """Score of every item by name, float64 [items] each, higher = more like what the model knows.

    Args:
        handle: the model.
        graph: the graph under test.
        known: what its training items look like; None without embeddings.
        has_logits: whether it serves logits, see `detector_scores`.
        isolated: see `propagate`.
        without: classes whose answers are taken away.
    """
    with torch.no_grad():
        logits = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    logits = of_others(logits, without) if without else logits
    scores = detector_scores(logits, graph, has_logits=has_logits, isolated=isolated)
    if graph.batch is None:
        # A propagated −inf would spread: what is no number stays so, and its neighbours do without it.
        base = scores["energy"] if "energy" in scores else scores["msp"]
        finite = torch.isfinite(base)
        weight = kinship(log_posteriors(logits), graph.edge_index) * finite[graph.edge_index[0]]
        safe = torch.where(finite, base, torch.zeros_like(base))
        moved = propagate(safe, graph.edge_index, weight=weight, isolated=isolated)
        scores["prop-by-kind"] = torch.where(finite, moved, base)
    if known is not None:
        found = known.scores(embeddings(handle, graph))
        scores |= {name: torch.from_numpy(score) for name, score in found.items()}
    return scores
