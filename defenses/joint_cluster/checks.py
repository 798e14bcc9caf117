"""Reads parameters that are a word or a number, and checks tensors that come from a file."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BeforeValidator
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import LoadError
from defenses.joint_cluster.merge import FALLBACK, Merged
from defenses.joint_cluster.model import ClusterModel
from defenses.joint_cluster.partition import Partition, statistics


def number_or_word(kind: type[int] | type[float], *words: str, low: int = 0, high: float = math.inf) -> BeforeValidator:
    """Reads a parameter that is one of `words` or a number in [low, high]; anything else is refused."""
    what = "a whole number" if kind is int else "a number"
    span = f"from {low}" if high == math.inf else f"from {low} to {high}"

    def read(value: object) -> object:
        if value in words:
            return value
        with contextlib.suppress(ValueError):
            number = kind(str(value))
            if low <= number <= high:
                return number
        raise ValueError(f"expected {', '.join(words)} or {what} {span}")

    return BeforeValidator(read)


def partition_notes(found: Partition, merged: Merged, graph: Graph, train: Tensor) -> dict[str, Any]:
    """What the report says about the clusters."""
    return {
        "partition": found.label,
        "partition_notes": list(found.notes),
        "clusters_asked": found.clusters,
        "clusters_kept": merged.clusters,
        "clusters_merged": merged.merged,
        "clusters_fallback": merged.fallback,
        **statistics(merged.assign, graph.edge_index, graph.y, train),
    }


def head_width(tensors: Mapping[str, Tensor]) -> int:
    """Width d of a plain head.

    Raises:
        LoadError: there is none in the file.
    """
    weight = tensors.get("head.weight")
    if weight is None or weight.dim() != 2:
        raise LoadError("the file holds no head.weight [C, d]; expected a plain head. Fit the defence again.")
    return int(weight.shape[1])


def check_tensors(model: ClusterModel) -> None:
    """Buffers of a loaded model agree with each other.

    Raises:
        LoadError: a table of another length or with a cluster that has no prototype, or prototypes that are not finite.
    """
    prototypes, fallback, table = model.prototypes, model.fallback, model.table
    if prototypes is None or fallback is None:
        return
    if prototypes.dim() != 2 or fallback.shape != prototypes.shape[1:] or not prototypes.shape[0]:
        raise LoadError(
            f"prototypes are {list(prototypes.shape)}, fallback {list(fallback.shape)}; expected [K, d] and [d]. "
            "Fit the defence again."
        )
    if not (bool(torch.isfinite(prototypes).all()) and bool(torch.isfinite(fallback).all())):
        raise LoadError("a prototype is NaN or infinite; expected finite values. Fit the defence again.")
    clusters = prototypes.shape[0]
    if table is not None:
        _check_ids(table, "table", (model.nodes,), FALLBACK, clusters)
    if model.members is not None and model.member_cluster is not None:
        _check_ids(model.members, "members", tuple(model.members.shape), 0, model.nodes)
        _check_ids(model.member_cluster, "member_cluster", tuple(model.members.shape), 0, clusters)


def _check_ids(ids: Tensor, name: str, shape: tuple[int, ...], low: int, high: int) -> None:
    wrong = ids.dtype != torch.int64 or tuple(ids.shape) != shape or ids.dim() != 1
    if wrong or (ids.numel() and (int(ids.min()) < low or int(ids.max()) >= high)):
        raise LoadError(
            f"{name} is {ids.dtype} {list(ids.shape)}; expected int64 {list(shape)} with values in {low}..{high - 1}. "
            "The file does not belong to this graph; fit the defence again."
        )
