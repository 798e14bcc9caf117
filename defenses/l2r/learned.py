"""Weights that are learned while the encoder trains: all pairs or clusters, all items at once or through a queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.errors import ConfigError, EvaluationError
from defenses.l2r.dependence import all_pairs, pairs_between, standardised
from defenses.l2r.objective import EXACT_LIMIT, Objective, index_batches, learn
from defenses.l2r.queues import QueuedLearner, make_queue
from defenses.l2r.stability import graph_parts, stability, stable_clusters
from defenses.l2r.training import Encoder
from defenses.l2r.validation_term import residuals, validation_scores

EPOCH_STEPS, RECLUSTER_EPOCHS = 10, 10


@dataclass(slots=True, eq=False)
class LearnedWeights:
    """Learns a in turns with the encoder (see `training.Weights`).

    Attributes:
        objective: of the weights.
        y: classes of the training items [N].
        clusters: k, or 0 for all pairs.
        memory: `auto`, `exact`, `fifo` or `momentum`.
        batch_size: of the recipe, which sizes the queue.
        rng: draws features.
        np_rng: draws environments and medoids.
        seed: of the partition of a single graph.
    """

    objective: Objective
    y: Tensor
    clusters: int
    memory: str
    batch_size: int
    rng: torch.Generator
    np_rng: np.random.Generator
    seed: int
    from_start: bool = False
    per_batch: bool = False
    notes: dict[str, Any] | None = None
    a: Tensor | None = None
    _w: Tensor | None = None
    _pairs: Tensor | None = None
    _queue: QueuedLearner | None = None

    def start_epoch(self, epoch: int, encoder: Encoder) -> None:
        """Ten Adam steps on a with the encoder as it stands (exact form); clusters afresh every 10 epochs."""
        z, logits = encoder.embed(encoder.train)
        if self.notes is None:
            self._begin(z)
        if self._pairs is None or epoch % RECLUSTER_EPOCHS == 0:
            self._pairs = self._allowed(encoder, z.shape[1])
        if self._queue is not None:
            a, bound = self._queue.project()  # last epoch's steps
        else:
            live_z, live = standardised(z)
            pairs = live_pairs(self._pairs, live)
            g = None
            if self.objective.gamma > 0:
                z_val, logits_val = encoder.embed(encoder.val)
                g = validation_scores(z, residuals(logits, self.y), z_val, residuals(logits_val, encoder.val.y))
            a, bound = learn(self.objective, live_z, self.y, pairs, steps=EPOCH_STEPS, rng=self.rng, a=self.a, g=g)
        self.a, self._w = a, self.objective.weights(a, self.y).float()
        self._note("floor_binds", bound)

    def see(self, rows: Tensor, z: Tensor) -> None:
        """One step on the batch and its queue; a short last batch is skipped."""
        if self._queue is None or self._pairs is None or rows.shape[0] < min(self.batch_size, self.y.shape[0]):
            return
        self._queue.step(z, rows, self._pairs)
        self._w = self._queue.weights().float()

    def of(self, rows: Tensor) -> Tensor:
        """Current weights."""
        assert self._w is not None  # start_epoch has run
        return self._w[rows]

    def final(self) -> Tensor:
        """The weights of the last epoch, float64 [N]."""
        return torch.ones(self.y.shape[0]).double() if self.a is None else self.objective.weights(self.a, self.y)

    def pairs(self, live: Tensor) -> Tensor:
        """The pairs of the last clustering among live dimensions."""
        return live_pairs(self._pairs, live) if self._pairs is not None else all_pairs(int(live.sum()))

    def _begin(self, z: Tensor) -> None:
        check_clusters(self.clusters, z.shape[1])
        memory = chosen_memory(self.memory, z, self.objective)
        if memory != "exact":
            if self.objective.gamma > 0:
                raise ConfigError(
                    f'memory = "{memory}" with mode = "l2r-bi": the validation term needs all items at once. '
                    'Use memory = "exact", or mode = "l2r".'
                )
            self._queue = QueuedLearner(self.objective, self.y, make_queue(memory, self.batch_size), self.rng)
            self.per_batch = True
        self._note("memory", memory)

    def _allowed(self, encoder: Encoder, d: int) -> Tensor:
        if not self.clusters:
            return all_pairs(d)
        graph = encoder.train.graph
        owner = graph.batch
        if owner is None:
            owner = graph_parts(graph, seed=self.seed)
        found = stability(encoder.node_embeddings(), owner, rng=self.np_rng)
        if found.environments < 2:
            raise EvaluationError(
                f"{found.environments} environments have at least 4 nodes; expected two or more, since stability is "
                'measured across them. Use mode = "all".'
            )
        clusters = stable_clusters(found, self.clusters, rng=self.np_rng)
        sizes = torch.bincount(clusters, minlength=self.clusters).tolist()
        self._note("clusters", self.clusters)
        self._note("cluster_sizes", sizes)
        pairs = pairs_between(clusters)
        if not bool(pairs.any()):
            self._note("notice", "all clusters but one are empty: all pairs are decorrelated")
            return all_pairs(d)
        return pairs

    def _note(self, key: str, value: Any) -> None:
        self.notes = {**(self.notes or {}), key: value}


def live_pairs(pairs: Tensor, live: Tensor) -> Tensor:
    """Pairs among live dimensions; all of them where none of the allowed ones is left.

    Raises:
        EvaluationError: fewer than two live dimensions.
    """
    check_live(live)
    kept = pairs[live][:, live]
    return kept if bool(kept.any()) else all_pairs(int(live.sum()))


def check_live(live: Tensor) -> None:
    """Raises EvaluationError when fewer than two dimensions vary over the items."""
    if int(live.sum()) < 2:
        raise EvaluationError(
            f"{int(live.sum())} of {live.numel()} embedding dimensions vary over the training items; expected at least "
            "two to decorrelate. The model has collapsed, or its head is too narrow."
        )


def check_clusters(k: int, d: int) -> None:
    """Raises ConfigError when there are more clusters than dimensions."""
    if k > d:
        raise ConfigError(f"clusters = {k}, the head reads {d} dimensions; expected at most as many clusters.")


def chosen_memory(memory: str, z: Tensor, objective: Objective) -> str:
    """`exact` while N * d * K <= 2e7 under `auto`, else `fifo`; what was asked for otherwise."""
    if memory != "auto":
        return memory
    return "exact" if z.shape[0] * z.shape[1] * objective.features <= EXACT_LIMIT else "fifo"


def learn_frozen(
    objective: Objective, z: Tensor, y: Tensor, *, steps: int, memory: str, batch_size: int, rng: torch.Generator
) -> tuple[Tensor, Mapping[str, Any]]:
    """Weights for a frozen encoder, float64 [N], on all pairs of live dimensions; and notes.

    Args:
        objective: what is minimised.
        z: raw embeddings [N, d].
        y: classes [N].
        steps: Adam steps (batches, with a queue).
        memory: `auto`, `exact`, `fifo` or `momentum`.
        batch_size: rows a step with a queue.
        rng: the only source of randomness.
    """
    live_z, live = standardised(z)
    check_live(live)
    pairs = all_pairs(live_z.shape[1])
    memory = chosen_memory(memory, z, objective)
    if memory == "exact":
        a, bound = learn(objective, live_z, y, pairs, steps=steps, rng=rng)
    else:
        size = min(batch_size, z.shape[0])
        learner = QueuedLearner(objective, y, make_queue(memory, size), rng)
        for items in index_batches(z.shape[0], size, steps, rng):
            learner.step(live_z[items], items, pairs)
        a, bound = learner.project()
    return objective.weights(a, y), {"memory": memory, "floor_binds": bound, "dimensions": int(live.sum())}
