"""What a model says of one node on edited graphs, asked about its surroundings alone: an edit far away is not seen.

A model of L layers of message passing reads L steps around a node, and degrees one step further. That is tried, never
believed: at the first node the whole graph is asked as well, and where the answers differ (a norm over all nodes, a
virtual node, a row per node) only whole graphs are asked from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from attacks.robustness.losses import margins
from attacks.robustness.soft_flips import Victim
from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import apart, scale_of
from auditor.targets.surroundings import around, joined, reach_of

TOLERANCE = 1e-4


class Near:
    """Margins of single nodes after flips, on really edited edges.

    Attributes:
        victim: the model and the clean graph.
        hops: steps around a node that its answer depends on.
        agrees: whether surroundings gave the answers of the whole graph; None before they were tried.
    """

    def __init__(self, victim: Victim) -> None:
        self.victim = victim
        self.hops = reach_of(victim.relaxation.handle.model)
        self.agrees: bool | None = None

    def margins(self, node: int, y: Tensor, sets: Sequence[Tensor]) -> Tensor:
        """Margin of `node` (label y, int64 [1]) on the graph with each set of keys toggled, [sets].

        An answer that is not finite is wrong: −inf.
        """
        graphs = [self.victim.space.toggled(keys) for keys in sets]
        answers = self._around(node, graphs) if self.agrees is not False else None
        if answers is None or self.agrees is None:
            whole = torch.cat([self._asked(graph)[node : node + 1] for graph in graphs])
            if self.agrees is None:
                near = answers is not None and float(apart(answers, whole).max()) <= TOLERANCE * scale_of(whole)
                self.agrees = near
            answers = whole
        left = margins(self.victim.outputs.read(answers), y.expand(len(sets)))
        return torch.where(torch.isfinite(answers).all(dim=1), left, torch.tensor(float("-inf")))

    def _around(self, node: int, graphs: Sequence[Graph]) -> Tensor | None:
        """Answers from the surroundings of the node in each graph, side by side; None where that is no saving."""
        parts, places, filled = [], [], 0
        try:
            for graph in graphs:
                ids = around(graph, torch.tensor([node]), self.hops)
                filled += ids.numel()
                if filled > max(graph.num_nodes, 1000) and self.agrees:
                    return None
                parts.append(graph.induced(ids))
                places.append(filled - ids.numel() + int(torch.searchsorted(ids, node)))
            return self._asked(joined(parts))[places]
        except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
            return None

    def _asked(self, graph: Graph) -> Tensor:
        if graph.x is self.victim.space.graph.x:
            ask = self.victim.relaxation.exact_logits
        else:
            ask = self.victim.relaxation.handle.logits  # leaves what is remembered of the whole graph's features
        with torch.no_grad():
            return ask(graph.x, graph.edge_index, graph.edge_weight, None, graph.fields)
