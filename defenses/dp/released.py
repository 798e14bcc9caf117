"""What `edge-rand` and `lap-graph` share: the mechanism releases a graph, and the target's own recipe is trained on it.

Training and serving on the released graph are post-processing. The private edges are read once, by the mechanism.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.graph import Graph
from auditor.defense import DefenseTask
from auditor.errors import CapabilityError, LoadError, SkippedError
from auditor.guarantee import Guarantee, Level
from auditor.parameters import parameters, spec_of
from auditor.targets.target import Fitted, Target
from defenses.dp.edge_free import edge_free, without_edge_gradient
from defenses.dp.pairs import Cells, cells_of, contains, edge_cells, pairs_row, with_cells
from defenses.fitting import rebuilt, refuse_second, train_afresh

NOT_PROTECTED = ("features", "labels", "node set")
PUBLIC_COUNT = "the number of edges is treated as public"
EDGES = "served.edge_index"


@parameters
class ReleasesGraph(ABC):
    """Edge-level DP by a noisy graph; a subclass says how it is drawn.

    Attributes:
        epsilon: ε > 0, pure (δ = 0).
        hops: `auto` (the released graph serves every layer), or `0` for the control: no edges at all, ε = 0, the plain
            recipe.
    """

    epsilon: Annotated[float, Field(gt=0)] = 8.0
    hops: Literal["auto", "0"] = "auto"

    id: ClassVar[str]
    version: ClassVar[str] = "1"
    level: ClassVar[Level] = "edge"
    releases: ClassVar[tuple[str, ...]] = ("released", "posteriors")

    @abstractmethod
    def draw(self, edges: Cells, num_nodes: int, rng: np.random.Generator, noise_scale: float) -> Cells:
        """The mechanism: cells of the released edges, distinct, from those of the true ones (sorted, distinct)."""

    @abstractmethod
    def mechanism(self) -> Mapping[str, Any]:
        """What the Guarantee's ε follows from."""

    @abstractmethod
    def check_density(self, edges: int, num_nodes: int) -> None:
        """Raises ConfigError where the released graph would be too large to hold, with what would fit."""

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        self.planned(target, task)
        return self._served(train_afresh(self, target, task))

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `auditor.mechanism.PrivateDefense`."""
        refuse_second(self, target)
        if target.task.level != "node":
            raise SkippedError(f"{self.id} releases one graph with private edges; this target classifies many graphs.")
        graph = target.private_graph
        edges = int(graph.pair_keys().numel())
        if self._edge_free:
            epsilon, mechanism = 0.0, {"name": "no edges"}
        else:
            self.check_density(edges, graph.num_nodes)
            epsilon, mechanism = self.epsilon, dict(self.mechanism())
        return Guarantee(
            level="edge",
            relation="flip-pair",
            epsilon=epsilon,
            delta=0.0,
            accountant="pure",
            mechanism=mechanism,
            units=max(1, edges),
            covers=("training", "inference"),
            not_protected=NOT_PROTECTED,
            caveats=(PUBLIC_COUNT,),
            noise_seed=task.noise_seed,
        )

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`: the recipe on a freshly released graph."""
        assert base.recipe is not None  # train_afresh looked
        start = time.perf_counter()
        private = base.private_graph
        guarantee = self.planned(base, task)
        edges = edge_cells(private)
        cells = self._release(edges, private.num_nodes, task)
        released = with_cells(private, cells)
        task.tick(0.1, f"training on {cells.size} released edges")
        model = base.recipe.fit(released, base.split, task.seed).model
        model = edge_free(model) if self._edge_free else model
        notes = {"released_edges": int(cells.size), "seconds": time.perf_counter() - start}
        if not task.release:  # shares of true edges are private: for evaluation only
            kept = int(contains(np.sort(cells), edges).sum())
            notes |= {"true_edges_kept": kept / max(1, edges.size), "precision": kept / max(1, cells.size)}
        return Fitted(model, notes, released=released, guarantee=guarantee, validity=(pairs_row(private),))

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; the saved released graph is what the model runs on."""
        if EDGES not in tensors:
            raise LoadError(
                f"{spec_of(self)}: no edge_index was found in served.safetensors; expected the released graph beside "
                "the weights. Restore the file, or fit the defence again."
            )
        own = {name: value for name, value in tensors.items() if name != EDGES}
        graph = _checked(tensors[EDGES], base.private_graph, spec_of(self))
        target = rebuilt(self, base, own, task, head=False)
        made = hashlib.sha256(f"{target.digest}{graph.digest()}".encode()).hexdigest()
        model = edge_free(target.model) if self._edge_free else target.model
        served = target.fitted(Fitted(model, released=graph), base.private_graph, base.split, task.seed)
        return self._served(replace(served, digest=made))

    def controls(self) -> tuple[str, ...]:
        """Two edge-free models; the better one is the control."""
        return () if self._edge_free else (f"{self.id}:hops=0", "gap:hops=0")

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: 1 for a released pair, 0 for any other."""
        private = target.private_graph
        released = np.sort(self._release(edge_cells(private), private.num_nodes, task))
        return torch.from_numpy(contains(released, cells_of(pairs)).astype(np.float64))

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: nothing is summed here.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            f'{self.id} releases a graph once and has no noisy gradient sums; access "mechanism" was asked for, '
            f"expected one of {', '.join(self.releases)}."
        )

    @property
    def _edge_free(self) -> bool:
        return self.hops == "0"

    def _served(self, target: Target) -> Target:
        return without_edge_gradient(target) if self._edge_free else replace(target)

    def _release(self, edges: Cells, num_nodes: int, task: DefenseTask) -> Cells:
        if self._edge_free:
            return edges[:0]
        return self.draw(edges, num_nodes, task.noise_rng(self.id), task.noise_scale)


def _checked(edge_index: Tensor, private: Graph, spec: str) -> Graph:
    """The released graph from a file's tensor.

    Raises:
        LoadError: not int64 [2, E], ids out of range, loops, repeated arcs, or an arc without its reverse.
    """
    n = private.num_nodes

    def refuse(found: str, expected: str) -> LoadError:
        return LoadError(
            f"{spec}: edge_index in served.safetensors {found}; expected {expected}. The file was changed, or belongs "
            "to another graph: restore it, or fit the defence again."
        )

    if edge_index.dtype != torch.int64 or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise refuse(f"is {edge_index.dtype} {list(edge_index.shape)}", "int64 [2, E]")
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < n:
        raise refuse(f"holds ids from {int(edge_index.min())} to {int(edge_index.max())}", f"ids in [0, {n})")
    graph = private.with_edges(edge_index)
    loops = int((edge_index[0] == edge_index[1]).sum())
    if loops:
        raise refuse(f"holds {loops} self-loops", "none")
    if graph.arc_keys().numel() != graph.num_edges:
        raise refuse(f"repeats {graph.num_edges - graph.arc_keys().numel()} arcs", "each arc once")
    if not graph.is_undirected:
        raise refuse("holds arcs without their reverse", "an undirected graph")
    return graph
