"""How many predictions a cluster loses because its prototype moved, beyond what the same edits do by messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from auditor.document import Control, Estimate, Limit, Measured, Metric, measured
from auditor.document.facts import Named
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult
from auditor.statistics.intervals import paired_bootstrap
from auditor.targets.target import Target
from defenses.joint_cluster.layout import ClusterLayout
from defenses.joint_cluster.probes.clusters import answer, clusters_of, collect

Floats = NDArray[np.float64]
FLIPS_PER_EDGE = Metric("prototype_flips_per_edge", "ratio", "higher")
LIMIT = Limit(name="max_prototype_flips", value=1.0)
"""One edge costs one prediction more, through the prototype, than its messages and a random edge do: our choice."""
CONTROL = "random edges at the prototype nodes"


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        budgets: flips at one cluster's prototype nodes.
        draws: random draws of the control.
        replicates: of the bootstrap.
    """

    budgets: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 5, 10)
    draws: Annotated[int, Field(ge=2)] = 5
    replicates: Annotated[int, Field(ge=50)] = 1000

    @model_validator(mode="after")
    def _different_budgets(self) -> Self:
        if len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"budgets={'/'.join(map(str, self.budgets))} cannot be used: expected different ones")
        return self


def evaluate(cell: Cell) -> CellResult:
    """Edits edges at the nodes behind each cluster's prototype and counts what the prototype alone breaks.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: the target stores no clusters, or partitions anew; no cluster has anybody to lose.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target, layout = clusters_of(cell.target)
    if layout.model.mode == "recluster":
        raise SkippedError("the partition is made anew, so that no edit moves a prototype alone; see cluster-jump")
    items = torch.nonzero(target.split.test).flatten()
    if not layout.clusters(items):
        raise SkippedError("no cluster holds both a test node and a prototype node")
    budgets = tuple(sorted(settings.budgets))
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        edits = Edits(target, layout, items)
        run = collect(cell, target, items, budgets, edits.add)
        edits.add_random(budgets, settings.draws, cell.rng("random"))
    found = edits.numbers(cell.probe.findings[0], budgets, cell.rng("bootstrap"), settings.replicates)
    return answer(cell, run, found, {"mode": layout.model.mode, "clusters": len(edits.clusters)})


@dataclass(frozen=True, slots=True, eq=False)
class Lost:
    """What one set of flips takes from one cluster.

    Attributes:
        edges: flips made.
        live: nodes of the cluster that were right and are wrong, as the target serves, float64 [n_k] of 0 and 1.
        frozen: the same with stored prototypes: the direct effect of the messages.
    """

    edges: int
    live: Floats
    frozen: Floats

    @property
    def borne(self) -> Floats:
        """Prototype-borne flips per edge of each node, [n_k]; their sum is the cluster's."""
        each: Floats = (self.live - self.frozen) / max(self.edges, 1)
        return each


class Edits:
    """Verifies flips at prototype nodes on two copies of the target: as it serves, and with stored prototypes.

    Args:
        target: under audit, on its canonical graph.
        layout: its clusters.
        items: test nodes, int64 [n].
    """

    def __init__(self, target: Target, layout: ClusterLayout, items: Tensor) -> None:
        stored = replace(target, model=layout.model.in_mode("frozen"))
        self._live, self._frozen = Verifier(target, items), Verifier(stored, items)
        self._right = (self._live.clean().correct, self._frozen.clean().correct)
        self._layout, self._cluster = layout, layout.table[items].numpy()
        self.clusters = layout.clusters(items)
        self.found: dict[tuple[int, int], Lost] = {}
        self.random: dict[tuple[int, int], list[Lost]] = {}

    def add(self, claim: FlipSet, variant: str) -> None:
        """Verifies a claim named `cluster=k`; of several at one budget the worst for the owner stays.

        Raises:
            EvaluationError: it breaks a rule of flips, or an edge of it touches no prototype node of its cluster.
        """
        name, _, number = variant.partition("=")
        if name != "cluster" or not number.isdecimal() or int(number) not in self.clusters:
            raise EvaluationError(f'"{variant}" names no cluster; expected cluster=k')
        k = int(number)
        ends = torch.stack(self._live.space.ends(claim.keys))
        if not bool(torch.isin(ends, self._layout.prototype_nodes(k)).any(dim=0).all()):
            raise EvaluationError(f"an edge of cluster {k}'s claim touches none of its prototype nodes")
        lost, place = self._lost(claim, k), (k, claim.budget)
        if place not in self.found or lost.borne.sum() > self.found[place].borne.sum():
            self.found[place] = lost

    def add_random(self, budgets: Sequence[int], draws: int, rng: np.random.Generator) -> None:
        """Control: as many uniform pairs with an end at a prototype node."""
        space = self._live.space
        for k in self.clusters:
            members = self._layout.prototype_nodes(k)
            for _ in range(draws):
                keys = space.sample(4 * max(budgets) + 16, rng, among=members)
                keys = keys[torch.from_numpy(rng.permutation(keys.numel()))]
                for budget in budgets:
                    lost = self._lost(FlipSet(budget, keys[:budget]), k)
                    self.random.setdefault((k, budget), []).append(lost)

    def numbers(
        self, finding: str, budgets: Sequence[int], rng: np.random.Generator, replicates: int
    ) -> list[Measured]:
        """Mean over clusters at each budget (judged at the largest), and the worst cluster at the largest."""
        rows, last = [], budgets[-1]
        for budget in budgets:
            kept = [k for k in self.clusters if (k, budget) in self.found]
            if kept:
                rows.append(self._mean(finding, kept, budget, rng, replicates, judged=budget == last))
        kept = [k for k in self.clusters if (k, last) in self.found]
        if kept:
            rows.append(self._worst(finding, kept, last, rng, replicates))
        return rows

    def _lost(self, claim: FlipSet, k: int) -> Lost:
        own = self._cluster == k
        live, frozen = (
            (right & ~verifier.check(claim).correct)[own].astype(np.float64)
            for right, verifier in zip(self._right, (self._live, self._frozen), strict=True)
        )
        return Lost(claim.keys.numel(), live, frozen)

    def _beside(self, k: int, budget: int) -> Floats:
        """Prototype-borne flips per random edge of each node of a cluster, mean of the draws, [n_k]."""
        mean: Floats = np.mean([lost.borne for lost in self.random[k, budget]], axis=0)
        return mean

    def _mean(
        self,
        finding: str,
        kept: Sequence[int],
        budget: int,
        rng: np.random.Generator,
        replicates: int,
        *,
        judged: bool,
    ) -> Measured:
        lost = [self.found[k, budget] for k in kept]
        values = np.array([each.borne.sum() for each in lost])
        random = np.array([self._beside(k, budget).sum() for k in kept])
        estimate, control = _beside_random(values, random, rng, replicates)
        facts = Named(
            numbers={
                "direct": float(np.mean([each.frozen.sum() / max(each.edges, 1) for each in lost])),
                "live": float(np.mean([each.live.sum() for each in lost])),
                "frozen": float(np.mean([each.frozen.sum() for each in lost])),
                "test_nodes": sum(each.live.size for each in lost),
                **{f"cluster {k}": float(value) for k, value in zip(kept, values, strict=True)},
            }
        )
        return measured(
            FLIPS_PER_EDGE,
            estimate,
            finding=finding,
            subset=f"edges={budget}",
            controls=(control,),
            judged=judged,
            limit=LIMIT,
            facts=facts,
        )

    def _worst(
        self, finding: str, kept: Sequence[int], budget: int, rng: np.random.Generator, replicates: int
    ) -> Measured:
        """The cluster that loses most: chosen after the fact, its interval covers its own nodes alone."""
        worst = max(kept, key=lambda k: float(self.found[k, budget].borne.sum()))
        nodes = self.found[worst, budget].borne
        estimate, control = _beside_random(nodes, self._beside(worst, budget), rng, replicates, scale=nodes.size)
        return measured(
            FLIPS_PER_EDGE,
            estimate,
            finding=finding,
            subset=f"worst cluster, edges={budget}",
            controls=(control,),
            facts=Named(numbers={"cluster": worst, "test_nodes": nodes.size}),
        )


def _beside_random(
    values: Floats, random: Floats, rng: np.random.Generator, replicates: int, *, scale: float = 1.0
) -> tuple[Estimate, Control]:
    """Flips per edge, and those of random edges: `scale` times the mean of `values` and of `random`, both [n]."""
    n = values.size

    def of(each: Floats) -> Estimate:
        value = scale * float(each.mean())
        lo, hi = paired_bootstrap(lambda w: scale * float(w @ each / w.sum()), n, rng=rng, replicates=replicates)
        return Estimate(value=value, lo=min(lo, value), hi=max(hi, value), n=n)

    estimate, beside, more = of(values), of(random), of(values - random)
    return estimate, Control(name=CONTROL, estimate=beside, contrast=more)
