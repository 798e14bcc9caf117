"""How a target is trained: one function that fits the reference, every twin and every defence's base alike."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from auditor.data.graph import Graph, Split
from auditor.shared import content
from auditor.targets.forward import ForwardAdapter
from auditor.targets.model_state import state_of
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Fitted
from auditor.targets.together import Job, fit_together

Optimizer = Literal["adam", "sgd"]


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """A model builder and the `[target.train]` table (see `auditor.targets.target.Recipe`).

    Attributes:
        build: makes a fresh model, drawing from torch's global generator (which `fit` forks and seeds).
        optimizer: `adam` or `sgd`.
        lr: learning rate.
        weight_decay: L2 penalty on every parameter.
        epochs: passes over the training items; the checkpoint with the best validation accuracy is kept.
        batch_size: graphs a step (task `graph` only).
        seed: what the target itself was trained with; `fit` is told its own.
    """

    build: Callable[[], nn.Module]
    optimizer: Optimizer = "adam"
    lr: float = 0.01
    weight_decay: float = 5e-4
    epochs: int = 200
    batch_size: int = 64
    seed: int = 0

    def describe(self) -> Mapping[str, Any]:
        """The `[target.train]` table."""
        names = ("optimizer", "lr", "weight_decay", "epochs", "batch_size", "seed")
        return {name: getattr(self, name) for name in names}

    def optimizer_of(self, parameters: Iterable[nn.Parameter], *, fused: bool = False) -> torch.optim.Optimizer:
        """A fresh optimiser; `fused` takes each step in one pass over the numbers, with other last digits."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=fused or None)

    def fit_many(self, graph: Graph, splits: Sequence[Split], seeds: Sequence[int]) -> list[Fitted]:
        """A model for each split, as `fit` makes it; trained side by side where the architecture allows.

        Then masks of dropout are other draws of the same distribution.
        """
        jobs = [Job(graph, split, seed) for split, seed in zip(splits, seeds, strict=True)]
        for split in splits:
            split.check_fits(graph)
        models = fit_together(jobs, self.build, partial(self.optimizer_of, fused=True), self.epochs)
        if models is None:
            return [self.fit(job.graph, job.split, job.seed) for job in jobs]
        return [Fitted(model) for model in models]

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        """A freshly built and trained model, in eval mode, frozen; the same for the same inputs and seed.

        The checkpoint with the best validation accuracy is kept, ties going to the lower validation loss; without
        validation items, the last one. The caller's global generators are left as they were.
        """
        split.check_fits(graph)
        with forked_rng(seed):
            steps = _steps(graph, split.train, self.batch_size)
            model, forward = self._untrained(steps)
            model.requires_grad_(True)
            optimizer = self.optimizer_of(model.parameters())
            validation = None if not split.val.any() else _items(graph, split.val)
            best: tuple[float, float] | None = None
            kept: dict[str, Tensor] | None = None
            for _ in range(self.epochs):
                model.train()
                for part, mask in steps():
                    optimizer.zero_grad()
                    out = forward.logits(part.x, part.edge_index, part.edge_weight, part.batch, part.fields)
                    functional.cross_entropy(out[mask], part.y[mask]).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                if validation is not None:
                    score = _score(model, forward, *validation)
                    if best is None or score > best:
                        best, kept = score, copy.deepcopy(model.state_dict())
            if kept is not None:
                model.load_state_dict(kept)
        return Fitted(model.eval().requires_grad_(False))

    def depends_on(self, seed: int) -> str:
        """See `auditor.targets.target.Rebuilds`."""
        with forked_rng(seed):
            return content(seed, sorted(self.describe().items()), state_of(self.build()))

    def rebuilt(self, graph: Graph, split: Split, seed: int, tensors: Mapping[str, Tensor]) -> Fitted:
        """See `auditor.targets.target.Rebuilds`."""
        with forked_rng(seed):
            model, _ = self._untrained(_steps(graph, split.train, self.batch_size))
        model.load_state_dict(dict(tensors), strict=True)
        return Fitted(model.eval().requires_grad_(False))

    def _untrained(self, steps: Callable[[], Iterator[tuple[Graph, Tensor]]]) -> tuple[nn.Module, ForwardAdapter]:
        """A freshly built model; a first forward gives layers their sizes that have none."""
        model = self.build()
        forward = ForwardAdapter(model)
        if any(map(is_lazy, model.parameters())):
            part, _ = next(steps())
            with torch.no_grad():
                model.eval()
                forward.logits(part.x, part.edge_index, part.edge_weight, part.batch, part.fields)
        return model, forward


@torch.no_grad()
def _score(model: nn.Module, forward: ForwardAdapter, part: Graph, mask: Tensor) -> tuple[float, float]:
    """(accuracy, -loss) on the items of `mask`, in eval mode; a non-finite loss loses every tie."""
    model.eval()
    out = forward.logits(part.x, part.edge_index, part.edge_weight, part.batch, part.fields)[mask]
    accuracy = float(part.task.quality(out, part.y[mask]).mean())
    loss = float(functional.cross_entropy(out, part.y[mask]))
    return accuracy, -loss if loss == loss else -float("inf")


def _items(graph: Graph, mask: Tensor) -> tuple[Graph, Tensor]:
    """What must be forwarded to classify the items of `mask`: the one graph, or those graphs alone."""
    if graph.batch is None:
        return graph, mask
    ids = torch.nonzero(mask).flatten()
    return GraphSlices(graph).take(ids), torch.ones(ids.shape[0], dtype=torch.bool)


def _steps(graph: Graph, train: Tensor, batch_size: int) -> Callable[[], Iterator[tuple[Graph, Tensor]]]:
    """The steps of one epoch, drawn again at each call: the one graph, or its training graphs in random batches."""
    if graph.batch is None:
        return lambda: iter([(graph, train)])
    slices, ids = GraphSlices(graph), torch.nonzero(train).flatten()

    def epoch() -> Iterator[tuple[Graph, Tensor]]:
        for chunk in torch.split(ids[torch.randperm(ids.shape[0])], batch_size):
            yield slices.take(chunk), torch.ones(chunk.shape[0], dtype=torch.bool)

    return epoch
