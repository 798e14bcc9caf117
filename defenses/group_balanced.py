"""The defence to recommend when a group can be named: every group weighs the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from auditor.defense import DefenseTask
from auditor.document import ValidityRow
from auditor.parameters import parameters
from auditor.targets.target import Fitted, Target
from defenses.fitting import rebuilt, refit_trained, train_afresh
from defenses.l2r.diagnostics import weight_notes
from defenses.l2r.items import balanced_weights, freeze, group_cells
from defenses.l2r.method import refitted
from defenses.l2r.training import FixedWeights, train_weighted


@parameters
class GroupBalanced:
    """w_n proportional to 1 / N of the item's group, then a refit of the head or a full training.

    With the true groups of a generator it is the oracle that `l2r` is measured against.

    Attributes:
        refit: `head` refits the last layer of the trained model; `full` trains from scratch.
        by: `group` when the column names the groups, that is (class, spurious attribute) cells; `attribute` when it
            names the attribute alone, which is then crossed with the class.

    Source: Kirichenko et al., "Last layer re-training is sufficient for robustness to spurious correlations", ICLR 2023
    (refit of the last layer); Idrissi et al., CLeaR 2022 (balancing groups).
    """

    refit: Literal["head", "full"] = "head"
    by: Literal["group", "attribute"] = "group"

    id: ClassVar[str] = "group-balanced"
    effect: ClassVar[str] = ""  # an oracle that trades accuracy on one set for another: shown, not gated
    version: ClassVar[str] = "1"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; a missing, constant or incomplete group column is a ConfigError."""
        return refit_trained(self, target, task) if self.refit == "head" else train_afresh(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""
        start = time.perf_counter()
        notes: dict[str, Any]
        rows: tuple[ValidityRow, ...]
        if self.refit == "head":
            frozen = freeze(base)
            items, y = frozen.items, frozen.y
            cells, notices = group_cells(task.group, base.graph, items, crossed=self.by == "attribute")
            w = balanced_weights(cells)
            model, notes, rows = refitted(base, frozen, w)
        else:
            items = base.split.train.nonzero().flatten()
            y = base.graph.y[items]
            cells, notices = group_cells(task.group, base.graph, items, crossed=self.by == "attribute")
            w = balanced_weights(cells)
            model, _ = train_weighted(base, FixedWeights(w, from_start=True), seed=task.seed, tick=task.tick)
            notes, rows = {}, ()
        own = {**weight_notes(w, y, cells), "groups": int(cells.max()) + 1, "notices": list(notices)}
        return Fitted(model, {**notes, **own, "seconds": time.perf_counter() - start}, validity=rows)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=self.refit == "head")

    def controls(self) -> tuple[str, ...]:
        """The same refit or training with equal weights."""
        return ("uniform-refit",) if self.refit == "head" else ("l2r:mode=erm",)
