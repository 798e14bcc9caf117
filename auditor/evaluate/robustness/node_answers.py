"""Answers about single nodes on really edited graphs, several of them in one call where the model allows that.

A model of L layers of message passing reads L steps around a node, and degrees one step further: the surroundings of
several nodes, side by side and with no edge between them, get in one call what each would get from its whole graph.
That is tried, never believed. In each call one answer is compared with the one on the whole graph, that of the part
with most arcs cut off; the first difference ends it, and everything is asked again on whole graphs. An answer so close
to the boundary that rounding could decide it is asked on the whole graph in any case.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import AuditorError
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import TOLERANCE, apart, scale_of
from auditor.targets.surroundings import Parts, joined, reach_of

LEAST = 1000
"""Nodes of which surroundings have half at most, however small the graph."""
ROWS, VALUES = 30_000, 10_000_000
"""Nodes that fit into a call at least, and their features: each call asks about a whole graph besides."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one node on one edited graph: whether it is right, and finite."""

    correct: bool
    finite: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A question that waits for its call: the node's surroundings on the edited graph, and its place among all parts.

    `cut_off`: arcs into the surroundings from outside.
    """

    name: Hashable
    part: Graph
    place: int
    cut_off: int


class NodeAnswers:
    """What the verifier's model says of single attacked nodes, each after flips of its own.

    Attributes:
        verifier: whose model is asked, and who edits the graph.
        agrees: whether surroundings give the answers of whole graphs; None before that was tried.
        known: answers by the question's name.
    """

    def __init__(self, verifier: Verifier) -> None:
        self.agrees: bool | None = None
        self.known: dict[Hashable, Answer] = {}
        self.verifier = verifier
        self._hops = reach_of(verifier.handle.model)
        self._parts = Parts.of(verifier.space)
        graph = verifier.space.graph
        self._near = max(graph.num_nodes, LEAST) // 2
        self._most = max(graph.num_nodes, LEAST, min(ROWS, VALUES // max(1, graph.num_features)))
        self._asked: dict[Hashable, tuple[int, FlipSet]] = {}
        self._waiting: list[_Waiting] = []
        self._filled = 0

    def ask(self, name: Hashable, place: int, claim: FlipSet) -> None:
        """Asks for the attacked node at `place` after the flips of a claim; its answer is `known` after `settle`.

        Raises:
            EvaluationError: the claim breaks a rule of flip sets.
        """
        if name in self._asked:
            return
        if self.agrees is not False and self._waits(name, place, claim):
            return
        graph = self.verifier.edited(claim)
        self._asked[name] = place, claim
        self._keep(name, place, self._whole(graph, place))

    def _waits(self, name: Hashable, place: int, claim: FlipSet) -> bool:
        """Puts a question beside those that wait for the next call; False where it is for the whole graph.

        Its surroundings may be no saving, and those that waited before it may have been answered otherwise.
        """
        node = int(self.verifier.items[place])
        near = self.verifier.edited_around(claim, node, self._parts, hops=self._hops, most=self._near)
        if near is None:
            return False
        part, ids = near
        if self._filled + ids.numel() > self._most:
            self.settle()
            if self.agrees is False:
                return False
        self._asked[name] = place, claim
        at, cut_off = int(torch.searchsorted(ids, node)), self._parts.cut_off(ids, claim.keys)
        self._waiting.append(_Waiting(name, part, self._filled + at, cut_off))
        self._filled += ids.numel()
        return True

    def settle(self) -> None:
        """Answers everything that waits."""
        waiting, self._waiting, self._filled = self._waiting, [], 0
        if not waiting:
            return
        tried = max(range(len(waiting)), key=lambda which: waiting[which].cut_off)
        place, claim = self._asked[waiting[tried].name]
        whole = self._whole(self.verifier.edited(claim), place)
        answers = self._side_by_side(waiting)
        if answers is None or not float(apart(answers[tried : tried + 1], whole).max()) <= TOLERANCE * scale_of(whole):
            self.agrees = False
            for name, (place, claim) in self._asked.items():  # those of earlier calls too
                self._keep(name, place, self._whole(self.verifier.edited(claim), place))
            return
        self.agrees = True
        for each, answer in zip(waiting, torch.split(answers, 1), strict=True):
            place, claim = self._asked[each.name]
            if is_close(answer):
                answer = self._whole(self.verifier.edited(claim), place)
            self._keep(each.name, place, answer)

    def _side_by_side(self, waiting: list[_Waiting]) -> Tensor | None:
        """One call for all of them, [n, C]; None where a model cannot be asked about a part of its graph."""
        try:
            return self._logits(joined([each.part for each in waiting]))[[each.place for each in waiting]]
        except (*TRIAL_ERRORS, AuditorError):
            return None

    def _whole(self, graph: Graph, place: int) -> Tensor:
        node = int(self.verifier.items[place])
        return self._logits(graph)[node : node + 1]

    def _logits(self, graph: Graph) -> Tensor:
        return self.verifier.logits(graph)

    def _keep(self, name: Hashable, place: int, answer: Tensor) -> None:
        graph = self.verifier.space.graph
        y = graph.y[self.verifier.items[place : place + 1]]
        self.known[name] = Answer(bool(graph.task.correct(answer, y)), bool(torch.isfinite(answer).all()))


def is_close(answer: Tensor) -> bool:
    """Whether the two largest outputs of a row [1, C] are so near that rounding may decide, or one is not finite."""
    best = torch.topk(answer[0], min(2, answer.shape[1])).values
    return not float(best[0] - best[-1]) > 2 * TOLERANCE * scale_of(answer)
