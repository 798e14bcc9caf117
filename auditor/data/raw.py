"""What a reader makes of raw files, before it is checked and completed into a Graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.data.fields import NO_FIELDS, Fields
from auditor.errors import GraphError

MAX_UNHELD = 10_000_000  # nodes, or rows of nothing, that a file may count without holding a number for each


@dataclass(slots=True)
class Raw:
    """The tensors of one data set as read.

    Attributes:
        edge_index: int64 [2, E].
        y: labels [N] or [B].
        x: features [N, F], or None when the set has none.
        edge_weight: [E] or None.
        batch: int64 [N] for a set of graphs.
        masks: `train`, `val`, `test` -> bool [N], or [N, K] for K splits; empty when there are none.
        masks_from: `public` where they were published with the data, `file` in a user's file, `prognn` for the splits
            of the Pro-GNN study.
        columns: named columns, int64 [N] or [B] (`group` of the generated sets).
        notes: what was changed on the way, in words.
        fields: everything else, by what its rows belong to.
        whole_x: the features are whole numbers by their type.
        num_nodes: N, where there are no features to tell it.
        flat_x: the features are [N] in the file.
        withheld: what is there and never reaches a model: the split, and what is no numbers.
    """

    edge_index: Tensor
    y: Tensor
    x: Tensor | None = None
    edge_weight: Tensor | None = None
    batch: Tensor | None = None
    masks: dict[str, Tensor] = field(default_factory=dict)
    masks_from: str = "public"
    columns: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    fields: Fields = NO_FIELDS
    whole_x: bool = False
    num_nodes: int | None = None
    flat_x: bool = False
    withheld: tuple[str, ...] = ()


def native(array: npt.NDArray[Any], key: str, name: str) -> npt.NDArray[Any]:
    """The same numbers in a type that torch counts with; whatever is no number stays as it is.

    Args:
        array: of any type and byte order.
        key: its name, for messages.
        name: of the file, for messages.

    Raises:
        GraphError: numbers of a type that torch does not have, or beyond 63 bits.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f" and size > 8:
        raise GraphError(f"{name}: {key} is {array.dtype}; expected at most 64 bits a number. Save it as float64.")
    if kind == "u" and size > 1:
        if array.size and int(array.max()) >= 2**63:
            raise GraphError(f"{name}: {key} holds {int(array.max())}; expected whole numbers below 2^63.")
        return array.astype(np.int64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def to_tensor(array: npt.NDArray[np.generic], dtype: torch.dtype) -> Tensor:
    """A contiguous copy of `array` as a tensor of `dtype`."""
    return torch.from_numpy(np.array(array, order="C")).to(dtype)


def coalesced(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Distinct arcs, sorted by source, then target; int64 [2, E].

    Raises:
        ValueError: an id outside of [0, num_nodes), which would come out as another arc.
    """
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        ends = f"{int(edge_index.min())} to {int(edge_index.max())}"
        raise ValueError(f"the arcs name nodes {ends}, there are {num_nodes}, counted from 0")
    keys = torch.unique(edge_index[0] * num_nodes + edge_index[1])
    return torch.stack([keys // num_nodes, keys % num_nodes])


def without_loops(edge_index: Tensor) -> Tensor:
    """The arcs that join two different nodes."""
    return edge_index[:, edge_index[0] != edge_index[1]]


def symmetrised(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Every arc in both directions, each once, sorted; int64 [2, E]."""
    return coalesced(torch.cat([edge_index, edge_index.flip(0)], dim=1), num_nodes)
