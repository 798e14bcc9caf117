"""Reads `torch.save` archives without running anything that they name, and makes one graph of what PyG saves.

A pickle is a program. Here its opcodes build plain containers and `Record`s, which say what the file names and hold
what was put into it; no class of the file is imported and no function of it is called. Tensors are rebuilt afterwards,
from records of torch's own rebuild functions, within the bytes that the archive holds.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auditor.data.fields import counts_on
from auditor.errors import AuditorError, GraphError, RefusedError, TaskError

MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 2_000_000
SLACK_BYTES = 64 << 20  # what views may show beyond a few times the bytes that are there
MAX_NODES = 1 << 28  # of many graphs, whose count is only written down
DEPTH = 16
DTYPES: Mapping[str, torch.dtype] = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
    }.items()
}
_ATOMS = (str, int, float, bool, bytes, type(None))
_REFUSED = ("EXT1", "EXT2", "EXT4", "INST", "PERSID")  # a registry, a class, a reference: not a plain value
_TORCH_TYPES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_INDICES = ("torch_geometric.edge_index.EdgeIndex", "torch_geometric.index.Index")
_SPARSE = "torch_sparse.tensor.SparseTensor"


class UnreadableError(Exception):
    """Why an archive cannot be read, as a part of a sentence. Readers make it an error of their own."""


@dataclass(slots=True, eq=False)
class Record:
    """Something that the file names: a class or a function, or what came of calling it.

    Attributes:
        name: module and name.
        args: what it was called with; None for the thing itself.
        state: what was set on it.
    """

    name: str
    args: tuple[Any, ...] | None = None
    state: Any = None

    @property
    def is_tensor(self) -> bool:
        """Whether torch made it: a tensor, saved by a function that rebuilds it."""
        return self.args is not None and self.name.startswith(("torch._utils._rebuild_", "torch._tensor._rebuild_"))

    @property
    def short(self) -> str:
        """Package and name: networkx.Graph."""
        package, name = self.name.partition(".")[0], self.name.rpartition(".")[2]
        if name.startswith("_reconstruct") and self.args and isinstance(self.args[0], Record):
            return self.args[0].short  # what the call makes: numpy.ndarray
        return "torch.Tensor" if self.is_tensor else f"{package}.{name}"


class Archive:
    """One archive, its pickle read into records; `value` rebuilds the tensors of a part of it.

    Raises:
        UnreadableError: damaged, larger than its bytes, or no pickle that `torch.save` writes.
    """

    def __init__(self, file: Path | bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file)
            members = self._zip.infolist()
            self._names = {member.filename for member in members}
            if len(self._names) != len(members):
                raise UnreadableError("two members have the same name, so that two readers would see two files")
            top = next((n for n in sorted(self._names) if n.count("/") == 1 and n.endswith("/data.pkl")), None)
            if top is None:
                raise UnreadableError("it has no data.pkl, which torch.save writes")
            self._top = top.removesuffix("data.pkl")
            size = len(file) if isinstance(file, bytes) else file.stat().st_size
            unpacked = sum(member.file_size for member in members)
            if unpacked > size:
                raise UnreadableError(f"it unpacks to {unpacked} bytes from {size}; torch.save stores without packing")
            self._left = 8 * size + SLACK_BYTES
            pickle = self._zip.read(top)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise UnreadableError(str(error)) from None
        if self._top + "byteorder" in self._names and self._zip.read(self._top + "byteorder") != b"little":
            raise UnreadableError("its numbers are not little-endian")
        self._storages: dict[tuple[str, str], Tensor] = {}
        self._values: dict[int, Any] = {}
        self.named: dict[str, None] = {}  # what the pickle names, in order
        self.content = self._run(pickle)

    def value(self, part: Any, depth: int = 0) -> Any:
        """`part` of `content` with its tensors rebuilt; records that are no tensors stay records.

        Raises:
            UnreadableError: a tensor reaches beyond the archive, or is of a kind that is not read.
        """
        if isinstance(part, _ATOMS):
            return part
        if id(part) not in self._values:
            if depth > DEPTH:
                raise UnreadableError(f"it is nested deeper than {DEPTH}")
            try:
                self._values[id(part)] = self._value(part, depth + 1)
            except (RuntimeError, ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
                raise UnreadableError(f"a tensor cannot be rebuilt: {_first_line(error)}") from None
        return self._values[id(part)]

    def _value(self, part: Any, depth: int) -> Any:
        if isinstance(part, dict):
            return {key: self.value(value, depth) for key, value in part.items()}
        if isinstance(part, (list, tuple)):
            return type(part)(self.value(value, depth) for value in part)
        if part.name == _SPARSE:
            return self._sparse(part, depth)
        if part.args is None:
            return part
        if part.name == "torch.Size":
            return tuple(part.args[0]) if part.args else ()
        if part.name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"):
            return self._tensor(part)
        if part.name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            return self.value(part.args[0], depth)
        if part.name == "torch._utils._rebuild_sparse_tensor":
            return self._torch_sparse(part, depth)
        if part.name == "torch._tensor._rebuild_from_type_v2":
            return self._typed(part, depth)
        if part.name.startswith("torch._utils._rebuild_"):
            raise UnreadableError(f"a tensor is saved by {part.name}; expected a dense or sparse one of plain numbers")
        return part

    def _tensor(self, part: Record) -> Tensor:
        """A view of a storage, inside of it."""
        storage, offset, size, stride, *rest = part.args or ()
        if part.name.endswith("v2"):
            dtype, metadata = None, rest[2:]
        else:
            dtype, metadata = _dtype(rest[2]), rest[3:]
        if any(metadata):
            raise UnreadableError("a tensor is saved conjugated or negated; save a plain copy of it")
        size, stride = self.value(size), self.value(stride)
        flat = self._storage(storage)
        flat = flat if dtype is None else flat.view(dtype)
        if not all(isinstance(n, int) and n >= 0 for n in (offset, *size, *stride)) or len(size) != len(stride):
            raise UnreadableError("a tensor has a size, stride or offset that is no whole number from 0")
        last = -1 if 0 in size else offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self._left -= math.prod(size) * flat.element_size()
        if last >= flat.numel() or self._left < 0:
            raise UnreadableError(f"a tensor of size {list(size)} reaches beyond the numbers that the file holds")
        return flat.as_strided(size, stride, offset)

    def _storage(self, part: Record) -> Tensor:
        """All numbers of one storage, in a row."""
        _, kind, key, _, length = part.args or ()
        if (key, kind.name) not in self._storages:
            raw = bytearray(self._zip.read(f"{self._top}data/{key}"))
            dtype = torch.uint8 if kind.name == "torch.storage.UntypedStorage" else DTYPES.get(kind.name)
            if dtype is None:
                raise UnreadableError(f"a tensor has the storage {kind.name}, which is not read")
            if len(raw) != length * dtype.itemsize:
                raise UnreadableError(f"data/{key} has {len(raw)} bytes, the pickle says {length * dtype.itemsize}")
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            self._storages[key, kind.name] = flat
        return self._storages[key, kind.name]

    def _torch_sparse(self, part: Record, depth: int) -> Tensor:
        """A sparse tensor as coordinates, its invariants checked."""
        layout, data = part.args or ()
        kind, data = layout.args[0], self.value(data, depth)
        if kind == "torch.sparse_coo":
            return _coo(data[0], data[1], data[2])
        if kind not in ("torch.sparse_csr", "torch.sparse_csc"):
            raise UnreadableError(f"a tensor has the layout {kind}; expected a dense one, coordinates, or rows")
        steps, others, values, size = data
        indices = torch.stack([_expanded(steps, others.shape[0]), others.long()])
        return _coo(indices if kind == "torch.sparse_csr" else indices.flip(0), values, size)

    def _sparse(self, part: Record, depth: int) -> Tensor:
        """A SparseTensor of torch_sparse as coordinates."""
        stored = {key: self.value(value, depth) for key, value in part.state["storage"].state.items()}
        rows = stored["_row"] if stored["_row"] is not None else _expanded(stored["_rowptr"], stored["_col"].shape[0])
        values = stored["_value"] if stored["_value"] is not None else torch.ones(rows.shape[0])
        return _coo(torch.stack([rows, stored["_col"]]), values, stored["_sparse_sizes"])

    def _typed(self, part: Record, depth: int) -> Any:
        """A tensor of a class of its own: PyG's indices are plain inside, any other class stays a record."""
        function, kind, arguments, state = part.args or ()
        if kind.name in _TORCH_TYPES:
            return self._value(Record(function.name, arguments), depth)
        if kind.name in _INDICES:
            return self.value((state[0] if isinstance(state, tuple) else state)["_data"], depth)
        return Record(kind.name, ())

    def _run(self, pickle: bytes) -> Any:
        if len(pickle) > MAX_PICKLE_BYTES:
            raise UnreadableError(f"its table of contents has {len(pickle)} bytes; expected {MAX_PICKLE_BYTES} at most")
        try:
            return self._execute(pickle)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise UnreadableError(f"its pickle is malformed: {_first_line(error)}") from None

    def _execute(self, pickle: bytes) -> Any:
        """What the opcodes build; only containers of Python and records."""
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[Any, Any] = {}

        def popped() -> list[Any]:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        for count, (opcode, argument, position) in enumerate(pickletools.genops(pickle)):
            if count > MAX_OPCODES:
                raise UnreadableError(f"its pickle has more than {MAX_OPCODES} steps")
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    if (position or 0) + 1 != len(pickle):
                        raise UnreadableError("its pickle goes on after its end")
                    return stack.pop()
                case "MARK":
                    marks.append(len(stack))
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST" | "EMPTY_SET":
                    stack.append([])
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    size = int(opcode.name[-1])
                    stack[-size:] = [tuple(stack[-size:])]
                case "TUPLE":
                    stack.append(tuple(popped()))
                case "LIST" | "FROZENSET":
                    stack.append(popped())
                case "DICT":
                    items = popped()
                    stack.append({})
                    self._put(stack[-1], items)
                case "SETITEM":
                    items = [stack.pop(), stack.pop()][::-1]
                    self._put(stack[-1], items)
                case "SETITEMS":
                    items = popped()
                    self._put(stack[-1], items)
                case "APPEND":
                    items = [stack.pop()]
                    self._add(stack[-1], items)
                case "APPENDS" | "ADDITEMS":
                    items = popped()
                    self._add(stack[-1], items)
                case "GLOBAL" | "STACK_GLOBAL":
                    name = argument.replace(" ", ".") if argument else ".".join([stack.pop(), stack.pop()][::-1])
                    self.named[name] = None
                    stack.append(Record(name))
                case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX":
                    if opcode.name == "NEWOBJ_EX":
                        stack.pop()
                    arguments, called = stack.pop(), stack.pop()
                    empty = called.name == "collections.OrderedDict" and not arguments
                    stack.append({} if empty else Record(called.name, tuple(arguments)))
                case "BUILD":
                    state = stack.pop()
                    if isinstance(stack[-1], Record):
                        stack[-1].state = state
                case "BINPERSID":
                    (what, *_), reference = stack[-1], stack.pop()
                    if what != "storage" or len(reference) != 5:
                        raise UnreadableError("it refers to something that is no storage")
                    stack.append(Record("storage", reference))
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "POP":
                    stack.pop()
                case "POP_MARK":
                    popped()
                case name if isinstance(argument, (str, int, float, bytes)) and name not in _REFUSED:
                    stack.append(argument)
                case _:
                    raise UnreadableError(f"its pickle has the step {opcode.name}, which torch.save does not write")
        raise UnreadableError("its pickle has no end")

    @staticmethod
    def _put(into: Any, items: Sequence[Any]) -> None:
        """Items of a dict; those of a record (a defaultdict, say) are not needed."""
        if isinstance(into, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                parts = key if isinstance(key, tuple) else (key,)
                if not all(isinstance(part, _ATOMS) for part in parts):
                    raise UnreadableError("a dictionary has a key that is neither text nor a number")
                into[key] = value

    @staticmethod
    def _add(into: Any, items: Sequence[Any]) -> None:
        if isinstance(into, list):
            into.extend(items)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _dtype(part: Record) -> torch.dtype:
    dtype = getattr(torch, part.name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise UnreadableError(f"a tensor has the type {part.name}, which is not read")
    return dtype


def _coo(indices: Tensor, values: Tensor, size: Sequence[int]) -> Tensor:
    return torch.sparse_coo_tensor(indices.long(), values, tuple(size), check_invariants=True)


def _lengths(steps: Tensor, total: int) -> Tensor:
    """How many entries lie between the steps, which cover `total` of them."""
    lengths = steps.long().diff()
    if int(steps[0]) != 0 or int(steps[-1]) != total or bool((lengths < 0).any()):
        raise ValueError(f"the steps do not rise from 0 to {total}")
    return lengths


def _expanded(steps: Tensor, total: int) -> Tensor:
    """Row of every entry from where rows begin."""
    lengths = _lengths(steps, total)
    return torch.arange(lengths.shape[0]).repeat_interleave(lengths)


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
    try:
        archive = Archive(path)
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
        if isinstance(counts, list) and all(isinstance(n, int) and 0 <= n <= MAX_NODES for n in counts):
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
            lengths = torch.tensor([0, *(value.shape[along] for value in values)])
            return torch.cat(values, dim=along), lengths.cumsum(0)
        except RuntimeError as error:
            raise GraphError(
                f"{self._name}: {key} of its {len(values)} graphs does not go together ({_first_line(error)}); "
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
        if total > MAX_NODES or rows not in (None, total) or bool((nodes < 0).any()):
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
                    fields[key] = value + offsets.repeat_interleave(_lengths(steps, value.shape[-1]))
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
    return _coo(torch.cat(indices, dim=1), torch.cat([part.values() for part in parts]), sizes.sum(1).tolist())


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
