"""Answers about single nodes on really edited graphs, several of them in one call where the model allows that.

A model of L layers of message passing reads L steps around a node, and degrees one step further: the surroundings of
several nodes, side by side and with no edge between them, get in one call what each would get from its whole graph.
That is tried, never believed. Of each node the answer without a flip, which one call to the whole graph tells of all,
is compared, and in each call one after flips, that of the part with most arcs cut off; the first difference ends it,
and everything is asked again on whole graphs. An answer so close to the boundary that rounding could decide it is asked
on the whole graph in any case.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

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
    """A question that waits for its call.

    Attributes:
        name: None where nothing is flipped, and the answer is known.
        place: of its node among the attacked ones.
        part: surroundings of the node on the edited graph.
        row: of the node in the call.
        cut_off: arcs into the surroundings from outside.
    """

    name: Hashable | None
    place: int
    part: Graph
    row: int
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
        self._tried: set[int] = set()
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
        near = self._around(place, claim)
        if near is None:
            return False
        if self._filled + near[1].numel() > self._most:
            self.settle()
            if self.agrees is False:
                return False
        if place not in self._tried:
            self._tried.add(place)
            nothing = FlipSet(0, claim.keys[:0])
            if (alone := self._around(place, nothing)) is not None:
                self._append(None, place, alone, nothing)
        self._asked[name] = place, claim
        self._append(name, place, near, claim)
        return True

    def _around(self, place: int, claim: FlipSet) -> tuple[Graph, Tensor] | None:
        node = int(self.verifier.items[place])
        return self.verifier.edited_around(claim, node, self._parts, hops=self._hops, most=self._near)

    def _append(self, name: Hashable | None, place: int, around: tuple[Graph, Tensor], claim: FlipSet) -> None:
        part, ids = around
        row = self._filled + int(torch.searchsorted(ids, int(self.verifier.items[place])))
        self._waiting.append(_Waiting(name, place, part, row, self._parts.cut_off(part, ids, claim.keys)))
        self._filled += ids.numel()

    def settle(self) -> None:
        """Answers everything that waits."""
        waiting, self._waiting, self._filled = self._waiting, [], 0
        if not waiting:
            return
        answers = self._side_by_side(waiting)
        if answers is None or not self._agree(waiting, answers):
            self.agrees = False
            for name, (place, claim) in self._asked.items():  # those of earlier calls too
                self._keep(name, place, self._whole(self.verifier.edited(claim), place))
            return
        self.agrees = True
        for each, answer in zip(waiting, torch.split(answers, 1), strict=True):
            if each.name is None:
                continue
            place, claim = self._asked[each.name]
            if is_close(answer):
                answer = self._whole(self.verifier.edited(claim), place)
            self._keep(each.name, place, answer)

    @cached_property
    def _clean(self) -> Tensor:
        """Answers about all attacked nodes on the graph as it is, [n, C]."""
        return self._logits(self.verifier.space.graph)[self.verifier.items]

    def _agree(self, waiting: list[_Waiting], answers: Tensor) -> bool:
        """Whether answers [n, C] are those of the whole graph, where that is tried."""
        known = [
            (answer, self._clean[each.place])
            for each, answer in zip(waiting, answers, strict=True)
            if each.name is None
        ]
        edited = [which for which, each in enumerate(waiting) if each.name is not None]
        one = max(edited, key=lambda which: waiting[which].cut_off)
        place, claim = self._asked[waiting[one].name]
        known.append((answers[one], self._whole(self.verifier.edited(claim), place)[0]))
        return all(float(apart(*pair).max()) <= TOLERANCE * scale_of(pair[1]) for pair in known)

    def _side_by_side(self, waiting: list[_Waiting]) -> Tensor | None:
        """One call for all of them, [n, C]; None where a model cannot be asked about a part of its graph."""
        try:
            return self._logits(joined([each.part for each in waiting]))[[each.row for each in waiting]]
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
