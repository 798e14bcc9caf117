"""Uniform flips for one node: what an attack on single nodes is measured against."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from attacks.robustness.node_pairs import Mode, labelled, modes_of, pairs_for, room
from auditor.data.edits import EdgeSpace
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.targets.surroundings import reach_of
from auditor.view import View


@parameters
class LocalRandom:
    """As many uniform tries at each node as the attack evaluates for its first flip: the best of them is its control.

    Attributes:
        modes: as of the attack.
        shortlist: tries at each node, as many as the attack evaluates in a step.
    """

    modes: tuple[Mode, ...] = ()
    shortlist: Annotated[int, Field(ge=1)] = 6

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """For each mode, node, draw and budget the first flips of a random order of the pairs it may toggle.

        Raises:
            SkippedError: a target that classifies graphs.
        """
        rooms, space = room(view, attempt), EdgeSpace.of(view.graph)
        hops = reach_of(view.model.model)
        points, variants = [], []
        for mode in modes_of(self.modes, attempt.profile):
            for place, node in enumerate(view.items.tolist()):
                pairs = pairs_for(space, node, mode, hops, attempt.rng)
                most = min(max((int(own[place]) for own in rooms), default=0), pairs.numel())
                for draw in range(self.shortlist):
                    path = pairs[torch.from_numpy(attempt.rng.choice(pairs.numel(), most, replace=False))]
                    for budget, own in zip(attempt.budgets, rooms, strict=True):
                        points.append(FlipSet(budget, path[: int(own[place])]))
                        variants.append(labelled(mode, node, draw))
        return FlipOutcome(tuple(points), tuple(variants))
