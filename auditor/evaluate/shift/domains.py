"""What was held out of training: another graph, items that a column names, or graphs larger than nearly all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditor.data.columns import item_column
from auditor.data.graph import Graph
from auditor.data.hygiene.items import same_data
from auditor.data.sources import load_data
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.shift.reference import MIN_ITEMS
from auditor.parameters import build, parameters
from auditor.registry import lack_of
from auditor.targets.target import Capability, Target

By = Literal["graph", "column", "size"]
QUANTILE = 0.95
FIRST = 5
MASK = (1.0,)


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        domain: another graph with the same features and classes: a name of `auditor list data`, or a file.
        column: a field of the nodes (of many graphs: of the graphs) that names the domains.
        held: values of that column that were held out; none for 1, as in a mask.
    """

    domain: str = ""
    column: str = ""
    held: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Items that were held out, and those that they are compared with.

    Attributes:
        name: as results call it: `twitch_ru`, `year 2019`, `more than 25 nodes`.
        by: how they were told.
        graph: where they lie; the target's own but for another graph.
        items: their ids there, int64 [m].
        inside: test items of the target that are none of them, int64 [n].
        chose: held-out items left out, since they chose the checkpoint.
    """

    name: str
    by: By
    graph: Graph
    items: Tensor
    inside: Tensor
    chose: int = 0


def check_domain(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether what the user named can be held out, before anything runs.

    Raises:
        ConfigError: see `domain_of`.
        DataError, GraphError: there is no such data set, or it cannot be read.
    """
    settings = build(Settings, params, owner=owner)
    try:
        domain_of(target, settings)
    except SkippedError:
        return  # the row of the cell says why


def has_domain(target: Target, params: Mapping[str, str], owner: str) -> bool:
    """Whether the user named what was held out, or enough larger graphs were; what a lack hides may be there.

    Raises:
        ConfigError: see `domain_of`.
    """
    try:
        domain_of(target, build(Settings, params, owner=owner))
    except SkippedError as error:
        return bool(error.lacks)
    return True


def domain_of(target: Target, settings: Settings) -> Domain:
    """What the user named; of many graphs, with nothing named, those larger than 95 % of the training graphs.

    Raises:
        ConfigError: both a graph and a column were named, or values without a column; the graph has another task, width
            or number of classes, or is the one that was trained on, whatever its labels; there is no such column, or it
            has not one number an item, or not these values; or held-out items were trained on.
        SkippedError: nothing was named of nodes; too few items; or the model knows its own nodes alone.
    """
    if settings.domain and settings.column:
        raise ConfigError(
            f"domain={settings.domain} and column={settings.column} were given; expected one of them. Leave one out."
        )
    if settings.held and not settings.column:
        raise ConfigError("held came without a column; expected column=FIELD,held=VALUES. Name the field.")
    if target.graph.batch is None and not (settings.domain or settings.column):
        raise SkippedError(
            "nobody named what was held out: domain=NAME for another graph with the same features and classes, or "
            "column=FIELD,held=VALUES for a field of the nodes"
        )
    if Capability.SPLIT not in target.capabilities:
        raise SkippedError(f"needs {lack_of(Capability.SPLIT)}", lacks=(str(Capability.SPLIT),))
    if settings.domain:
        found = _other_graph(target, settings.domain)
    elif settings.column:
        found = _by_column(target, settings.column, settings.held or MASK)
    else:
        found = _by_size(target)
    for what, count in (("held-out items", len(found.items)), ("test items beside them", len(found.inside))):
        if count < MIN_ITEMS:
            raise SkippedError(f"{count} {what} ({found.name}); at least {MIN_ITEMS} are needed")
    y = found.graph.y[found.items]
    if len(torch.unique(y)) < 2:
        raise SkippedError(f"every held-out item ({found.name}) is of class {int(y[0])}; one class says nothing")
    return found


def _other_graph(target: Target, name: str) -> Domain:
    for needed in (Capability.BARE, Capability.ANY_NODES):
        if needed not in target.capabilities:
            raise SkippedError(f"needs {lack_of(needed)}", lacks=(str(needed),))
    read = target.elsewhere
    graph = load_data(name, transform=target.transform).graph if read is None else read(name)
    own, classes = target.graph, int(graph.y.max()) + 1
    if graph.task != own.task:
        raise ConfigError(
            f"domain={name} has {graph.task.level}s to classify, {target.name} classifies {own.task.level}s. Give a "
            "data set of the same kind."
        )
    if graph.num_features != own.num_features:
        raise ConfigError(
            f"domain={name} has {graph.num_features} features, the model reads {own.num_features}; expected the same "
            "columns. Give a data set with those."
        )
    if classes > target.num_classes:
        raise ConfigError(
            f"domain={name} has labels of {classes} classes, the model tells {target.num_classes}; expected the same "
            "classes. Give a data set with those."
        )
    if same_data(graph, own):
        raise ConfigError(
            f"domain={name} is the data that {target.name} was trained on; expected other data. Name another set."
        )
    items = torch.nonzero(graph.labelled).flatten()
    return Domain(name, "graph", graph, items, _tested(target))


def _by_column(target: Target, column: str, held: tuple[float, ...]) -> Domain:
    graph, split = target.graph, target.split
    level = graph.task.level
    flat = item_column(graph, column, option="column")
    chosen = torch.isin(flat, torch.tensor(held, dtype=torch.float64))
    named = "/".join(f"{value:g}" for value in held)
    if not bool(chosen.any()):
        there = ", ".join(f"{value:g}" for value in torch.unique(flat).tolist()[:FIRST])
        raise ConfigError(f"held={named}: no {level} has such a value of {column}; expected some of {there}, ….")
    trained = torch.nonzero(chosen & split.train).flatten()
    if len(trained):
        raise ConfigError(
            f"{len(trained)} {level}s with {column} {named} were trained on (first: {trained[:FIRST].tolist()}); what "
            "is held out must not be. Name values that no training item has."
        )
    items = torch.nonzero(chosen & graph.labelled & ~split.val).flatten()
    inside = torch.nonzero(split.test & graph.labelled & ~chosen).flatten()
    return Domain(f"{column} {named}", "column", graph, items, inside, int((chosen & split.val).sum()))


def _by_size(target: Target) -> Domain:
    graph, split = target.graph, target.split
    assert graph.batch is not None
    sizes = torch.bincount(graph.batch, minlength=graph.num_items)
    largest = int(np.quantile(sizes[split.train].numpy(), QUANTILE, method="higher"))
    larger = sizes > largest
    items = torch.nonzero(larger & ~split.train & ~split.val & graph.labelled).flatten()
    inside = torch.nonzero(split.test & graph.labelled & ~larger).flatten()
    return Domain(f"more than {largest} nodes", "size", graph, items, inside)


def _tested(target: Target) -> Tensor:
    return torch.nonzero(target.split.test & target.graph.labelled).flatten()
