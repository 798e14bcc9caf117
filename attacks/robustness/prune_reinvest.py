"""Takes back the flips of a set that break nothing, and spends them on items that are still right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from attacks.robustness.losses import margins
from attacks.robustness.reach import Change, Reach
from attacks.robustness.soft_flips import Victim
from auditor.data.keys import without
from auditor.probe import Attempt

PARTNERS = 4096
"""Nodes that an item may be joined with; drawn at random where there are more."""
AT_ONCE = 50
"""Items whose pairs are ranked by one gradient."""
RANKS = 2
"""Pairs of an item that are tried on real edges, the most promising first."""
WORK, FEWEST_CALLS, GRADIENT = 50_000_000, 20, 3
"""Calls of the model for one set: so many in nodes and arcs, and never fewer than; what a gradient counts as."""
PER_CALL = 32
"""Flips that are looked at, at most, for each call that is left."""


@dataclass(slots=True)
class Spent:
    """What became of the flips: broken items before and after, flips taken back, spent again, left over; calls made."""

    errors: list[int] = field(default_factory=list)
    taken_back: int = 0
    spent_again: int = 0
    left_over: int = 0
    calls: int = 0


class PruneReinvest:
    """Improves one flip set within its budget; it is never worse afterwards.

    A round takes flips back, in random order, wherever no fewer items are wrong without them. What is free then goes to
    the items with the smallest margins: one gradient ranks the pairs at an item, the best are tried on real edges, and
    one stays if more items are wrong than before. Left-over flips stay unspent. Changes that reach different items are
    judged in one call (`Reach`), with the decisions that one call each would have come to.

    Args:
        victim: under attack.
        attempt: its randomness and caps.
        budget: largest number of flips.
        depth: hops that a change can be seen from; None for no limit.
        package: most flips that are spent on breaking one more item.
    """

    def __init__(self, victim: Victim, attempt: Attempt, budget: int, *, depth: int | None, package: int) -> None:
        self._victim, self._budget, self._depth, self._package = victim, budget, depth, package
        self._rng, self._caps = attempt.rng, attempt.node_caps
        graph = victim.space.graph
        self._most = max(FEWEST_CALLS, WORK // (graph.num_nodes + graph.num_edges))
        self._keys = torch.empty(0, dtype=torch.int64)
        self._z = torch.empty(0)
        self.spent = Spent()

    def run(self, start: Tensor, rounds: int) -> Tensor:
        """The improved set, int64 [<= budget].

        Args:
            start: flips that keep to budget and caps, int64.
            rounds: most rounds; fewer when one takes nothing back.
        """
        self._keys, self._z = start, self._logits(start)
        best, most = start, self._errors
        self.spent.errors.append(most)
        for _ in range(rounds):
            taken_back = self._prune()
            self.spent.spent_again += self._reinvest()
            self.spent.taken_back += taken_back
            self._z = self._logits(
                self._keys
            )  # should an edit reach farther than the three that were tried, this shows it
            if self._errors >= most:
                best, most = self._keys, self._errors
            if not taken_back:
                break
        self.spent.errors.append(most)
        self.spent.left_over = self._budget - best.numel()
        return best

    @property
    def _room(self) -> int:
        return self._budget - self._keys.numel()

    @property
    def _right(self) -> Tensor:
        return self._victim.right(self._z)

    @property
    def _errors(self) -> int:
        return int((~self._right).sum())

    @property
    def _calls_left(self) -> int:
        return self._most - self.spent.calls

    def _logits(self, keys: Tensor) -> Tensor:
        self.spent.calls += 1
        return self._victim.logits(keys)

    def _prune(self) -> int:
        """Takes flips back; how many."""
        order = torch.from_numpy(self._rng.permutation(self._keys.numel()))[: PER_CALL * self._calls_left]
        reach = Reach(self._victim, self._depth, self._keys)
        before = self._keys.numel()
        spare = self._calls_left // 2  # where calls are few, some are left to spend what is free
        self._apply(reach, [reach.of(key) for key in torch.split(self._keys[order], 1)], add=False, spare=spare)
        return before - self._keys.numel()

    def _reinvest(self) -> int:
        """Spends what is free on items that are still right, the closest to the boundary first; how many flips."""
        before, tried = self._keys.numel(), torch.zeros(self._z.shape[0], dtype=torch.bool)
        while self._room and self._calls_left > 0:
            margin = margins(self._victim.outputs.read(self._z), self._victim.y)
            open_ = torch.nonzero(self._right & ~tried).flatten()
            open_ = open_[torch.argsort(margin[open_], stable=True)][:AT_ONCE]
            if not open_.numel():
                break
            tried[open_] = True
            self._break(open_)
        return self._keys.numel() - before

    def _break(self, items: Tensor) -> None:
        """Tries single pairs at each of these items, then packages of several at those that are left."""
        ranked = self._ranked(items, self._keys)
        reach = Reach(self._victim, self._depth, torch.cat([self._keys, _pairs(ranked)]))
        for pairs in ranked.T:
            singles = _pairs(pairs[self._right[items]])
            self._apply(reach, [reach.of(key) for key in torch.split(singles, 1)], add=True)
        left = self._right[items]
        if self._package < 2 or self._room < 2 or not left.any():
            return
        packages = self._packages(items[left], ranked[left, 0])
        reach = Reach(self._victim, self._depth, torch.cat([self._keys, *packages]))
        self._apply(reach, [reach.of(package) for package in packages], add=True)

    def _packages(self, items: Tensor, first: Tensor) -> list[Tensor]:
        """Pairs that together break one of these items each, grown pair by pair; the smallest packages first.

        They grow side by side, and each is tried by itself afterwards.

        Args:
            items: places of items that are right, int64 [k].
            first: the most promising pair of each, int64 [k].
        """
        parts: list[Tensor] = [first]
        found: list[Tensor] = []
        keys, unbroken = _with(self._keys, _pairs(first)), torch.arange(items.numel())
        for _ in range(1, min(self._package, self._room)):
            parts.append(torch.full((items.numel(),), -1))
            parts[-1][unbroken] = self._ranked(items[unbroken], keys)[:, 0]
            keys = _with(keys, _pairs(parts[-1]))
            broken = ~self._victim.right(self._logits(keys))[items[unbroken]]
            found += [_pairs(torch.stack(parts)[:, place]) for place in unbroken[broken]]
            unbroken = unbroken[~broken]
            if not unbroken.numel() or self._calls_left <= 0:
                break
        return found

    def _ranked(self, items: Tensor, keys: Tensor) -> Tensor:
        """The pairs at each item that lower its margin most, given the flips `keys`: int64 [k, RANKS], -1 for none."""
        self.spent.calls += GRADIENT
        victim, space = self._victim, self._victim.space
        n, nodes = space.graph.num_nodes, victim.items[items]
        partners = torch.arange(n)
        if n > PARTNERS:
            partners = torch.from_numpy(np.sort(self._rng.choice(n, PARTNERS, replace=False)))
        pairs = space.keys(partners.repeat(nodes.numel()), nodes.repeat_interleave(partners.numel()))
        pairs = torch.where(torch.isin(pairs, keys) | (pairs // n == pairs % n), -1, pairs)
        distinct, place = torch.unique(pairs, return_inverse=True)
        usable = distinct >= 0
        gradient = torch.full((distinct.numel(),), float("-inf"))
        found, _ = victim.gradient_at_zero(
            keys, torch.ones(keys.numel()), distinct[usable], lambda z, y: -margins(z[items], y[items]).sum()
        )
        gradient[usable] = found[keys.numel() :]
        best = gradient[place].view(nodes.numel(), -1).topk(min(RANKS, partners.numel()), dim=1).indices
        return pairs.view(nodes.numel(), -1).gather(1, best)

    def _apply(self, reach: Reach, changes: Sequence[Change], *, add: bool, spare: int = 0) -> None:
        """Makes each change that pays: pairs that are added must break an item more, those that leave may free none."""
        edited = _with if add else _without
        for batch in reach.together(changes):
            if self._calls_left <= spare:
                break
            together = [
                changes[place] for place in batch if not add or self._fits(_with(self._keys, changes[place].keys))
            ]
            if not together:
                continue
            z = self._logits(edited(self._keys, torch.cat([change.keys for change in together])))
            gained = self._right.int() - self._victim.right(z).int()
            gains = [int(gained.sum() if each.items is None else gained[each.items].sum()) for each in together]
            for place in sorted(range(len(together)), key=lambda i: -gains[i]):
                keys = edited(self._keys, together[place].keys)
                if gains[place] < int(add) or (add and not self._fits(keys)):
                    continue
                self._keys, items = keys, together[place].items
                if items is None:
                    self._z = z
                else:
                    self._z[items] = z[items]

    def _fits(self, keys: Tensor) -> bool:
        """Whether a set keeps to budget and caps."""
        if keys.numel() > self._budget:
            return False
        if self._caps is None:
            return True
        spent = torch.bincount(torch.cat(self._victim.space.ends(keys)), minlength=self._caps.numel())
        return bool((spent <= self._caps).all())


def _pairs(ranked: Tensor) -> Tensor:
    """Those that are pairs, each once."""
    distinct: Tensor = torch.unique(ranked[ranked >= 0])
    return distinct


def _with(keys: Tensor, more: Tensor) -> Tensor:
    return torch.cat([keys, without(more, keys)])


def _without(keys: Tensor, fewer: Tensor) -> Tensor:
    return without(keys, fewer)
