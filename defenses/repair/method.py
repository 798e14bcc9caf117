"""Gradient rewiring as a defence: `repair`, methods `gre-plus` and its control `finetune`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.defense import DefenseTask
from auditor.document import Contrast, Estimate
from auditor.document.facts import RepairedNode, RepairFacts, RepairRun
from auditor.errors import ConfigError, SkippedError
from auditor.parameters import parameters
from auditor.statistics.draws import generator
from auditor.statistics.shares import paired, share
from auditor.targets.target import Fitted, Target
from auditor.tasks import log_probabilities
from defenses.fitting import DefenseRecipe, defended, rebuilt, refuse_second
from defenses.repair.edit import Steps, edit
from defenses.repair.errors_file import wrong_nodes
from defenses.repair.weights import EditedModel, Nodes


@parameters
class Repair:
    """Edits the trained weights until named wrong nodes are right, and no further than the accuracy budget allows.

    Nodes are taken one at a time, the most probable first, each from the last accepted weights; the loss of those
    repaired so far may not rise to first order. One that falls again in a later edit is counted as not repaired. The
    budget is read on validation nodes outside the list, so that the test set decides nothing.

    Attributes:
        method: `gre-plus` keeps the loss of four parts of the training nodes from rising to first order; `finetune` is
            the same loop without that projection.
        errors: `val`, `test` (wrong nodes of that mask, labels as in the data) or a CSV file with node,label.
        max_drawdown: points of accuracy that may be lost.
        together: all nodes in one edit.
        parts: of the training nodes.
        max_steps: of one edit.
        step: its length relative to |theta|.

    Source: Zhang et al., "Gradient Rewiring for Editable Graph Neural Network Training", NeurIPS 2024. Formulas and
    what counts against the budget: docs/methods/repair.md.
    """

    method: Literal["gre-plus", "finetune"] = "gre-plus"
    errors: str = "val"
    max_drawdown: Annotated[float, Field(ge=0)] = 1.0
    together: bool = False
    parts: Annotated[int, Field(ge=0)] = 4
    max_steps: Annotated[int, Field(ge=1)] = 20
    step: Annotated[float, Field(gt=0)] = 0.002

    id: ClassVar[str] = "repair"
    version: ClassVar[str] = "1"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; a run in which no node fits the budget is a SkippedError."""
        repaired, _ = self.apply(target, task)
        if repaired is None:
            raise SkippedError(f"no node of the list could be repaired with max-drawdown={self.max_drawdown:g}.")
        return repaired

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`: the wrong nodes of a retrained model are found again."""
        return _fitted(*self._run(base, task, wrong_nodes(base, self.errors)))

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=True)

    def controls(self) -> tuple[str, ...]:
        """The same loop without the projection."""
        return () if self.method == "finetune" else ("repair:method=finetune",)

    def apply(self, target: Target, task: DefenseTask, nodes: Nodes | None = None) -> tuple[Target | None, RepairRun]:
        """The repaired target, None when no node could be repaired within the budget; and what was done.

        Args:
            target: is left as it was.
            task: seed of the parts.
            nodes: ids and classes to reach; None for what `errors` says.

        Raises:
            SkippedError: a graph task, or weights that no gradient reaches.
            ConfigError: a malformed list, or no validation node outside it to read the budget on.
        """
        model, run = self._run(target, task, nodes or wrong_nodes(target, self.errors))
        if not run.ids("repaired"):
            return None, run
        recipe = None if target.recipe is None else DefenseRecipe(self, target, task, needs_trained=True)
        return defended(target, _fitted(model, run), self, task, recipe, starts_trained=True), run

    def beside_control(self, target: Target, task: DefenseTask) -> tuple[Target | None, RepairFacts]:
        """See `apply`; and the same list without the projection: what the projection is worth."""
        repaired, run = self.apply(target, task)
        if self.method == "finetune":
            return repaired, RepairFacts(own=run)
        return repaired, compared(run, replace(self, method="finetune").apply(target, task)[1])

    def _run(self, target: Target, task: DefenseTask, nodes: Nodes) -> tuple[nn.Module, RepairRun]:
        refuse_second(self, target)
        if target.task.level != "node":
            raise SkippedError("repair corrects nodes of one graph; this target classifies graphs.")
        start = time.perf_counter()
        session = _Session(self, target, task, nodes)
        rows = session.together() if self.together else session.one_by_one()
        model = session.model.finished()
        return model, session.run(rows, time.perf_counter() - start)


def compared(own: RepairRun, control: RepairRun) -> RepairFacts:
    """Two repairs of one list, paired by node."""
    asked, sides = np.array(own.asked), (own.ids("repaired"), control.ids("repaired"))
    gained = paired(*(np.isin(asked, np.array(side)) for side in sides))
    return RepairFacts(own=own, control=control, gained=_against(control.method, gained))


def _against(other: str, difference: Estimate) -> Contrast:
    return Contrast(to=other, **difference.model_dump())


def _fitted(model: nn.Module, run: RepairRun) -> Fitted:
    return Fitted(model, run.model_dump(mode="json", exclude={"seconds"}))


class _Session:
    """One repair while it runs: the edited model, what counts against the budget, what is repaired so far."""

    def __init__(self, settings: Repair, target: Target, task: DefenseTask, nodes: Nodes) -> None:
        self.settings, self.target, self.task = settings, target, task
        self.ids, self.labels = nodes
        self.model = EditedModel(target.model, target.graph)
        self.steps = Steps(settings.method == "gre-plus", settings.max_steps, settings.step)
        outside = torch.ones(target.graph.num_nodes, dtype=torch.bool).index_fill_(0, self.ids, False)
        self.val, self.test = target.split.val & outside, target.split.test & outside
        if not self.val.any():
            raise ConfigError("no validation node is outside the list; expected some to read the budget on.")
        self.right_before = target.task.correct(self.model.logits(), target.graph.y)
        self.anchors = training_parts(target, settings.parts, task.seed)

    def one_by_one(self) -> list[RepairedNode]:
        """Most probable first, each from the last accepted weights."""
        first = log_probabilities(self.model.logits())[self.ids, self.labels]
        right = self.target.task.correct(self.model.logits()[self.ids], self.labels)
        rows: dict[int, RepairedNode] = {}
        done: list[int] = []
        for count, i in enumerate(torch.argsort(first, descending=True, stable=True).tolist()):
            self.task.tick(count / len(self.ids), "repairing")
            node, label = int(self.ids[i]), int(self.labels[i])
            if bool(right[i]):
                rows[i] = RepairedNode(node=node, label=label, outcome="already-right")
                continue
            rows[i] = self._attempt([i], done)[0]
            done += [i] if rows[i].outcome == "repaired" else []
        right = self.target.task.correct(self.model.logits()[self.ids], self.labels)
        for i in done:
            if not bool(right[i]):
                rows[i] = rows[i].model_copy(update={"outcome": "fell-again"})
        return [rows[i] for i in range(len(self.ids))]

    def together(self) -> list[RepairedNode]:
        """All wrong nodes in one edit."""
        right = self.target.task.correct(self.model.logits()[self.ids], self.labels)
        wrong = torch.nonzero(~right).flatten().tolist()
        rows = {
            i: RepairedNode(node=int(self.ids[i]), label=int(self.labels[i]), outcome="already-right")
            for i in range(len(self.ids))
        }
        if wrong:
            rows |= dict(zip(wrong, self._attempt(wrong, []), strict=True))
        return [rows[i] for i in range(len(self.ids))]

    def drawdown(self) -> float:
        """Accuracy lost since the start on validation nodes outside the list, in points."""
        right = self.target.task.correct(self.model.logits(), self.target.graph.y)
        lost = self.right_before[self.val].double().mean() - right[self.val].double().mean()
        return 100 * float(lost)

    def run(self, rows: list[RepairedNode], seconds: float) -> RepairRun:
        """What came of it, with the weights as they are now."""
        before = self.right_before.numpy()
        now = self.target.task.correct(self.model.logits(), self.target.graph.y).numpy()
        val, test, every = (mask.numpy() for mask in (self.val, self.test, self.target.split.test))
        return RepairRun(
            method=self.settings.method,
            nodes=tuple(rows),
            budget=self.settings.max_drawdown / 100,
            validation=_against("before", paired(now[val], before[val])),
            test=_against("before", paired(now[test], before[test])),
            before=share(before[every]),
            after=share(now[every]),
            broken=tuple(np.flatnonzero(test & before & ~now).tolist()),
            seconds=seconds,
        )

    def _attempt(self, places: list[int], done: list[int]) -> list[RepairedNode]:
        """One edit of the nodes at `places`; it stands only within the budget, counted from the original weights."""
        chosen, kept = torch.tensor(places), torch.tensor(done, dtype=torch.int64)
        wanted, held = (self.ids[chosen], self.labels[chosen]), (self.ids[kept], self.labels[kept])
        anchors = [*self.anchors, held] if done else self.anchors
        before = self.model.theta()
        attempt = edit(self.model, wanted, anchors, self.steps)
        costly = attempt.outcome == "repaired" and self.drawdown() > self.settings.max_drawdown
        if costly:
            self.model.restore(before)
        return [
            RepairedNode(
                node=node,
                label=label,
                outcome="costs-too-much" if costly else attempt.outcome,
                steps=attempt.steps if i == 0 else 0,
                inactive_anchors=attempt.inactive_anchors,
            )
            for i, (node, label) in enumerate(zip(*(part.tolist() for part in wanted), strict=True))
        ]


def training_parts(target: Target, parts: int, seed: int) -> list[Nodes]:
    """The training nodes in `parts` parts, stratified by class; none for 0."""
    if parts == 0:
        return []
    rng, y = generator(seed, "repair", "parts"), target.graph.y
    ids = torch.nonzero(target.split.train).flatten().numpy()
    shuffled = rng.permutation(ids)
    by_class = shuffled[np.argsort(y.numpy()[shuffled], kind="stable")]
    cut = [torch.from_numpy(by_class[p::parts]) for p in range(parts)]
    return [(part, y[part]) for part in cut if part.numel()]
