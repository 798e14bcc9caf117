"""Evolution over sets of flips: asked for the next set to try, told how good it was."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Fitness = tuple[int, float]
"""Wrong items, and what tells sets with as many apart; larger is better."""


class Proposals(Protocol):
    """Where new flips come from."""

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """About `count` keys of pairs, int64; some may be equal."""
        ...


class Evolution:
    """A population of flip sets, the best of which live on and have children.

    Each generation the `elites` stay. A child takes its keys from the union of two parents, each the better one of two
    drawn from the population; each key is then redrawn with probability 1 / max(4, sqrt(B)).

    Args:
        budget: flips of a set, B.
        proposals: where the first sets and redrawn keys come from.
        rng: the only source of randomness.
        population: sets that live at a time.
        elites: best of them, which live on.
    """

    def __init__(
        self, budget: int, proposals: Proposals, rng: np.random.Generator, *, population: int, elites: int
    ) -> None:
        self._budget, self._proposals, self._rng = budget, proposals, rng
        self._size, self._elites = population, elites
        self._rate = 1 / max(4.0, float(np.sqrt(budget)))
        self._parents: list[tuple[Fitness, Ints]] = []
        self._told: list[tuple[Fitness, Ints]] = []
        self.best: Ints = np.empty(0, dtype=np.int64)
        """The best set so far, sorted; empty before the first is told to break anything."""
        self.best_fitness: Fitness | None = None

    def ask(self) -> Ints:
        """The next set, at most B distinct keys."""
        if not self._parents:
            return self._filled(np.empty(0, dtype=np.int64))
        union = np.union1d(self._parent(), self._parent())
        child = self._rng.permutation(union)[: self._budget]
        return self._filled(child[self._rng.random(child.size) >= self._rate])

    def tell(self, keys: Ints, fitness: Fitness) -> None:
        """How good a set was."""
        self._told.append((fitness, keys))
        if self.best_fitness is None or fitness > self.best_fitness:
            self.best, self.best_fitness = keys, fitness
        if len(self._told) == self._size - (self._elites if self._parents else 0):
            elites = sorted(self._parents, key=lambda each: each[0], reverse=True)[: self._elites]
            self._parents, self._told = elites + self._told, []

    def _parent(self) -> Ints:
        one, other = (self._parents[int(place)] for place in self._rng.integers(len(self._parents), size=2))
        return max(one, other, key=lambda each: each[0])[1]

    def _filled(self, keys: Ints) -> Ints:
        """The keys and new ones beside them, up to B; fewer where none but known ones come."""
        for _ in range(8):
            missing = self._budget - keys.size
            if missing <= 0:
                break
            fresh = np.setdiff1d(self._proposals.draw(missing, self._rng), keys)
            keys = np.concatenate([keys, self._rng.permutation(fresh)[:missing]])
        found: Ints = np.sort(keys)
        return found
