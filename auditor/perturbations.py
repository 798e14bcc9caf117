"""The edits behind the numbers of a cell, as a file: plain arrays that can be looked at, and flips played back.

A file holds edges of the private graph: a flip of a pair that was joined names one. See docs/methods/flip-files.md.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from auditor.data.edits import EdgeSpace, canonical_graph, edited_as_pairs
from auditor.data.graph import Graph
from auditor.data.npz import read_arrays
from auditor.errors import ConfigError, DataError, SkippedError
from auditor.outcomes import AddedNodes, FeatureEdit, FlipSet
from auditor.records import Model

FORM: Final = 1
HEADER: Final = "header"
LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
"""When every member was written: the same edits are the same bytes."""
Edit = FlipSet | FeatureEdit | AddedNodes
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedEdit:
    """One set of edits that kept to the rules: who found it, and the accuracy that verification gives it."""

    attack: str
    variant: str
    edit: Edit
    accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class Perturbations:
    """The verified edits of one cell.

    Attributes:
        graph: that they edit.
        points: the edits.
    """

    graph: Graph
    points: tuple[VerifiedEdit, ...]


class Point(Model):
    """What the header says of one set of edits; its arrays end in its place.

    Attributes:
        budget: edits allowed; of values, the radius.
        accuracy: verified, of the attacked items.
    """

    attack: str
    variant: str
    budget: float
    accuracy: float


class Header(Model):
    """The header of a file; `graph` is the digest of the canonical graph, `nodes` its N."""

    form: int
    probe: str
    seed: int
    graph: str
    nodes: int
    directed: bool
    points: tuple[Point, ...]


def to_npz(found: Perturbations, *, probe: str, seed: int) -> bytes:
    """The file: an .npz archive of plain arrays, the same bytes for the same edits.

    `header` is JSON as bytes. Of point i: `keys_i` int64 [k] (flips); or `node_i`, `column_i` int64 and `change_i`
    float32 [k] (features: what is added to the value, or to the bit); or `x_i` [r, F] and `edges_i` int64 [2, k] (added
    nodes), and of many graphs `graphs_i` int64 [r].
    """
    graph = _canonical(found.graph)
    points = tuple(
        Point(attack=each.attack, variant=each.variant, budget=each.edit.budget, accuracy=each.accuracy)
        for each in found.points
    )
    header = Header(
        form=FORM,
        probe=probe,
        seed=seed,
        graph=graph.digest(),
        nodes=graph.num_nodes,
        directed=not edited_as_pairs(graph),
        points=points,
    )
    arrays: Arrays = {HEADER: np.frombuffer(header.model_dump_json().encode(), np.uint8)}
    for i, each in enumerate(found.points):
        arrays |= {f"{name}_{i}": array for name, array in _arrays(each.edit, graph.x).items()}
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", LONG_AGO)
            member.compress_type = zipfile.ZIP_DEFLATED
            raw = io.BytesIO()
            np.lib.format.write_array(raw, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(member, raw.getvalue())
    return whole.getvalue()


def _canonical(graph: Graph) -> Graph:
    """Repeated arcs dropped; the graph itself where they differ, so that no edit of an edge is defined."""
    try:
        return canonical_graph(graph)
    except SkippedError:
        return graph


def _arrays(edit: Edit, x: Tensor) -> Arrays:
    if isinstance(edit, FlipSet):
        return {"keys": edit.keys.numpy()}
    if isinstance(edit, AddedNodes):
        graphs = {} if edit.graphs is None else {"graphs": edit.graphs.numpy()}
        return {"x": edit.x.numpy(), "edges": edit.edges.numpy(), **graphs}
    if edit.change is None:
        node, column = edit.bits // x.shape[1], edit.bits % x.shape[1]
        change = torch.where(x[node, column] > 0, -1.0, 1.0)  # of the bit, whatever its row was divided by
    else:
        node, column = torch.nonzero(edit.change, as_tuple=True)
        change = edit.change[node, column].float()
    return {"node": node.numpy(), "column": column.numpy(), "change": change.numpy()}


@dataclass(frozen=True, slots=True, eq=False)
class Flips:
    """One flip set of a file: where it comes from, in words, and its keys, int64 [k]."""

    name: str
    keys: Tensor


def read_flips(path: Path, space: EdgeSpace) -> tuple[Flips, ...]:
    """The flip sets of a file, for the graph that they were found on. The file is believed nothing.

    Raises:
        DataError: it cannot be read, is no file of edits, or holds keys of another type, twice, or out of range.
        ConfigError: it edits another graph, or holds no flips.
    """
    arrays = read_arrays(path)
    header = _header(arrays, path)
    graph = space.graph
    if (header.graph, header.nodes, header.directed) != (graph.digest(), graph.num_nodes, space.directed):
        raise ConfigError(
            f"{path.name} edits another graph: {_told(header.graph, header.nodes, header.directed)}, and "
            f"{graph.name} is {_told(graph.digest(), graph.num_nodes, space.directed)}; expected flips of the same "
            "graph. Give the file of a run on this one."
        )
    found = []
    for i, point in enumerate(header.points):
        name = f"keys_{i}"
        if name not in arrays:
            raise ConfigError(
                f"{path.name} holds edits of {header.probe}, whose point {i} has no {name}; expected flips of edges. "
                "Give the file of a cell that flips edges."
            )
        said = f"{path.stem[:12]} {point.attack} {point.variant}".strip()
        found.append(Flips(said, _keys(arrays[name], f"{path.name}: {name}", space)))
    if not found:
        raise ConfigError(f"{path.name} holds no flips; expected at least one set. Give the file of another cell.")
    return tuple(found)


def _header(arrays: Mapping[str, NDArray[Any]], path: Path) -> Header:
    expected = "expected a file of perturbations/ that auditor run --save-flips wrote. Give that one."
    raw = arrays.get(HEADER)
    if raw is None or raw.dtype != np.uint8 or raw.ndim != 1:
        raise DataError(f"{path.name} has no header; {expected}")
    try:
        header = Header.model_validate(json.loads(raw.tobytes()))
    except (ValidationError, ValueError, RecursionError):
        raise DataError(f"{path.name}: the header cannot be understood; {expected}") from None
    if header.form != FORM:
        raise DataError(f"{path.name} is of form {header.form}; this version reads form {FORM}. Save it again.")
    return header


def _told(digest: str, nodes: int, directed: bool) -> str:
    return f"{digest[:12]}… with {nodes} nodes, {'directed' if directed else 'undirected'}"


def _keys(array: NDArray[Any], what: str, space: EdgeSpace) -> Tensor:
    """Keys of distinct pairs of the graph.

    Raises:
        DataError: they are not.
    """
    n, again = space.graph.num_nodes, "Save the file again."
    if array.dtype != np.int64 or array.ndim != 1:
        raise DataError(f"{what} is {array.dtype} {list(array.shape)}; expected int64 [k]. {again}")
    keys = torch.from_numpy(array.copy())
    if keys.numel() and not 0 <= int(keys.min()) <= int(keys.max()) < n * n:
        raise DataError(f"{what} goes from {int(keys.min())} to {int(keys.max())}; expected [0, {n * n}). {again}")
    if (twice := keys.numel() - torch.unique(keys).numel()) > 0:
        raise DataError(f"{what} names {twice} keys twice; expected each once. {again}")
    u, v = space.ends(keys)
    if bool((u == v).any()) or (not space.directed and bool((u > v).any())):
        expected = "u * N + v of an arc" if space.directed else "min * N + max of a pair"
        raise DataError(f"{what} holds keys that are none; expected {expected}, of two different nodes. {again}")
    return keys
