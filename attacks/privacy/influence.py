"""LinkTeller: whose answers change when one node's features do? Joined nodes influence each other most."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.outcomes import LinkOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import PairScore, log_posteriors, of_ids
from auditor.view import View

LEAST_CHANGE, MOST_CHANGE = 1e-4, 1.0
NO_STEP = 1e-8
PER_RESOLUTION = 1e4  # the change of features, in units of the smallest step that answers take
LOGARITHMS = 1e-6  # answers that take larger steps are compared as they are: the logarithm of a rounded 0 is nothing
TOGETHER = 256  # queries asked at once
FEW = 20  # nodes that are asked about with a large change, to see whether one is worth asking for
KEPT = 1 << 25  # influences that are kept, 400 MB; where there are more, the largest of every node that was asked about


@parameters
class Influence:
    """Asks about each node v with its features enlarged by the share d, and sees whose answers change.

        r_u = change of l_u,   I[u, v] = |r_u| / d,   score(u, v) = mean of I[u, v] / I[v, v] and I[v, u] / I[u, u]

    over the directions that were asked. l are log-posteriors less their mean over classes; of a service whose answers
    take steps above 1e-6, the posteriors. A row of zeros is replaced by d times the mean row. d is 10,000 times the
    smallest difference of two answers, between 1e-4 and 1. Where it moves no other node's answer, a few nodes are asked
    about with d = 1, and all of them where that moves any: a model that rounds its features sees no small change. Costs
    one query a node, or two.

    Args:
        mode: `normalised` (default), or `linkteller`: |change of posteriors| / d, summed over both directions, as
            published.

    Source: Wu et al., "LinkTeller: Recovering Private Edges from Graph Neural Networks via Influence Analysis", IEEE
    S&P 2022, algorithm 1. Log-posteriors and the division by a node's influence on itself are ours: they tell one hop
    from two.
    """

    mode: Literal["normalised", "linkteller"] = "normalised"

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """Asks about every node once, or about those that the adversary concentrates on."""
        query, n = view.query, view.num_nodes
        resolution = max(query.resolution, smallest_step(query.answers))
        least = min(max(PER_RESOLUTION * resolution, LEAST_CHANGE), MOST_CHANGE)
        compared = self._compared(query.outputs, resolution)
        sources = torch.arange(n) if view.attacked is None else view.attacked.sort().values
        ask = partial(self._asked, view, attempt, compared)
        d, (keys, values) = least, ask(sources, least)
        few = sources[:: -(-sources.shape[0] // FEW)]
        if least < MOST_CHANGE and not _moves(keys, values, n) and _moves(*ask(few, MOST_CHANGE), n):
            d, (keys, values) = MOST_CHANGE, ask(sources, MOST_CHANGE)
        score = _mean_over_directions(keys.numpy(), values.numpy(), sources, n)
        return LinkOutcome(score, {"mode": self.mode, "d": d, "resolution": resolution})

    def _asked(
        self, view: View, attempt: Attempt, compared: Callable[[Tensor], Tensor], sources: Tensor, d: float
    ) -> tuple[Tensor, Tensor]:
        """Influences by ascending keys source * N + node, int64 [m] and float32 [m], from one query a source."""
        x, query, n = view.x, view.query, view.num_nodes
        unchanged, mean_row = compared(query.answers), x.mean(dim=0).double()
        most = max(1, KEPT // sources.shape[0])
        keys, values = list[Tensor](), list[Tensor]()
        for nodes in torch.split(sources, TOGETHER):
            attempt.tick(None, f"query {query.count + 1:,}, of {sources.shape[0]:,} nodes")
            own = x[nodes].double()
            is_zero = ~own.any(dim=1, keepdim=True)
            which, ids, rows = query.many(nodes, torch.where(is_zero, d * mean_row, (1 + d) * own))
            change = (compared(rows) - unchanged[ids]).norm(dim=1).nan_to_num(0.0, 0.0, 0.0) / d
            if self.mode == "normalised":
                change = _by_own(change, which, ids == nodes[which], nodes.shape[0])
            kept = _largest(change, which, most)
            keys.append((nodes[which] * n + ids)[kept])
            values.append(change[kept].float())
        return torch.cat(keys), torch.cat(values)

    def _compared(self, outputs: str, resolution: float) -> Callable[[Tensor], Tensor]:
        """What of answers [m, C] is compared, float64 [m, C]."""
        if self.mode == "linkteller":
            return (lambda rows: rows.softmax(dim=1)) if outputs == "logits" else (lambda rows: rows)
        if outputs == "logits":
            return _centred
        return (lambda rows: rows) if resolution > LOGARITHMS else (lambda rows: _centred(log_posteriors(rows)))


def _moves(keys: Tensor, values: Tensor, num_nodes: int) -> bool:
    """Whether any node's answer changes with the features of another one."""
    return bool((values[keys // num_nodes != keys % num_nodes] > 0).any())


def smallest_step(answers: Tensor) -> float:
    """The smallest difference of two numbers that are answered, 0 where there is none; answers [N, C].

    A difference below 1e-8 counts as none: equal numbers that a service computes in other ways differ in their last
    digits, and taken for a step these would hide that it rounds.
    """
    steps = torch.unique(answers[torch.isfinite(answers)]).diff()
    steps = steps[steps > NO_STEP]
    return float(steps.min()) if steps.numel() else 0.0


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=1, keepdim=True)


def _by_own(change: Tensor, which: Tensor, is_own: Tensor, queries: int) -> Tensor:
    """Changes [m] in units of that of the queried node itself; 0 where its own answer does not change."""
    own = change.new_zeros(queries)
    own[which[is_own]] = change[is_own]
    unit = own[which]
    return torch.where(unit > 0, change / unit, 0.0)


def _largest(change: Tensor, which: Tensor, most: int) -> Tensor:
    """The `most` largest changes of every query, bool [m]."""
    count = torch.bincount(which)
    if not count.numel() or int(count.max()) <= most:
        return torch.ones_like(which, dtype=torch.bool)
    order = torch.argsort(change, descending=True, stable=True)
    order = order[torch.argsort(which[order], stable=True)]
    rank = torch.arange(order.shape[0]) - (count.cumsum(0) - count)[which[order]]
    kept = torch.empty_like(which, dtype=torch.bool)
    kept[order] = rank < most
    return kept


def _mean_over_directions(
    keys: NDArray[np.int64], values: NDArray[np.float32], sources: Tensor, num_nodes: int
) -> PairScore:
    """Influence of source on node, `values` at ascending `keys` source * N + node, averaged over the ends asked."""
    asked = np.zeros(num_nodes)
    asked[sources.numpy()] = 1.0

    def of(source: NDArray[np.int64], node: NDArray[np.int64]) -> NDArray[np.float64]:
        wanted = source * num_nodes + node
        at = np.minimum(np.searchsorted(keys, wanted), max(0, keys.size - 1))
        return np.where(keys[at] == wanted, values[at], 0.0) if keys.size else np.zeros(wanted.shape)

    return of_ids(lambda u, v: (of(u, v) + of(v, u)) / np.maximum(asked[u] + asked[v], 1.0))
