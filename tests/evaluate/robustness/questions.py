"""Questions about single nodes on edited graphs, put to a verifier's model."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.evaluate.robustness.node_answers import NodeAnswers
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet


def parts_are_found_out(verifier: Verifier, asked: Sequence[tuple[int, FlipSet]]) -> None:
    """Asserts that parts were seen to answer otherwise, and every answer, (place, claim) each, is the whole graph's."""
    answers = NodeAnswers(verifier)
    for name, (place, claim) in enumerate(asked):
        answers.ask(name, place, claim)
    answers.settle()
    assert answers.agrees is False
    for name, (place, claim) in enumerate(asked):
        assert answers.known[name].correct == bool(verifier.check(claim).correct[place])
