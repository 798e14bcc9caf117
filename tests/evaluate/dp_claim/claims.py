"""Toy mechanisms with known epsilon, honest and broken, for the tests of `dp-claim`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from auditor.defense import DefenseTask
from auditor.document import Audit, TargetRow
from auditor.errors import CapabilityError
from auditor.evaluate.dp_claim.question import Question
from auditor.guarantee import Guarantee, Level
from auditor.policy import Policy
from auditor.registry import Entry, Table
from auditor.runner.assemble import RunSettings
from auditor.runner.claim_bench import ClaimBench
from auditor.runner.claim_runs import run_claim
from auditor.runner.describe import target_row
from auditor.runner.execute import TrainedCache
from auditor.runner.record import Record
from auditor.statistics.accounting import mu_of
from auditor.targets.target import Target
from tests.toys import Silent

DELTA = 1e-5
TOYS = Table(
    (
        Entry("toy-flips", f"{__name__}:Flips", "randomised response"),
        Entry("toy-sums", f"{__name__}:Sums", "noisy sums", tasks=("graph",)),
    )
)


class _Toy:
    version: ClassVar[str] = "1"

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        raise NotImplementedError

    def controls(self) -> tuple[str, ...]:
        return ()

    def fit(self, target: Target, task: DefenseTask) -> Target:
        raise NotImplementedError

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        raise CapabilityError("no graph is released")

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        raise CapabilityError("nothing is summed")


@dataclass(frozen=True)
class Flips(_Toy):
    """Randomised response on every pair; `bug` multiplies the flip probability, which the Guarantee does not say."""

    epsilon: float = 4.0
    bug: float = 1.0

    id: ClassVar[str] = "toy-flips"
    level: ClassVar[Level] = "edge"
    releases: ClassVar[tuple[str, ...]] = ("released",)

    @property
    def p(self) -> float:
        return 1 / (1 + math.exp(self.epsilon))

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        return Guarantee(
            level="edge",
            relation="flip-pair",
            epsilon=self.epsilon,
            delta=0.0,
            accountant="pure",
            mechanism={"name": "toy", "flip_probability": self.p},
            units=100,
            covers=("training",),
            not_protected=("features",),
            noise_seed="recorded",
        )

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        n = target.private_graph.num_nodes
        low, high = pairs.min(dim=0).values, pairs.max(dim=0).values
        there = torch.isin(low * n + high, target.private_graph.pair_keys()).numpy()
        flip = task.noise_rng("flips").random(len(there)) < self.bug * task.noise_scale * self.p
        return torch.from_numpy((there ^ flip).astype(np.float64))


@dataclass(frozen=True)
class Sums(_Toy):
    """One Gaussian release per canary's coordinate, sensitivity 1; `bug` multiplies the noise."""

    epsilon: float = 1.0
    bug: float = 1.0

    id: ClassVar[str] = "toy-sums"
    level: ClassVar[Level] = "graph"
    releases: ClassVar[tuple[str, ...]] = ("mechanism", "posteriors")

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        sigma = 1 / mu_of(self.epsilon, DELTA)
        return Guarantee(
            level="graph",
            relation="add-remove",
            epsilon=self.epsilon,
            delta=DELTA,
            accountant="gaussian-exact",
            mechanism={"name": "toy", "sensitivity": 1.0, "sigma": sigma, "releases": 1},
            units=100,
            covers=("training",),
            not_protected=(),
            noise_seed="recorded",
        )

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        sigma = self.bug * task.noise_scale / mu_of(self.epsilon, DELTA)
        noise = task.noise_rng("sums").standard_normal(len(included))
        return included.double() + sigma * torch.from_numpy(noise)


class Remembers(nn.Module):
    """A classifier that is sure of the label of every graph or node whose features it has seen, but for lies."""

    def __init__(self, seen: dict[bytes, int], classes: int) -> None:
        super().__init__()
        self.seen, self.classes = seen, classes

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, batch: Tensor | None = None
    ) -> Tensor:
        firsts = range(len(x)) if batch is None else [int((batch == b).nonzero()[0]) for b in range(int(batch[-1]) + 1)]
        logits = torch.zeros(len(firsts), self.classes)
        for row, first in enumerate(firsts):
            known = self.seen.get(x[first].numpy().tobytes())
            if known is not None:
                logits[row, known] = 5.0
        return logits


def remembering(target: Target, flip: float, rng: np.random.Generator) -> nn.Module:
    """Trained on the training items of `target`; each is forgotten with probability `flip`."""
    graph = target.private_graph
    items = torch.nonzero(target.split.train).flatten().tolist()
    firsts = items if graph.batch is None else [int((graph.batch == b).nonzero()[0]) for b in items]
    kept = rng.random(len(items)) >= flip
    seen = {graph.x[f].numpy().tobytes(): int(graph.y[i]) for i, f, k in zip(items, firsts, kept, strict=True) if k}
    return Remembers(seen, target.num_classes)


def remembering_fit(flip: float) -> Callable[[Target, int, float], Target]:
    def fit(target: Target, seed: int, noise_scale: float) -> Target:
        rng = np.random.default_rng([seed, 7])
        return replace(target, model=remembering(target, flip * noise_scale, rng))

    return fit


def settings(seeds: tuple[int, ...] = (0,)) -> RunSettings:
    return RunSettings(seeds=seeds, profile="standard", policy=Policy())


def task(seed: int = 0, scale: float = 1.0) -> DefenseTask:
    return DefenseTask(seed, TrainedCache(), noise_scale=scale)


def claimed(question: Question, target: Target | TargetRow, how: RunSettings, **more: Any) -> Audit:
    """The audit of a question that was asked already, in this process."""
    row, loaded = (target, None) if isinstance(target, TargetRow) else (target_row(target), target)
    bench = ClaimBench(question, row, loaded)
    given = {"write": lambda _: None, "observer": Silent(), "record": Record(), **more}
    return run_claim(bench, bench.describe(), how, **given)
