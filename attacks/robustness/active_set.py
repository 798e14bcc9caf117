"""Projected randomised block coordinate descent (PRBCD, Geisler et al. 2021) on an active set of pairs, two losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from attacks.robustness.graph_flips import break_graphs
from attacks.robustness.losses import LOSSES, Loss, LossName
from attacks.robustness.projection import project, project_with_caps
from attacks.robustness.prune_reinvest import PruneReinvest
from attacks.robustness.reach import checked_depth, depth_of
from attacks.robustness.soft_flips import Victim
from auditor.data.keys import distinct, without
from auditor.flips import ranked_flips, within_caps
from auditor.outcomes import FlipOutcome, FlipSet
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.registry import Profile
from auditor.view import View

STEP = 1000.0
SMALLEST_SET, LARGEST_SET = 3000, 1_000_000
"""Pairs in the active set: eight for each flip within these bounds, and never fewer than two."""
STEPS_PER_CYCLE = 10
FINAL_STEPS = 30
TRY_EVERY = 5
LARGE_BUDGET = 0.15
REACH = 0.8
ROUNDS: Mapping[Profile, int] = {"quick": 1, "standard": 2, "full": 4}
PACKAGE: Mapping[Profile, int] = {"quick": 4, "standard": 4, "full": 8}
SCAN: Mapping[Profile, int] = {"quick": 100_000, "standard": 300_000, "full": 300_000}
SPARING_SCAN = 100_000
SPARED_LOSSES = (
    "both losses at the smallest budget and at the first above 15 % of the edges, the stronger one at the others"
)
SPARED_CYCLES = "8 cycles at every budget"
SPARED_PAIRS = "100,000 random pairs a cycle"
CHECKED = 3
"""Flips on which it is tried how far a change can be seen from."""


def _nothing_again(here: Circumstances) -> str:
    return "" if here.values["rounds"] else "rounds=0 spends nothing again"


@parameters
class ActiveSet:
    """A projected randomised block coordinate descent (PRBCD, Geisler et al. 2021) on the weights of pairs.

    Every cycle one gradient over a fresh random block and all existing edges chooses the active set; ten cheap steps
    follow on the set alone. Sets of flips are judged by errors on the edited graph, never by the loss. Graphs to
    be classified as a whole are broken flip by flip instead.

    Attributes:
        losses: `tanh` and `prob`; both run, since which one wins changes from model to model.
        cycles: how often the active set is chosen again; 0 for 8, and 20 at budgets above 15 % of the edges, unless the
            search is to be sparing.
        scan: random pairs looked at in each cycle; 0 for 300,000, and 100,000 in `quick` or where the search is to be
            sparing.
        rounds: how often the best set of a budget is pruned and what that frees spent again; -1 for 1, 2 and 4 by
            profile.
        package: most flips that are spent on breaking one more item; 0 for 4, and 8 in `full`.

    Source: Geisler et al., "Robustness of Graph Neural Networks at Scale", NeurIPS 2021. Our variant: the block also
    holds every existing edge, and most steps see the active set only.
    """

    losses: Annotated[tuple[LossName, ...], Field(min_length=1)] = ("tanh", "prob")
    cycles: Annotated[int, Field(ge=0), Only(level="node")] = 0
    scan: Annotated[int, Field(ge=0), Only(level="node")] = 0
    rounds: Annotated[int, Field(ge=-1), Only(level="node")] = -1
    package: Annotated[int, Field(ge=0), Only(level="node"), Only(unless=_nothing_again)] = 0

    @model_validator(mode="after")
    def _different_losses(self) -> Self:
        if len(set(self.losses)) < len(self.losses):
            raise ValueError(f"losses={'/'.join(self.losses)} cannot be used: expected different names")
        return self

    def run(self, view: View, attempt: Attempt) -> FlipOutcome:
        """One flip set per loss and budget.

        Raises:
            SkippedError: the model has no edge gradient.
        """
        calls_before = view.relaxation.handle.calls
        victim = Victim.of(view)
        notes: dict[str, Any] = {}
        found = self._on_graphs if view.task.level == "graph" else self._on_one_graph
        points, variants = found(victim, view, attempt, notes)
        relaxation = victim.relaxation
        claims = tuple(
            replace(each, claimed_accuracy=float(victim.correct(each.keys).double().mean())) for each in points
        )
        notes |= {
            "relaxation": relaxation.kind,
            "gap": relaxation.gap,
            "gaps": relaxation.gaps,
            "calls": relaxation.handle.calls - calls_before,
            "output_scale": victim.outputs.scale,
        }
        return FlipOutcome(claims, variants, notes)

    def _on_graphs(
        self, victim: Victim, view: View, attempt: Attempt, _notes: dict[str, Any]
    ) -> tuple[list[FlipSet], tuple[str, ...]]:
        """One run a loss serves every budget: the flips of a graph are nested."""
        points: list[FlipSet] = []
        for done, name in enumerate(self.losses):
            attempt.tick(done / len(self.losses), f"active-set: {name}")
            points += ranked_flips(break_graphs(victim, LOSSES[name], attempt), attempt, view)
        return points, tuple(name for name in self.losses for _ in attempt.budgets)

    def _on_one_graph(
        self, victim: Victim, _view: View, attempt: Attempt, notes: dict[str, Any]
    ) -> tuple[list[FlipSet], tuple[str, ...]]:
        """A climb for each loss and budget, improved by what it wasted; budgets ascend, and each begins no worse."""
        rounds = round(attempt.effort * (ROUNDS[attempt.profile] if self.rounds < 0 else self.rounds))
        package = self.package or PACKAGE[attempt.profile]
        depth = checked_depth(victim, victim.space.draw(min(CHECKED, victim.space.num_pairs), attempt.rng))
        gains: dict[str, list[float]] = {}
        spent: dict[str, dict[str, Any]] = {}
        losses = tuple(name for name in self.losses if attempt.variant in ("", name)) or self.losses
        every = len(losses) * len(attempt.budgets)

        def improved(name: LossName, budget: int, smaller: Tensor) -> Tensor:
            attempt.tick(len(gains) / every, f"active-set: {name}, {budget} flips")
            search = _Search(victim, LOSSES[name], budget, self, attempt)
            climbed = search.run()
            best = max(climbed, smaller, key=lambda keys: int((~victim.tried(keys)).sum()))
            improving = PruneReinvest(victim, attempt, budget, depth=depth, package=package)
            best = improving.run(best, rounds) if rounds else best
            gains[f"{name} at {budget}"] = [round(value, 6) for value in search.loss_range]
            spent[f"{name} at {budget}"] = dataclasses.asdict(improving.spent)
            return best

        curves = _one_loss_goes_on if attempt.sparing and len(losses) > 1 else _every_loss
        found = curves(losses, attempt.budgets, victim, improved)
        notes |= {"loss": gains, "reinvested": spent, "hops": depth, "effort": attempt.effort}
        spared = [SPARED_LOSSES] if len(losses) > 1 else []
        spared += [] if self.cycles else [SPARED_CYCLES]
        spared += [] if self.scan else [SPARED_PAIRS]
        if attempt.sparing and spared:
            notes["sparing"] = f"a large graph: {'; '.join(spared)}"
        return [FlipSet(budget, keys) for _, budget, keys in found], tuple(name for name, _, _ in found)


Improved = Callable[[LossName, int, Tensor], Tensor]
Curves = list[tuple[LossName, int, Tensor]]


def _every_loss(losses: Sequence[LossName], budgets: Sequence[int], _victim: Victim, improved: Improved) -> Curves:
    """Each loss at every budget, with what it led to."""
    found: Curves = []
    for name in losses:
        keys = torch.empty(0, dtype=torch.int64)
        for budget in budgets:
            keys = improved(name, budget, keys)
            found.append((name, budget, keys))
    return found


def _one_loss_goes_on(losses: Sequence[LossName], budgets: Sequence[int], victim: Victim, improved: Improved) -> Curves:
    """Every loss at the smallest budget and at the smallest large one; the one that broke most goes on from there.

    Which loss wins changes with the budget, and most of all where budgets become large.
    """
    large = [budget > LARGE_BUDGET * victim.space.m for budget in budgets]
    found: Curves = []
    keys, left = torch.empty(0, dtype=torch.int64), list(losses)
    for place, budget in enumerate(budgets):
        if place == 0 or large[place] != large[place - 1]:
            left = list(losses)
        own = {name: improved(name, budget, keys) for name in left}
        found += [(name, budget, each) for name, each in own.items()]
        left = [max(left, key=lambda name: int((~victim.tried(own[name])).sum()))]
        keys = own[left[0]]
    return found


class _Search:
    """One run: one loss, one budget."""

    def __init__(self, victim: Victim, loss: Loss, budget: int, settings: ActiveSet, attempt: Attempt) -> None:
        self.victim, self.loss, self.budget, self.settings = victim, loss, budget, settings
        self.caps, self.rng, self.effort, self.sparing = (
            attempt.node_caps,
            attempt.rng,
            attempt.effort,
            attempt.sparing,
        )
        space = victim.space
        self.eta = STEP * budget / space.graph.num_nodes
        self.scan = settings.scan or (SPARING_SCAN if attempt.sparing else SCAN[attempt.profile])
        self.size = min(max(8 * budget, SMALLEST_SET), max(2 * budget, LARGEST_SET), space.num_pairs)
        self.keys = torch.empty(0, dtype=torch.int64)
        self.w = torch.empty(0)
        self.best = torch.empty(0, dtype=torch.int64)
        self.best_errors = int((~victim.tried(self.best)).sum())
        self.best_state = (self.keys, self.w)
        self.among = _reach(victim)
        self.loss_range = [math.nan, math.nan]

    def run(self) -> Tensor:
        """The flips that broke most items, int64 [<= budget]."""
        many = self.budget > LARGE_BUDGET * self.victim.space.m and not self.sparing
        cycles = self.settings.cycles or (20 if many else 8)
        for cycle in range(max(1, round(self.effort * cycles))):
            self._choose_active_set(first=cycle == 0)
            self._climb(STEPS_PER_CYCLE, lambda _step: self.eta)
        self.keys, self.w = self.best_state
        if self.keys.numel():
            self._climb(round(self.effort * FINAL_STEPS), lambda step: self.eta / math.sqrt(step))
        return self.best

    def _choose_active_set(self, *, first: bool) -> None:
        """The `size` pairs with the largest w + eta g among the active ones, a random block and all existing edges."""
        space = self.victim.space
        drawn = space.sample(self.scan, self.rng, among=self.among)
        fresh = without(distinct(torch.cat([drawn, space.existing])), self.keys)
        gradient, value = self.victim.gradient_at_zero(self.keys, self.w, fresh, self.loss)
        if first:
            self.loss_range[0] = value
        keys = torch.cat([self.keys, fresh])
        w = torch.cat([self.w, torch.zeros(fresh.numel())])
        promise = w + _bounded(self.eta, gradient) * gradient
        if first and self.victim.relaxation.kind == "ranking":  # the gradient orders candidates, nothing more
            order = torch.argsort(gradient, descending=True, stable=True)
            self._try(keys[order[gradient[order] > 0]], keys, w)
        chosen = torch.topk(promise, min(self.size, keys.numel())).indices
        self.keys, self.w = keys[chosen], w[chosen]

    def _climb(self, steps: int, rate: Callable[[int], float]) -> None:
        relaxed = self.victim.at(self.keys)
        for step in range(1, steps + 1):
            gradient, value = relaxed.gradient(self.w, self.loss)
            self.loss_range[1] = value
            self.w = self._project(self.w + _bounded(rate(step), gradient) * gradient)
            if step % TRY_EVERY == 0:
                there = torch.nonzero(self.w > 0).flatten()
                order = there[torch.argsort(self.w[there], descending=True, stable=True)]
                self._try(self.keys[order], self.keys, self.w)

    def _project(self, w: Tensor) -> Tensor:
        if self.caps is None:
            return project(w, self.budget)
        return project_with_caps(w, self.budget, *self.victim.space.ends(self.keys), self.caps)

    def _try(self, ordered: Tensor, keys: Tensor, w: Tensor) -> None:
        """Errors on the graph edited by the first `budget` of the ordered flips; keeps the best."""
        flips = within_caps(ordered, self.victim.space.graph.num_nodes, self.caps, self.budget)
        errors = int((~self.victim.tried(flips)).sum())
        if errors > self.best_errors:
            self.best, self.best_errors, self.best_state = flips, errors, (keys, w)


def _bounded(rate: float, gradient: Tensor) -> float:
    """The step size, cut so that no weight moves by more than 1.

    1000 B / N suits graphs of thousands of nodes. On one of a hundred it is tens of times too long: every step throws
    all weights from one end of [0, 1] to the other.
    """
    steepest = float(gradient.abs().max()) if gradient.numel() else 0.0
    return rate if steepest * rate <= 1 else 1 / steepest


def _reach(victim: Victim) -> Tensor | None:
    """Nodes within k hops of the attacked ones (k = depth + 1 for the degrees), or None when they are 80 % of all."""
    graph = victim.space.graph
    hops = 1 + depth_of(victim)
    reached = torch.zeros(graph.num_nodes, dtype=torch.bool)
    reached[victim.items] = True
    for _ in range(hops):
        into = graph.edge_index[0][reached[graph.edge_index[1]]]
        reached[into] = True
    return None if float(reached.double().mean()) >= REACH else torch.nonzero(reached).flatten()
