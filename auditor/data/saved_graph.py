"""One graph of what PyG saves, in any of its forms, from an archive that is read without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.data.fields import counts_on
from auditor.data.inert import Archive, Record, UnreadableError, entries_along, sparse_of
from auditor.data.raw import MAX_UNHELD
from auditor.errors import AuditorError, GraphError, RefusedError, TaskError
from auditor.reading.archives import check_expansion
from auditor.reading.files import bytes_of, first_line

_DATA = "torch_geometric.data.data.Data"
_BATCH = ("torch_geometric.data.batch.DynamicInheritanceGetter", "torch_geometric.data.batch.Batch")
_OTHER_TASKS = {
    "torch_geometric.data.hetero_data.HeteroData": (
        "HeteroData, which has several types of nodes or edges; heterogeneous graphs are not audited. If the model "
        "runs on one type of nodes and edges, save data.to_homogeneous()"
    ),
    "torch_geometric.data.temporal.TemporalData": (
        "TemporalData, a stream of events; models of time are not audited. If the model runs on one graph, save that: "
        "Data(x=…, edge_index=…, y=…)"
    ),
}
_ROWS = ("x", "pos", "z", "node_type", "n_id", "batch")  # one row a node, by PyG's rule
_EXPECTED = "expected a graph of PyG (Data, Batch, a list of Data, a processed data set) or a dictionary of tensors"


def read_graph(path: Path) -> dict[str, Any]:
    """The fields of the graph in a `torch.save` archive; many graphs side by side, with `batch`.

    Returns:
        Field -> tensor (dense, or sparse as coordinates), or a plain number, text, list or dictionary. Absent fields
        (None) are left out, every other one is there.

    Raises:
        GraphError: damaged, or graphs that do not go together.
        TaskError: a graph of another task.
        RefusedError: not a graph: what it holds exists only by running its code.
    """
    expected = "a graph written by torch.save. Give the graph's own file."
    try:
        archive = Archive(bytes_of(path, error=GraphError, expected=expected))
        return _Reader(archive, path.name).graph(archive.content)
    except UnreadableError as error:
        raise GraphError(
            f"{path.name} cannot be read: {error}. {_EXPECTED[0].upper()}{_EXPECTED[1:]}; save it again with "
            "torch.save in its default form."
        ) from None


class _Reader:
    """The forms that PyG and its users save, told apart."""

    def __init__(self, archive: Archive, name: str) -> None:
        self._archive, self._name = archive, name

    def graph(self, content: Any) -> dict[str, Any]:
        """One graph from the whole file."""
        if isinstance(content, tuple) and len(content) > 1 and isinstance(content[1], (dict, type(None))):
            return self._processed(content)
        if isinstance(content, (tuple, list)) and content:
            return self._joined(*self._collated([self._one(part)[0] for part in content]))
        return self._one(content)[0]

    def _one(self, content: Any) -> tuple[dict[str, Any], Any]:
        """(fields, nodes of each graph where they are written) of one object."""
        if isinstance(content, Record):
            if not self._is_data(content):
                raise self._not_a_graph(content)
            content = content.state
            if isinstance(content, dict) and isinstance(content.get("_store"), Record):
                content = content["_store"].state  # before PyG 2, fields were attributes of the graph itself
                if isinstance(content, dict) and isinstance(content.get("_mapping"), dict):
                    content = content["_mapping"] | {"_num_nodes": content.get("_num_nodes")}
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise self._refused(f"holds a {type(content).__name__}")
        counts = content.get("_num_nodes", content.get("__num_nodes__"))
        fields = {
            key: self._field(key, value)
            for key, value in content.items()
            if value is not None and not key.startswith("_")
        }
        return fields | ({"num_nodes": counts} if isinstance(counts, int) else {}), counts

    def _is_data(self, content: Record) -> bool:
        if content.name == _BATCH[0]:
            return [part.name for part in content.args or () if isinstance(part, Record)] == [_BATCH[1], _DATA]
        return content.name == _DATA and content.args is not None

    def _field(self, key: str, value: Any) -> Any:
        try:
            value = self._archive.value(value)
        except UnreadableError as error:
            raise UnreadableError(f"{key}: {error}") from None
        if found := _first_record(value):
            raise self._refused(
                f"holds {key} as a {found.short}", "Save it as a tensor, or leave it out", f"{key} as a tensor or text"
            )
        return value

    def _not_a_graph(self, content: Record) -> AuditorError:
        if content.name == _BATCH[0]:
            parts = [part for part in content.args or () if isinstance(part, Record) and part.name not in _BATCH]
            content = parts[0] if parts else content
        if content.name in _OTHER_TASKS:
            return TaskError(f"{self._name} holds {_OTHER_TASKS[content.name]}.")
        return self._refused(f"holds a {content.short}")

    def _refused(self, what: str, remedy: str = "", expected: str = "") -> RefusedError:
        expected = f"expected {expected}" if expected else _EXPECTED
        remedy = remedy or "Save torch_geometric.data.Data(x=…, edge_index=…, y=…)"
        return RefusedError(
            f"{self._name} {what}; {expected}, since anything else could run code on loading. {remedy}."
        )

    def _processed(self, content: Sequence[Any]) -> dict[str, Any]:
        """(data or its dictionary, slices or None, …, class), as InMemoryDataset writes it."""
        kind = content[-1] if isinstance(content[-1], Record) else None
        if kind is not None and kind.name != _DATA:
            raise self._not_a_graph(kind)
        fields, counts = self._one(content[0])
        slices = self._field("slices", content[1] or {})
        if unknown := [str(key) for key in slices if key not in fields and key != "num_nodes"]:
            raise GraphError(
                f"{self._name} holds {', '.join(unknown[:5])} beside its graph; expected fields of the graph, or the "
                "slices of its fields. Set them on the Data object before saving."
            )
        steps = {k: v for k, v in slices.items() if isinstance(v, Tensor) and v.dim() == 1 and v.shape[0] > 1}
        rows = next((key for key in _ROWS if key in steps), None)
        if isinstance(counts, list) and all(isinstance(n, int) and 0 <= n <= MAX_UNHELD for n in counts):
            nodes = torch.tensor(counts)
        elif rows is not None and counts is None:
            nodes = steps[rows].diff()
        elif slices:
            raise self._no_count()
        else:
            return fields
        return self._joined(fields, steps, nodes)

    def _collated(self, graphs: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Tensor], Tensor]:
        """(fields side by side, where each graph's part of a field begins, nodes of each graph)."""
        nodes = torch.tensor([self._num_nodes(fields) for fields in graphs])
        fields: dict[str, Any] = {}
        slices: dict[str, Tensor] = {}
        for key in dict.fromkeys(key for graph in graphs for key in graph):
            lacking = next((i for i, graph in enumerate(graphs) if key not in graph), None)
            if lacking is not None:
                raise GraphError(f"{self._name}: graph {lacking} lacks {key}, which others have; expected it in all.")
            values = [graph[key] for graph in graphs]
            if key == "num_nodes":
                fields[key] = int(nodes.sum())
            elif all(isinstance(value, Tensor) for value in values):
                fields[key], slices[key] = self._concatenated(key, values)
            elif all(isinstance(value, (int, float)) for value in values):
                fields[key] = torch.tensor(values)
            else:
                fields[key] = values
        return fields, slices, nodes

    def _concatenated(self, key: str, values: list[Tensor]) -> tuple[Tensor, Tensor]:
        along = -1 if counts_on(key) else 0
        try:
            if values[0].is_sparse and "adj" in key:
                return _diagonal(values), torch.zeros(1, dtype=torch.long)
            values = [value.reshape(1) if value.dim() == 0 else value for value in values]
            check_expansion(
                sum(value.nbytes for value in values if not value.is_sparse),
                self._archive.size,
                f"{self._name}: {key} of its {len(values)} graphs",
                error=GraphError,
                remedy="Save what the graphs share once.",
            )
            lengths = torch.tensor([0, *(value.shape[along] for value in values)])
            return torch.cat(values, dim=along), lengths.cumsum(0)
        except RuntimeError as error:
            raise GraphError(
                f"{self._name}: {key} of its {len(values)} graphs does not go together ({first_line(error)}); "
                "expected the same columns in each."
            ) from None

    def _num_nodes(self, fields: Mapping[str, Any]) -> int:
        if isinstance(fields.get("num_nodes"), int):
            return int(fields["num_nodes"])
        value = next((fields[key] for key in (*_ROWS, "adj_t", "adj") if isinstance(fields.get(key), Tensor)), None)
        if value is None:
            raise self._no_count()
        return int(value.shape[0])

    def _no_count(self) -> GraphError:
        return GraphError(
            f"{self._name} holds many graphs and does not say how many nodes each has; expected x or num_nodes. "
            "Set data.num_nodes before saving."
        )

    def _joined(self, fields: dict[str, Any], slices: Mapping[str, Tensor], nodes: Tensor) -> dict[str, Any]:
        """One graph of many: ids of nodes count on from graph to graph, `batch` says whose a node is."""
        if nodes.shape[0] < 2:
            return fields
        rows = next((fields[key].shape[0] for key in _ROWS if isinstance(fields.get(key), Tensor)), None)
        total = sum(nodes.tolist())
        if (rows is None and total > MAX_UNHELD) or rows not in (None, total) or bool((nodes < 0).any()):
            raise GraphError(
                f"{self._name}: its {nodes.shape[0]} graphs have {total} nodes together, its rows are {rows}; expected "
                "the same number. Process the data set again."
            )
        tensors = (key for key in slices if isinstance(fields.get(key), Tensor) and not fields[key].is_floating_point())
        own = ["batch"] * ("batch" in fields) + [key for key in tensors if "batch" in key]
        if own:  # ids of graphs, which PyG counts on by a rule of their own
            raise GraphError(
                f"{self._name} holds many graphs with {own[0]} each; expected single graphs, or one Batch of them."
            )
        offsets = nodes.cumsum(0) - nodes
        for key in filter(counts_on, fields):
            value, steps = fields[key], slices.get(key)
            if isinstance(value, Tensor) and not value.is_sparse:
                try:
                    assert steps is not None
                    fields[key] = value + offsets.repeat_interleave(entries_along(steps, value.shape[-1]))
                except (AssertionError, ValueError, RuntimeError):
                    raise GraphError(
                        f"{self._name}: the slices of {key} do not cover its {list(value.shape)} for {nodes.shape[0]} "
                        "graphs. Process the data set again."
                    ) from None
        return {**fields, "batch": torch.arange(nodes.shape[0]).repeat_interleave(nodes)}


def _diagonal(values: Sequence[Tensor]) -> Tensor:
    """Sparse matrices along the diagonal of one."""
    parts = [value.coalesce() for value in values]
    sizes = torch.tensor([tuple(part.shape) for part in parts]).T
    offsets = sizes.cumsum(1) - sizes
    indices = [part.indices() + offsets[:, i : i + 1] for i, part in enumerate(parts)]
    return sparse_of(torch.cat(indices, dim=1), torch.cat([part.values() for part in parts]), sizes.sum(1).tolist())


def _first_record(value: Any) -> Record | None:
    """A record inside of `value`, if there is one; each part is looked at once, however often it is named."""
    left, seen = [value], set()
    while left:
        part = left.pop()
        if isinstance(part, Record):
            return part
        if isinstance(part, (dict, list, tuple)) and id(part) not in seen:
            seen.add(id(part))
            left.extend(part.values() if isinstance(part, dict) else part)
    return None
