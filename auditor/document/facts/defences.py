"""Facts about what defences ship, decorrelate and repair."""

from __future__ import annotations

from typing import Literal

from auditor.document.facts.severities import Severity
from auditor.records import Model, Number
from auditor.statistics.estimate import Contrast, Estimate


class Shipped(Model):
    """Something that lies in the file itself: a fact without an interval.

    Attributes:
        severity: of this fact.
        count: how many.
        of: out of how many.
        smallest: nodes behind the smallest of them; None where that is not the question.
        alone: how many stand for one node; None likewise.
        mode: how the artefact serves; empty where that is not the question.
    """

    kind: Literal["shipped"] = "shipped"
    severity: Severity
    count: int
    of: int
    smallest: int | None = None
    alone: int | None = None
    mode: str = ""


class Decorrelation(Model):
    """What learned weights had to remove, and what they removed.

    Attributes:
        permuted_share: dependence of column-shuffled embeddings as a share of that of the real ones.
        ratio, ratio_permuted: dependence that is left, of real and of shuffled embeddings.
        ess: effective share of the items.
        minority_weight: mean weight of the minority groups, where groups were named.
        severity: where there was nothing to remove.
    """

    kind: Literal["decorrelation"] = "decorrelation"
    permuted_share: float
    ratio: float
    ratio_permuted: float
    ess: float
    minority_weight: Number = None
    severity: Severity = "low"


class RepairedNode(Model):
    """One node of a list of wrong ones.

    Attributes:
        node, label: which one, and the class that it should have.
        outcome: `repaired`; `already-right`, and not edited; or why it is neither: a later edit made it wrong
            (`fell-again`), its edit `costs-too-much`, no direction is left that hurts no training node (`spent`), it
            was still wrong after the last step (`steps-used`), or its loss has `no-gradient`.
        steps: of its edit; those of one edit of several nodes stand at the first.
        inactive_anchors: parts of the training nodes that had no gradient to be kept from rising.
    """

    node: int
    label: int
    outcome: Literal["repaired", "already-right", "fell-again", "costs-too-much", "spent", "steps-used", "no-gradient"]
    steps: int = 0
    inactive_anchors: int = 0


class RepairRun(Model):
    """One repair of a list of nodes; every accuracy is a share.

    Attributes:
        method: how its steps are made.
        nodes: every node that was named, in the order given.
        budget: accuracy that may be lost on validation nodes outside the list.
        validation, test: accuracy after − before on the nodes outside the list, paired.
        before, after: accuracy on all test nodes, the list included.
        broken: test nodes outside the list that were right and are wrong now.
        seconds: wall time.
    """

    method: str
    nodes: tuple[RepairedNode, ...]
    budget: float
    validation: Contrast
    test: Contrast
    before: Estimate
    after: Estimate
    broken: tuple[int, ...]
    seconds: float

    def ids(self, *outcomes: str) -> tuple[int, ...]:
        """Nodes that ended so."""
        return tuple(row.node for row in self.nodes if row.outcome in outcomes)

    @property
    def asked(self) -> tuple[int, ...]:
        """Nodes that were wrong."""
        return tuple(row.node for row in self.nodes if row.outcome != "already-right")

    @property
    def steps(self) -> int:
        """Steps of every edit."""
        return sum(row.steps for row in self.nodes)


class RepairFacts(Model):
    """A repair beside its control.

    Attributes:
        own: what is saved.
        control: the same list without the idea; None where that is what was asked for.
        gained: share of the list repaired, own − control, paired by node.
    """

    own: RepairRun
    control: RepairRun | None = None
    gained: Contrast | None = None
