"""What a model says of one node on edited graphs, asked about its surroundings alone: an edit far away is not seen.

A model of L layers of message passing reads L steps around a node, and degrees one step further. That is tried, never
believed: at every node before it has a flip, and where surroundings first cut arcs off, answers are compared with those
of the whole graph, and where they differ (a norm over all nodes, a virtual node, a row per node, layers that run
several times) only whole graphs are asked from then on. So it is with gradients, which are taken from the surroundings
where the layers add up or average their neighbours, on a large graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from attacks.robustness.losses import margins
from attacks.robustness.soft_flips import Victim
from attacks.robustness.sparse_near import SparseNear
from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import apart, scale_of
from auditor.targets.surroundings import Parts, joined, reach_of

TOLERANCE = 1e-4
SLOPES = 1e-3
"""Of the largest gradient: what those of surroundings may be off."""


class Near:
    """Margins of single nodes after flips, on really edited edges, and where further flips would take them.

    Attributes:
        victim: the model and the clean graph.
        hops: steps around a node that its answer depends on.
        agreed: whether surroundings gave the answers of the whole graph, those that cut arcs off and those that do not;
            empty before they were tried.
        follows: whether they gave its gradients, without flips and with some; empty before they were tried.
    """

    def __init__(self, victim: Victim) -> None:
        self.victim = victim
        self.hops = reach_of(victim.relaxation.handle.model)
        self.agreed: dict[bool, bool] = {}
        self.follows: dict[bool, bool] = {}
        self.parts = Parts.of(victim.space)
        self._sparse = None if victim.sparse is None else SparseNear.of(victim.sparse, self.parts)

    @property
    def agrees(self) -> bool:
        """Whether surroundings gave the answers of the whole graph wherever that was tried."""
        return all(self.agreed.values())

    def margins(self, node: int, y: Tensor, sets: Sequence[Tensor]) -> Tensor:
        """Margin of `node` (label y, int64 [1]) on the graph with each set of keys toggled, [sets].

        An answer that is not finite is wrong: −inf.
        """
        answers = self._around(node, sets) if self.agrees else None
        cuts = self._cuts(node, sets)
        is_clean = not any(keys.numel() for keys in sets)
        if answers is None or is_clean or cuts not in self.agreed:
            whole = torch.cat([self._whole(keys)[node : node + 1] for keys in sets])
            if is_clean or cuts not in self.agreed:
                near = answers is not None and float(apart(answers, whole).max()) <= TOLERANCE * scale_of(whole)
                self.agreed[cuts] = near and self.agreed.get(cuts, True)
            answers = whole
        left = margins(self.victim.outputs.read(answers), y.expand(len(sets)))
        return torch.where(torch.isfinite(answers).all(dim=1), left, torch.tensor(float("-inf")))

    @cached_property
    def _clean(self) -> Tensor:
        return self._asked(self.victim.space.graph)

    def _whole(self, keys: Tensor) -> Tensor:
        """Answers about all nodes on the whole graph; of the clean one it is asked once."""
        return self._asked(self.victim.space.toggled(keys)) if keys.numel() else self._clean

    def promised(self, one: Victim, path: Tensor, others: Tensor, rivals: int) -> Tensor:
        """How far above the true class another one would be if a pair kept its gradient, the most of any, [R].

        Args:
            one: the victim with a single attacked item.
            path: flips that are made, int64 [k].
            others: pairs, int64 [R].
            rivals: other classes that are followed, those of the largest outputs.
        """
        near = self._followed(one, path, others, rivals) if all(self.follows.values()) else None
        if near is not None and bool(path.numel()) in self.follows:
            return (near[0][:, None] + near[1]).max(dim=0).values
        values, gradients = _followed_whole(one, path, others, rivals)
        if self._sparse is not None:
            self.follows[bool(path.numel())] = near is not None and _alike(near, (values, gradients))
        return (values[:, None] + gradients).max(dim=0).values

    def _followed(self, one: Victim, path: Tensor, others: Tensor, rivals: int) -> tuple[Tensor, Tensor] | None:
        """As `_followed_whole`, from surroundings; None where that cannot be."""
        if self._sparse is None:
            return None
        try:
            return self._sparse.ahead(int(one.items), int(one.y), path, others, one.outputs, rivals)
        except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
            return None

    def _cuts(self, node: int, sets: Sequence[Tensor]) -> bool:
        """Whether surroundings of the node after a set cut arcs off; not looked at once such ones were tried.

        Layers on sparse products are counted as they run, so that no more is read than is known.
        """
        if self._sparse is not None or True in self.agreed:
            return True
        around = ((self.parts.around(torch.tensor([node]), keys, self.hops), keys) for keys in sets)
        return any(self.parts.cut_off(self.parts.part(*each), *each) > 0 for each in around)

    def _around(self, node: int, sets: Sequence[Tensor]) -> Tensor | None:
        """Answers from the surroundings of the node after each set, several at once; None where it is no saving."""
        found: list[Tensor] = []
        parts: list[Graph] = []
        places: list[int] = []
        most, filled = max(self.victim.space.graph.num_nodes, 1000), 0
        try:
            if self._sparse is not None:
                return torch.cat([self._sparse.logits(node, keys) for keys in sets])
            for keys in sets:
                ids = self.parts.around(torch.tensor([node]), keys, self.hops)
                if parts and filled + ids.numel() > most:
                    if 2 * ids.numel() > most and True in self.agreed:
                        return None
                    found.append(self._asked(joined(parts))[places])
                    parts, places, filled = [], [], 0
                parts.append(self.parts.part(ids, keys))
                places.append(filled + int(torch.searchsorted(ids, node)))
                filled += ids.numel()
            return torch.cat([*found, self._asked(joined(parts))[places]])
        except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
            return None

    def _asked(self, graph: Graph) -> Tensor:
        if graph.x is self.victim.space.graph.x:
            ask = self.victim.relaxation.exact_logits
        else:
            ask = self.victim.relaxation.handle.logits  # leaves what is remembered of the whole graph's features
        with torch.no_grad():
            return ask(graph.x, graph.edge_index, graph.edge_weight, None, graph.fields)


def _followed_whole(one: Victim, path: Tensor, others: Tensor, rivals: int) -> tuple[Tensor, Tensor]:
    """(how far the largest other classes are above the true one [C'], gradients of that by each pair [C', R])."""
    scores = one.outputs.read(one.logits(path))
    largest = scores.scatter(1, one.y.unsqueeze(1), float("-inf"))
    values, gradients = [], []
    for rival in torch.topk(largest, min(rivals, scores.shape[1] - 1), dim=1).indices[0].tolist():
        gradient, value = one.gradient_at_zero(path, torch.ones(path.numel()), others, partial(_ahead, rival=rival))
        values.append(value)
        gradients.append(gradient[path.numel() :])
    return torch.tensor(values), torch.stack(gradients)


def _ahead(z: Tensor, y: Tensor, *, rival: int) -> Tensor:
    """How far the class `rival` is above the true one."""
    return (z[:, rival] - z.gather(1, y.unsqueeze(1)).squeeze(1)).mean()


def _alike(near: tuple[Tensor, Tensor], whole: tuple[Tensor, Tensor]) -> bool:
    """Whether both follow classes equally far behind, in the same directions."""
    values, gradients = (float(apart(a, b).max()) for a, b in zip(near, whole, strict=True))
    return values <= TOLERANCE * scale_of(whole[0]) and gradients <= SLOPES * float(whole[1].abs().max())
