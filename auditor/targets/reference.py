"""The reference file: logits of the saved model on a synthetic graph, which prove that the rebuilt model is the same.

Synthetic by rule: a reference on the private graph would publish it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from auditor.data.fields import Fields, IdList
from auditor.data.graph import Graph
from auditor.data.tensors import read_safetensors
from auditor.errors import CallError, LoadError
from auditor.reading.files import bytes_of, first_line, reading
from auditor.targets.target import ModelHandle
from auditor.targets.weights import write_tensors

NODES, DENSITY, GRAPHS = 32, 0.12, 4
TOLERANCE = 1e-4
MAX_BYTES = 1 << 30
_NAMES = frozenset({"x", "edge_index", "edge_weight", "batch", "logits"})
_PARTS = ("node", "edge", "graph", "list")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Stored against recomputed logits: the largest difference, and the scale max(1, max |logit|) it is read on."""

    difference: float
    scale: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within 1e-4 of the scale."""
        return self.difference <= TOLERANCE * self.scale


def synthetic_inputs(graph: Graph, *, seed: int = 0, nodes: int | None = None) -> Graph:
    """32 nodes with Gaussian features on an Erdős–Rényi graph (p = 0.12), the last node isolated; four graphs of 8.

    Graph-level inputs keep the edges inside each block, by a `batch`. Every field of `graph` has its like: floats drawn
    with the mean and spread of the real column, whole numbers from its range. No real row is in it.

    Args:
        graph: the private graph, for widths and ranges alone.
        seed: of every draw.
        nodes: all of the graph's for a model that has a row for each; edges are then as many per node.
    """
    nodes = NODES if nodes is None else nodes
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, graph.num_features, generator=rng)
    if nodes <= NODES:
        pairs = torch.combinations(torch.arange(nodes - 1)).T  # the last node stays isolated
    else:
        ends = torch.randint(nodes - 1, (2, nodes * NODES // 2), generator=rng)
        keys = torch.unique(ends.min(dim=0).values * nodes + ends.max(dim=0).values)
        pairs = torch.stack([keys // nodes, keys % nodes])[:, keys // nodes != keys % nodes]
    keep = torch.rand(pairs.shape[1], generator=rng) < DENSITY
    batch = torch.arange(nodes) // (NODES // GRAPHS)
    pooled = graph.batch is not None
    if pooled:
        keep = (torch.rand(pairs.shape[1], generator=rng) < 4 * DENSITY) & (batch[pairs[0]] == batch[pairs[1]])
    kept = pairs[:, keep]
    edge_index = torch.cat([kept, kept.flip(0)], dim=1)
    if graph.whole_x:
        x = _like(graph.x.long(), nodes, rng).float()
    weight = None if graph.edge_weight is None else _like(graph.edge_weight, edge_index.shape[1], rng).abs()
    fields = _fields_like(graph, edge_index, batch if pooled else torch.zeros_like(batch), rng)
    y = torch.zeros(GRAPHS if pooled else nodes, dtype=torch.long)
    return Graph(x, edge_index, y, weight, batch if pooled else None, "reference", fields, graph.whole_x)


def _fields_like(graph: Graph, edge_index: Tensor, batch: Tensor, rng: torch.Generator) -> Fields:
    """Fields like those of `graph` for made-up edges int64 [2, E] and graphs int64 [N], one if it is one."""
    pooled = graph.batch is not None
    count = int(batch[-1]) + 1
    sizes = torch.bincount(batch)
    starts = sizes.cumsum(0) - sizes

    def ids(shape: Sequence[int], graphs: Tensor) -> Tensor:
        drawn = torch.rand(tuple(shape), generator=rng)
        return starts[graphs] + (drawn * sizes[graphs]).long()

    def made(part: Mapping[str, Tensor], graphs: Tensor | None) -> dict[str, Tensor]:
        return {name: one(name, value, graphs) for name, value in part.items()}

    def one(name: str, value: Tensor, graphs: Tensor | None) -> Tensor:
        kind = graph.fields.ids.get(name)
        if kind is None:
            return _like(value, None if graphs is None else graphs.shape[0], rng)
        if graphs is None:
            return ids(value.shape, torch.tensor(0)).to(value.dtype)
        across = graphs.view(-1, *[1] * (value.dim() - 1))
        new = ids((graphs.shape[0], *value.shape[1:]), across) if kind == "node" else graphs
        return new.to(value.dtype)

    lists: dict[str, IdList] = {}
    for name, entries in graph.fields.lists.items():
        length = entries.ids.shape[-1]
        graphs = (
            torch.arange(count).repeat_interleave(-(-length // graph.num_items)) if pooled else batch.new_zeros(length)
        )
        drawn = ids((*entries.ids.shape[:-1], graphs.shape[0]), graphs).to(entries.ids.dtype)
        lists[name] = IdList(drawn, entries.is_edges, made(entries.rows, graphs))
    fields = graph.fields
    of_graphs = torch.arange(count) if pooled else None
    return Fields(
        made(fields.node, batch),
        made(fields.edge, batch[edge_index[0]]),
        made(fields.graph, of_graphs),
        lists,
        fields.ids,
    )


def _like(value: Tensor, rows: int | None, rng: torch.Generator) -> Tensor:
    """Made-up values of the same type and range; `rows` None for as many as there are."""
    shape = value.shape if rows is None else (rows, *value.shape[1:])
    if torch.is_floating_point(value):
        mean, spread = value.mean(dim=0), value.std(dim=0).nan_to_num(0.0)
        return torch.randn(shape, generator=rng) * spread + mean
    flat = value.reshape(value.shape[0], -1) if value.dim() else value.reshape(1, 1)
    low, high = flat.min(dim=0).values.long(), flat.max(dim=0).values.long()
    drawn = torch.rand((math.prod(shape) // flat.shape[1], flat.shape[1]), generator=rng) * (high - low + 1)
    return (low + drawn.long()).reshape(shape).to(value.dtype)


def write_reference(path: Path, handle: ModelHandle, graph: Graph, *, fixed_nodes: bool = False) -> None:
    """Saves synthetic inputs like those of `graph`, and the model's logits on them.

    `fixed_nodes`: the model has a row per node, so that there must be as many.
    """
    made = synthetic_inputs(graph, nodes=graph.num_nodes if fixed_nodes else None)
    with torch.no_grad():
        logits = handle.logits(made.x, made.edge_index, made.edge_weight, made.batch, made.fields)
    parts = {"x": made.x, "edge_index": made.edge_index, "edge_weight": made.edge_weight, "batch": made.batch}
    for part in _PARTS[:3]:
        parts |= {f"{part}.{name}": value for name, value in getattr(made.fields, part).items()}
    parts |= {f"list.{name}": value for name, value in Fields(lists=made.fields.lists)}
    write_tensors(path, {**{name: value for name, value in parts.items() if value is not None}, "logits": logits})


def compare_reference(path: Path, handle: ModelHandle, graph: Graph) -> Comparison:
    """Recomputes the logits of a reference file; `graph` is the target's own, for its widths.

    Raises:
        LoadError: missing, malformed, not finite, for another number of features or other fields, or the model's
            answers differ.
    """
    expected = "a reference with x, edge_index and logits. Add the file beside the config file, or drop the key."
    raw = bytes_of(path, error=LoadError, cap=MAX_BYTES, expected=expected)
    with reading(path.name, error=LoadError, expected=expected):
        stored = _stored(raw, path.name, graph)
    found = _recomputed(handle, stored, path.name)
    if found.shape != stored.logits.shape:
        raise LoadError(
            f"{path.name} stores logits {list(stored.logits.shape)}, the model gives {list(found.shape)}. "
            "The model was rebuilt with other sizes: correct [model], or write the reference again."
        )
    comparison = Comparison(
        float((found - stored.logits).abs().nan_to_num(float("inf")).max()), max(1.0, float(stored.logits.abs().max()))
    )
    if not comparison.agrees:
        raise LoadError(
            f"the logits differ from {path.name} by {comparison.difference:.3g} on a scale of {comparison.scale:.3g}; "
            f"expected at most {TOLERANCE * comparison.scale:.3g}. The rebuilt model is not the saved one: a flag that "
            "no weight shows (activation, aggregation, normalize, add_self_loops) is another."
        )
    return comparison


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """What a reference holds: inputs of a made-up graph, and the answers of the saved model."""

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor | None
    batch: Tensor | None
    fields: Fields
    logits: Tensor


def _stored(raw: bytes, name: str, graph: Graph) -> _Stored:
    """The parts of a reference, each of the right shape for the target's own graph."""
    tensors = read_safetensors(raw, name, error=LoadError)
    node, edge, *others = (
        {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{part}.")}
        for part in _PARTS
    )
    fields = Fields(node, edge, {name: value for part in others for name, value in part.items()})  # nothing is cut
    own = {name for name in tensors if name.partition(".")[0] not in _PARTS}
    if not {"x", "edge_index", "logits"} <= own <= _NAMES:
        raise LoadError(
            f"{name} holds {', '.join(sorted(tensors)) or 'nothing'}; expected x, edge_index, logits and at most "
            "edge_weight and batch. Write the reference again."
        )
    x, edges, batch = tensors["x"], tensors["edge_index"], tensors.get("batch")
    _check_finite(name, x=x, logits=tensors["logits"])
    fits = edges.dim() == 2 and edges.shape[0] == 2 and _are_ids(edges, x.shape[0])
    if not fits or x.shape[1] != graph.num_features:
        raise LoadError(
            f"{name} holds x {list(x.shape)} and edge_index {edges.dtype} {list(edges.shape)}; expected "
            f"{graph.num_features} features and ids of its own nodes. Write the reference again for this model."
        )
    if batch is not None and not (batch.shape == x.shape[:1] and _are_ids(batch, x.shape[0])):
        raise LoadError(
            f"{name} holds batch {batch.dtype} {list(batch.shape)}; expected the graph of each of {x.shape[0]} nodes. "
            "Write the reference again."
        )
    needed, held = {name for name, _ in graph.fields}, {name for name, _ in fields}
    if not needed <= held:
        raise LoadError(
            f"{name} holds no {', '.join(sorted(needed - held))}, which forward is given here: it was written for "
            "another way to call the model. Correct [call], or write the reference again."
        )
    return _Stored(x.float(), edges.long(), tensors.get("edge_weight"), batch, fields, tensors["logits"])


def _are_ids(value: Tensor, count: int) -> bool:
    """Whether every entry is a whole number from 0, below `count`."""
    if torch.is_floating_point(value) or value.dtype == torch.bool:
        return False
    return not value.numel() or 0 <= int(value.long().min()) <= int(value.long().max()) < count


def _check_finite(name: str, **parts: Tensor) -> None:
    """Raises LoadError for what no model can be compared on: an infinite scale agrees with every answer."""
    for part, value in parts.items():
        whole = value.dim() == 2 and value.shape[0] and (value.shape[1] or part == "x")
        if not whole or not torch.is_floating_point(value):
            raise LoadError(
                f"{name} holds {part} {str(value.dtype).removeprefix('torch.')} {list(value.shape)}; expected "
                "floating numbers, a row for each node or graph. Write the reference again."
            )
        if not bool(torch.isfinite(value.float()).all()):
            raise LoadError(
                f"{name} holds {part} with NaN or infinity; expected finite numbers, since anything agrees with an "
                "infinite scale. Write the reference again from a model whose answers are finite."
            )


def _recomputed(handle: ModelHandle, stored: _Stored, name: str) -> Tensor:
    """The model's logits on the inputs of a reference."""
    try:
        with torch.no_grad():
            return handle.logits(stored.x, stored.edge_index, stored.edge_weight, stored.batch, stored.fields)
    except (CallError, RuntimeError, ValueError, TypeError, IndexError, OverflowError, MemoryError) as error:
        raise LoadError(
            f"the model cannot be run on {name}: {first_line(error)}. Write the reference again for this model."
        ) from None
