"""Graph level: whole graphs that belong to no class, so that only a model that saw one is sure of its label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.subject import Bits, column_scale, negative_losses, tensors_digest, with_data
from auditor.targets.target import Target

SMALL = 4
PERCENTILE = 0.95  # a per-node clip shows on large graphs only
_BLOCK = 64  # canaries a forward


@dataclass(frozen=True, slots=True, eq=False)
class GraphCanaries:
    """m path graphs with random features at the data's column scale and a random label.

    They have 4 nodes and as many as the 95th percentile of the training graphs, in turn, the large one first. For
    relation `replace` each has a twin of the same size, and the bit says which of the two takes part.
    """

    target: Target
    records: Graph
    twins: Graph | None

    @classmethod
    def make(cls, target: Target, m: int, *, replace: bool, rng: np.random.Generator) -> GraphCanaries:
        """Draws the canaries.

        Raises:
            ConfigError: the target does not classify graphs.
        """
        graph = target.private_graph
        if graph.batch is None:
            raise ConfigError(
                f"--level graph needs a target that classifies graphs; {target.name} classifies the nodes of one. "
                "Audit it at --level edge or node."
            )
        train = target.split.train[graph.batch]
        sizes = torch.bincount(graph.batch)[target.split.train].double()
        large = max(SMALL, int(torch.quantile(sizes, PERCENTILE)))
        shape = [large if i % 2 == 0 else SMALL for i in range(m)]
        mean, std = column_scale(graph.x[train])
        made = [_paths(shape, mean, std, target.num_classes, graph, rng) for _ in range(1 + replace)]
        return cls(target, made[0], made[1] if replace else None)

    @property
    def m(self) -> int:
        """Canaries."""
        return self.records.num_items

    @property
    def score(self) -> str:
        """What is scored."""
        return "minus the loss" if self.twins is None else "minus the loss, less that of the twin"

    @property
    def digest(self) -> str:
        """Of features, sizes and labels."""
        parts = [self.records] if self.twins is None else [self.records, self.twins]
        return tensors_digest(*(t for g in parts for t in (g.x, g.edge_index, g.y)))

    def planted(self, included: Bits) -> Target:
        """The target with the chosen canaries behind its own graphs, as training graphs."""
        chosen = [self.records] if self.twins is None else [self.records, self.twins]
        masks = [torch.from_numpy(included), ~torch.from_numpy(included)]
        graph, split = self.target.private_graph, self.target.split
        for records, mask in zip(chosen, masks, strict=False):
            if bool(mask.any()):
                graph = _joined(graph, _only(records, mask))
        added = graph.num_items - split.train.shape[0]
        grown = Split(
            torch.cat([split.train, torch.ones(added, dtype=torch.bool)]),
            torch.cat([split.val, torch.zeros(added, dtype=torch.bool)]),
            torch.cat([split.test, torch.zeros(added, dtype=torch.bool)]),
            spec=split.spec,
            seed=split.seed,
        )
        return with_data(self.target, graph, grown)

    def scores(self, trained: Target) -> Tensor:
        """Minus the loss of each canary, float64 [m]."""
        own = _scored(trained, self.records)
        return own if self.twins is None else own - _scored(trained, self.twins)


def _scored(trained: Target, records: Graph) -> Tensor:
    found = []
    with torch.no_grad():
        for start in range(0, records.num_items, _BLOCK):
            mask = torch.zeros(records.num_items, dtype=torch.bool)
            mask[start : start + _BLOCK] = True
            part = _only(records, mask)
            found.append(
                negative_losses(trained.logits(part.x, part.edge_index, None, part.batch, part.fields), part.y)
            )
    return torch.cat(found)


def _paths(shape: list[int], mean: Tensor, std: Tensor, classes: int, like: Graph, rng: np.random.Generator) -> Graph:
    sizes = torch.tensor(shape)
    batch = torch.repeat_interleave(torch.arange(len(shape)), sizes)
    n = int(sizes.sum())
    noise = torch.from_numpy(rng.standard_normal((n, mean.shape[0])))
    x = (mean.double() + std.double() * noise).to(like.x.dtype)
    inner = torch.nonzero(batch[1:] == batch[:-1]).flatten()
    edge_index = torch.cat([torch.stack([inner, inner + 1]), torch.stack([inner + 1, inner])], dim=1)
    return Graph(x, edge_index, torch.from_numpy(rng.integers(0, classes, len(shape))), batch=batch, name="canaries")


def _only(graph: Graph, items: Tensor) -> Graph:
    """The graphs under `items`, bool [B]."""
    assert graph.batch is not None
    return graph.induced(torch.nonzero(items[graph.batch]).flatten())


def _joined(first: Graph, second: Graph) -> Graph:
    """Both sets side by side."""
    assert first.batch is not None
    assert second.batch is not None
    weight = None
    if first.edge_weight is not None:
        weight = torch.cat([first.edge_weight, torch.ones(second.num_edges, dtype=first.edge_weight.dtype)])
    return replace(
        first,
        x=torch.cat([first.x, second.x]),
        edge_index=torch.cat([first.edge_index, second.edge_index + first.num_nodes], dim=1),
        y=torch.cat([first.y, second.y]),
        edge_weight=weight,
        batch=torch.cat([first.batch, second.batch + first.num_items]),
    )
