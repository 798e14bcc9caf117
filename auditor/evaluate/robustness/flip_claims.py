"""What attacks claim, checked one by one: shared by every harness that edits edges, features or nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import EvaluationError, SkippedError
from auditor.outcomes import FeatureOutcome, FlipOutcome, InjectionOutcome
from auditor.probe import Attempt, Registered
from auditor.targets.target import Target
from auditor.view import View, grant_graph


@dataclass(slots=True)
class FlipClaims:
    """What the attacks of one cell left behind.

    Attributes:
        violations: by attack, why claims were dropped.
        skipped: by attack, why it did not run.
        notes: by attack that ran, plain values of its outcome.
        access: words of every attack that ran.
        checked: claims looked at.
        called: what its claims are, for people.
    """

    violations: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    access: set[str] = field(default_factory=set)
    checked: int = 0
    called: str = "flip sets"

    def run(
        self,
        attack: Registered,
        target: Target,
        items: Tensor,
        attempt: Attempt,
        verify: Callable[[Any, str], None],
        *,
        kind: type[FlipOutcome | FeatureOutcome | InjectionOutcome] = FlipOutcome,
        granted: Callable[[View], View] = lambda view: view,
    ) -> None:
        """Grants a view of `items`, runs one attack and hands each claim with its variant to `verify`.

        A claim under a budget that nobody asked for, or that `verify` refuses with an EvaluationError, is dropped and
        kept on record. `granted` puts in what else the adversary holds.

        Raises:
            EvaluationError: the attack's outcome is of another kind.
        """
        missing = attack.needs - target.capabilities
        if missing:
            self.skipped[attack.id] = f"needs {', '.join(sorted(missing))}"
            return
        try:
            view = grant_graph(target, attack.access, with_test_labels=True, side=attempt.side).with_items(items)
            outcome = attack.run(granted(view), attempt)
        except SkippedError as reason:
            self.skipped[attack.id] = str(reason)
            return
        if not isinstance(outcome, kind):
            what = type(outcome).__name__
            raise EvaluationError(f"{attack.id} returned a {what}; this harness takes a {kind.__name__}")
        self.access |= {str(word) for word in attack.access}
        self.notes[attack.id] = outcome.notes
        points: Sequence[Any] = outcome.points
        for claim, variant in zip(points, outcome.variant, strict=True):
            self.checked += 1
            try:
                if claim.budget not in (*attempt.budgets, *attempt.radii):
                    raise EvaluationError(f"budget {claim.budget:g} was not asked for")
                verify(claim, variant)
            except EvaluationError as violation:
                self.violations.setdefault(attack.id, []).append(str(violation))

    @property
    def why_none(self) -> str:
        """Why no attack ran, one reason an attack."""
        return "; ".join(f"{id_}: {why}" for id_, why in self.skipped.items()) or "no attack was given"

    def budget_row(self) -> ValidityRow:
        """Whether every claim kept to the rules; those that did not were dropped."""
        broken = [f"{id_}: {why[0]} ({len(why)} sets dropped)" for id_, why in self.violations.items()]
        said = "; ".join(broken) or f"{self.checked} {self.called} checked, none breaks a rule"
        return check("budget", "integrity", not broken, said)

    def params(self, attacks: Sequence[Registered]) -> dict[str, Any]:
        """Settings of the attacks, which of them did not run and why, and what the others noted: plain values."""
        return {
            "attacks": {attack.id: _settings(attack.attack) for attack in attacks},
            "skipped_attacks": dict(self.skipped),
            "notes": {id_: _plain(notes) for id_, notes in self.notes.items() if notes},
        }


def _settings(attack: Any) -> dict[str, Any]:
    return {f.name: _plain(getattr(attack, f.name)) for f in dataclasses.fields(attack)}


def _plain(value: Any) -> Any:
    """JSON values: tuples as lists."""
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return value
