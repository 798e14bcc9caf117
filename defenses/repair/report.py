"""What a repair did: node by node, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from auditor.statistics.intervals import agresti_min

OUTCOMES = ("repaired", "already right", "fell again", "rolled back", "failed")
UNREPAIRED = OUTCOMES[2:]


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node of the list: `outcome` is one of `OUTCOMES`, `reason` says why where it is not repaired."""

    node: int
    label: int
    outcome: str
    steps: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """The result of one run.

    Attributes:
        method: `gre-plus` or `finetune`.
        rows: every node that was named, in the order given.
        max_drawdown: the budget, in points on validation nodes outside the list.
        drawdown_val: accuracy lost there, in points.
        drawdown: accuracy lost on test nodes outside the list, in points, with a 95 % interval.
        counted: validation and test nodes behind the two.
        accuracy: on all test nodes, the list included, before and after.
        flipped_correct: test nodes outside the list that were right and are wrong now.
        seconds: wall time.
    """

    method: str
    rows: tuple[NodeRow, ...]
    max_drawdown: float
    drawdown_val: float
    drawdown: tuple[float, float, float]
    counted: tuple[int, int]
    accuracy: tuple[float, float]
    flipped_correct: tuple[int, ...]
    seconds: float

    def nodes(self, outcome: str) -> tuple[int, ...]:
        """Ids with this outcome."""
        return tuple(row.node for row in self.rows if row.outcome == outcome)

    @property
    def within_budget(self) -> bool:
        """Whether what is kept costs no more than the budget."""
        return self.drawdown_val <= self.max_drawdown

    def lines(self) -> list[str]:
        """The report in words, 100 columns."""
        asked = len(self.rows) - len(self.nodes("already right"))
        repaired, rolled = len(self.nodes("repaired")), len(self.nodes("rolled back"))
        value, lo, hi = self.drawdown
        lines = [
            f"{repaired} of {asked} repaired within a budget of {self.max_drawdown:g}; {rolled} rolled back "
            f"({self.method}, {sum(row.steps for row in self.rows)} steps, {self.seconds:.1f} s)",
            f"drawdown in points: {value:.2f} [{lo:.2f}, {hi:.2f}] on {self.counted[1]} test nodes outside the list, "
            f"{self.drawdown_val:.2f} on {self.counted[0]} validation nodes (the budget is read there)",
            f"accuracy on all test nodes, the list included: {self.accuracy[0]:.3f}, after it {self.accuracy[1]:.3f}",
            f"{len(self.flipped_correct)} test nodes were right and are wrong now" + _ids(self.flipped_correct),
        ]
        for outcome in ("repaired", "already right"):
            if self.nodes(outcome):
                lines.append(f"{outcome}: {len(self.nodes(outcome))}{_ids(self.nodes(outcome))}")
        reasons: dict[str, list[int]] = {}
        for row in self.rows:
            if row.outcome in UNREPAIRED:
                reasons.setdefault(f"{row.outcome}: {row.reason}", []).append(row.node)
        lines += [f"not repaired, {why}: {len(ids)}{_ids(tuple(ids))}" for why, ids in reasons.items()]
        if repaired:
            lines.append("a repaired label is now memorised: run the membership probes on the result as well")
        return lines

    def beside(self, control: RepairReport) -> list[str]:
        """This run beside its control on the same list: shares repaired, paired by node, and what each costs."""
        asked = [row.node for row in self.rows if row.outcome != "already right"]
        own, other = set(self.nodes("repaired")), set(control.nodes("repaired"))
        both, alone = len(own & other), len(own - other)
        theirs = len(other - own)
        gained = (alone - theirs) / len(asked) if asked else 0.0
        lo, hi = agresti_min(both, alone, theirs, len(asked) - both - alone - theirs) if asked else (0.0, 0.0)
        word = "better than" if lo > 0 else "worse than" if hi < 0 else "no better than"
        costs = f"{control.drawdown[0]:.2f} [{control.drawdown[1]:.2f}, {control.drawdown[2]:.2f}]"
        return [
            f"control {control.method}: {len(other)} of {len(asked)} repaired within the same budget, drawdown {costs} "
            f"points on test nodes ({control.seconds:.1f} s)",
            f"{self.method} against {control.method}, paired by node: {100 * gained:+.1f} points of the list repaired "
            f"[{100 * lo:+.1f}, {100 * hi:+.1f}]: {word} fine-tuning",
        ]

    def notes(self) -> dict[str, Any]:
        """Plain values for the document."""
        return {
            "method": self.method,
            "repaired": list(self.nodes("repaired")),
            "not_repaired": [node for outcome in UNREPAIRED for node in self.nodes(outcome)],
            "already_right": list(self.nodes("already right")),
            "drawdown": self.drawdown[0],
            "drawdown_ci": list(self.drawdown[1:]),
            "drawdown_val": self.drawdown_val,
            "accuracy": list(self.accuracy),
            "max_drawdown": self.max_drawdown,
            "within_budget": self.within_budget,
            "flipped_correct": list(self.flipped_correct),
            "steps": sum(row.steps for row in self.rows),
            "rolled_back": len(self.nodes("rolled back")) > 0,
        }


def _ids(ids: tuple[int, ...]) -> str:
    if not ids:
        return ""
    shown = ", ".join(map(str, ids[:10]))
    return f" (nodes {shown}{', …' if len(ids) > 10 else ''})"
