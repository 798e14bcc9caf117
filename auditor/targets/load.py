"""From a path on the command line to a Target: tables, model, data, split, checks."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch_geometric
from torch import Tensor, nn

from auditor import registry
from auditor.data.graph import Graph, Split
from auditor.errors import GraphError, LoadError, UsageError
from auditor.targets.capabilities import small_slice, try_capabilities
from auditor.targets.config import FILE_NAME, SERVED, DataTable, TargetFile, config_file, read_target_file
from auditor.targets.forward import ForwardAdapter
from auditor.targets.loaded import LoadedModel, Request
from auditor.targets.recipe import TrainRecipe
from auditor.targets.reference import compare_reference
from auditor.targets.target import Capability, ModelHandle, Target
from auditor.targets.user_imports import with_forward
from auditor.targets.weights import kind_of, read_bytes, read_weights, refusal
from auditor.tasks import output_kind

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
    if data is not None:
        given = Path(data)
        place = {"path": str(given.resolve())} if given.exists() and given.is_file() else {"name": data}
        table = DataTable(**place, split=None, transform=file.data.transform, root=file.data.root)  # type: ignore[arg-type]
        target_table = file.target.model_copy(update={"claimed_accuracy": None})
        file = file.model_copy(update={"data": table, "target": target_table})
    if split is not None:
        file = file.model_copy(update={"data": file.data.model_copy(update={"split": split})})
    read_data = functools.cache(lambda: _load_data(file.data, folder, data_root, notify))
    request = Request(file, folder, trust_pickle, lambda model: _run_once(model, read_data().graph))
    loaded, loaded_data = load_model(request), read_data()
    if file.defense is None:
        return assemble(loaded, file, folder, loaded_data)
    if wrap is None:
        raise LoadError(f"{path} holds a defended target; only the defence that saved it can load it.")
    return _defended(request, loaded, loaded_data, wrap)


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
        comparison = compare_reference(path, handle, num_features=target.graph.num_features)
        provenance["reference"] = {"difference": comparison.difference, "scale": comparison.scale}
    return dataclasses.replace(
        target,
        name=file.target.name or target.name,
        digest=hashlib.sha256(f"{target.digest}{weights.sha256}".encode()).hexdigest(),
        provenance=provenance,
        claimed_accuracy=file.target.claimed_accuracy,
    )


def _served(folder: Path) -> Mapping[str, Tensor]:
    """What a mechanism released for the model to run on, by name with the prefix `served.`."""
    path = folder / SERVED
    if not path.exists():
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
        if content in ("pt2", "pickle"):
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
    from auditor.data.splits import make_split

    table, graph = file.target, data.graph
    split: Split = make_split(file.data.split or data.default_split, data, file.data.split_seed)
    _check_width(loaded, file, graph)
    model, build, outputs = loaded.model, loaded.build, "logits"
    sample = _try_forward(model, graph)
    if output_kind(sample) == "probs":  # logits := log p
        outputs, model = "probs", with_forward(model, _log_of)
        build = None if build is None else _with_log(build)
    num_classes = _check_classes(sample, graph)
    recipe = None
    if table.train is not None and build is not None:
        recipe = TrainRecipe(build, **table.train.model_dump())
    handle = ModelHandle(model, embedding_layer=table.embedding_layer)
    provenance: dict[str, Any] = {
        **loaded.provenance,
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "outputs": outputs,
        "data": {"name": data.name, "digest": data.digest, "notes": list(data.notes)},
    }
    if handle.dropped_caches:
        provenance["dropped_caches"] = handle.dropped_caches
    if table.reference is not None:
        comparison = compare_reference(folder / table.reference, handle, num_features=graph.num_features)
        provenance["reference"] = {"difference": comparison.difference, "scale": comparison.scale}
    capabilities = try_capabilities(handle, graph, has_recipe=recipe is not None)
    if outputs == "probs":
        capabilities -= {Capability.LOGITS}
    return Target(
        name=table.name or f"{graph.name}-{loaded.kind}",
        graph=graph,
        split=split,
        num_classes=num_classes,
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
    )


def _find_tables(path: Path, *, trust_pickle: bool) -> tuple[TargetFile, Path]:
    """The tables that describe `path`, and the folder their paths are relative to."""
    found = config_file(path)
    if path.is_dir():
        if found is not None:
            return read_target_file(found), path
        raise UsageError(
            f"{path} has no {FILE_NAME} and no audit.toml; expected one of them. "
            'Make a target with "auditor train", or write the file.'
        )
    if not path.exists():
        raise UsageError(
            f"{path} does not exist. Give a folder with {FILE_NAME}, a config file, or a file of weights with --data."
        )
    if path.suffix == ".toml":
        return read_target_file(path), path.parent
    raw = read_bytes(path)
    kind = kind_of(raw, path.name)
    if kind in ("pt2", "pickle") or (kind == "pickled_module" and not trust_pickle):
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
    return load_data(name, root=root, transform=table.transform, notify=notify)


def _check_width(loaded: LoadedModel, file: TargetFile, graph: Graph) -> None:
    """F of the graph against F of the weights."""
    expected = None if file.model is None else file.model.get("in_channels")
    if expected is None or loaded.kind not in ("safetensors", "state_dict"):
        sizes = (getattr(module, "in_channels", None) for module in loaded.model.modules())
        expected = next((size for size in sizes if isinstance(size, int) and size > 0), graph.num_features)
    if expected != graph.num_features:
        raise GraphError(
            f"{graph.name} has {graph.num_features} features, the weights expect {expected}. "
            "Give the graph that the model was trained on, with the same feature columns."
        )


def _run_once(model: nn.Module, graph: Graph) -> None:
    """One forward of the model itself, which gives lazy layers their sizes."""
    ForwardAdapter(model.eval()).logits(graph.x, graph.edge_index, None, graph.batch)


def _try_forward(model: nn.Module, graph: Graph) -> Tensor:
    """Logits on a small slice, [n, C]."""
    part = small_slice(graph)
    try:
        with torch.no_grad():
            out = ModelHandle(model).logits(part.x, part.edge_index, part.edge_weight, part.batch)
    except Exception as error:  # a user's forward may raise anything
        raise LoadError(
            f"the model cannot be run on {graph.name} ({part.num_nodes} nodes, {graph.num_features} features): "
            f"{type(error).__name__}: {error}. Expected forward(x, edge_index), with edge_weight and batch if it takes "
            "them. Give the graph it was trained on, or return (module, adapter) from a factory."
        ) from None
    if not isinstance(out, Tensor) or out.dim() != 2 or out.shape[0] != part.num_items:
        seen = f"{list(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise LoadError(
            f"the model returns {seen} for {part.num_items} items; expected logits [{part.num_items}, C], one row per "
            f"{'node' if graph.task.level == 'node' else 'graph'}. For graph classification set [model] readout."
        )
    return out


def _check_classes(sample: Tensor, graph: Graph) -> int:
    """C of the model against the labels."""
    classes, outputs = int(graph.y.max()) + 1, int(sample.shape[1])
    if classes != outputs:
        raise GraphError(
            f"{graph.name} has {classes} classes, the model gives {outputs} outputs. "
            "Give the labels that the model was trained on, numbered from 0."
        )
    return outputs


def _log_of(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A forward that returns log p where the model returns p."""

    @functools.wraps(forward)
    def log_of(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        out = forward(self, *args, **kwargs)
        p: Tensor = out[0] if isinstance(out, tuple) else out
        return p.clamp_min(torch.finfo(p.dtype).tiny).log()

    return log_of


def _with_log(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: with_forward(build(), _log_of)
