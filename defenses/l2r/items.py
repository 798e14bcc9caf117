"""What a reweighting learns from: the training items, or why it cannot; and the groups a user named."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.errors import ConfigError, SkippedError, SplitError
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Target
from auditor.tasks import Task
from defenses.l2r.head import Head, LinearMap, find_head, head_inputs, read_head

MIN_ITEMS, MIN_PER_CLASS, MIN_GROUP = 50, 5, 5
INTERPOLATES, MIN_VALIDATION = 0.995, 200


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some items and what must be forwarded to classify them.

    Attributes:
        graph: the one graph, or those graphs alone.
        items: their ids in the target's own numbering, ascending, int64 [n].
        rows: their rows in the output, int64 [n].
    """

    graph: Graph
    items: Tensor
    rows: Tensor

    @property
    def y(self) -> Tensor:
        """Their classes, int64 [n]."""
        return self.graph.y[self.rows]


def part_of(graph: Graph, mask: Tensor) -> Part:
    """The items of `mask`: what a fit may forward, so that the features of test graphs are never read."""
    ids = torch.nonzero(mask).flatten()
    if graph.batch is None:
        return Part(graph, ids, ids)
    return Part(GraphSlices(graph).take(ids), ids, torch.arange(ids.shape[0]))


def check_target(target: Target) -> None:
    """Raises what makes a reweighting impossible on this target.

    Raises:
        SplitError: no validation items, fewer than 50 training items, or fewer than 5 of a class.
    """
    train, val, _ = target.split.sizes
    if val == 0:
        raise SplitError(
            f"{target.name} has no validation items; expected some, since they choose the checkpoint. "
            'Use a split such as "random:0.6/0.2/0.2".'
        )
    if train < MIN_ITEMS:
        raise SplitError(
            f"{target.name} has {train} training items; expected at least {MIN_ITEMS} to weigh. Use a split with more."
        )
    counts = torch.bincount(target.graph.y[target.split.train], minlength=target.num_classes)
    if int(counts.min()) < MIN_PER_CLASS:
        raise SplitError(
            f"class {int(counts.argmin())} of {target.name} has {int(counts.min())} training items; expected at least "
            f"{MIN_PER_CLASS} of every class. Use a split with more."
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrozenHead:
    """A trained model cut before its head, on the items that the head is refitted on.

    Attributes:
        head: where it is.
        layer: its W and b.
        z: its raw inputs [n, d].
        y: classes [n].
        items: ids of the items, int64 [n].
        train_accuracy: of the trained model.
        on_validation: whether the items are the validation items, because the head interpolates the training items.
        interpolates: whether training accuracy reaches 99.5 %.
    """

    head: Head
    layer: LinearMap
    z: Tensor
    y: Tensor
    items: Tensor
    train_accuracy: float
    on_validation: bool
    interpolates: bool


def freeze(target: Target) -> FrozenHead:
    """Cuts the trained model before its head.

    Where training accuracy reaches 99.5 % the weighted optimum barely depends on the weights: the head is then
    refitted on the validation items, if there are at least 200 of them and 5 of every class.

    Raises:
        SplitError: see `check_target`.
        SkippedError: the model has no head of the known kinds, or a single logit for more than two classes.
    """
    check_target(target)
    model: nn.Module = target.handle().on_cpu
    part = part_of(target.graph, target.split.train)
    head = find_head(model, part.graph)
    layer = read_head(model, head)
    if layer.weight.shape[0] not in (target.num_classes, 1 if target.num_classes == 2 else target.num_classes):
        raise SkippedError(
            f"{target.name} has {layer.weight.shape[0]} logits for {target.num_classes} classes; expected one per "
            "class, or a single one for two."
        )
    z, logits = head_inputs(model, head, part.graph)
    accuracy = float(_quality(target.task, logits[part.rows], part.y).mean())
    interpolates = accuracy >= INTERPOLATES
    validation = part_of(target.graph, target.split.val)
    counts = torch.bincount(validation.y, minlength=target.num_classes)
    on_validation = interpolates and len(validation.items) >= MIN_VALIDATION and int(counts.min()) >= MIN_PER_CLASS
    if on_validation:
        part = validation
        z, _ = head_inputs(model, head, part.graph)
    return FrozenHead(head, layer, z[part.rows], part.y, part.items, accuracy, on_validation, interpolates)


def group_cells(
    column: Tensor | None, graph: Graph, items: Tensor, *, crossed: bool = False
) -> tuple[Tensor, tuple[str, ...]]:
    """Groups of `items`, renumbered from 0, int64 [n]; and notices of what was merged.

    A group of fewer than 5 items is merged into the largest group of its class (the class most of its items have).

    Args:
        column: one whole number per item of the graph [items].
        graph: whose items these are.
        items: ids of the items to weigh, int64 [n].
        crossed: whether a group is a (class, value) cell rather than a value.

    Raises:
        ConfigError: no column, one of another length, a constant one, or, crossed, a cell without an item.
    """
    if column is None:
        raise ConfigError("no group column was named; expected one value per item. Give --group COLUMN.")
    if column.shape != (graph.num_items,):
        raise ConfigError(
            f"the group column has {list(column.shape)} entries; expected one for each of {graph.num_items} items."
        )
    classes, y = torch.unique(graph.y[items], return_inverse=True)
    values, cells = torch.unique(column[items], return_inverse=True)
    if len(values) < 2:
        raise ConfigError(
            f"the group column is constant ({values.tolist()}) on the {len(items)} items that are weighed; expected at "
            "least two values."
        )
    if crossed:
        cells = y * len(values) + cells
        filled = torch.bincount(cells, minlength=len(classes) * len(values)) > 0
        if not bool(filled.all()):
            raise ConfigError(
                f"{int((~filled).sum())} of {filled.numel()} cells (class, group) hold no item; expected items in "
                "every cell. Merge rare values of the column, or name a column of groups and leave by=group."
            )
    counts = torch.bincount(cells)
    table = torch.zeros(len(counts), len(classes), dtype=torch.int64)
    table.index_put_((cells, y), torch.ones_like(y), accumulate=True)
    own = table.argmax(dim=1)  # class of each group
    place, notices = torch.arange(len(counts)), []
    for small in torch.nonzero(counts < MIN_GROUP).flatten().tolist():
        alike = torch.where(own == own[small], counts, -1)
        largest = int(alike.argmax())
        if largest != small:
            place[small] = largest
            notices.append(f"a group of {int(counts[small])} items was merged into the largest of its class")
    return torch.unique(place[cells], return_inverse=True)[1], tuple(notices)


def balanced_weights(cells: Tensor) -> Tensor:
    """w_n proportional to 1 / N_group(n), mean 1, float64 [n]."""
    counts = torch.bincount(cells).double()
    w = 1 / counts[cells]
    return w * (w.numel() / w.sum())


def minority_weight(w: Tensor, groups: Tensor) -> float | None:
    """Mean weight over the groups with fewer items than the median group; None when none is smaller."""
    present, index = torch.unique(groups, return_inverse=True)
    counts = torch.bincount(index, minlength=len(present)).double()
    minority = (counts < counts.quantile(0.5))[index]
    return float(w[minority].double().mean()) if bool(minority.any()) else None


def _quality(task: Task, logits: Tensor, y: Tensor) -> Tensor:
    if logits.shape[1] == 1:
        logits = torch.cat([-logits / 2, logits / 2], dim=1)
    return task.quality(logits, y)
