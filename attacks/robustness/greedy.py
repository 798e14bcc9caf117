"""Greedy flips: in each step the best pairs by one gradient at the graph as it stands."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.losses import LOSSES, Loss, LossName
from attacks.robustness.soft_flips import Victim
from auditor.data.keys import distinct, without
from auditor.errors import SkippedError
from auditor.flips import within_caps
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import Only, parameters
from auditor.probe import Attempt
from auditor.view import View

STEPS = 33
SPARING_STEPS = 11
SCAN = 100_000
SPARING = "a large graph: each budget begins with the flips of the smaller one and takes 11 steps"


@parameters
class Greedy:
    """Flips the pairs with the largest gradient at weight 0, a thirty-third of the budget at a time.

    Weaker than `active-set` where the gradient can be climbed, and the one that gets anywhere where it cannot: a step
    asks for one direction and believes it no further.

    Attributes:
        losses: `tanh` and `prob`; the first alone serves.
        scan: random pairs looked at in each step, beside every existing edge; 0 for 100,000.

    Source: Zügner et al., "Adversarial Attacks on Neural Networks for Graph Data", KDD 2018 (greedy flips); blocks as
    in GRBCD, Geisler et al., "Robustness of Graph Neural Networks at Scale", NeurIPS 2021.
    """

    losses: Annotated[tuple[LossName, ...], Field(min_length=1)] = ("tanh", "prob")
    scan: Annotated[int, Field(ge=0), Only(level="node")] = 0

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per budget.

        Raises:
            SkippedError: the model has no edge gradient; or a graph-level target, which `active-set` attacks greedily.
        """
        if view.task.level == "graph":
            raise SkippedError("greedy is for one graph; many are attacked flip by flip by active-set")
        victim = Victim.of(view)
        points = []
        keys = nothing = torch.empty(0, dtype=torch.int64)
        for place, budget in enumerate(attempt.budgets):
            attempt.tick(place / len(attempt.budgets), f"greedy: {budget} flips")
            start = keys if attempt.sparing else nothing
            keys = self._flips(victim, LOSSES[self.losses[0]], budget, start, attempt)
            points.append(FlipSet(budget, keys, float(victim.correct(keys).double().mean())))
        notes = {"sparing": SPARING} if attempt.sparing else {}
        return FlipOutcome(tuple(points), (self.losses[0],) * len(points), notes)

    def _flips(self, victim: Victim, loss: Loss, budget: int, keys: Tensor, attempt: Attempt) -> Tensor:
        """Int64 [<= budget], the first of which are `keys`; fewer when no gradient promises anything any more."""
        space, steps = victim.space, SPARING_STEPS if attempt.sparing else STEPS
        size = -(-(budget - keys.numel()) // steps)
        while keys.numel() < budget:
            drawn = space.sample(self.scan or SCAN, attempt.rng)
            others = without(distinct(torch.cat([drawn, space.existing])), keys)
            gradient, _ = victim.gradient_at_zero(keys, torch.ones(keys.numel()), others, loss)
            gradient = gradient[keys.numel() :]
            order = torch.nonzero(gradient > 0).flatten()
            order = order[torch.argsort(gradient[order], descending=True, stable=True)]
            if attempt.node_caps is None:
                order = order[:size]
            room = min(keys.numel() + size, budget)
            more = within_caps(torch.cat([keys, others[order]]), space.graph.num_nodes, attempt.node_caps, room)
            if more.numel() == keys.numel():
                break
            keys = more
        return keys
