"""A target from a model in memory: copied, never touched; its data read as a graph file would be."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from auditor.data import sources
from auditor.data.fields import counts_on
from auditor.data.named import LISTS, MASKS, OWN, SPLITS, WORDS, raw_from
from auditor.data.sources import LoadedData
from auditor.errors import DataError, GraphError, LoadError, SplitError, TaskError, UsageError, nearest
from auditor.targets.config import TargetFile
from auditor.targets.copying import copied, unwrap_parts, unwrapped
from auditor.targets.in_place import kept_fresh
from auditor.targets.load import assemble
from auditor.targets.loaded import LoadedModel
from auditor.targets.loaders.factory import adapted
from auditor.targets.target import Target

PARTS = ("train", "val", "test")
TRANSIENT = ("training", "cached", "_is_torch_compile")  # beside `_cached…`: what a layer keeps of its graph
FOREIGN = ("torch", "torch_geometric")


def live_target(
    model: nn.Module,
    data: Any,
    file: TargetFile,
    *,
    masks: Mapping[str, Any] | None = None,
    build: Callable[[], nn.Module] | None = None,
    adapter: Callable[..., Tensor] | None = None,
    data_root: Path | None = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> Target:
    """A Target from a trained module and its data.

    Args:
        model: copied to the CPU in float32; the caller's stays as it is.
        data: PyG `Data` or `Batch`, a list or `Dataset` of `Data`, or a data set's name or path.
        file: what a `target.toml` would say of it: name, claimed accuracy, reference, recipe, split, transform.
        masks: the split itself, `train`, `test` and perhaps `val`: booleans [items] or ids.
        build: makes a fresh, untrained model.
        adapter: `adapter(model, data)`, through which it is called.
        data_root: where named data sets lie.
        notify: gets one line for everything that was changed on the way.

    Raises:
        TaskError: the data belong to a task that is not audited.
        DataError: the data or the split are malformed.
        LoadError: the model cannot be copied or run.
    """
    if data is None:
        raise UsageError(f"{type(model).__name__} came without data. Give the graph it was trained on: (model, data).")
    own, provenance = private_copy(model, notify)
    without = () if masks is None else (*MASKS, *LISTS, *SPLITS)
    loaded = read_data(data, transform=file.data.transform, data_root=data_root, without=without, notify=notify)
    if masks is not None:
        loaded = _with_masks(loaded, masks)
    digest = content_digest(own, loaded.graph.digest())
    if adapter is not None:
        own, fresh = adapted(own, adapter), build
        build = None if fresh is None else lambda: adapted(fresh(), adapter)
    made = None if build is None else functools.partial(_fresh, build)
    return assemble(LoadedModel(kept_fresh(own), made, "live", digest, provenance), file, Path(), loaded)


def _fresh(build: Callable[[], nn.Module]) -> nn.Module:
    return kept_fresh(build())


def read_data(
    data: Any,
    *,
    transform: str = "none",
    data_root: Path | None = None,
    without: Collection[str] = (),
    notify: Callable[[str], None] = lambda _line: None,
) -> LoadedData:
    """Data in memory as a graph file of the same fields would be read; a name or path is looked up.

    Args:
        data: see `live_target`.
        transform: of the features, `none` or `row-normalize`.
        data_root: where named data sets lie.
        without: fields of data in memory that are not read.
        notify: gets one line before anything is downloaded.

    Raises:
        TaskError: heterogeneous or temporal data.
        DataError: anything else that is no graph.
    """
    if isinstance(data, str | Path):
        return sources.load_data(str(data), root=data_root, transform=transform, notify=notify)
    sources.check_transform(transform)
    held = as_fields(data)
    raw = raw_from({name: _own(value) for name, value in held.items() if name not in without}, "data")
    raw.withheld += tuple(name for name in held if name in without)
    loaded = sources.complete(raw, "data", "", transform=transform)
    return dataclasses.replace(loaded, digest=loaded.graph.digest())


def _own(value: Any) -> Any:
    """A copy of what a tensor or an array holds: the caller's may be written to by a forward that works in place."""
    return value.clone() if isinstance(value, Tensor) else value.copy() if isinstance(value, np.ndarray) else value


def content_digest(model: nn.Module, *others: str) -> str:
    """sha256 over what a model computes with: code of its classes, tensors, plain settings, sorted by name.

    Caches and the training mode are left out, so that a model has one digest wherever and however it is held.
    """
    sha = hashlib.sha256("\0".join(others).encode())
    for code in sorted({_code(type(module)) for module in model.modules()}):
        sha.update(code.encode())
    for name, value in sorted(_contents(model), key=lambda pair: pair[0]):
        if isinstance(value, Tensor):
            sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
        else:
            sha.update(f"{name} {value!r}".encode())
    return sha.hexdigest()


def _contents(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every tensor and every plain setting of every module, by dotted name."""
    for path, module in model.named_modules():
        held = {**module._parameters, **module._buffers, **vars(module)}
        for name, value in held.items():
            if name in TRANSIENT or name.startswith("_cached"):
                continue
            if isinstance(value, Tensor) and value.layout == torch.strided:
                yield f"{path}.{name}", value.reshape(-1) if value.dim() == 0 else value
            elif _is_plain(value):
                yield f"{path}.{name}", value


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, bool | int | float | str | None)


def _code(kind: type) -> str:
    """A class's name and source (its bytecode where there is no source); a library's class by its name alone."""
    if kind.__module__.partition(".")[0] in FOREIGN:
        return kind.__qualname__
    try:
        return f"{kind.__qualname__}\n{inspect.getsource(kind)}"
    except (OSError, TypeError):
        return f"{kind.__qualname__}\n{kind.forward.__code__.co_code.hex()}"  # type: ignore[attr-defined]


def private_copy(model: nn.Module, notify: Callable[[str], None]) -> tuple[nn.Module, dict[str, Any]]:
    """A copy on the CPU in float32, and what the report should say of it."""
    bare, wrappers = unwrapped(model)
    provenance: dict[str, Any] = {"class": type(bare).__qualname__}
    if wrappers:
        provenance["unwrapped"] = wrappers
        notify(f"the model is unwrapped from {', '.join(wrappers)}: {type(bare).__name__} is what is audited")
    if isinstance(bare, torch.jit.ScriptModule):
        raise LoadError(f"{type(bare).__name__} is TorchScript, which is not audited. Give the Python module.")
    if lazy := [name for name, value in (*bare.named_parameters(), *bare.named_buffers()) if is_lazy(value)]:
        raise LoadError(
            f"{', '.join(lazy[:3])} never got a value: lazy layers that have not run. Give a trained model."
        )
    cast = {name: str(v.dtype) for name, v in bare.state_dict().items() if v.is_floating_point() and v.dtype != _FLOAT}
    if cast:
        provenance["cast_to_float32"] = cast
        notify(f"the model is audited in float32; {len(cast)} tensors are {', '.join(sorted(set(cast.values())))}")
    own = copied(bare)
    if parts := unwrap_parts(own):
        provenance["unwrapped_parts"] = parts
        notify(f"{', '.join(parts)} is compiled or parallel: what it holds is audited in its place")
    return own.cpu().float(), provenance


_FLOAT = torch.float32


def one_graph(data: Any) -> Any:
    """One `Data`: many graphs side by side, the only graph of a data set."""
    from torch_geometric.data import Batch, Data, Dataset, HeteroData, TemporalData

    if isinstance(data, Dataset | list | tuple):
        graphs = list(data)
        for graph in graphs:
            if not isinstance(graph, Data):
                return one_graph(graph) if isinstance(graph, HeteroData | TemporalData) else _refuse(graph, "in a list")
        if not graphs:
            raise GraphError("data is a list of 0 graphs; expected the graph, or all graphs, that the model is for.")
        if len(graphs) == 1:
            return _by_node(graphs[0])
        try:
            return Batch.from_data_list(graphs)
        except Exception as error:  # fields that differ from graph to graph, or nothing to batch
            raise GraphError(
                f"{len(graphs)} graphs cannot be put side by side ({type(error).__name__}: {error}); expected the same "
                "fields in each."
            ) from None
    if isinstance(data, HeteroData):
        raise TaskError(
            "HeteroData is heterogeneous: several types of nodes or edges, which is not audited. Give "
            "data.to_homogeneous() if the model takes it."
        )
    if isinstance(data, TemporalData):
        raise TaskError("TemporalData is a stream of events, which is not audited. Give a graph of one moment.")
    return _by_node(data) if isinstance(data, Data) else _refuse(data, "as data")


def _by_node(graph: Any) -> Any:
    """One graph, whose nodes are classified.

    Raises:
        GraphError: it has one label for all of its nodes, as graphs have that are classified as a whole.
    """
    y, nodes = graph.y, graph.num_nodes
    if "batch" not in graph and isinstance(y, Tensor) and y.numel() == 1 and (nodes or 0) > 1:
        raise GraphError(
            f"data is one graph with one label for its {nodes} nodes. A classifier of graphs is audited on many: give "
            "a list of all that it was trained and tested on. Of nodes: give a graph whose y holds a label for each."
        )
    return graph


def as_fields(data: Any) -> dict[str, Any]:
    """Every field of data in memory by name, many graphs side by side.

    Raises:
        TaskError: heterogeneous or temporal data.
        DataError: anything else that is no graph.
        GraphError: a field that a class of the user's counts on by a rule of its own, which its name does not show.
    """
    graph = one_graph(data)
    held: dict[str, Any] = graph.to_dict()
    steps = getattr(graph, "_inc_dict", None)
    for name, value in held.items():
        if not isinstance(value, Tensor) or value.is_floating_point() or "batch" in name or name in OWN:
            continue
        if steps is None:
            own = graph.__inc__(name, value)
            counted = isinstance(own, int) and own == graph.num_nodes
        elif isinstance(own := steps.get(name), Tensor):
            counted = own.shape == graph.ptr[:-1].shape and torch.equal(own, graph.ptr[:-1])
        else:
            continue
        if counted != counts_on(name):
            rule = "counts it on as ids of nodes" if counted else "does not count it on, as it would ids of nodes"
            remedy = 'with "index" in it' if counted else 'without "index"'
            raise GraphError(
                f"data holds {name}, and __inc__ of {type(graph).__name__} {rule}; expected names to say so, since a "
                f"file keeps no such rule. Give the field a name {remedy}, to forward as well."
            )
    return held


def _refuse(given: object, place: str) -> Any:
    kind = type(given)
    raise DataError(
        f"{kind.__module__.partition('.')[0]}.{kind.__qualname__} came {place}; expected PyG's Data or Batch, a list "
        "or Dataset of Data, or a data set's name or path."
    )


def _with_masks(data: LoadedData, given: Mapping[str, Any]) -> LoadedData:
    """The data with this split in place of any that they name."""
    for key in given:
        if key not in WORDS:
            raise SplitError(f'split has "{key}"; expected train, test and perhaps val. {nearest(str(key), PARTS)}')
    if len({WORDS[key] for key in given}) < len(given):
        raise SplitError(f"split has {', '.join(given)}; expected each part once.")
    given = {WORDS[key]: value for key, value in given.items()}
    if missing := [part for part in ("train", "test") if part not in given]:
        raise SplitError(f"split lacks {' and '.join(missing)}; expected train, test and perhaps val.")
    items = data.graph.num_items
    masks = {part: _mask(given.get(part, ()), part, items) for part in PARTS}
    return dataclasses.replace(data, masks=masks, masks_from="given", default_split="given")


def _mask(given: Any, part: str, items: int) -> Tensor:
    """Booleans [items] or [items, 1] as they are; ids as booleans."""
    found = torch.as_tensor(given).detach().cpu()
    found = found[:, 0] if found.shape[1:] == (1,) else found
    if found.dtype == torch.bool and found.shape == (items,):
        return found.clone()
    mask = torch.zeros(items, dtype=torch.bool)
    if found.numel() == 0:
        return mask
    whole = not found.is_floating_point() and not found.is_complex() and found.dtype != torch.bool
    if not whole or found.dim() != 1 or int(found.min()) < 0 or int(found.max()) >= items:
        raise SplitError(
            f"split: {part} is {found.dtype} {list(found.shape)}; expected booleans [{items}], one per item, or ids of "
            f"items from 0 to {items - 1}."
        )
    mask[found.long()] = True
    return mask
