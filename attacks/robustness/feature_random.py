"""Random edits of features: what edits on purpose are measured against."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.data.batches import nodes_of
from auditor.data.feature_space import FeatureSpace, Within
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.parameters import Only, parameters
from auditor.probe import Attempt
from auditor.view import View


@parameters
class FeatureRandom:
    """As many uniform bits toggled or nodes of another category, or every value moved as far as it may be, up or down.

    Attributes:
        draws: edits per budget; of bits and categories, a smaller budget's edit begins a larger one's.
        within: as of the attack.
    """

    draws: Annotated[int, Field(ge=1)] = 5
    within: Annotated[Within, Only(features=("values",))] = "linf"

    def run(self, view: View, attempt: Attempt) -> FeatureOutcome:
        """`draws` edits per budget.

        Raises:
            SkippedError: features that cannot be edited.
        """
        space = FeatureSpace.of(view.x)
        points: list[FeatureEdit] = []
        variants: list[str] = []
        for draw in range(self.draws):
            if space.kind == "values":
                points += self._moved(space, view, attempt)
            elif view.task.level == "graph":
                points += _of_graphs(space, view, attempt)
            else:
                edits = _drawn(space, max(attempt.budgets, default=0), attempt.node_caps, attempt.rng)
                points += [FeatureEdit(budget, space.bits_of(edits[:budget])) for budget in attempt.budgets]
            variants += [f"draw {draw}"] * (len(points) - len(variants))
        return FeatureOutcome(tuple(points), tuple(variants))

    def _moved(self, space: FeatureSpace, view: View, attempt: Attempt) -> list[FeatureEdit]:
        """Every value by the whole radius; of many graphs those of the attacked ones."""
        signs = torch.from_numpy(attempt.rng.integers(0, 2, tuple(space.raw.shape))).to(space.raw.dtype) * 2 - 1
        batch = view.graph.batch
        if batch is not None:
            signs[~torch.isin(batch, view.items)] = 0
        none = torch.empty(0, dtype=torch.int64)
        return [FeatureEdit(radius, none, space.moved(radius * signs, radius, self.within)) for radius in attempt.radii]


def _of_graphs(space: FeatureSpace, view: View, attempt: Attempt) -> list[FeatureEdit]:
    """In each attacked graph as many edits as it may have; a smaller budget's begin a larger one's."""
    width, batch, chosen = space.raw.shape[1], view.graph.batch, [list[Tensor]() for _ in attempt.budgets]
    largest = torch.stack(attempt.item_budgets).max(dim=0).values.tolist()
    if batch is None:
        raise ValueError("budgets of each graph need many graphs; this is one")
    for place, nodes in enumerate(nodes_of(batch, view.items)):
        caps = None if attempt.node_caps is None else attempt.node_caps[nodes]
        keys = _drawn(space.part(nodes), largest[place], caps, attempt.rng)
        keys = nodes[keys // width] * width + keys % width
        for found, own in zip(chosen, attempt.item_budgets, strict=True):
            found.append(keys[: int(own[place])])
    return [
        FeatureEdit(budget, space.bits_of(torch.cat(found)))
        for budget, found in zip(attempt.budgets, chosen, strict=True)
    ]


def _drawn(space: FeatureSpace, count: int, caps: Tensor | None, rng: np.random.Generator) -> Tensor:
    """Distinct uniform edits in random order, int64 [<= count].

    Bits, no more in a row than its cap; or other categories of distinct nodes.
    """
    rows, width = space.raw.shape
    if space.kind == "categories":
        nodes = torch.from_numpy(rng.choice(rows, min(count, rows), replace=False))
        other = torch.from_numpy(rng.integers(0, width - 1, nodes.numel()))
        return nodes * width + other + (other >= space.raw[nodes].argmax(dim=1)).long()
    wanted = min(count if caps is None else 4 * count, rows * width)
    keys = torch.from_numpy(rng.choice(rows * width, wanted, replace=False))
    if caps is None:
        return keys
    room: list[int] = caps.tolist()
    kept: list[int] = []
    for key in keys.tolist():
        if len(kept) == count:
            break
        if room[key // width] > 0:
            room[key // width] -= 1
            kept.append(key)
    return torch.tensor(kept, dtype=torch.int64)
