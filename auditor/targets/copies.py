"""One node on many edited graphs, asked in few calls: copies of what reads the edit stand beside the graph as it is.

Flips around a node v change what v is told by the nodes that it reads within L - 1 steps, L layers of message passing,
and by the ends of the flips. Those are copied for each set of flips; everything else that a copy reads is the same in
every set, and stands there once. Copies read nodes of the graph, no node of the graph reads a copy: so the graph as it
is keeps its answers, and the copy of v answers as v would on the edited graph.

That holds where an answer is made of messages along arcs and of what each node receives. It is tried, never believed:
whoever asks compares some answers with those on really edited graphs (`agree_with`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.data.keys import distinct
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import apart, scale_of
from auditor.targets.surroundings import ByEnd, reach_of

LEAST = 1000
"""Copies that fit into a call at least, however small the graph."""
TOLERANCE = 1e-4
"""Of the scale of the outputs: what sums in another order may differ by."""
Ask = Callable[[Graph], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """What is needed to ask one model about sets of flips.

    Attributes:
        space: pairs of the clean graph.
        steps: layers of message passing less one, L - 1.
        into: arcs by the node that they lead to.
    """

    space: EdgeSpace
    steps: int
    into: ByEnd

    @classmethod
    def of(cls, space: EdgeSpace, model: nn.Module) -> Copies:
        """For a model on the graph of `space`."""
        into = ByEnd.of(space.graph.edge_index[1], space.graph.num_nodes)
        return cls(space, max(0, reach_of(model) - 2), into)

    def answers(self, node: int, sets: Sequence[Tensor], ask: Ask) -> Tensor | None:
        """What is answered about `node` once each set of keys is toggled, [sets, C].

        None where a graph cannot be asked so: its arcs or nodes hold other fields, several graphs are one batch, copies
        for one set are no saving, or the model knows its own graph alone.

        Args:
            node: asked about.
            sets: distinct keys each, int64 [<= few].
            ask: the model, from a graph to its outputs [N', C].
        """
        if self.space.graph.fields or self.space.graph.batch is not None or not sets:
            return None
        found = []
        for slots, copied in self._pieces(node, sets):
            if copied is None:
                return None
            graph, places = self._beside(node, [sets[slot] for slot in slots], copied)
            try:
                found.append(ask(graph)[places])
            except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
                return None
        return torch.cat(found)

    def agree_with(self, node: int, sets: Sequence[Tensor], ask: Ask, answers: Tensor) -> bool:
        """Whether answers [sets, C] are those on the really edited graphs, each of which is asked about."""
        whole = torch.cat([ask(self.space.toggled(keys))[node : node + 1] for keys in sets])
        return float(apart(answers, whole).max()) <= TOLERANCE * scale_of(whole)

    def _pieces(self, node: int, sets: Sequence[Tensor]) -> Iterator[tuple[range, Tensor | None]]:
        """The sets in pieces whose copies are about as many as nodes, and the copies of each (slot * N + node)."""
        n, at = self.space.graph.num_nodes, 0
        most, size = max(n, LEAST), 8
        while at < len(sets):
            slots = range(at, min(at + size, len(sets)))
            copied = self._copied(node, [sets[slot] for slot in slots])
            if copied.numel() > max(most, len(slots)) and len(slots) > 1:
                size = max(1, len(slots) // 2)
                continue
            yield slots, None if copied.numel() > most // 2 and len(slots) == 1 else copied
            at += len(slots)
            size = max(1, most * len(slots) // (2 * copied.numel()))

    def _copied(self, node: int, sets: Sequence[Tensor]) -> Tensor:
        """What is copied for each set: ends of its flips, and what `node` reads within L - 1 steps, sorted int64."""
        n, slot, u, v = self._flips(sets)
        reached = torch.arange(len(sets)) * n + node
        for _ in range(self.steps):
            arcs, whose = self.into.at(reached % n)
            read = [reached, reached[whose] // n * n + self.space.graph.edge_index[0, arcs]]
            for a, b in ((u, v), (v, u)):
                read.append((slot * n + a)[torch.isin(slot * n + b, reached)])
            reached = distinct(torch.cat(read))
        return distinct(torch.cat([reached, slot * n + u, slot * n + v]))

    def _flips(self, sets: Sequence[Tensor]) -> tuple[int, Tensor, Tensor, Tensor]:
        """(N, set of each flip, both ends)."""
        sizes = torch.tensor([keys.numel() for keys in sets])
        u, v = self.space.ends(torch.cat(list(sets)))
        return self.space.graph.num_nodes, torch.arange(len(sets)).repeat_interleave(sizes), u, v

    def _beside(self, node: int, sets: Sequence[Tensor], copied: Tensor) -> tuple[Graph, Tensor]:
        """The graph with its copies behind it, and where `node` stands in each set, int64 [sets]."""
        graph, (n, slot, u, v) = self.space.graph, self._flips(sets)
        keys = torch.cat(list(sets))

        def place(slots: Tensor, nodes: Tensor) -> Tensor:
            """The copy where there is one, else the node itself."""
            wanted = slots * n + nodes
            at = torch.searchsorted(copied, wanted).clamp_max(copied.numel() - 1)
            return torch.where(copied[at] == wanted, n + at, nodes)

        arcs, whose = self.into.at(copied % n)
        source, of = graph.edge_index[0, arcs], copied[whose] // n
        gone = self.space.exists(keys)
        # Each set has numbers of its own for its pairs: an edge that is toggled in one is there in the others.
        number = of * n * n + self.space.keys(source, copied[whose] % n)
        kept = ~torch.isin(number, (slot * n * n + keys)[gone])
        kept |= source == copied[whose] % n
        arcs, source, of, whose = arcs[kept], source[kept], of[kept], whose[kept]
        slot, u, v = slot[~gone], u[~gone], v[~gone]
        ends = [(u, v)] if self.space.directed else [(u, v), (v, u)]
        heads = [place(of, source), *(place(slot, a) for a, _ in ends)]
        tails = [n + whose, *(place(slot, b) for _, b in ends)]
        more = torch.stack([torch.cat(heads), torch.cat(tails)])
        weight = graph.edge_weight
        if weight is not None:
            weight = torch.cat([weight, weight[arcs], weight.median().expand(slot.numel() * len(ends))])
        nodes = torch.cat([torch.arange(n), copied % n])
        made = replace(
            graph,
            x=graph.x[nodes],
            y=graph.y[nodes],
            edge_index=torch.cat([graph.edge_index, more], dim=1),
            edge_weight=weight,
        )
        return made, place(torch.arange(len(sets)), torch.full((len(sets),), node))
