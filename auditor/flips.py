"""Turns a ranking of flips into flip sets that keep to the budgets and caps of an attempt."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.outcomes import FlipSet
from auditor.probe import Attempt
from auditor.view import View


def ranked_flips(keys: Tensor, attempt: Attempt, view: View) -> tuple[FlipSet, ...]:
    """One flip set per budget, as far down the ranking as budgets and caps allow; a smaller one begins a larger one.

    Args:
        keys: pairs to toggle, the best first, int64 [K] of distinct keys; on many graphs the order inside each counts.
        attempt: its `budgets`, `node_caps` and `item_budgets`.
        view: what the attack was granted, its graph included.
    """
    if attempt.item_budgets:
        sets = [within_items(keys, own, view) for own in attempt.item_budgets]
    else:
        n = view.graph.num_nodes
        sets = [within_caps(keys, n, attempt.node_caps, budget) for budget in attempt.budgets]
    return tuple(FlipSet(budget, chosen) for budget, chosen in zip(attempt.budgets, sets, strict=True))


def within_caps(keys: Tensor, num_nodes: int, caps: Tensor | None, budget: int) -> Tensor:
    """Goes through `keys` and keeps each pair whose two ends both have room (`caps` [N], None: always), <= budget."""
    if caps is None:
        return keys[:budget]
    room: list[int] = caps.tolist()
    kept: list[int] = []
    for key in keys.tolist():
        if len(kept) == budget:
            break
        a, b = divmod(key, num_nodes)
        if room[a] > 0 and room[b] > 0:
            room[a] -= 1
            room[b] -= 1
            kept.append(key)
    return torch.tensor(kept, dtype=torch.int64)


def within_items(keys: Tensor, own: Tensor, view: View) -> Tensor:
    """The first keys of each of `view.items`, at most `own` [n] of them; none in a graph that is not attacked."""
    graph = view.graph
    if graph.batch is None:
        raise ValueError("item budgets need many graphs; this is one")
    allowed = torch.zeros(graph.num_items, dtype=torch.int64)
    allowed[view.items] = own
    owner = graph.batch[keys // graph.num_nodes]
    order = torch.argsort(owner, stable=True)
    counts = torch.bincount(owner, minlength=graph.num_items)
    place = torch.empty_like(owner)  # how many keys of the same graph stand before each
    place[order] = torch.arange(keys.numel()) - (torch.cumsum(counts, dim=0) - counts)[owner[order]]
    return keys[place < allowed[owner]]
