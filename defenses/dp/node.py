"""`dp-node`: DP-SGD over rooted subgraphs in which no node occurs more than M times."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.document import ValidityRow, check
from auditor.errors import SkippedError
from auditor.guarantee import Guarantee, Level
from auditor.parameters import parameters, spec_of
from auditor.statistics.accounting import (
    Account,
    accountant_id,
    multi_term_epsilon,
    noise_for_multi_term,
    sigma_for,
    subsampled_gaussian,
)
from auditor.targets.rng import forked_rng
from auditor.targets.target import Fitted, Target
from defenses.dp.delta import Delta, choose_delta
from defenses.dp.edge_free import edge_free
from defenses.dp.node_canaries import blanked_canary_sums
from defenses.dp.noisy_steps import NoisySteps
from defenses.dp.privatise import refuse_layers
from defenses.dp.record_checks import check_records, sampler_row, synthetic_records
from defenses.dp.records import RecordBatch, RecordModel
from defenses.dp.refusals import refuse_defended, refuse_shared_graph
from defenses.dp.rooted import KeptArcs, kept_arcs, occurrence_bound, occurrences, rooted_batch
from defenses.dp.steps import PrivateSteps, poisson_batch

MULTI_TERM, PER_ROOT = "multi-term-rdp", "prv+pld"
MAX_DISAGREEMENT = 0.02
SERVING = "inference on the raw adjacency: a node's edges and features reach the answers of its neighbours"
OWN_ANSWER = "a node's own features, towards whoever sees its own answer"
COUPLING = (
    "sampler-coupling: a node is blanked, the lists of the others stay as they are. Removed with its edges it would "
    "free slots in its neighbours' lists and move roots that M does not count"
)
PUBLIC = "the number of nodes and which of them train are treated as public"


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """What ε follows from.

    Attributes:
        roots: N training roots.
        drawn: b roots a step, on average (Poisson) or exactly.
        terms: M, the most terms that one node is in.
        noise: std on the sum / (2·M·C), or for r = 0 / C.
        std: of the noise on each coordinate of the sum.
        epsilon: of all steps.
        delta: of all steps.
        account: of the Poisson-subsampled Gaussian; None for the multi-term bound.
    """

    roots: int
    drawn: int
    terms: int
    noise: float
    std: float
    epsilon: float
    delta: float
    account: Account | None


@parameters
class DPNode(NoisySteps):
    """Trains on noisy sums of clipped gradients of rooted subgraphs: blanking one node changes little.

    The architecture is the target's own, read out at the root; with r = 1 its later layers see the root's children
    without neighbours of their own. Adam goes on with g̃ = (Σ_roots g · min(1, C / |g|) + N(0, (2·M·C·noise)²)) / b,
    for b of the N roots without replacement, M = Σ_{i=0..r} K^i. Covers the training alone: the model is served on the
    raw adjacency.

    Attributes:
        epsilon: ε of the whole training; the noise is the smallest that the multi-term bound allows.
        delta: `auto` (largest power of ten at or below 1 / (10 N)), or a number below 1 / N.
        kept: K >= 1, arcs kept of those that leave a node: without a bound one node may enter the term of every root,
            and no noise of use covers that.
        hops: r, at most 3, since the noise grows with K^r; 0 for the control: an edge-free model on the same roots at
            the same (ε, δ), by Poisson batches and the ordinary accountant, which is valid there and cheaper than the
            multi-term bound at M = 1.
        clip: C, bound on the norm of one root's gradient; a constant, never taken from the data.
        batch: b, roots a step; all of them where there are fewer.
        steps: T; the last one's weights are kept.
        lr: of Adam.
        sat_rho: ρ of DP-SAT (0 = off), see `defenses.dp.steps`.
        accountant: `auto`; naming the ordinary one (`prv+pld`) at r >= 1 is refused with what it would claim.

    Source: Daigavane et al., "Node-level differentially private graph neural networks", 2021. Lists by smallest hash in
    place of random ones with overfull nodes dropped; the target's architecture in place of encoder, convolution,
    decoder.
    """

    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Delta = "auto"
    kept: Annotated[int, Field(ge=1)] = 4
    hops: Annotated[int, Field(ge=0, le=3)] = 1
    clip: Annotated[float, Field(gt=0)] = 1.0
    batch: Annotated[int, Field(ge=1)] = 128
    steps: Annotated[int, Field(ge=1)] = 200
    lr: Annotated[float, Field(gt=0)] = 0.01
    sat_rho: Annotated[float, Field(ge=0)] = 0.0
    accountant: str = "auto"

    id: ClassVar[str] = "dp-node"
    level: ClassVar[Level] = "node"

    @model_validator(mode="after")
    def _accountant_fits(self) -> Self:
        if self.accountant != "auto" and accountant_id(self.accountant) not in (MULTI_TERM, PER_ROOT):
            raise ValueError(f"accountant={self.accountant} does not fit sampled roots; expected auto")
        if self.accountant == MULTI_TERM and self.is_edge_free:
            raise ValueError(
                f"accountant={MULTI_TERM} at hops=0 would handicap the control; expected auto: the ordinary accountant "
                "holds for a model without edges"
            )
        return self

    def promise(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `defenses.dp.noisy_steps.NoisySteps`."""
        return self._guarantee(self._schedule(target), task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`.

        Raises:
            PerRecordShapeError: gradients that are not one a root.
            EvaluationError: a loss that is not finite.
        """
        assert base.build is not None  # train_afresh looked
        start = time.perf_counter()
        schedule, graph = self._schedule(base), base.private_graph
        roots = torch.nonzero(base.split.train).flatten()
        arcs = kept_arcs(graph, self.kept)
        with forked_rng(task.seed):
            model = base.build().requires_grad_(True)
        private = RecordModel(model)
        checked = check_records(private, synthetic_records(graph.num_features, base.num_classes, roots=True))
        draws = task.noise_rng("roots")
        steps = PrivateSteps(
            private,
            torch.optim.Adam(private.parameters(), lr=self.lr),
            clip=self.clip,
            std=schedule.std * task.noise_scale,
            divisor=schedule.drawn,
            rng=task.noise_rng("noise"),
            sat_rho=self.sat_rho,
        )
        for step in range(self.steps):
            ids = self._draw(schedule, draws)
            steps.step(rooted_records(graph, arcs, roots[ids], self.hops) if len(ids) else None)
            if step % 10 == 0:
                task.tick(step / self.steps, f"step {step} of {self.steps}")
        model = private.close().eval().requires_grad_(False)
        notes: dict[str, Any] = {"roots": schedule.roots, "drawn": schedule.drawn, "steps": self.steps}
        notes |= {
            "noise_std": schedule.std,
            "terms": schedule.terms,
            "parameters": sum(map(Tensor.numel, model.parameters())),
        }
        if not task.release:  # follow from the private edges
            notes["arcs_kept"] = int(arcs.sources.shape[0]) / max(1, int(graph.arc_keys(include_loops=False).numel()))
        notes["seconds"] = time.perf_counter() - start
        return Fitted(
            edge_free(model) if self.is_edge_free else model,
            notes,
            guarantee=self._guarantee(schedule, task),
            validity=(*checked, *self._rows(schedule, arcs, roots)),
        )

    def controls(self) -> tuple[str, ...]:
        """The same roots at the same (ε, δ) without edges."""
        return () if self.is_edge_free else (spec_of(replace(self, hops=0, kept=type(self)().kept, accountant="auto")),)

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`; blanked records and M terms each: `defenses.dp.node_canaries`."""
        self.check_applies(target)
        schedule, draws = self._schedule(target), task.noise_rng("canary roots")
        return blanked_canary_sums(
            included,
            lambda: self._draw(schedule, draws),
            roots=schedule.roots,
            terms=schedule.terms,
            steps=self.steps,
            clip=self.clip,
            std=schedule.std * task.noise_scale,
            rng=task.noise_rng("canary noise"),
        )

    @property
    def is_edge_free(self) -> bool:
        """See `defenses.dp.noisy_steps.NoisySteps`."""
        return self.hops == 0

    def _draw(self, schedule: NoiseSchedule, rng: np.random.Generator) -> Tensor:
        """The roots of one step, as places among the N: what the accountant of this schedule supposes."""
        if self.is_edge_free:
            return poisson_batch(schedule.roots, schedule.drawn / schedule.roots, rng)
        return fixed_batch(schedule.roots, schedule.drawn, rng)

    def check_applies(self, target: Target) -> None:
        """Raises SkippedError where this target cannot be trained so, or the claim asked for would be false."""
        if target.task.level != "node":
            raise SkippedError("dp-node trains on the nodes of one graph; these records are graphs. Use dp-graph.")
        refuse_defended(self, target)
        if target.private_graph.edge_weight is not None:
            raise SkippedError("dp-node knows no edge weights: its lists would have to protect them. Drop the weights.")
        refuse_layers(target.model)
        if self.accountant == PER_ROOT and not self.is_edge_free:
            units = int(target.split.train.sum())
            drawn, delta = min(self.batch, units), choose_delta(self.delta, units)
            sigma = sigma_for(self.epsilon, drawn / units, self.steps, delta)
            refuse_shared_graph(
                spec_of(self),
                "node",
                population=units,
                drawn=drawn,
                sigma=sigma,
                steps=self.steps,
                delta=delta,
                kept=self.kept,
                hops=self.hops,
            )

    def _schedule(self, target: Target) -> NoiseSchedule:
        units = int(target.split.train.sum())
        drawn, delta = min(self.batch, units), choose_delta(self.delta, units)
        if self.is_edge_free:
            sigma = sigma_for(self.epsilon, drawn / units, self.steps, delta)
            account = subsampled_gaussian(drawn / units, sigma, self.steps, delta)
            return NoiseSchedule(units, drawn, 1, sigma, sigma * self.clip, account.epsilon, delta, account)
        terms = min(occurrence_bound(self.kept, self.hops), units)
        noise = noise_for_multi_term(self.epsilon, units, drawn, terms, self.steps, delta)
        epsilon = multi_term_epsilon(units, drawn, terms, noise, self.steps, delta)
        return NoiseSchedule(units, drawn, terms, noise, 2 * terms * self.clip * noise, epsilon, delta, None)

    def _guarantee(self, schedule: NoiseSchedule, task: DefenseTask) -> Guarantee:
        mechanism: dict[str, Any]
        if schedule.account is None:
            accountant: str = MULTI_TERM
            mechanism = {"name": "rooted DP-SGD", "N": schedule.roots, "b": schedule.drawn, "M": schedule.terms}
            mechanism |= {"nm": schedule.noise, "steps": self.steps, "C": self.clip, "K": self.kept, "r": self.hops}
        else:
            accountant = schedule.account.accountant
            mechanism = {"name": "DP-SGD without edges", "q": schedule.drawn / schedule.roots}
            mechanism |= {"sigma": schedule.noise, "steps": self.steps, "C": self.clip}
            if accountant == "gaussian-exact":  # q = 1: nothing is sampled; in units of C
                mechanism |= {"sensitivity": 1.0, "releases": self.steps}
        return Guarantee(
            level="node",
            relation="zero-out",
            epsilon=schedule.epsilon,
            delta=schedule.delta,
            accountant=accountant,  # type: ignore[arg-type]  # one of the three above
            mechanism=mechanism,
            units=schedule.roots,
            covers=("training", "inference") if self.is_edge_free else ("training",),
            not_protected=(OWN_ANSWER,) if self.is_edge_free else (SERVING,),
            caveats=(PUBLIC,) if self.is_edge_free else (COUPLING, PUBLIC),
            noise_seed=task.noise_seed,
        )

    def _rows(self, schedule: NoiseSchedule, arcs: KeptArcs, roots: Tensor) -> tuple[ValidityRow, ...]:
        """How often a node occurs, the sampler, the accountants, δ."""
        text = f"delta = {schedule.delta:g}, 1/N = {1 / schedule.roots:.3g}"
        delta = check("delta-below-1/N", "integrity", True, text)
        account = schedule.account
        if account is None:
            seen = occurrences(arcs, roots, self.hops)
            text = f"no node is in more than {schedule.terms} of {schedule.roots} subgraphs (M), measured on the fit"
            return (check("occurrence-bound", "integrity", seen <= schedule.terms, text), delta)
        sampler = sampler_row(schedule.roots, schedule.drawn / schedule.roots)
        gap = account.disagreement
        text = f"PRV {account.prv}, PLD {account.pld:.4f}; gap at most {MAX_DISAGREEMENT:.0%} expected"
        agrees = None if gap is None else gap <= MAX_DISAGREEMENT
        return (sampler, check("accountants-agree", "integrity", agrees, text), delta)


def fixed_batch(units: int, drawn: int, rng: np.random.Generator) -> Tensor:
    """`drawn` of the units without replacement, int64: what the multi-term bound supposes, and no other sampler."""
    return torch.from_numpy(rng.choice(units, drawn, replace=False, shuffle=False))


def rooted_records(graph: Graph, arcs: KeptArcs, roots: Tensor, hops: int) -> RecordBatch:
    """The subgraphs of `roots` (int64 [B]) as records, each read out at its root."""
    batch = rooted_batch(arcs, roots, hops)
    return RecordBatch(graph.x[batch.nodes], batch.edge_index, graph.y[roots], batch.record, roots=batch.root_rows)
