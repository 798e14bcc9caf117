"""The column that is sensitive: which one is meant, what kind it is, and what else stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from auditor.data.columns import columns_of
from auditor.data.graph import Graph
from auditor.errors import ConfigError, nearest

Kind = Literal["binary", "classes", "number"]
MOST_CLASSES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Sensitive:
    """One column of the nodes.

    Attributes:
        name: as the user wrote it.
        values: float64 [N]; of a binary column 0 and 1, of classes 0 to K − 1, else as they are.
        kind: two values, at most 20 whole numbers, or any other numbers.
        others: the features without it, float32 [N, F'].
    """

    name: str
    values: Tensor
    kind: Kind
    others: Tensor


def sensitive_column(graph: Graph, name: str | int) -> Sensitive:
    """A column of the features, by its number from 0, or a field of the nodes, by its name.

    Rows that all add up to 1 were normalised: what is left of a row tells how much was taken out. There the column is
    whether a value is there, and what is left is scaled to add up to 1 again.

    Raises:
        ConfigError: there is no such column, it has not one finite number a node, or only one value.
    """
    at = str(name)
    if at.isdecimal():
        place = int(at)
        if place >= graph.num_features:
            raise ConfigError(
                f"[access] sensitive is {place}; expected a column of x from 0 to {graph.num_features - 1}, since "
                f"{graph.name} has {graph.num_features} features. Give one of these, or a field of the nodes by name."
            )
        kept = torch.arange(graph.num_features) != place
        values, others = graph.x[:, place].double(), graph.x[:, kept]
        if _is_normalised(graph.x):
            if bool((values == 0).any()):
                values = (values != 0).double()
            left = others.sum(dim=1, keepdim=True)
            others = torch.where(left > 0, others / left.clamp_min(1e-12), 0.0)
    else:
        columns = columns_of(graph)
        field = columns.get(at)
        if field is None:
            known = sorted(columns)
            raise ConfigError(
                f'[access] sensitive is "{at}", and the nodes of {graph.name} have no field of that name'
                f"{'' if known else ' (nor any other)'}. {nearest(at, known) if known else ''} Give the number of a "
                f"column of x, 0 to {graph.num_features - 1}, or a field of the nodes.".replace("  ", " ")
            )
        if field.numel() != graph.num_nodes:
            raise ConfigError(
                f'[access] sensitive is "{at}", which is {list(field.shape)}; expected one number for each of the '
                f"{graph.num_nodes} nodes. Name a field with one column."
            )
        values, others = field.flatten().double(), graph.x
    if not bool(torch.isfinite(values).all()):
        raise ConfigError(f"[access] sensitive is {at}, which holds values that are not finite; expected numbers.")
    distinct, index = torch.unique(values, return_inverse=True)
    if distinct.numel() < 2:
        raise ConfigError(
            f"[access] sensitive is {at}, which is {distinct[0].item():g} for every node; expected a column in which "
            "nodes differ. There is nothing to tell apart; name another one."
        )
    if distinct.numel() == 2:
        return Sensitive(at, index.double(), "binary", others)
    if distinct.numel() <= MOST_CLASSES and bool((distinct == distinct.round()).all()):
        return Sensitive(at, index.double(), "classes", others)
    return Sensitive(at, values, "number", others)


def _is_normalised(x: Tensor) -> bool:
    """Whether every row that is not empty has no negative value and adds up to 1."""
    total = x.double().sum(dim=1)
    filled = (x != 0).any(dim=1)
    return bool((x >= 0).all()) and bool(((total[filled] - 1).abs() < 1e-4).all())
