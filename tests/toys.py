"""Tiny targets that train in under a second: an SBM graph, a set of small graphs. And an observer that says nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GIN, global_add_pool
from torch_geometric.nn.models import GAT, GCN, GraphSAGE

from auditor.data.graph import Graph, Split
from auditor.document import CellRow
from auditor.runner.plan import PlannedCell
from auditor.targets.target import Capability, Fitted, Target

ALL = frozenset(Capability)


def sbm_graph(n: int = 120, classes: int = 3, degree: float = 6.0, mixing: float = 0.15, seed: int = 0) -> Graph:
    """A homophilic graph with binary features that carry part of the class."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    u, v = np.triu_indices(n, 1)
    same = y[u] == y[v]
    p = np.where(same, (1 - mixing) * classes, mixing * classes / (classes - 1)) * degree / n
    keep = rng.random(u.shape[0]) < p
    edge_index = torch.from_numpy(np.stack([np.r_[u[keep], v[keep]], np.r_[v[keep], u[keep]]])).long()
    x = (rng.random((n, 8 * classes)) < 0.1).astype(np.float32)
    for c in range(classes):
        block = slice(8 * c, 8 * c + 8)
        x[y == c, block] = (rng.random((int((y == c).sum()), 8)) < 0.3).astype(np.float32)
    return Graph(torch.from_numpy(x), edge_index, torch.from_numpy(y).long(), name="toy-sbm")


def small_graphs(count: int = 120, seed: int = 0) -> Graph:
    """Cycles (class 0) against trees with one extra edge pair (class 1), 6 to 14 nodes, constant features + noise."""
    rng = np.random.default_rng(seed)
    xs, edges, batch, ys, start = [], [], [], [], 0
    for b in range(count):
        n, label = int(rng.integers(6, 15)), b % 2
        if label == 0:
            pairs = [(i, (i + 1) % n) for i in range(n)]
        else:
            pairs = [(int(rng.integers(0, i)), i) for i in range(1, n)]
        arcs = np.array(pairs + [(v, u) for u, v in pairs]).T + start
        edges.append(arcs)
        xs.append(np.c_[np.ones(n), rng.normal(0, 0.3, n)])
        batch += [b] * n
        ys.append(label)
        start += n
    return Graph(
        torch.from_numpy(np.concatenate(xs)).float(),
        torch.from_numpy(np.concatenate(edges, axis=1)).long(),
        torch.tensor(ys),
        batch=torch.tensor(batch),
        name="toy-graphs",
    )


def random_split(items: int, train: float = 0.3, val: float = 0.2, seed: int = 0) -> Split:
    order = np.random.default_rng(seed).permutation(items)
    a, b = int(train * items), int((train + val) * items)
    masks = []
    for part in (order[:a], order[a:b], order[b:]):
        mask = torch.zeros(items, dtype=torch.bool)
        mask[torch.from_numpy(part)] = True
        masks.append(mask)
    return Split(*masks, spec=f"random:{train}/{val}", seed=seed)


class GraphGIN(nn.Module):
    """GIN with sum pooling and a linear head."""

    def __init__(self, f: int, h: int, c: int) -> None:
        super().__init__()
        self.gin = GIN(f, h, num_layers=2)
        self.head = nn.Linear(h, c)

    def forward(self, x, edge_index, batch):
        return self.head(global_add_pool(self.gin(x, edge_index), batch))


_FITTED: dict[tuple[Any, ...], nn.Module] = {}
"""Many tests train the same model: it is trained once, and each of them gets a copy."""


@dataclass(frozen=True)
class ToyRecipe:
    build: Callable[[], nn.Module]
    epochs: int = 60

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        key = (self.build, self.epochs, seed, graph.digest(), str(graph.x.device), split.train.cpu().numpy().tobytes())
        if key not in _FITTED:
            _FITTED[key] = self._trained(graph, split, seed)
        return Fitted(copy.deepcopy(_FITTED[key]))

    def _trained(self, graph: Graph, split: Split, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = self.build()
            optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
            for _ in range(self.epochs):
                model.train()
                optimizer.zero_grad()
                extra = {} if graph.batch is None else {"batch": graph.batch}
                out = model(graph.x, graph.edge_index, **extra)
                functional.cross_entropy(out[split.train], graph.y[split.train]).backward()
                optimizer.step()
        return model.eval()

    def describe(self) -> Mapping[str, Any]:
        return {"optimizer": "adam", "epochs": self.epochs}


@cache  # one function for one model: what is trained is known by it
def builder(arch: str, f: int, c: int, hidden: int = 16) -> Callable[[], nn.Module]:
    return {
        "gcn": lambda: GCN(f, hidden, 2, c, dropout=0.3),
        "gat": lambda: GAT(f, hidden, 2, c, heads=2, dropout=0.3),
        "sage": lambda: GraphSAGE(f, hidden, 2, c, dropout=0.3),
        "gin": lambda: GIN(f, hidden, 2, c, dropout=0.3, act="elu"),  # sums of ReLUs die on this graph
        "graph-gin": lambda: GraphGIN(f, hidden, c),
        "mlp": lambda: MLP(f, hidden, c),
    }[arch]


class MLP(nn.Module):
    """Ignores its edges: the null target of every structural probe."""

    def __init__(self, f: int, h: int, c: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(f, h), nn.ReLU(), nn.Linear(h, c))

    def forward(self, x, edge_index):
        return self.layers(x)


def toy_target(arch: str = "gcn", *, graph: Graph | None = None, seed: int = 0, epochs: int = 60) -> Target:
    """A trained target on `graph` (default: the SBM, or the small graphs for `graph-gin`)."""
    graph = graph or (small_graphs() if arch == "graph-gin" else sbm_graph())
    classes = int(graph.y.max()) + 1
    build = builder(arch, graph.num_features, classes)
    recipe = ToyRecipe(build, epochs)
    split = random_split(graph.num_items)
    return Target(
        name=f"toy-{arch}",
        graph=graph,
        split=split,
        num_classes=classes,
        capabilities=ALL if arch != "mlp" else ALL - {Capability.GRAD_EDGE, Capability.EMBEDDINGS},
        kind="factory",
        digest=f"toy-{arch}-{seed}",
        provenance={},
        model=recipe.fit(graph, split, seed).model,
        build=build,
        recipe=recipe,
    )


class Silent:
    """An observer of runs that keeps the rows it is told of."""

    def __init__(self) -> None:
        self.rows: list[CellRow] = []

    def planned(self, cells: Sequence[PlannedCell]) -> None: ...

    def started(self, cell: PlannedCell) -> None: ...

    def tick(self, fraction: float | None, note: str, cell: PlannedCell | None = None) -> None: ...

    def finished(self, row: CellRow) -> None:
        self.rows.append(row)
