"""Reads `torch.save` archives without running anything that they name.

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
from typing import Any

import torch
from torch import Tensor

from auditor.data.raw import MAX_UNHELD
from auditor.reading.files import first_line, library_errors

MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 2_000_000
SLACK_BYTES = 64 << 20  # what views may show beyond a few times the bytes that are there
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

    def __init__(self, raw: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(raw))
            members = self._zip.infolist()
            self._names = {member.filename for member in members}
            if len(self._names) != len(members):
                raise UnreadableError("two members have the same name, so that two readers would see two files")
            top = next((n for n in sorted(self._names) if n.count("/") == 1 and n.endswith("/data.pkl")), None)
            if top is None:
                raise UnreadableError("it has no data.pkl, which torch.save writes")
            self._top = top.removesuffix("data.pkl")
            unpacked = sum(member.file_size for member in members)
            if unpacked > len(raw):
                raise UnreadableError(
                    f"it unpacks to {unpacked} bytes from {len(raw)}; torch.save stores without packing"
                )
            self.size = len(raw)
            self._left = 8 * len(raw) + SLACK_BYTES
            pickle = self._zip.read(top)
            if self._top + "byteorder" in self._names and self._zip.read(self._top + "byteorder") != b"little":
                raise UnreadableError("its numbers are not little-endian")
        except library_errors() as error:
            raise UnreadableError(first_line(error)) from None
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
            except library_errors() as error:
                raise UnreadableError(f"a tensor cannot be rebuilt: {first_line(error)}") from None
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
        if last >= flat.numel() or self._left < 0 or (0 in size and max(size) > MAX_UNHELD):
            raise UnreadableError(f"a tensor of size {list(size)} reaches beyond the numbers that the file holds")
        if math.prod(size) > flat.numel():
            raise UnreadableError(
                f"a tensor of size {list(size)} shows the same {flat.numel()} numbers again and again; expected a "
                "number in the file for each entry: save tensor.contiguous()"
            )
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
            return sparse_of(data[0], data[1], data[2])
        if kind not in ("torch.sparse_csr", "torch.sparse_csc"):
            raise UnreadableError(f"a tensor has the layout {kind}; expected a dense one, coordinates, or rows")
        steps, others, values, size = data
        indices = torch.stack([_expanded(steps, others.shape[0]), others.long()])
        return sparse_of(indices if kind == "torch.sparse_csr" else indices.flip(0), values, size)

    def _sparse(self, part: Record, depth: int) -> Tensor:
        """A SparseTensor of torch_sparse as coordinates."""
        stored = {key: self.value(value, depth) for key, value in part.state["storage"].state.items()}
        rows = stored["_row"] if stored["_row"] is not None else _expanded(stored["_rowptr"], stored["_col"].shape[0])
        values = stored["_value"] if stored["_value"] is not None else torch.ones(rows.shape[0])
        return sparse_of(torch.stack([rows, stored["_col"]]), values, stored["_sparse_sizes"])

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
        except library_errors() as error:
            raise UnreadableError(f"its pickle is malformed: {first_line(error)}") from None

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


def _dtype(part: Record) -> torch.dtype:
    dtype = getattr(torch, part.name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise UnreadableError(f"a tensor has the type {part.name}, which is not read")
    return dtype


def sparse_of(indices: Tensor, values: Tensor, size: Sequence[int]) -> Tensor:
    """A sparse tensor as coordinates, its invariants checked."""
    return torch.sparse_coo_tensor(indices.long(), values, tuple(size), check_invariants=True)


def entries_along(steps: Tensor, total: int) -> Tensor:
    """How many entries lie between the steps, which cover `total` of them."""
    lengths = steps.long().diff()
    if int(steps[0]) != 0 or int(steps[-1]) != total or bool((lengths < 0).any()):
        raise ValueError(f"the steps do not rise from 0 to {total}")
    return lengths


def _expanded(steps: Tensor, total: int) -> Tensor:
    """Row of every entry from where rows begin."""
    lengths = entries_along(steps, total)
    return torch.arange(lengths.shape[0]).repeat_interleave(lengths)
