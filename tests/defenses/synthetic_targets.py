"""Small targets with a spurious part, trained once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import GIN, global_add_pool

from auditor.data.graph import Graph
from auditor.data.synthetic import SyntheticSet, basis_concept
from auditor.defense import DefenseTask
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Target


class SumGIN(nn.Module):
    """Three GIN layers, sum pooling, a linear head of `logits` outputs."""

    def __init__(self, hidden: int, logits: int) -> None:
        super().__init__()
        self.gnn = GIN(1, hidden, 3)
        self.head = nn.Linear(hidden, logits)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        return self.head(global_add_pool(self.gnn(x, edge_index), batch))


class Models:
    """A cache of trained models that counts its fits."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, int], Target] = {}
        self.fits = 0

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        key = (target.digest, graph.digest(), seed)
        if key not in self.kept:
            self.fits += 1
            self.kept[key] = target.retrained(graph, seed=seed)
        return self.kept[key]


def task_of(seed: int = 0, group: Tensor | None = None, models: Models | None = None) -> DefenseTask:
    return DefenseTask(seed, models or Models(), group)


def target_on(data: SyntheticSet, build: Callable[[], nn.Module], *, epochs: int, seed: int = 0) -> Target:
    recipe = TrainRecipe(build, weight_decay=0.0, epochs=epochs, batch_size=64)
    split = data.split("ood")
    return Target(
        name="synthetic",
        graph=data.graph,
        split=split,
        num_classes=int(data.graph.y.max()) + 1,
        capabilities=frozenset(Capability),
        kind="factory",
        digest=f"synthetic-{epochs}-{seed}",
        provenance={},
        model=recipe.fit(data.graph, split, seed).model,
        build=build,
        recipe=recipe,
    )


@cache
def small_concept() -> tuple[SyntheticSet, Target]:
    """400 training graphs of `basis-concept` and a short-trained GIN; shared and never changed."""
    data = basis_concept(train=400, test=100, rng=np.random.default_rng(0))
    return data, target_on(data, partial(SumGIN, 16, 3), epochs=12)


def same_tensors(a: nn.Module, b: nn.Module) -> dict[str, bool]:
    return {k: torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items()}
