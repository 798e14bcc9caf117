"""The victim adaptor: a differentiable weight on every edge, for any message-passing model (adversarial spec 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from auditor.data.graph import Graph, Task

if TYPE_CHECKING:
    from auditor.targets.target import ModelHandle

Rung = Literal["native", "mask", "adaptor", "ranking", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class Relaxation:
    """One rung of the ladder, with the gap that chose it."""

    rung: Rung
    gap: float
    handle: ModelHandle

    @classmethod
    def choose(cls, handle: ModelHandle, *, num_features: int, task: Task, graph: Graph | None = None) -> Relaxation:
        """The first rung with gap <= 1e-4 and a non-zero gradient at weight 0, tried on `graph` or a synthetic one."""
        raise NotImplementedError

    def logits(self, x: Tensor, edge_index: Tensor, weight: Tensor, batch: Tensor | None = None) -> Tensor:
        """Logits with each arc of edge_index [2, E] scaled by weight [E] in [0, 1]; 0 means the arc is absent."""
        raise NotImplementedError

    def embeddings(self, x: Tensor, edge_index: Tensor, weight: Tensor, batch: Tensor | None = None) -> Tensor:
        """The same, input of the last message-passing layer [N, d]."""
        raise NotImplementedError
