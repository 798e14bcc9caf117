"""How many predictions a cluster loses because its prototype moved, beyond what the same edits do by messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.audit import Advantage, Control, Interval, Limit, Measurement
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.verification import Verifier
from auditor.probe import FlipSet
from auditor.statistics.intervals import paired_bootstrap
from auditor.targets.target import Target
from defenses.joint_cluster.layout import ClusterLayout

Floats = NDArray[np.float64]
LIMIT = Limit(name="max_prototype_flips", value=1.0)
"""One edge costs one prediction more, through the prototype, than its messages and a random edge do: our choice."""


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


class Shifts:
    """Verifies flips at prototype nodes on two copies of the target: as it serves, and with stored prototypes.

    Args:
        target: under audit, on its canonical graph.
        layout: its clusters.
        items: test nodes, int64 [n].
    """

    def __init__(self, target: Target, layout: ClusterLayout, items: Tensor) -> None:
        stored = replace(target, model=layout.model.in_mode("frozen"), _clean={})
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

    def measurements(
        self, probe: str, finding: str, budgets: Sequence[int], rng: np.random.Generator, replicates: int
    ) -> tuple[Measurement, ...]:
        """Mean over clusters at each budget (primary at the largest), and the worst cluster at the largest."""
        rows = []
        for budget in budgets:
            kept = [k for k in self.clusters if (k, budget) in self.found]
            if kept:
                rows.append(self._mean(finding, kept, budget, rng, replicates, primary=budget == budgets[-1]))
        last = [k for k in self.clusters if (k, budgets[-1]) in self.found]
        if last:
            rows.append(self._worst(finding, last, budgets[-1], rng, replicates))
        return tuple(rows)

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
        primary: bool,
    ) -> Measurement:
        lost = [self.found[k, budget] for k in kept]
        values = np.array([each.borne.sum() for each in lost])
        random = np.array([self._beside(k, budget).sum() for k in kept])
        direct = float(np.mean([each.frozen.sum() / max(each.edges, 1) for each in lost]))
        row = _row(f"edges={budget}", finding, values, random, rng, replicates, mean=True)
        assert row.ci is not None
        text = (
            f"{_edges(budget)} at the nodes behind a cluster's prototype flip {row.value:.2f} of its test nodes per "
            f"edge through the prototype [{row.ci.lo:.2f}, {row.ci.hi:.2f}], random ones {random.mean():.2f}; "
            f"{direct:.2f} more by their messages"
        )
        return row.model_copy(
            update={
                "limit": LIMIT,
                "primary": primary,
                "text": text,
                "notes": {
                    "live": float(np.mean([each.live.sum() for each in lost])),
                    "frozen": float(np.mean([each.frozen.sum() for each in lost])),
                    "test_nodes": int(sum(each.live.size for each in lost)),
                    "clusters": {str(k): float(value) for k, value in zip(kept, values, strict=True)},
                },
            }
        )

    def _worst(
        self, finding: str, kept: Sequence[int], budget: int, rng: np.random.Generator, replicates: int
    ) -> Measurement:
        """The cluster that loses most: chosen after the fact, its interval covers its own nodes alone."""
        worst = max(kept, key=lambda k: float(self.found[k, budget].borne.sum()))
        nodes = self.found[worst, budget].borne
        subset = f"worst cluster, edges={budget}"
        row = _row(subset, finding, nodes, self._beside(worst, budget), rng, replicates, mean=False)
        text = f"cluster {worst} loses most: {row.value:.2f} of its {nodes.size} test nodes per edge"
        return row.model_copy(update={"text": text, "notes": {"cluster": worst}})


def _row(
    subset: str,
    finding: str,
    values: Floats,
    random: Floats,
    rng: np.random.Generator,
    replicates: int,
    *,
    mean: bool,
) -> Measurement:
    """Flips per edge beside random edges: the mean over clusters, or the sum over the nodes of one."""
    n = values.size
    scale = 1.0 if mean else float(n)

    def of(each: Floats) -> tuple[float, Interval]:
        value = scale * float(each.mean())
        lo, hi = paired_bootstrap(lambda w: scale * float(w @ each / w.sum()), n, rng=rng, replicates=replicates)
        return value, Interval(lo=min(lo, value), hi=max(hi, value))

    value, ci = of(values)
    beside, beside_ci = of(random)
    more, more_ci = of(values - random)
    control = Control(name="random edges at the prototype nodes", value=beside, ci=beside_ci)
    return Measurement(
        name="prototype_flips_per_edge",
        subset=subset,
        finding=finding,
        value=value,
        ci=ci,
        control=control,
        controls=(control,),
        advantage=Advantage(value=more, ci=more_ci),
        n=n,
        direction="higher_is_worse",
        scale="other",
    )


def _edges(budget: int) -> str:
    return "1 edit" if budget == 1 else f"{budget} edits"
