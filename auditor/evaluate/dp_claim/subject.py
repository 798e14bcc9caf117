"""What is audited: something that takes m inclusion bits and gives every canary a score."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from auditor.data.graph import Graph, Split
from auditor.defense import DefenseTask, TrainedModels
from auditor.errors import EvaluationError
from auditor.guarantee import Guarantee
from auditor.mechanism import PrivateDefense
from auditor.statistics.draws import generator
from auditor.targets.target import Target
from auditor.tasks import log_probabilities

Bits = NDArray[np.bool_]
Scores = NDArray[np.float64]
Fit = Callable[[Target, int, float], Target]
"""(target with the included canaries, seed, noise scale) -> the trained target."""

NO_NOISE, HALF_NOISE = 0.0, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One run: which canaries took part, bool [m], and their scores, float64 [m], larger = "in"."""

    included: Bits
    scores: Scores


class Subject(Protocol):
    """One audited mechanism with its canaries."""

    @property
    def m(self) -> int:
        """Canaries."""
        ...

    @property
    def shares(self) -> tuple[float, ...]:
        """Guesses per canary, each of which is one size."""
        ...

    @property
    def score(self) -> str:
        """What is scored, in words."""
        ...

    @property
    def digest(self) -> str:
        """Sha256 of the canaries."""
        ...

    @property
    def twin_scale(self) -> float | None:
        """Noise scale of the reach twin; None where no run with less noise can be made."""
        ...

    def scores(self, included: Bits, seed: int, noise_scale: float) -> Scores:
        """Runs the mechanism on the included canaries and scores all m."""
        ...

    def seconds(self) -> float | None:
        """What one run takes, roughly, without running any of it; None where nobody can know."""
        ...


class Canaries(Protocol):
    """Records made up for an audit of posteriors."""

    @property
    def m(self) -> int:
        """How many."""
        ...

    @property
    def score(self) -> str:
        """What is scored, in words."""
        ...

    @property
    def digest(self) -> str:
        """Sha256 of the records."""
        ...

    def planted(self, included: Bits) -> Target:
        """The target with the included canaries among its training data."""
        ...

    def scores(self, trained: Target) -> Tensor:
        """Float64 [m], larger = likelier in."""
        ...


class Pairs(Canaries, Protocol):
    """Canaries that are pairs of nodes."""

    @property
    def pairs(self) -> Tensor:
        """Int64 [2, m]."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """What one run and its scores cost, roughly.

    Attributes:
        passes: of the target's own model over its data, forward and back.
        edges: undirected ones of the graph that is trained on, where a mechanism releases another one.
    """

    passes: float
    edges: int | None = None

    def seconds(self, target: Target) -> float | None:
        """One pass of the target as it is, timed, times the passes; None for a model that lets no gradient through."""
        graph, train = target.private_graph, target.split.train
        if self.edges is not None:
            ends = torch.randint(graph.num_nodes, (2, 2 * self.edges), generator=torch.Generator())
            graph = graph.with_edges(ends)

        def once() -> None:
            x = graph.x.clone().requires_grad_(True)
            out = target.logits(x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
            torch.autograd.grad(functional.cross_entropy(out[train], graph.y[train]), x, allow_unused=True)

        try:
            once()  # the first pass fills caches
        except RuntimeError:
            return None
        return self.passes * _timed(once)


@dataclass(frozen=True, slots=True, eq=False)
class Posteriors:
    """Access `posteriors`: trains on the included canaries, scores all by the final model."""

    canaries: Canaries
    fit: Fit
    shares: tuple[float, ...]
    twin_scale: float | None = NO_NOISE
    work: Work | None = None

    @property
    def m(self) -> int:
        """Canaries."""
        return self.canaries.m

    @property
    def score(self) -> str:
        """What is scored."""
        return self.canaries.score

    @property
    def digest(self) -> str:
        """Of the canaries."""
        return self.canaries.digest

    def scores(self, included: Bits, seed: int, noise_scale: float) -> Scores:
        """See `Subject`."""
        trained = self.fit(self.canaries.planted(included), seed, noise_scale)
        return checked(self.canaries.scores(trained), self.m)

    def seconds(self) -> float | None:
        """See `Subject`."""
        return None if self.work is None else self.work.seconds(self.canaries.planted(np.ones(self.m, dtype=bool)))


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """Access `released`: runs the mechanism on the private graph with the included canary pairs."""

    canaries: Pairs
    defense: PrivateDefense
    models: TrainedModels
    shares: tuple[float, ...]
    score: str = "what the mechanism released about the pair"
    twin_scale: float | None = HALF_NOISE
    work: Work | None = None

    @property
    def m(self) -> int:
        """Canaries."""
        return self.canaries.m

    @property
    def digest(self) -> str:
        """Of the canaries."""
        return self.canaries.digest

    def scores(self, included: Bits, seed: int, noise_scale: float) -> Scores:
        """See `Subject`."""
        task = DefenseTask(seed, self.models, noise_scale=noise_scale)
        target = self.canaries.planted(included)
        return checked(self.defense.released_scores(target, self.canaries.pairs, task), self.m)

    def seconds(self) -> float | None:
        """See `Subject`."""
        return None if self.work is None else self.work.seconds(self.canaries.planted(np.ones(self.m, dtype=bool)))


@dataclass(frozen=True, slots=True, eq=False)
class Mechanism:
    """Access `mechanism`: the noisy sums of all steps on records with gradient C·e_j, one coordinate each."""

    target: Target
    defense: PrivateDefense
    models: TrainedModels
    m: int
    shares: tuple[float, ...]
    score: str = "sum over the steps of the noisy coordinate"
    twin_scale: float | None = HALF_NOISE
    steps: int | None = None

    @property
    def digest(self) -> str:
        """Of the block: its size says all."""
        return hashlib.sha256(f"C e_j, j < {self.m}".encode()).hexdigest()

    def scores(self, included: Bits, seed: int, noise_scale: float) -> Scores:
        """See `Subject`."""
        task = DefenseTask(seed, self.models, noise_scale=noise_scale)
        sums = self.defense.canary_sums(self.target, torch.from_numpy(included), task)
        return checked(sums, self.m)

    def seconds(self) -> float | None:
        """See `Subject`: noise on every coordinate in every step."""
        rng = np.random.default_rng(0)
        return None if self.steps is None else 2 * self.steps * _timed(lambda: rng.standard_normal(self.m))


def observe(subject: Subject, seed: int, noise_scale: float = 1.0) -> Observation:
    """One run with bits drawn for this seed; the same bits at every noise scale."""
    included = draw_bits(subject.m, seed)
    return Observation(included, subject.scores(included, seed, noise_scale))


def draw_bits(m: int, seed: int) -> Bits:
    """Independent fair coins, from the seed alone; no mechanism's own stream."""
    return generator(seed, "dp-claim", "inclusion bits").random(m) < 0.5


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def checked(scores: Tensor, m: int) -> Scores:
    """Scores as float64 [m].

    Raises:
        EvaluationError: another shape, or a score that is not finite.
    """
    found = scores.detach().double().numpy().copy()
    if found.shape != (m,) or not np.isfinite(found).all():
        bad = "of another shape" if found.shape != (m,) else "not finite"
        raise EvaluationError(
            f"the canaries' scores are {bad} ({list(found.shape)}, {int((~np.isfinite(found)).sum())} not finite); "
            f"expected {m} finite numbers. A loss that is not finite means that training diverged."
        )
    return found


def with_data(target: Target, graph: Graph, split: Split) -> Target:
    """The target on other data, with a digest of its own, so that no cache takes it for the first one."""
    word = hashlib.sha256(f"{target.digest}\0{graph.digest()}".encode() + split.train.numpy().tobytes()).hexdigest()
    return replace(target, graph=graph, private=None, split=split, digest=word, claimed_accuracy=None)


def negative_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Minus the cross-entropy of each item, float64 [n]."""
    return log_probabilities(logits).gather(1, y[:, None])[:, 0]


def column_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every column, [F] each."""
    return x.mean(dim=0), x.std(dim=0, correction=0)


def tensors_digest(*parts: Tensor) -> str:
    """Sha256 (hex) over shapes and bytes."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(repr((tuple(part.shape), str(part.dtype))).encode())
        sha.update(part.contiguous().numpy().tobytes())
    return sha.hexdigest()


RELEASED_SHARES: Final[Mapping[str, tuple[float, ...]]] = {"flip_probability": (1.0,), "epsilon_cells": (0.02, 0.2)}
"""By what the mechanism records: randomised response answers every pair alike, a top-T list only about the few."""
SUM_SHARES: Final = (0.05,)


def released_shares(planned: Guarantee) -> tuple[float, ...]:
    """Guess sizes for access `released`, from what kind of release the planned Guarantee records."""
    return next((shares for key, shares in RELEASED_SHARES.items() if key in planned.mechanism), SUM_SHARES)
