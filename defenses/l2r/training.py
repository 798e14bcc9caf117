"""End-to-end training by the target's own recipe, with a weight on every training item."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import EvaluationError, SkippedError
from auditor.targets.forward import ForwardAdapter
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Target
from defenses.l2r.head import Head, find_head, head_inputs
from defenses.l2r.items import Part, check_target, part_of

WARM_UP = 0.25


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a recipe's table says about training; a key that it leaves out has PyG's usual value.

    Attributes:
        optimizer: `adam` or `sgd`.
        lr: learning rate.
        weight_decay: L2 penalty.
        epochs: passes over the training items.
        batch_size: graphs a step (task `graph`).
    """

    optimizer: str = "adam"
    lr: float = 0.01
    weight_decay: float = 0.0
    epochs: int = 100
    batch_size: int = 64

    @classmethod
    def of(cls, target: Target) -> Schedule:
        """The schedule of the target's recipe."""
        table = {} if target.recipe is None else target.recipe.describe()
        known = {name: table[name] for name in cls.__dataclass_fields__ if name in table}
        return cls(**known)

    @property
    def warm_up(self) -> int:
        """Epochs with equal weights before anything is learned."""
        return math.ceil(WARM_UP * self.epochs)

    def make(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of a fresh model."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """Reads the model while it is trained: in eval mode, without gradient, leaving its mode as it was."""

    model: nn.Module
    head: Head
    train: Part
    val: Part

    def embed(self, part: Part) -> tuple[Tensor, Tensor]:
        """Raw head inputs [n, d] and logits [n, C] of the part's items."""
        with _evaluating(self.model):
            z, logits = head_inputs(self.model, self.head, part.graph)
        return z[part.rows], logits[part.rows]

    def node_embeddings(self) -> Tensor:
        """Embedding of every node of the training graphs in the head's own dimensions, [N, d]."""
        graph = self.train.graph
        alone = None if graph.batch is None else torch.arange(graph.num_nodes)
        with _evaluating(self.model):
            return head_inputs(self.model, self.head, graph, batch=alone)[0]


class Weights(Protocol):
    """Where the weights of an end-to-end training come from."""

    from_start: bool
    per_batch: bool

    def start_epoch(self, epoch: int, encoder: Encoder) -> None:
        """Called before each epoch that is weighted, with the epoch's number since the warm-up."""
        ...

    def see(self, rows: Tensor, z: Tensor) -> None:
        """Called before each step when `per_batch`: places of the items among the training items, raw z [b, d]."""
        ...

    def of(self, rows: Tensor) -> Tensor:
        """Current weights of these training items [b]."""
        ...


class EqualWeights:
    """Every weight is 1: plain training (`erm`)."""

    from_start = False
    per_batch = False

    def start_epoch(self, epoch: int, encoder: Encoder) -> None:
        """Nothing to do."""

    def see(self, rows: Tensor, z: Tensor) -> None:
        """Nothing to do."""

    def of(self, rows: Tensor) -> Tensor:
        """Ones."""
        return torch.ones(rows.shape[0])


class FixedWeights(EqualWeights):
    """Weights known beforehand: random ones, or those of named groups."""

    def __init__(self, w: Tensor, *, from_start: bool) -> None:
        self._w = w.float()
        self.from_start = from_start

    def of(self, rows: Tensor) -> Tensor:
        """The given weights."""
        return self._w[rows]


def weighted_loss(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """sum_b w_b loss_b / sum_b w_b. Dividing by the batch size instead would change the learning rate."""
    if logits.shape[1] == 1:
        losses = functional.binary_cross_entropy_with_logits(logits[:, 0], y.to(logits.dtype), reduction="none")
    else:
        losses = functional.cross_entropy(logits, y, reduction="none")
    return (w * losses).sum() / w.sum()


def train_weighted(
    target: Target, weights: Weights, *, seed: int, tick: Callable[[float | None, str], None]
) -> tuple[nn.Module, Encoder]:
    """A freshly built model trained with a weight per item, in eval mode, frozen; and its encoder.

    Initial weights and batch order come from `seed` alone and in the order of the target's own recipe, so that every
    mode with one seed starts from the same network and sees the same batches. The checkpoint with the least validation
    loss among the epochs after the warm-up is kept: one from the warm-up would not have met the weights.

    Raises:
        SplitError: see `check_target`.
        SkippedError: the target has no RETRAIN or its model no known head.
        EvaluationError: the loss left the finite numbers.
    """
    if target.build is None or target.recipe is None:
        raise SkippedError(f"{target.name} has no RETRAIN: it cannot be trained from scratch.")
    check_target(target)
    schedule = Schedule.of(target)
    train, val = part_of(target.graph, target.split.train), part_of(target.graph, target.split.val)
    with forked_rng(seed):
        model = target.build()
        model.requires_grad_(True)
        optimizer = schedule.make(model)
        with forked_rng(), _evaluating(model):  # lazy layers may draw; the paired modes must not notice
            head = find_head(model, train.graph)
        encoder = Encoder(model, head, train, val)
        steps = _steps(train, schedule.batch_size)
        forward = ForwardAdapter(model)
        best, kept = math.inf, None
        for epoch in range(schedule.epochs):
            warm = epoch < schedule.warm_up and not weights.from_start
            if not warm:
                with forked_rng():
                    weights.start_epoch(epoch - schedule.warm_up, encoder)
            model.train()
            for part, rows in steps():
                if weights.per_batch and not warm:
                    weights.see(rows, encoder.embed(part)[0])
                w = torch.ones(rows.shape[0]) if warm else weights.of(rows)
                optimizer.zero_grad()
                graph = part.graph
                out = forward.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)[part.rows]
                loss = weighted_loss(out, part.y, w)
                if not torch.isfinite(loss):
                    raise EvaluationError(
                        f"the weighted loss of {target.name} is {float(loss.detach())} in epoch {epoch}; expected a "
                        "finite number. Lower the learning rate of [target.train], or raise lam."
                    )
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            if epoch >= schedule.warm_up:
                _, logits = encoder.embed(val)
                score = float(weighted_loss(logits, val.y, torch.ones(val.y.shape[0])))
                if score < best or kept is None:
                    best, kept = score, copy.deepcopy(model.state_dict())
            tick((epoch + 1) / schedule.epochs, "training")
        if kept is not None:
            model.load_state_dict(kept)
    return model.eval().requires_grad_(False), encoder


def _steps(train: Part, batch_size: int) -> Callable[[], list[tuple[Part, Tensor]]]:
    """The steps of one epoch: parts and places of their items among the training items, drawn again at each call."""
    n = train.items.shape[0]
    if train.graph.batch is None:
        whole = [(train, torch.arange(n))]
        return lambda: whole
    slices = GraphSlices(train.graph)

    def epoch() -> list[tuple[Part, Tensor]]:
        chunks = torch.split(torch.randperm(n), batch_size)
        return [(Part(slices.take(rows), train.items[rows], torch.arange(rows.shape[0])), rows) for rows in chunks]

    return epoch


class _evaluating:  # noqa: N801 - reads as a word in a with statement
    """The model in eval mode inside, as it was outside."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._training = model, model.training

    def __enter__(self) -> None:
        self._model.eval()

    def __exit__(self, *_: object) -> None:
        self._model.train(self._training)
