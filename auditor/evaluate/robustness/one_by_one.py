"""What flips against single nodes did: every claim rebuilt on the really edited graph, and what follows for a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.node_answers import NodeAnswers
from auditor.outcomes import FlipSet
from auditor.perturbations import VerifiedEdit
from auditor.registry import Entry

Bools = NDArray[np.bool_]
FAR = 10**9
"""Flips of a node that nothing broke."""


@dataclass(frozen=True, slots=True)
class Try:
    """One verified claim: whose it is, the node's place, the budget, the flips made, and whether they broke it."""

    is_control: bool
    mode: str
    place: int
    budget: int
    flips: int
    broke: bool


@dataclass(slots=True, kw_only=True)
class OneByOne(FlipClaims):
    """Verifies claims named `MODE target=NODE` (`draw=I` besides), each against one node.

    Attributes:
        answers: of the attacked nodes.
        nodes: attacked, int64 [n] ascending.
        room: flips allowed at each of them, by budget, int64 [n].
        tries: everything verified.
        not_finite: names of attacks under which an answer was not finite.
        control: id of the control, where one ran.
        longest: of each attack, mode and node the verified set of the largest budget; none of the control's.
    """

    answers: NodeAnswers
    nodes: Tensor
    room: Mapping[int, Tensor]
    tries: list[Try] = field(default_factory=list)
    not_finite: set[str] = field(default_factory=set)
    control: str = ""
    longest: dict[tuple[str, str], VerifiedEdit] = field(default_factory=dict)
    _waiting: list[tuple[Entry, FlipSet, str, int, tuple[int, bytes]]] = field(default_factory=list)

    def verify(self, entry: Entry, claim: FlipSet, variant: str) -> None:
        """Rebuilds one claim and asks what it did to its node; `settle` keeps the answer.

        Raises:
            EvaluationError: it names no attacked node, takes more flips than its node has room for, toggles other
                pairs than its mode says, or breaks a rule of flip sets.
        """
        mode, _, rest = variant.partition(" ")
        name, _, number = rest.partition(" ")[0].partition("=")
        place = int(torch.searchsorted(self.nodes, int(number))) if number.isdecimal() else self.nodes.numel()
        if name != "target" or place >= self.nodes.numel() or int(self.nodes[place]) != int(number):
            raise EvaluationError(f'"{variant}" names no attacked node; expected MODE target=NODE')
        if claim.keys.numel() > int(self.room[claim.budget][place]):
            raise EvaluationError(
                f"{claim.keys.numel()} flips against node {number}, budget {int(self.room[claim.budget][place])}"
            )
        check_mode(self.answers.verifier.space, int(number), mode, claim.keys)
        question = (place, torch.sort(claim.keys).values.numpy().tobytes())
        self.answers.ask(question, place, claim)
        self._waiting.append((entry, claim, variant, place, question))

    def settle(self) -> None:
        """Keeps what the claims since the last call did to their nodes."""
        self.answers.settle()
        for entry, claim, variant, place, question in self._waiting:
            answer, is_control = self.answers.known[question], entry.role == "control"
            if not answer.finite:
                self.not_finite.add(entry.id)
            if is_control:
                self.control = entry.id
            else:
                self._keep(VerifiedEdit(entry.id, variant, claim, float(answer.correct)))
            mode = variant.partition(" ")[0]
            self.tries.append(Try(is_control, mode, place, claim.budget, claim.keys.numel(), broke=not answer.correct))
        self._waiting.clear()

    def _keep(self, edit: VerifiedEdit) -> None:
        key = (edit.attack, edit.variant)
        known = self.longest.get(key)
        if known is None or known.edit.budget < edit.edit.budget:
            self.longest[key] = edit

    def broken(self, mode: str, budget: int, *, control: bool = False) -> Bools:
        """Which nodes some claim of at most this budget breaks, bool [n]."""
        found = np.zeros(self.nodes.numel(), dtype=np.bool_)
        for each in self._of(mode, control):
            found[each.place] |= each.broke and each.budget <= budget
        return found

    def fewest(self, mode: str) -> NDArray[np.int64]:
        """Fewest flips that break each node, int64 [n]; FAR where none was found."""
        found = np.full(self.nodes.numel(), FAR, dtype=np.int64)
        for each in self._of(mode, control=False):
            if each.broke:
                found[each.place] = min(found[each.place], each.flips)
        return found

    def ran(self, mode: str, *, control: bool = False) -> bool:
        """Whether there is any claim of that mode."""
        return any(self._of(mode, control))

    @property
    def modes(self) -> tuple[str, ...]:
        """Every mode that a search or rule was run in, in order."""
        return tuple(dict.fromkeys(each.mode for each in self.tries if not each.is_control))

    def _of(self, mode: str, control: bool) -> Sequence[Try]:
        return [each for each in self.tries if each.mode == mode and each.is_control == control]


def check_mode(space: EdgeSpace, node: int, mode: str, keys: Tensor) -> None:
    """Whether flips against a node are what their mode says: all at it or none, only new edges or only old ones.

    Raises:
        EvaluationError: they are not, or the mode is none that is known.
    """
    u, v = space.ends(keys)
    at_node, there = (u == node) | (v == node), space.exists(keys)
    held = {
        "direct": at_node,
        "influencer": ~at_node,
        "additions": at_node & ~there,
        "deletions": at_node & there,
    }
    if mode not in held:
        raise EvaluationError(f'mode "{mode}" is not known; expected {", ".join(held)}')
    if not bool(held[mode].all()):
        raise EvaluationError(f"{int((~held[mode]).sum())} flips against node {node} are not {mode}")
