"""`dp-graph`: DP-SGD over whole graphs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.document import ValidityRow, check
from auditor.errors import ConfigError
from auditor.guarantee import Guarantee, Level
from auditor.parameters import parameters, spec_of
from auditor.statistics.accounting import Account, accountant_id, sigma_for, subsampled_gaussian
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Fitted, Target
from defenses.dp.delta import Delta, choose_delta
from defenses.dp.edge_free import edge_free
from defenses.dp.noisy_steps import NoisySteps
from defenses.dp.privatise import refuse_layers
from defenses.dp.record_checks import check_records, sampler_row, synthetic_records
from defenses.dp.records import RecordBatch, RecordModel
from defenses.dp.refusals import refuse_defended, refuse_shared_graph
from defenses.dp.steps import PrivateSteps, canary_sums, poisson_batch

ACCOUNTANT = "prv+pld"
MAX_DISAGREEMENT = 0.02
NOT_PROTECTED = ("a person whose data is spread over several graphs", "graphs sent for prediction")
PUBLIC_COUNT = "the number of training graphs is treated as public"
LAST_EPOCH = "the last epoch is used; choosing one on private graphs would be a second release"


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """What ε follows from: N units, each in a batch with probability q, T steps, noise σC on the sum of a step."""

    units: int
    q: float
    steps: int
    sigma: float
    account: Account


@parameters
class DPGraph(NoisySteps):
    """Trains on noisy sums of clipped per-graph gradients: adding or removing one training graph changes little.

    The architecture is the target's own; optimiser and epochs are this defence's. Adam goes on with
    g̃ = (Σ_b g_b · min(1, C / |g_b|) + N(0, σ²C²)) / B for Poisson batches with rate B / N.

    Attributes:
        epsilon: ε of the whole training; σ is the smallest that both accountants allow.
        delta: `auto` (largest power of ten at or below 1 / (10 N)), or a number below 1 / N.
        clip: C, bound on the norm of one graph's gradient; a constant, never taken from the data.
        batch: B, expected graphs a step, at most N.
        epochs: T = ceil(N / B) · epochs steps; the last one's weights are kept.
        lr: of Adam.
        sat_rho: ρ of DP-SAT (0 = off), see `defenses.dp.steps`.
        hops: `auto` (the target's own number of layers), or 0 for the control: the same training at the same (ε, δ)
            without any edge, served without edges.
        accountant: `prv+pld`, the larger of Opacus' PRV and Google's PLD.

    Source: Abadi et al., "Deep learning with differential privacy", 2016; records are graphs as in Mueller et al.,
    "Differentially private graph neural networks for whole-graph classification", 2022. Fixed constants in place of
    tuned ones: tuning on private data would have to be paid for.
    """

    epsilon: Annotated[float, Field(gt=0)] = 8.0
    delta: Delta = "auto"
    clip: Annotated[float, Field(gt=0)] = 1.0
    batch: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 20
    lr: Annotated[float, Field(gt=0)] = 0.01
    sat_rho: Annotated[float, Field(ge=0)] = 0.0
    hops: Literal["auto", "0"] = "auto"
    accountant: str = ACCOUNTANT

    id: ClassVar[str] = "dp-graph"
    level: ClassVar[Level] = "graph"

    @model_validator(mode="after")
    def _accountant_fits(self) -> Self:
        if accountant_id(self.accountant) != ACCOUNTANT:
            raise ValueError(
                f"accountant={self.accountant} does not fit Poisson batches of graphs; expected {ACCOUNTANT}"
            )
        return self

    def promise(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `defenses.dp.noisy_steps.NoisySteps`."""
        return self._guarantee(self._schedule(target), task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`.

        Raises:
            PerRecordShapeError: gradients that are not one a graph.
            EvaluationError: a loss that is not finite.
        """
        assert base.build is not None  # train_afresh looked
        start = time.perf_counter()
        schedule, graph = self._schedule(base), base.private_graph
        if self.is_edge_free:
            weight = None if graph.edge_weight is None else graph.edge_weight[:0]
            graph = graph.with_edges(graph.edge_index[:, :0], weight)
        with forked_rng(task.seed):
            model = base.build()
            rows, empty = fit_private(
                model.requires_grad_(True),
                graph,
                torch.nonzero(base.split.train).flatten(),
                base.num_classes,
                self,
                steps=schedule.steps,
                std=schedule.sigma * self.clip * task.noise_scale,
                task=task,
            )
        model = model.eval().requires_grad_(False)
        notes: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
        notes |= {"sigma": schedule.sigma, "q": schedule.q, "steps": schedule.steps}
        notes |= {"epsilon_prv": schedule.account.prv, "epsilon_pld": schedule.account.pld}
        notes["seconds"] = time.perf_counter() - start
        if not task.release:  # which batches were empty is private
            notes["empty_batches"] = empty
        return Fitted(
            edge_free(model) if self.is_edge_free else model,
            notes,
            guarantee=self._guarantee(schedule, task),
            validity=(*rows, sampler_row(schedule.units, schedule.q), *_account_rows(schedule)),
        )

    def controls(self) -> tuple[str, ...]:
        """The same training at the same (ε, δ) without edges."""
        return () if self.is_edge_free else (spec_of(replace(self, hops="0")),)

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`; the gradients are 4C·e_j, so that the clip must work."""
        self.check_applies(target)
        schedule, batches = self._schedule(target), task.noise_rng("canary batches")
        return canary_sums(
            included,
            lambda: poisson_batch(included.shape[0], schedule.q, batches),
            steps=schedule.steps,
            clip=self.clip,
            std=schedule.sigma * self.clip * task.noise_scale,
            rng=task.noise_rng("canary noise"),
        )

    @property
    def is_edge_free(self) -> bool:
        """See `defenses.dp.noisy_steps.NoisySteps`."""
        return self.hops == "0"

    def check_applies(self, target: Target) -> None:
        """Raises SkippedError where records are not graphs, or a layer has no per-record gradient."""
        if target.task.level != "graph":
            units = int(target.split.train.sum())
            drawn, delta = min(self.batch, units), choose_delta(self.delta, units)
            steps = self._steps(units, drawn)
            sigma = sigma_for(self.epsilon, drawn / units, steps, delta)
            refuse_shared_graph(
                spec_of(self), "node", population=units, drawn=drawn, sigma=sigma, steps=steps, delta=delta
            )
        refuse_defended(self, target)
        refuse_layers(target.model)

    def _steps(self, units: int, batch: int) -> int:
        return math.ceil(units / batch) * self.epochs

    def _schedule(self, target: Target) -> NoiseSchedule:
        units = int(target.split.train.sum())
        if self.batch > units:
            raise ConfigError(
                f"dp-graph: batch = {self.batch} of {units} training graphs makes q = {self.batch / units:.2f}; "
                f"expected at most 1. Set batch = {max(1, units // 10)}."
            )
        q, steps, delta = self.batch / units, self._steps(units, self.batch), choose_delta(self.delta, units)
        sigma = sigma_for(self.epsilon, q, steps, delta)
        return NoiseSchedule(units, q, steps, sigma, subsampled_gaussian(q, sigma, steps, delta))

    def _guarantee(self, schedule: NoiseSchedule, task: DefenseTask) -> Guarantee:
        account = schedule.account
        mechanism: dict[str, Any] = {"name": "DP-SGD", "q": schedule.q, "sigma": schedule.sigma}
        mechanism |= {"steps": schedule.steps, "C": self.clip}
        if account.accountant == "gaussian-exact":  # q = 1: nothing is sampled; in units of C
            mechanism |= {"sensitivity": 1.0, "releases": schedule.steps}
        return Guarantee(
            level="graph",
            relation="add-remove",
            epsilon=account.epsilon,
            delta=account.delta,
            accountant=account.accountant,  # type: ignore[arg-type]  # `prv+pld`, or `gaussian-exact` at q = 1
            mechanism=mechanism,
            units=schedule.units,
            covers=("training", "inference"),
            not_protected=NOT_PROTECTED,
            caveats=(PUBLIC_COUNT, LAST_EPOCH),
            noise_seed=task.noise_seed,
        )


def fit_private(
    model: nn.Module,
    graph: Graph,
    train: Tensor,
    classes: int,
    settings: DPGraph,
    *,
    steps: int,
    std: float,
    task: DefenseTask,
    clip: float | None = None,
) -> tuple[tuple[ValidityRow, ...], int]:
    """Trains `model` in place on the graphs `train` (int64 [N]); what `check_records` says, and how many were empty.

    Args:
        model: trainable.
        graph: many graphs.
        train: ids of the training graphs.
        classes: C of the model.
        settings: batch, learning rate, DP-SAT.
        steps: T.
        std: of the noise on the sum of clipped gradients; 0 for a twin without noise.
        task: batches and noise come from its streams.
        clip: in place of the settings' C; infinity for a twin that is not clipped either.
    """
    private = RecordModel(model)
    rows = check_records(private, synthetic_records(graph.num_features, classes))
    slices, batches = GraphSlices(graph), task.noise_rng("batches")
    bound = settings.clip if clip is None else clip
    private_steps = PrivateSteps(
        private,
        torch.optim.Adam(private.parameters(), lr=settings.lr),
        clip=bound,
        std=std,
        divisor=settings.batch,
        rng=task.noise_rng("noise"),
        sat_rho=settings.sat_rho,
    )
    for step in range(steps):
        ids = poisson_batch(train.shape[0], settings.batch / train.shape[0], batches)
        private_steps.step(RecordBatch.of(slices.take(train[ids])) if len(ids) else None)
        if step % 10 == 0:
            task.tick(step / steps, f"step {step} of {steps}")
    private.close()
    return rows, private_steps.empty


def _account_rows(schedule: NoiseSchedule) -> tuple[ValidityRow, ...]:
    """Rows `accountants-agree` and `delta-below-1/N`."""
    account = schedule.account
    agrees = None if account.disagreement is None else account.disagreement <= MAX_DISAGREEMENT
    prv = "not computed" if account.prv is None else f"{account.prv:.4f}"
    evidence = f"PRV {prv}, PLD {account.pld:.4f}; gap at most {MAX_DISAGREEMENT:.0%} expected"
    delta = f"delta = {account.delta:g}, 1/N = {1 / schedule.units:.3g}"
    return (
        check("accountants-agree", "integrity", agrees, evidence),
        check("delta-below-1/N", "integrity", True, delta),
    )
