"""Breaks graph-level targets: in every graph the flip that lowers the margin most, one after another."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from attacks.robustness.attacked_graphs import in_groups
from attacks.robustness.losses import Loss, margins
from attacks.robustness.soft_flips import Victim
from auditor.data.batches import in_one_batch
from auditor.data.edits import EdgeSpace, single_graphs
from auditor.data.graph import Graph
from auditor.probe import Attempt

SHORTLIST = 16
ALL_PAIRS_UP_TO = 2000
SAMPLED_PAIRS = 200_000


def break_graphs(victim: Victim, loss: Loss, attempt: Attempt) -> Tensor:
    """Keys in the numbering of all nodes, graph by graph, each graph's in the order found.

    Each step ranks all pairs of a graph by one gradient, evaluates the best 16 on really edited graphs and keeps the
    best. A graph that is wrong gets no further flip.
    """
    whole = victim.space.graph
    largest = torch.stack(attempt.item_budgets).max(dim=0).values  # [n]
    chosen: list[list[int]] = [[] for _ in victim.items]  # local keys u * n + v of each graph, in the order found
    parts = single_graphs(whole, victim.items)
    spaces = [EdgeSpace.of(part) for part, _ in parts]
    alive = torch.nonzero(victim.correct(torch.empty(0, dtype=torch.int64))).flatten().tolist()
    alive = [place for place in alive if spaces[place].num_pairs > 0]
    weights = [SHORTLIST * space.graph.num_nodes for space in spaces]
    step = 0
    while alive:
        attempt.tick(None, f"active-set: flip {step + 1} in {len(alive)} graphs")
        for group in in_groups(alive, weights):
            for place, key in zip(group, _best_flips(victim, loss, group, spaces, chosen, attempt), strict=True):
                chosen[place].append(key)
        step += 1
        broken = _broken(victim, alive, spaces, chosen)
        alive = [p for p in alive if p not in broken and len(chosen[p]) < int(largest[p])]
    keys = []
    for (_, nodes), space, local in zip(parts, spaces, chosen, strict=True):
        u, v = space.ends(torch.tensor(local, dtype=torch.int64))
        keys.append(nodes[u] * whole.num_nodes + nodes[v])
    return torch.cat(keys)


def _best_flips(
    victim: Victim, loss: Loss, group: list[int], spaces: list[EdgeSpace], chosen: list[list[int]], attempt: Attempt
) -> list[int]:
    """The flip of each graph of the group that leaves it the smallest margin, as local keys."""
    current = [spaces[p].toggled(torch.tensor(chosen[p], dtype=torch.int64)) for p in group]
    y = victim.y[group]
    candidates, gradients = _ranked(victim, loss, current, y, [chosen[p] for p in group], attempt)
    edited, owner, tried = [], [], []
    for i, (keys, gradient) in enumerate(zip(candidates, gradients, strict=True)):
        short = keys[torch.topk(gradient, min(SHORTLIST, keys.numel())).indices]
        for key in short.tolist():
            edited.append(EdgeSpace.of(current[i]).toggled(torch.tensor([key])))
            owner.append(i)
            tried.append(key)
    z = victim.outputs.read(_exact(victim, edited))
    left = margins(z, y[torch.tensor(owner)])
    left = torch.where(torch.isfinite(left), left, torch.tensor(float("-inf")))
    best: list[int] = []
    for i in range(len(group)):
        own = [place for place, who in enumerate(owner) if who == i]
        best.append(tried[min(own, key=lambda place: float(left[place]))])
    return best


def _ranked(
    victim: Victim, loss: Loss, graphs: list[Graph], y: Tensor, taken: list[list[int]], attempt: Attempt
) -> tuple[list[Tensor], list[Tensor]]:
    """Candidate pairs of each graph (local keys, never one that was flipped before) and the loss's gradient at them."""
    spaces = [EdgeSpace.of(graph) for graph in graphs]
    whole, starts = in_one_batch([space.graph for space in spaces])
    joint = replace(victim, space=EdgeSpace.of(whole), items=torch.arange(len(graphs)), y=y)
    local, keys = [], []
    for space, start, old in zip(spaces, starts, taken, strict=True):
        few = space.graph.num_nodes <= ALL_PAIRS_UP_TO
        own = space.sample(space.num_ordered if few else SAMPLED_PAIRS, attempt.rng)
        own = torch.unique(torch.cat([own, space.existing]))
        own = own[~torch.isin(own, torch.tensor(old, dtype=torch.int64))]
        u, v = space.ends(own)
        local.append(own)
        keys.append((u + start) * whole.num_nodes + v + start)
    # a sum over graphs: each graph's pairs see their own graph's loss alone
    gradient, _ = joint.gradient_at_zero(
        torch.empty(0, dtype=torch.int64), torch.empty(0), torch.cat(keys), lambda z, labels: loss(z, labels)
    )
    return local, list(torch.split(gradient, [own.numel() for own in local]))


def _broken(victim: Victim, places: list[int], spaces: list[EdgeSpace], chosen: list[list[int]]) -> set[int]:
    """Which of the graphs are wrong after their flips, on real edges."""
    graphs = [spaces[p].toggled(torch.tensor(chosen[p], dtype=torch.int64)) for p in places]
    left = margins(victim.outputs.read(_exact(victim, graphs)), victim.y[places])
    return {p for p, margin in zip(places, left.tolist(), strict=True) if not margin > 0}


def _exact(victim: Victim, graphs: list[Graph]) -> Tensor:
    """Logits of each graph, [B, C], in one batch."""
    whole, _ = in_one_batch(graphs)
    return victim.relaxation.exact_logits(whole.x, whole.edge_index, whole.edge_weight, whole.batch, whole.fields)
