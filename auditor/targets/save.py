"""Writes a trained model in memory as a target folder, and proves in a process of its own that it can be built again.

See docs/saving-a-target.md.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.data.named import raw_from
from auditor.data.raw import Raw
from auditor.data.sources import LoadedData, complete, load_data, resolve_root
from auditor.data.splits import DRAWN
from auditor.errors import AuditorError, CallError, LoadError, SplitError, UsageError
from auditor.targets.call import Call
from auditor.targets.call_rules import pins
from auditor.targets.config import FILE_NAME, TargetFile, parse_target_file, read_target_file, write_target_file
from auditor.targets.cut import cut_out, project_root
from auditor.targets.in_place import kept_fresh
from auditor.targets.live import as_fields, private_copy
from auditor.targets.load import find_split, load_model
from auditor.targets.loaded import Request
from auditor.targets.loaders.factory import adapted
from auditor.targets.node_table import find_node_table
from auditor.targets.recorded import recorded_arguments
from auditor.targets.reference import compare_reference, write_reference
from auditor.targets.resolve import Resolved, resolve
from auditor.targets.rng import forked_rng
from auditor.targets.target import ModelHandle
from auditor.targets.weights import write_tensors

LOG = logging.getLogger("auditor")
WEIGHTS, REFERENCE, GRAPH, SPLIT = "model.safetensors", "reference.safetensors", "graph.safetensors", "split.npz"
MODEL, IGNORE = "model.py", ".gitignore"
WRITTEN = frozenset({FILE_NAME, WEIGHTS, REFERENCE, SPLIT, MODEL, IGNORE, "__pycache__"})
WORDS: Mapping[str, str] = {
    "build": "by the function given",
    "init_args": "from the arguments given",
    "recorded": "from recorded arguments",
    "attributes": "from its own attributes",
}
SAME = 1e-6  # of the scale of the logits, between this process and a fresh one
CHILD_SECONDS = 600
_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); from auditor.targets.save import rebuilt; "
    "print(rebuilt(sys.argv[2], sys.argv[3]))"
)


@dataclass(frozen=True, slots=True)
class SavedTarget:
    """A target folder that was written.

    Attributes:
        path: the folder; `auditor run` takes it.
        rung: how it is built again: `build`, `init_args`, `recorded` or `attributes`.
        verified: whether a process of its own rebuilt it and gave the same answers.
    """

    path: Path
    rung: str
    verified: bool


def save_target(
    model: nn.Module,
    data: Any,
    path: str | Path,
    *,
    claimed_accuracy: float | None = None,
    init_args: Mapping[str, Any] | None = None,
    split: str | Mapping[str, Any] | None = None,
    build: str | Callable[..., Any] | None = None,
    adapter: Callable[..., Tensor] | None = None,
    call: Mapping[str, str | int] | None = None,
    recipe: Mapping[str, Any] | None = None,
    transform: str | None = "none",
    name: str | None = None,
    include_graph: bool | None = True,
    overwrite: bool | None = False,
) -> SavedTarget:
    """Writes `model` and its data as a target folder, no pickle in it.

    Args:
        model: trained; it stays as it is.
        data: PyG's `Data` or `Batch`, a list or `Dataset` of `Data`, a graph file, or a data set's name.
        path: the folder to write.
        claimed_accuracy: test accuracy that you know; without it, what is measured now is kept for later loads.
        init_args: what the class was built with.
        split: None for the masks in `data`, `"unknown"`, `"masks:0"`, `"file:split.npz"`, or `{"train": …, "test": …}`
            of masks or ids, with `val` where there is one.
        build: a function at the top level of its file, `"package.module:function"` or `"file.py:function"`, which
            returns the untrained model, called with `init_args` where they are given.
        adapter: `adapter(model, data)` gives the logits, for a forward that nothing else can call.
        call: the `[call]` table: parameter of forward = field.
        recipe: the `[target.train]` table, with which twins can be trained.
        transform: `none` or `row-normalize`: what `data.x` goes through before it reaches the model.
        name: of the target; default the class's.
        include_graph: whether the graph is copied into the folder; a name never is.
        overwrite: replaces a folder that this function wrote.

    Raises:
        UsageError: bad arguments or data, or accuracy that is not the claimed one. Nothing is written.
        LoadError: the model cannot be built again; what is missing is named. Nothing is written.
    """
    out = Path(path).expanduser().absolute()
    _may_write(out, bool(overwrite))
    transform, include_graph = transform or "none", include_graph is None or include_graph
    if not isinstance(model, nn.Module):
        raise UsageError(f"model is a {type(model).__name__}; expected an nn.Module.")
    _check_build(build)
    own = private_copy(model, LOG.warning)[0].eval()
    if build is not None and adapter is not None:
        raise UsageError("build and adapter are both given; return (module, adapter) from build instead.")
    with _unfinished(out) as folder, forked_rng():
        place, loaded = _write_data(data, folder, transform, include_graph)
        document: dict[str, Any] = {
            "target": {"name": name or type(own).__name__, "weights": WEIGHTS, "reference": REFERENCE},
            "data": {**place, "transform": transform} | _write_split(split, folder),
            "call": dict(call or {}),
        }
        if recipe is not None:
            document["target"]["train"] = dict(recipe)
        if claimed_accuracy is not None:
            document["target"]["claimed_accuracy"] = float(claimed_accuracy)
        file = parse_target_file(document, where="save_target")
        kind = type(own)
        called = kept_fresh(own if adapter is None else adapted(own, adapter))
        resolved, file = _resolve(called, file, loaded, folder)
        write_tensors(folder / WEIGHTS, _tensors(own))
        _write_reference(folder / REFERENCE, called, resolved)
        ways = _Ways(own, kind, init_args, build, adapter, out)
        rung = _first_that_builds(ways, file, folder, resolved.call)
    left = ways.attributes()[2] if rung == "attributes" else []
    rest = f"; left at their defaults: {', '.join(left)}" if left else ""
    LOG.warning("%s: rebuilt %s in a process of its own, with the same answers%s", out.name, WORDS[rung], rest)
    return SavedTarget(Path(path), rung, True)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    state = model.state_dict()
    others = [key for key, value in state.items() if not isinstance(value, Tensor) or value.layout != torch.strided]
    if others:
        raise LoadError(f"the state of the model has {', '.join(others[:3])}, no dense tensor; expected weights alone.")
    return {key: value.detach().contiguous().clone() for key, value in state.items()}


def _check_build(build: object) -> None:
    """Refuses what no other process could find again."""
    if build is None or isinstance(build, str):
        return
    name = str(getattr(build, "__qualname__", f"a {type(build).__name__}"))
    held = getattr(sys.modules.get(str(getattr(build, "__module__", ""))), name, None)
    if not isinstance(build, FunctionType | type) or held is not build:
        raise UsageError(
            f"build is {name}, which another process cannot find by its name; expected a function at the top level of "
            "its file. Write def build(): return Model(…) there, or give init_args."
        )


def _may_write(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file; expected a folder to write the target to. Choose another one.")
    held = {item.name for item in out.iterdir()}
    foreign = sorted(item for item in held - WRITTEN if Path(item).stem != "graph")
    if foreign:
        raise UsageError(f"{out} holds {foreign[0]}, which save_target did not write. Choose another folder.")
    if held and not overwrite:
        raise UsageError(f"{out} exists. Give overwrite=True, or choose another folder.")


@contextlib.contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when everything went well, and is gone otherwise."""
    made = [folder for folder in out.parents if not folder.exists()]
    temporary = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"cannot write to {out.parent}: {error.strerror}. Choose another folder.") from None
    try:
        yield temporary
        shutil.rmtree(temporary / "__pycache__", ignore_errors=True)
        old = temporary.with_suffix(".old")
        if out.exists():
            out.rename(old)
        temporary.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _write_data(data: Any, folder: Path, transform: str, include_graph: bool) -> tuple[dict[str, Any], LoadedData]:
    """([data] without split, the graph as it will be loaded)."""
    if isinstance(data, (str, Path)):
        loaded = load_data(str(data), root=resolve_root(None), transform=transform, notify=LOG.warning)
        given = Path(data).expanduser()
        if not given.is_file():
            return {"name": str(data)}, loaded
        if not include_graph:
            return {"path": os.path.relpath(given.resolve(), folder.resolve())}, loaded
        copied = folder / f"graph{given.suffix}"
        shutil.copyfile(given, copied)
        _write_ignore(folder, copied.name)
        return {"path": copied.name}, loaded
    raw = raw_from(as_fields(data), "data")
    tensors = _by_name(raw)
    loaded = complete(raw, "graph", "", transform=transform)
    if not include_graph:
        return {}, loaded
    write_tensors(folder / GRAPH, tensors)
    _write_ignore(folder, GRAPH)
    return {"path": GRAPH}, loaded


def _write_ignore(folder: Path, name: str) -> None:
    (folder / IGNORE).write_text(f"# The private graph stays out of the repository.\n{name}\n")


def _by_name(raw: Raw) -> dict[str, Tensor]:
    """Every tensor of a graph, under the names that it is read back by."""
    x = None if raw.x is None else raw.x.long() if raw.whole_x else raw.x
    x = x[:, 0] if x is not None and raw.flat_x else x
    own = {"x": x, "edge_index": raw.edge_index, "y": raw.y, "edge_weight": raw.edge_weight, "batch": raw.batch}
    masks = {f"{part}_mask": mask for part, mask in raw.masks.items()}
    everything = {**own, **masks, **dict(raw.fields)}
    return {key: value.contiguous().clone() for key, value in everything.items() if value is not None}


def _write_split(split: str | Mapping[str, Any] | None, folder: Path) -> dict[str, str]:
    """`[data] split`; masks, ids and files become a file of the target."""
    if split is None:
        return {}
    if isinstance(split, str):
        form, _, place = split.partition(":")
        if form in DRAWN:
            raise SplitError(
                f'split = "{split}" would be drawn here, and is not what the model was trained on; expected the items. '
                'Give split = {"train": …, "test": …}, or "unknown".'
            )
        if form != "file":
            return {"split": split}
        if not Path(place).expanduser().is_file():
            raise SplitError(f'split = "{split}": there is no such file. Correct the path.')
        shutil.copyfile(Path(place).expanduser(), folder / SPLIT)
        return {"split": f"file:{SPLIT}"}
    if set(split) - {"train", "val", "test"} or not {"train", "test"} <= set(split):
        raise SplitError(f"split has {', '.join(map(str, split)) or 'nothing'}; expected train, test and perhaps val.")
    arrays = {}
    for part, given in split.items():
        items = torch.as_tensor(given).detach().cpu().numpy()
        arrays[f"{part}_mask" if items.dtype == bool else f"{part}_idx"] = items
    np.savez(folder / SPLIT, **arrays)  # type: ignore[arg-type]
    return {"split": f"file:{SPLIT}"}


def _resolve(model: nn.Module, file: TargetFile, loaded: LoadedData, folder: Path) -> tuple[Resolved, TargetFile]:
    """How forward is called, and the tables with that call and the accuracy that it gives."""
    split, table = find_split(file.data, loaded, folder), file.target
    if table.claimed_accuracy is not None and not split.is_known:
        raise SplitError(
            f"accuracy {table.claimed_accuracy:.4f} is claimed of a split that nobody names; expected train_mask and "
            'test_mask in the graph, or split = {"train": …, "test": …}. Give it, or leave the claim out.'
        )
    graph = loaded.graph
    resolved = resolve(model, graph, split=split, pinned=file.call, claim=table.claimed_accuracy)
    if resolved.status == "fail":
        raise UsageError(f"{resolved.evidence}. Nothing was written: correct the split, transform, call or the claim.")
    if resolved.status == "warn":  # once saved, its own reference would prove whichever comes first
        raise CallError(f"{resolved.call.describe()} {resolved.evidence}. Say which is yours in call.")
    chosen = {**file.call, **pins(model, graph, resolved.asked)}
    if resolved.call.output is not None:
        chosen["output"] = resolved.call.output
    if table.claimed_accuracy is None:
        handle, g = ModelHandle(model, call=resolved.call), resolved.graph
        with torch.no_grad():
            logits = handle.logits(g.x, g.edge_index, g.edge_weight, g.batch, g.fields)
        mask = split.test if split.is_known else g.labelled
        table = table.model_copy(update={"measured_at_save": round(float(g.task.quality(logits, g.y)[mask].mean()), 6)})
    return resolved, file.model_copy(update={"target": table, "call": chosen})


def _write_reference(path: Path, model: nn.Module, resolved: Resolved) -> None:
    try:
        handle = ModelHandle(model, call=resolved.call)
        fixed = find_node_table(handle.model, resolved.graph) is not None
        write_reference(path, handle, resolved.graph, fixed_nodes=fixed)
    except Exception as error:  # a user's forward may raise anything
        raise LoadError(
            f"the model cannot be run on a small made-up graph ({type(error).__name__}: {error}); expected one that "
            "takes any graph with the same fields."
        ) from None


@dataclass(frozen=True, slots=True)
class _Ways:
    """What a model may be built from again, the surest first."""

    model: nn.Module
    kind: type
    init_args: Mapping[str, Any] | None
    build: str | Callable[..., Any] | None
    adapter: Callable[..., Tensor] | None
    out: Path

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(name of the rung, arguments)."""
        if self.build is not None or self.init_args is not None:
            yield "build" if self.build is not None else "init_args", self.init_args or {}
            return
        recorded = recorded_arguments(self.model)
        if recorded is not None:
            yield "recorded", recorded
        attributes, missing, _ = self.attributes()
        if not missing:
            yield "attributes", attributes

    def attributes(self) -> tuple[dict[str, Any], list[str], list[str]]:
        """Arguments that the model keeps under their own names; names that it lacks; those left at their defaults."""
        found: dict[str, Any] = {}
        missing: list[str] = []
        left: list[str] = []
        for name, parameter in list(inspect.signature(self.kind.__init__).parameters.items())[1:]:  # type: ignore[misc]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            value = getattr(self.model, name, parameter.empty)
            value = value.p if isinstance(value, nn.Dropout) else value
            if value is not parameter.empty and _is_plain(value) and value is not None:
                found[name] = value
            else:
                (missing if parameter.default is parameter.empty else left).append(name)
        return found, missing, left

    def tables(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """`factory`, `root` and `init`; writes `model.py` where the class has to be cut out."""
        init = {k: v for k, v in arguments.items() if v is not None or self._default(k) is not None}
        unwritten = [key for key, value in init.items() if not _is_plain(value) or value is None]
        if unwritten:
            raise LoadError(
                f"{self.kind.__name__} was built with {unwritten[0]} = {type(init[unwritten[0]]).__name__}, which a "
                'config file cannot hold; expected numbers, words and lists. Give build = "file.py:function".'
            )
        factory, root = self._factory(folder)
        tables: dict[str, Any] = {"factory": factory}
        if root is not None and root != self.out:
            tables["root"] = os.path.relpath(root, self.out)
        return tables | ({"init": _as_toml(init)} if init else {})

    def _default(self, name: str) -> Any:
        parameter = inspect.signature(self.kind.__init__).parameters.get(name)  # type: ignore[misc]
        return None if parameter is None else parameter.default

    def _factory(self, folder: Path) -> tuple[str, Path | None]:
        """(factory, folder of the project's imports)."""
        if isinstance(self.build, str):
            place, _, function = self.build.rpartition(":")
            if not place.endswith(".py"):
                return self.build, project_root(iter([place.partition(".")[0]]))
            file = Path(place).expanduser().resolve()
            return f"{os.path.relpath(file, self.out)}:{function}", file.parent
        maker: Any = self.kind if self.build is None else self.build
        module = sys.modules.get(maker.__module__)
        scripted = module is None or module.__name__ == "__main__" or getattr(module, "__file__", None) is None
        if not scripted and self.adapter is None and maker.__qualname__ == maker.__name__:
            package = maker.__module__.partition(".")[0]
            return f"{maker.__module__}:{maker.__name__}", project_root(iter([package]))
        wanted = [maker] if self.adapter is None else [maker, self.adapter]
        text, root = cut_out(*wanted)
        made = maker.__name__
        if self.adapter is not None:
            text += f"\n\ndef build(**arguments):\n    return {made}(**arguments), {self.adapter.__name__}\n"
            made = "build"
        words = f"What {self.kind.__name__} needs to be built, cut out of the file that trained it."
        (folder / MODEL).write_text(f'"""{words}"""\n\n{text}', encoding="utf-8")
        return f"{MODEL}:{made}", root


def _first_that_builds(ways: _Ways, file: TargetFile, folder: Path, call: Call) -> str:
    """Writes `target.toml` for each way until a process of its own gives the reference answers; the way's name."""
    kind, reasons = ways.kind.__name__, []
    for rung, arguments in ways:
        (folder / MODEL).unlink(missing_ok=True)
        tables = ways.tables(arguments, folder)
        target = file.target.model_copy(update=tables)
        write_target_file(folder / FILE_NAME, file.model_copy(update={"target": target}))
        reason = _fails(folder, call)
        if reason is None:
            return rung
        reasons.append(f"{WORDS[rung]}: {reason}")
        if rung in ("build", "init_args"):
            raise LoadError(f"{kind} cannot be built again {reasons[0]}")
    missing = ways.attributes()[1]
    unknown = f"{kind} was built with {', '.join(f'{name}=?' for name in missing)}; " if missing else ""
    said = "; ".join(reasons)
    raise LoadError(
        f"{unknown}give init_args or build, or put @auditor.record above class {kind} and make it again."
        + (f" Tried {said}" if said else "")
    )


def _fails(folder: Path, call: Call) -> str | None:
    """Why a fresh process cannot rebuild what lies in `folder`; None when it can."""
    ours = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-I", "-c", _CHILD, ours, str(folder), json.dumps(asdict(call))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_SECONDS, cwd=folder, check=False)
    except subprocess.TimeoutExpired:
        return f"building took more than {CHILD_SECONDS} seconds."
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return (done.stderr.strip().splitlines() or ["the process ended without a word"])[-1]
    answer: str = json.loads(lines[-1])
    return answer or None


def rebuilt(place: str, called: str) -> str:
    """In the child: why the model in a folder is not the saved one, as JSON; empty when it is."""
    folder, given = Path(place), json.loads(called)
    call = Call(tuple((name, slot) for name, slot in given["arguments"]), given["output"], given["answers"])
    try:
        model = load_model(Request(read_target_file(folder / FILE_NAME), folder)).model
        path = folder / REFERENCE
        stored = from_safetensors(path.read_bytes())
        x, none = stored["x"], torch.zeros((2, 0), dtype=torch.long)
        like = Graph(x, none, torch.zeros(x.shape[0], dtype=torch.long))  # as many features
        found = compare_reference(path, ModelHandle(model, call=call), like)
    except AuditorError as error:
        return json.dumps(str(error))
    apart = found.difference > SAME * found.scale
    return json.dumps(f"its logits are {found.difference:.3g} away from the saved model's." if apart else "")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) and item is not None for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) and item is not None for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str, np.integer, np.floating))


def _as_toml(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_toml(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_toml(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
