"""Edits of features on purpose: those whose gradient promises most, or projected steps within a radius."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from attacks.robustness.attacked_graphs import AttackedGraphs
from attacks.robustness.feature_steps import TRY_EVERY, Reader, direction
from attacks.robustness.graph_features import change_by_graph, edits_by_graph
from attacks.robustness.losses import LOSSES, Loss, LossName
from auditor.data.feature_space import FeatureSpace, Within
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.parameters import Only, parameters
from auditor.probe import Attempt
from auditor.view import View

NO_BITS = torch.empty(0, dtype=torch.int64)


@parameters
class FeatureEvasion:
    """Edits features by the gradient of two losses: bits in rounds, values by projected gradient ascent.

    Bits: each round one gradient at what is edited so far ranks every bit by what toggling it promises; the best B /
    rounds that were not toggled before are toggled. Categories, one of which each node is of: the same, each node once.
    Values: steps along the sign of the gradient inside the radius,
    and inside the range that the values have; the step that leaves fewest right answers is kept. Of many graphs each is
    edited within its own budget until it is wrong; the best 16 edits of a round are tried, and the best of them kept.

    Attributes:
        losses: `tanh` and `prob`; both run, since which one wins changes from model to model.
        rounds: of bits and categories.
        steps: of values.
        within: the radius bounds every value (`linf`), or the root mean square over a node's values (`l2`).

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (values).
    """

    losses: Annotated[tuple[LossName, ...], Field(min_length=1)] = ("tanh", "prob")
    rounds: Annotated[int, Field(ge=1), Only(features=("bits", "categories"))] = 15
    steps: Annotated[int, Field(ge=1), Only(features=("values",))] = 40
    within: Annotated[Within, Only(features=("values",))] = "linf"

    @model_validator(mode="after")
    def _different_losses(self) -> Self:
        if len(set(self.losses)) < len(self.losses):
            raise ValueError(f"losses={'/'.join(self.losses)} cannot be used: expected different names")
        return self

    def run(self, view: View, attempt: Attempt) -> FeatureOutcome:
        """One edit per loss and budget.

        Raises:
            SkippedError: features that cannot be edited.
        """
        space = FeatureSpace.of(view.x)
        if view.task.level == "graph":
            return self._of_graphs(space, view, attempt)
        reader = Reader.of(view)
        calls_before = reader.handle.calls
        budgets: tuple[float, ...] = attempt.radii if space.kind == "values" else attempt.budgets
        points, variants, gains = [], [], dict[str, list[float]]()
        runs = [(name, budget) for name in self.losses for budget in budgets]
        for done, (name, budget) in enumerate(runs):
            attempt.tick(done / len(runs), f"feature-evasion: {name}, {budget:g}")
            loss, before = LOSSES[name], float(reader.loss(view.x, LOSSES[name]))
            if space.kind == "values":
                change = self._values(space, reader, loss, budget)
                x, edit = space.raw + change, FeatureEdit(budget, NO_BITS, change)
            else:
                bits = self._bits(space, reader, loss, int(budget), attempt.node_caps)
                x, edit = space.read(space.toggled(bits)), FeatureEdit(budget, bits)
            points.append(replace(edit, claimed_accuracy=reader.right(x)))
            variants.append(name)
            gains[f"{name} at {budget:g}"] = [round(before, 6), round(float(reader.loss(x, loss)), 6)]
        notes: dict[str, Any] = {
            "calls": reader.handle.calls - calls_before,
            "output_scale": reader.outputs.scale,
            "loss": gains,
        }
        return FeatureOutcome(tuple(points), tuple(variants), notes)

    def _of_graphs(self, space: FeatureSpace, view: View, attempt: Attempt) -> FeatureOutcome:
        """The same of many graphs.

        One search a loss serves every budget of edits: the first ones of each graph are the claim at smaller budgets.
        """
        graphs, width = AttackedGraphs.of(view, space), space.raw.shape[1]
        reader, clean = graphs.reader, graphs.reader.graph.x
        calls_before, points = reader.handle.calls, list[FeatureEdit]()
        variants, gains = list[str](), dict[str, list[float]]()
        for done, name in enumerate(self.losses):
            attempt.tick(done / len(self.losses), f"feature-evasion: {name}")
            loss, found = LOSSES[name], list[tuple[FeatureEdit, Tensor]]()
            if space.kind == "values":
                for radius in attempt.radii:
                    moved = change_by_graph(graphs, loss, radius, self.steps, self.within)
                    change = torch.zeros_like(space.raw)
                    change[graphs.nodes] = moved
                    found.append((FeatureEdit(radius, NO_BITS, change), graphs.space.raw + moved))
            else:
                most = torch.stack(attempt.item_budgets).max(dim=0).values
                paths = edits_by_graph(graphs, loss, most, self.rounds, attempt.node_caps)
                for budget, own in zip(attempt.budgets, attempt.item_budgets, strict=True):
                    made = [key for path, count in zip(paths, own.tolist(), strict=True) for key in path[:count]]
                    edits = torch.tensor(made, dtype=torch.int64)
                    rows, columns = graphs.nodes[edits // width], edits % width
                    x = graphs.space.read(graphs.space.toggled(graphs.space.bits_of(edits)))
                    found.append((FeatureEdit(budget, space.bits_of(rows * width + columns)), x))
            before = float(reader.loss(clean, loss))
            for edit, x in found:
                points.append(replace(edit, claimed_accuracy=reader.right(x)))
                variants.append(name)
                gains[f"{name} at {edit.budget:g}"] = [round(before, 6), round(float(reader.loss(x, loss)), 6)]
        notes: dict[str, Any] = {
            "calls": reader.handle.calls - calls_before,
            "output_scale": reader.outputs.scale,
            "loss": gains,
        }
        return FeatureOutcome(tuple(points), tuple(variants), notes)

    def _bits(self, space: FeatureSpace, reader: Reader, loss: Loss, budget: int, caps: Tensor | None) -> Tensor:
        """Keys of the bits to toggle by at most so many edits, int64; no more in a row than its cap."""
        width, edits = space.raw.shape[1], NO_BITS
        room = torch.ones(space.raw.shape[0], dtype=torch.int64) if space.kind == "categories" else caps
        room = None if room is None else room.clone()
        size = -(-budget // self.rounds)
        while edits.numel() < budget:
            raw = space.toggled(space.bits_of(edits)).requires_grad_(True)
            (gradient,) = torch.autograd.grad(reader.loss(space.read(raw), loss), raw)
            promise = space.promised(raw.detach(), gradient).view(-1)
            promise[edits] = float("-inf")
            if room is not None:
                promise.view(space.raw.shape)[room <= 0] = float("-inf")
            best = torch.topk(promise, min(size, budget - edits.numel(), promise.numel()))
            chosen = _within_room(best.indices[best.values > 0], width, room)
            if not chosen.numel():
                break
            edits = torch.cat([edits, chosen])
            if room is not None:
                room -= torch.bincount(chosen // width, minlength=room.numel())
        return space.bits_of(edits)

    def _values(self, space: FeatureSpace, reader: Reader, loss: Loss, radius: float) -> Tensor:
        """What to add to the values, [N, F]."""
        change = torch.zeros_like(space.raw)
        best, fewest = change, reader.right(space.raw)
        for k in range(1, self.steps + 1):
            at = (space.raw + change).requires_grad_(True)
            (gradient,) = torch.autograd.grad(reader.loss(at, loss), at)
            step = 2.5 * radius / self.steps * direction(gradient * space.scale, self.within)
            change = space.moved(space.units(change) + step, radius, self.within)
            if k % TRY_EVERY == 0 or k == self.steps:
                left = reader.right(space.raw + change)
                if left < fewest:
                    best, fewest = change, left
        return best


def _within_room(keys: Tensor, width: int, room: Tensor | None) -> Tensor:
    """The first keys of each row, as many as it has room for, in their order."""
    if room is None:
        return keys
    rows = keys // width
    order = torch.argsort(rows, stable=True)
    counts = torch.bincount(rows, minlength=room.numel())
    place = torch.empty_like(rows)
    place[order] = torch.arange(keys.numel()) - (torch.cumsum(counts, dim=0) - counts)[rows[order]]
    return keys[place < room[rows]]
