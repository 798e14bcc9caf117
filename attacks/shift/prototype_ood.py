"""Test graphs with other edges: what distances to typical training graphs are asked to tell."""

from __future__ import annotations

from typing import Literal

from attacks.shift.ood_detection import OodDetection
from auditor.outcomes import ShiftOutcome
from auditor.parameters import parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class PrototypeOod:
    """Edges swapped at equal degrees, and as many uniform ones, in each test graph; one draw a seed.

    Numbers of nodes and of edges stay as they are, so that whoever knows those alone tells nothing.

    Attributes:
        sets: what to make; each once, however often it is named.
    """

    sets: tuple[Literal["rewired", "er"], ...] = ("rewired", "er")

    def run(self, view: View, attempt: Attempt) -> ShiftOutcome:
        """The sets, as `ood-detection` makes them."""
        return OodDetection(sets=tuple(dict.fromkeys(self.sets)), draws=1).run(view, attempt)
