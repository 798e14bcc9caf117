"""What a View says of each item's true class, by how the model is asked."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.statistics.margins import true_class_margin
from auditor.view import Access, View

FULL, ALONE = "full", "0-hop"
"""The served answers; and answers about a node in a graph without edges: what the model remembers of it by itself."""


def margins(view: View) -> dict[str, Tensor]:
    """Phi of every item by query, float64 [items]; 0 for an item of unknown class.

    What of the true class remains after the neighbours' votes is little, so that the query without edges tells more.
    """
    y, known, digits = view.y.clamp_min(0), view.known, view.served_digits
    asked = {FULL: view.posteriors}
    alone = view.alone if Access.OWN_QUERIES in view.access else None
    if alone is not None:
        asked[ALONE] = alone
    return {
        query: torch.where(known, true_class_margin(answers, y, outputs=view.outputs, digits=digits), 0.0)
        for query, answers in asked.items()
    }
