"""What no search can miss: every single flip is tried, where that is cheap, and a search is held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.edits import EdgeSpace, select_graphs
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.registry import Profile
from auditor.targets.copies import Copies

ITEMS: Mapping[Profile, int] = {"quick": 0, "standard": 10, "full": 10}
"""Items at which every single flip is tried."""
MOST_NODES = 5_000
"""Nodes of a graph up to which every flip at a node is tried."""
MOST_IN_GRAPH = 60
"""Nodes of one of many graphs up to which every flip in it is tried."""
TRIED_WHOLE = 4
"""Answers from copies that are compared with really edited graphs, at each node."""


class Oracle:
    """Tries every single flip at single nodes; what it says that breaks one is verified like any claim.

    Args:
        verifier: whose model is asked.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._copies = Copies.of(verifier.space, verifier.handle.model)
        self._agrees = True

    def breaking(self, place: int) -> Tensor | None:
        """The single flip at the attacked node at `place` that leaves least of its margin, if that breaks it.

        Returns:
            Its key, int64 [1]; None where no single flip breaks the node.
        """
        node = int(self._verifier.items[place])
        keys = self._verifier.space.at(node)
        left = self._margins(node, keys)
        for i in torch.argsort(left, stable=True).tolist():
            if float(left[i]) > 0:
                break
            if not self._verifier.check(FlipSet(1, keys[i : i + 1])).correct[place]:
                return keys[i : i + 1]
        return None

    def _margins(self, node: int, keys: Tensor) -> Tensor:
        """Margin of a node after each flip, [K]; −inf where an answer is not finite."""
        graph, sets = self._verifier.space.graph, list(keys[:, None])
        answers = self._copies.answers(node, sets, self._verifier.logits) if self._agrees else None
        if answers is not None:
            some = torch.linspace(0, len(sets) - 1, TRIED_WHOLE).long().tolist()
            self._agrees = self._copies.agree_with(node, [sets[i] for i in some], self._verifier.logits, answers[some])
        if answers is None or not self._agrees:
            edited = (self._verifier.space.toggled(one) for one in sets)
            answers = torch.cat([self._verifier.logits(one)[node : node + 1] for one in edited])
        left = graph.task.margin(answers, graph.y[node].expand(len(sets)))
        return torch.where(torch.isfinite(answers).all(dim=1), left, torch.tensor(float("-inf")))


def graphs_broken(verifier: Verifier, places: Sequence[int]) -> NDArray[np.bool_]:
    """Which of the attacked graphs at these places some single flip breaks, bool [places]: every one is tried.

    The graphs do not see each other, so that one call tries a flip in each of them.
    """
    space = verifier.space
    inside = [_inside(space, int(verifier.items[place])) for place in places]
    broken = np.zeros(len(places), dtype=np.bool_)
    for i in range(max((keys.numel() for keys in inside), default=0)):
        going = [k for k, keys in enumerate(inside) if i < keys.numel() and not broken[k]]
        if going:
            keys = torch.stack([inside[k][i] for k in going])
            right = verifier.check(FlipSet(len(going), keys)).correct
            broken[[k for k in going if not right[places[k]]]] = True
    return broken


def _inside(space: EdgeSpace, item: int) -> Tensor:
    """Keys of everything that can be toggled in one of many graphs."""
    graph, nodes = select_graphs(space.graph, torch.tensor([item]))
    own = EdgeSpace.of(graph)
    u, v = own.ends(own.sample(own.num_ordered, np.random.default_rng(0)))
    return nodes[u] * space.graph.num_nodes + nodes[v]
