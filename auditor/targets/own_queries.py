"""The model on a graph of the adversary's own: what it answers about some of the nodes, counted."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from auditor.data.graph import Graph


class OwnQueries:
    """Answers about nodes of a graph that the adversary holds, with edges of its choice.

    Attributes:
        ids: the nodes as the private graph numbers them, int64 [n].
        graph: the nodes with their features, and the edges among them; labels are blanked.
        nodes: of these nodes, by their place in `graph`, answers are given, int64 [q], in random order.
        outputs: kind of the answers, `probs` or `logits`.
        is_coarse: whether they are coarser than what the model computes: rounded, cut or down to the class.
        asked: graphs asked about so far.
        spent: answers given so far.
    """

    def __init__(
        self,
        ids: Tensor,
        graph: Graph,
        nodes: Tensor,
        answers: Callable[[Tensor], Tensor],
        *,
        outputs: str = "probs",
        is_coarse: bool = False,
    ) -> None:
        self.ids, self.graph, self.nodes, self.outputs, self.is_coarse = ids, graph, nodes, outputs, is_coarse
        self._answers = answers
        self.asked = self.spent = 0

    def ask(self, edge_index: Tensor) -> Tensor:
        """What is answered about `nodes` on these nodes with edges int64 [2, E'], float64 [q, C]."""
        self.asked += 1
        self.spent += self.nodes.numel()
        return self._answers(edge_index)[self.nodes]

    def first(self, count: int) -> OwnQueries:
        """The same for the first `count` of `nodes`, nothing spent yet."""
        return OwnQueries(
            self.ids, self.graph, self.nodes[:count], self._answers, outputs=self.outputs, is_coarse=self.is_coarse
        )

    def answered_by(self, labels: Tensor, num_classes: int) -> OwnQueries:
        """The same questions answered with labels, int64 [n], in place of the model; -1 for one that nobody knows."""
        known = functional.one_hot(labels.clamp_min(0), num_classes).double()
        return OwnQueries(self.ids, self.graph, self.nodes, lambda _: known, is_coarse=True)
