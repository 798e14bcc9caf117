"""Columns that a user names: a number for each item, beside its features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import ConfigError, nearest


def columns_of(graph: Graph) -> Mapping[str, Tensor]:
    """What the file says about each item besides features and label, whether the model reads it or not."""
    fields = graph.fields.node if graph.batch is None else graph.fields.graph
    return {**graph.columns, **fields}


def item_column(graph: Graph, name: str, *, option: str) -> Tensor:
    """A field of the nodes (of many graphs: of the graphs) as float64 [items].

    Args:
        graph: whose fields.
        name: of the field.
        option: what the user gave it with, for messages.

    Raises:
        ConfigError: there is no such field (nearest name offered), or it has not one finite number an item.
    """
    columns, level = columns_of(graph), graph.task.level
    if name not in columns:
        known = sorted(columns)
        raise ConfigError(
            f"{option}={name}: the {level}s of {graph.name} have no field of that name{'' if known else ' (nor any)'}. "
            f"{nearest(name, known) if known else f'Save one beside x, with a number for each {level}.'}"
        )
    values = columns[name]
    if values.numel() != graph.num_items:
        raise ConfigError(
            f"{option}={name} is {list(values.shape)}; expected one number for each of {graph.num_items} {level}s. "
            "Name a field with one column."
        )
    flat = values.flatten().double()
    if not bool(torch.isfinite(flat).all()):
        count = int((~torch.isfinite(flat)).sum())
        raise ConfigError(
            f"{option}={name} has {count} values that are not finite; expected numbers. Give those {level}s a value."
        )
    return flat
