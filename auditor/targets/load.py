"""From a path on the command line to a Target: tables, model, data, split, checks."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch_geometric
from torch import Tensor, nn

from auditor import registry
from auditor.data.graph import UNKNOWN, Graph, Split
from auditor.errors import LoadError, UsageError
from auditor.targets.call import Call
from auditor.targets.call_rules import find_calls
from auditor.targets.capabilities import try_capabilities
from auditor.targets.config import (
    FILE_NAME,
    SERVED,
    DataTable,
    TargetFile,
    config_file,
    read_target_file,
    refuse_open,
)
from auditor.targets.loaded import LoadedModel, Request
from auditor.targets.node_table import find_node_table
from auditor.targets.recipe import TrainRecipe
from auditor.targets.reference import compare_reference
from auditor.targets.resolve import CLAIM_TOLERANCE, resolve
from auditor.targets.target import Capability, ModelHandle, Target
from auditor.targets.weights import REFUSED, kind_of, read_bytes, read_weights, refusal, state_dict_keys

if TYPE_CHECKING:
    from auditor.data.sources import LoadedData

Wrap = Callable[[Target, Mapping[str, Any], Mapping[str, Tensor]], Target]


def load_target(
    path: Path,
    *,
    data_root: Path | None = None,
    data: str | None = None,
    split: str | None = None,
    trust_pickle: bool = False,
    wrap: Wrap | None = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> Target:
    """The target that `path` names, with every check of loading passed.

    Args:
        path: a folder with `target.toml`, a config file, or a file of weights (with a `target.toml` beside it).
        data_root: where data sets lie; None for what `[data] root` says.
        data: a data set or graph file that replaces `[data]`; the claimed accuracy no longer applies then.
        split: replaces `[data] split`.
        trust_pickle: allows unpickling a whole module. For the command line alone: no file may switch it on.
        wrap: rebuilds a defended target from the freshly built base, its `[defense]` table and the saved tensors;
            those of `served.safetensors` are called `served.…`.
        notify: gets one line for everything worth knowing while loading.

    Raises:
        UsageError: the path does not exist or has no known form; the tables, graph or split are malformed.
        TargetError: the model was refused or cannot be loaded.
    """
    file, folder = _find_tables(path, trust_pickle=trust_pickle)
    asked = "weights_key" in file.unanswered and file.target.weights is not None
    refuse_open(file, state_dict_keys(folder / str(file.target.weights)) if asked else ())
    if data is not None:
        given = Path(data)
        place = {"path": str(given.resolve())} if os.path.isfile(given) else {"name": data}
        table = DataTable(**place, split=None, transform=file.data.transform, root=file.data.root)  # type: ignore[arg-type]
        target_table = file.target.model_copy(update={"claimed_accuracy": None, "measured_at_save": None})
        file = file.model_copy(update={"data": table, "target": target_table})
    if split is not None:
        target_table = file.target.model_copy(update={"measured_at_save": None})
        data_table = file.data.model_copy(update={"split": split})
        file = file.model_copy(update={"data": data_table, "target": target_table})
    read_data = functools.cache(lambda: _load_data(file.data, folder, data_root, notify))
    request = Request(file, folder, trust_pickle, lambda model: _run_once(model, read_data().graph, file.call))
    loaded, loaded_data = load_model(request), read_data()
    if file.defense is None:
        target = assemble(loaded, file, folder, loaded_data)
    elif wrap is None:
        raise LoadError(f"{path} holds a defended target; only the defence that saved it can load it.")
    else:
        target = _defended(request, loaded, loaded_data, wrap)
    return dataclasses.replace(target, elsewhere=functools.cache(_elsewhere(file.data, folder, data_root, notify)))


def _elsewhere(
    table: DataTable, folder: Path, data_root: Path | None, notify: Callable[[str], None]
) -> Callable[[str], Graph]:
    """Reads another data set with the root, the transform and the features of `[data]`; a file as it is called."""

    def read(name: str) -> Graph:
        place = (
            {"path": str(Path(name).resolve()), "name": None} if os.path.isfile(name) else {"name": name, "path": None}
        )
        return _load_data(table.model_copy(update=place), folder, data_root, notify).graph

    return read


def load_data_of(
    path: Path, *, data_root: Path | None = None, notify: Callable[[str], None] = lambda _line: None
) -> tuple[str, LoadedData, Split]:
    """What the target at `path` is called, its data as its model reads them, and the split; no model is built.

    Raises:
        UsageError: as `load_target` says of tables, graph and split.
    """
    file, folder = _find_tables(path, trust_pickle=False)
    data = _load_data(file.data, folder, data_root, notify)
    return file.target.name or path.resolve().name, data, find_split(file.data, data, folder)


def _defended(request: Request, loaded: LoadedModel, data: LoadedData, wrap: Wrap) -> Target:
    """The base built afresh, then the defence's own tensors put in by the defence; nothing is trained."""
    file, defense = request.file, request.file.defense or {}
    bare = file.target.model_copy(update={"reference": None, "claimed_accuracy": None})
    base = assemble(loaded, file.model_copy(update={"target": bare}), request.folder, data)
    base = dataclasses.replace(base, digest=str(defense.get("base", base.digest)))
    weights = request.weights()
    target = wrap(base, defense, {**weights.tensors, **_served(request.folder)})
    handle = target.adversary_handle()  # as it was when the reference was written
    provenance = dict(base.provenance)
    if file.target.reference is not None:
        path = request.folder / file.target.reference
        comparison = compare_reference(path, handle, target.graph)
        provenance["reference"] = {"difference": comparison.difference, "scale": comparison.scale}
        provenance["call"] = {
            **provenance["call"],
            "status": "pass",
            "evidence": f"gives the reference answers ({comparison.difference:.2g} apart)",
        }
    return dataclasses.replace(
        target,
        verified=file.target.reference is not None,
        name=file.target.name or target.name,
        digest=hashlib.sha256(f"{target.digest}{weights.sha256}".encode()).hexdigest(),
        provenance=provenance,
        claimed_accuracy=file.target.claimed_accuracy,
    )


def _served(folder: Path) -> Mapping[str, Tensor]:
    """What a mechanism released for the model to run on, by name with the prefix `served.`."""
    path = folder / SERVED
    if not os.path.lexists(path):
        return {}
    tensors = read_weights(read_bytes(path), path.name).tensors
    return {f"served.{name}": value for name, value in tensors.items()}


def load_model(request: Request) -> LoadedModel:
    """The model alone, by the loader that its files call for.

    Raises:
        LoadError: `kind` does not agree with the content.
        TargetError: as the loader says.
    """
    table = request.file.target
    if table.factory is not None:
        kind = "factory"
    else:
        path = request.weights_path()
        content = kind_of(request.weights_bytes(), path.name)
        if content in REFUSED:
            raise refusal(request.weights_bytes(), path.name, content)
        kind = content
    if table.kind is not None and table.kind != kind:
        raise LoadError(
            f'[target] kind is "{table.kind}", the files make it "{kind}". '
            "The content decides: correct kind, or drop it."
        )
    return registry.find("loaders", kind).load()(request)  # type: ignore[no-any-return]


def assemble(loaded: LoadedModel, file: TargetFile, folder: Path, data: LoadedData) -> Target:
    """A Target from a loaded model and its data, every check of loading passed.

    Raises:
        GraphError: the graph's feature width or number of classes is not the model's.
        SplitError: the split is malformed.
        LoadError: the model cannot be run on its graph, or its answers differ from the reference.
    """
    table = file.target
    split = find_split(file.data, data, folder)
    claim = table.claimed_accuracy if split.is_known else None
    reference = None if table.reference is None else folder / table.reference
    resolved = resolve(loaded.model, data.graph, split=split, pinned=file.call, claim=claim, reference=reference)
    call, graph = resolved.call, resolved.graph
    model, build = call.bound(loaded.model), None
    if loaded.build is not None:
        build = functools.partial(_bound_build, call, loaded.build)
    outputs = "probs" if call.answers in ("probability", "probabilities") else "logits"
    recipe = None
    if table.train is not None and build is not None and split.is_known:  # a twin is trained on the same items
        recipe = TrainRecipe(build, **table.train.model_dump())
    handle = ModelHandle(model, embedding_layer=table.embedding_layer)
    provenance: dict[str, Any] = {
        **loaded.provenance,
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "outputs": outputs,
        "data": {"name": data.name, "digest": data.digest, "notes": list(data.notes)},
        "call": resolved.describe(),
    }
    if handle.dropped_caches:
        provenance["dropped_caches"] = handle.dropped_caches
    if resolved.reference is not None:
        provenance["reference"] = {
            "difference": resolved.reference.difference,
            "scale": resolved.reference.scale,
        }
    known = find_node_table(model, graph)
    fixed_nodes = () if known is None else known.tensors
    capabilities = try_capabilities(
        handle, graph, has_recipe=recipe is not None, has_split=split.is_known, fixed_nodes=bool(fixed_nodes)
    )
    if outputs == "probs":
        capabilities -= {Capability.LOGITS}
    target = Target(
        name=table.name or f"{graph.name}-{loaded.kind}",
        graph=graph,
        split=split,
        num_classes=resolved.num_classes,
        capabilities=capabilities,
        kind=loaded.kind,
        digest=loaded.digest,
        provenance=provenance,
        model=model,
        build=build,
        recipe=recipe,
        transform=file.data.transform,
        claimed_accuracy=table.claimed_accuracy,
        embedding_layer=table.embedding_layer,
        verified=resolved.status != "not_checked",
        fixed_nodes=fixed_nodes,
        molecules=data.molecules if file.data.molecules is None else file.data.molecules,
    )
    if table.measured_at_save is not None:
        _check_as_saved(target, table.measured_at_save)
    return target


def accuracy_when_saved(target: Target) -> float:
    """What `measured_at_save` holds: accuracy on the test items, or on all with a label where the split is unknown."""
    return target.accuracy(None if target.split.is_known else target.graph.labelled)


def _check_as_saved(target: Target, expected: float) -> None:
    found = accuracy_when_saved(target)
    n = target.split.sizes[2] if target.split.is_known else int(target.graph.labelled.sum())
    if abs(found - expected) > max(1 / n, CLAIM_TOLERANCE) + 1e-9:
        raise LoadError(
            f"{target.name} has accuracy {found:.4f} on {n} items; {expected:.4f} was measured when it was saved. The "
            "graph, its split or transform, the call or the code is another: restore it, or save the target again."
        )


def _find_tables(path: Path, *, trust_pickle: bool) -> tuple[TargetFile, Path]:
    """The tables that describe `path`, and the folder their paths are relative to."""
    found = config_file(path)
    if os.path.isdir(path):
        if found is not None:
            return read_target_file(found), path
        raise UsageError(
            f"{path} has no {FILE_NAME} and no audit.toml; expected one of them. "
            'Make a target with "auditor train", or write the file.'
        )
    if not os.path.exists(path):
        raise UsageError(
            f"{path} does not exist. Give a folder with {FILE_NAME}, a config file, or a file of weights with --data."
        )
    if path.suffix == ".toml":
        return read_target_file(path), path.parent
    raw = read_bytes(path)
    kind = kind_of(raw, path.name)
    if kind in REFUSED or (kind == "pickled_module" and not trust_pickle):
        raise refusal(raw, path.name, kind)
    file = TargetFile() if found is None else read_target_file(found)
    if file.target.weights is None or (path.parent / file.target.weights).resolve() != path.resolve():
        if kind != "pickled_module":
            raise LoadError(
                f"{path.name} holds weights alone; expected a [model] table or a factory to build the model. "
                f"Write a {FILE_NAME} beside it that names it as weights."
            )
        table = file.target.model_copy(update={"weights": path.name, "sha256": None, "reference": None})
        file = TargetFile(target=table)
    return file, path.parent


def _load_data(table: DataTable, folder: Path, data_root: Path | None, notify: Callable[[str], None]) -> LoadedData:
    """The data that `[data]` names."""
    from auditor.data.sources import load_data

    name = table.name if table.path is None else str(folder / table.path)
    if name is None:
        raise UsageError('[data] names no graph; expected name = "cora" or path = "graph.npz". Add one, or use --data.')
    root = data_root if data_root is not None or table.root is None else folder / table.root
    return load_data(
        name,
        root=root,
        transform=table.transform,
        features=table.features or "",
        node_fields=tuple(table.node_fields or ()),
        edge_fields=tuple(table.edge_fields or ()),
        notify=notify,
    )


def find_split(table: DataTable, data: LoadedData, folder: Path) -> Split:
    """The split that the model was trained on, or the unknown one: nothing is drawn for a model that is given."""
    from auditor.data.splits import DRAWN, make_split

    spec = table.split or data.default_split
    if spec.partition(":")[0] in DRAWN and not table.split_was_drawn_in_training:
        spec = UNKNOWN
    form, _, place = spec.partition(":")
    if form == "file" and place and os.path.exists(folder / place):
        spec = f"file:{folder / place}"
    return make_split(spec, data, table.split_seed)


def _bound_build(call: Call, build: Callable[[], nn.Module]) -> nn.Module:
    """A fresh model, called in the same way."""
    return call.bound(build())


def _run_once(model: nn.Module, graph: Graph, pinned: Mapping[str, str | int]) -> None:
    """One forward of the model itself, which gives lazy layers their sizes."""
    find_calls(model.eval(), graph, pinned)
