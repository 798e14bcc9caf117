"""Re-checks every claimed flip set on the really edited graph. Imports no attack and believes none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.data.keys import distinct, without
from auditor.errors import EvaluationError
from auditor.outcomes import FlipSet
from auditor.targets.surroundings import Parts
from auditor.targets.target import ModelHandle, Target

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """What the model says on one edited graph.

    Attributes:
        correct: which attacked items are right, bool [n]; a row that is not finite is wrong.
        finite: whether every logit of the attacked items is.
        additions: edges that were added.
        deletions: edges that were removed.
        flips: flips spent on each attacked graph, int64 [n] (task `graph`); None for one graph.
    """

    correct: Bools
    finite: bool
    additions: int
    deletions: int
    flips: NDArray[np.int64] | None = None

    @property
    def accuracy(self) -> float:
        """Share of attacked items that are right."""
        return float(self.correct.mean())


class Verifier:
    """Holds the clean graph and a second copy of the model; edits the one, asks the other.

    Args:
        target: under audit; nothing of it is changed.
        items: attacked items, int64 [n].
        node_caps: largest number of flips at each node, int64 [N]; None for no cap.

    Attributes:
        space: the flippable pairs of the clean graph.
        handle: the second copy of the model.
        items: as given.
    """

    def __init__(self, target: Target, items: Tensor, *, node_caps: Tensor | None = None) -> None:
        self.space = EdgeSpace.of(target.graph)
        self.handle: ModelHandle = target.handle()
        graph = self.space.graph
        self._clean_keys, self._clean_one_way = self._keys_of(graph), graph.num_one_way
        self.items = items
        self._y, self._caps = target.graph.y[items], node_caps

    def clean(self) -> Verified:
        """The canonical graph, nothing flipped."""
        return self._ask(self.space.graph, torch.empty(0, dtype=torch.int64))

    def check(self, claim: FlipSet, *, item_budgets: Tensor | None = None) -> Verified:
        """The claim on the really edited graph.

        Args:
            claim: keys and the budget they were found under.
            item_budgets: flips allowed in each attacked graph, int64 [n] (task `graph`).

        Raises:
            EvaluationError: the claim breaks a rule (distinct keys, budget, caps, range, no self-loop, one graph).
        """
        self._check_rules(claim)
        spent = self._check_items(*self.space.ends(claim.keys), item_budgets)
        return self._ask(self._rebuilt(claim.keys), claim.keys, spent)

    def edited(self, claim: FlipSet) -> Graph:
        """The graph with the claim's flips, rebuilt from the clean one.

        Raises:
            EvaluationError: as `check`, budgets of single graphs aside.
        """
        self._check_rules(claim)
        return self._rebuilt(claim.keys)

    def edited_around(
        self, claim: FlipSet, node: int, parts: Parts, *, hops: int, most: int
    ) -> tuple[Graph, Tensor] | None:
        """(what lies within so many steps of a node once the claim's flips are made, ids of its nodes, ascending).

        None where that is more than `most` nodes. The rebuilt part that is checked holds the ends of all flips besides:
        nothing else of the graph can differ.

        Raises:
            EvaluationError: as `edited`.
        """
        self._check_rules(claim)
        ids = parts.around(torch.tensor([node]), claim.keys, hops)
        if ids.numel() > most:
            return None
        if self.space.graph.fields:
            return self._rebuilt(claim.keys).induced(ids), ids
        u, v = self.space.ends(claim.keys)
        wide = distinct(torch.cat([ids, u, v]))
        clean, edited = (parts.part(wide, keys) for keys in (claim.keys[:0], claim.keys))
        u, v = torch.searchsorted(wide, u), torch.searchsorted(wide, v)
        self._check_edit(edited, u * wide.numel() + v, self._keys_of(clean), clean.num_one_way)
        return (edited if wide.numel() == ids.numel() else parts.part(ids, claim.keys)), ids

    def logits(self, graph: Graph) -> Tensor:
        """What the second copy of the model says of a graph, [N, C] or [B, C]."""
        with torch.no_grad():
            return self.handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)

    def _rebuilt(self, keys: Tensor) -> Graph:
        edited = self.space.toggled(keys)
        self._check_edit(edited, keys, self._clean_keys, self._clean_one_way)
        return edited

    def _check_rules(self, claim: FlipSet) -> None:
        """Distinct keys of pairs, within the budget and the caps."""
        self._check_keys(claim)
        if self._caps is not None:
            u, v = self.space.ends(claim.keys)
            spent = torch.bincount(torch.cat([u, v]), minlength=self.space.graph.num_nodes)
            over = torch.nonzero(spent > self._caps).flatten()
            if over.numel():
                node = int(over[0])
                raise EvaluationError(f"{int(spent[node])} flips at node {node}, cap {int(self._caps[node])}")

    def _check_keys(self, claim: FlipSet) -> None:
        keys, n = claim.keys, self.space.graph.num_nodes
        if keys.dtype != torch.int64 or keys.dim() != 1:
            raise EvaluationError(f"keys are {keys.dtype} {list(keys.shape)}; expected int64 [k]")
        if torch.unique(keys).numel() != keys.numel():
            raise EvaluationError(f"{keys.numel() - torch.unique(keys).numel()} flips are listed twice")
        if keys.numel() > claim.budget:
            raise EvaluationError(f"{keys.numel()} flips, budget {claim.budget}")
        if keys.numel() and (int(keys.min()) < 0 or int(keys.max()) >= n * n):
            raise EvaluationError(f"keys from {int(keys.min())} to {int(keys.max())}; expected [0, {n * n})")
        u, v = self.space.ends(keys)
        if bool((u == v).any()):
            raise EvaluationError(f"{int((u == v).sum())} flips are self-loops")
        if not self.space.directed and bool((u > v).any()):
            raise EvaluationError("keys of an undirected graph must be min * N + max")

    def _check_items(self, u: Tensor, v: Tensor, item_budgets: Tensor | None) -> NDArray[np.int64] | None:
        """Flips spent on each attacked graph; none may join two graphs, touch another one, or exceed its budget."""
        batch = self.space.graph.batch
        if batch is None:
            return None
        if not torch.equal(batch[u], batch[v]):
            raise EvaluationError(f"{int((batch[u] != batch[v]).sum())} flips join two graphs")
        spent = torch.bincount(batch[u], minlength=self.space.graph.num_items)
        if int(spent.sum()) != int(spent[self.items].sum()):
            raise EvaluationError("flips touch graphs that are not attacked")
        if item_budgets is not None and bool((spent[self.items] > item_budgets).any()):
            worst = int((spent[self.items] - item_budgets).argmax())
            raise EvaluationError(
                f"{int(spent[self.items][worst])} flips in graph {int(self.items[worst])}, "
                f"budget {int(item_budgets[worst])}"
            )
        return spent[self.items].numpy()

    def _keys_of(self, graph: Graph) -> Tensor:
        return graph.arc_keys(include_loops=False) if self.space.directed else graph.pair_keys()

    def _check_edit(self, edited: Graph, keys: Tensor, clean: Tensor, clean_one_way: int) -> None:
        """The edited graph differs at exactly these keys from what was there, and is as symmetric as it was."""
        there = self._keys_of(edited)
        differing = distinct(torch.cat([without(clean, there), without(there, clean)]))
        if not torch.equal(differing, torch.sort(keys).values) or (
            not self.space.directed and edited.num_one_way > clean_one_way
        ):
            raise EvaluationError(f"the edited graph differs at {differing.numel()} edges, {keys.numel()} were flipped")

    def _ask(self, graph: Graph, keys: Tensor, flips: NDArray[np.int64] | None = None) -> Verified:
        logits = self.logits(graph)[self.items]
        deletions = int(self.space.exists(keys).sum())
        return Verified(
            correct=graph.task.correct(logits, self._y).numpy(),
            finite=bool(torch.isfinite(logits).all()),
            additions=keys.numel() - deletions,
            deletions=deletions,
            flips=flips,
        )
