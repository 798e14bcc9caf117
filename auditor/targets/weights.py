"""Reads weights without running anything that came inside the file, and fits them into a model.

The kind of a file is decided by its content, never by its extension. Archives of `torch.save` are read by
`auditor.data.inert`: what they name beside tensors stays a record, so that a checkpoint's optimizer, hyperparameters
and callbacks may be of any class.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from auditor.data.inert import Archive, Record, UnreadableError
from auditor.errors import LoadError, RefusedError, nearest

Kind = Literal["safetensors", "state_dict", "pickled_module", "pt2", "torchscript", "pickle"]
REFUSED: Mapping[str, str] = {
    "pt2": "is an exported program (.pt2), which is not audited: loading it runs code that came inside the file.",
    "torchscript": "is TorchScript, which is not audited: loading it runs code that came inside the file.",
    "pickle": "holds a bare pickle. Refused: unpickling it runs whatever code the file names.",
}
"""What no flag allows, with the reason."""

SHOWN = 10
MAX_MODULES = 100_000
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "ema_state_dict",
    "weights",
    "params",
)
"""Where a checkpoint usually keeps its state dict."""

SAVE_AGAIN = (
    "Save the state dict instead, torch.save(model.state_dict(), file), or use safetensors, "
    "and describe the model in [model] or by a factory."
)


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, with what was seen on the way.

    Attributes:
        tensors: float32 (integers and booleans as they are).
        sha256: of the file's bytes.
        kind: what the content is.
        cast: names of tensors that were cast to float32, with their dtype in the file.
        key: where in the file the state dict lies, "" for the file itself.
    """

    tensors: Mapping[str, Tensor]
    sha256: str
    kind: Kind
    cast: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


def read_bytes(path: Path, *, expected_sha256: str | None = None) -> bytes:
    """The file's bytes.

    Raises:
        LoadError: missing, a folder, not readable, or not the file that `sha256` names.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        reasons = {FileNotFoundError: "does not exist", IsADirectoryError: "is a folder"}
        what = reasons.get(type(error), f"cannot be read ({error.strerror})")
        raise LoadError(
            f"{path} {what}; expected the weights that [target] names. Correct the path or the file's permissions, or "
            "add the file."
        ) from None
    found = hashlib.sha256(raw).hexdigest()
    if expected_sha256 is not None and found != expected_sha256.lower():
        raise LoadError(
            f"{path.name} has sha256 {found}; [target] expects {expected_sha256.lower()}. "
            "The file was changed or swapped: restore it, or update sha256 if the change is yours."
        )
    return raw


def kind_of(raw: bytes, name: str) -> Kind:
    """What a file is, by its content.

    Raises:
        LoadError: none of the known forms, or an archive that cannot be read through.
    """
    if raw[:4] == b"PK\x03\x04":
        if (program := _program(raw)) is not None:
            return program
        return "pickled_module" if isinstance(_archive(raw, name).content, Record) else "state_dict"
    # A safetensors header of 640 bytes starts like a pickle of protocol 2: the brace behind the length tells.
    looks_like_safetensors = raw[8:9] == b"{"
    if looks_like_safetensors and int.from_bytes(raw[:8], "little") <= len(raw) - 8:
        return "safetensors"
    if _starts_as_pickle(raw):
        return "pickle"
    if looks_like_safetensors:
        return "safetensors"  # with a header longer than the file: the library says so
    raise LoadError(
        f"{name} ({len(raw)} bytes, starting {raw[:8]!r}) is no known form; expected safetensors, or a state dict "
        "written by torch.save. Export the weights again in one of the two."
    )


def read_weights(raw: bytes, name: str, *, key: str | None = None, trust_pickle: bool = False) -> Weights:
    """The tensors of a safetensors file, a state dict or the one in a checkpoint, finite and in float32.

    Args:
        raw: the file's bytes.
        name: the file's, for messages.
        key: `[target] weights_key`, where a checkpoint holds several state dicts.
        trust_pickle: takes the state dict of a pickled module. Its tensors alone are read; the module is not made.

    Raises:
        RefusedError: anything that would have to be unpickled to be read.
        LoadError: malformed, empty, no state dict or several, or a weight that is NaN or infinite.
    """
    kind, place = kind_of(raw, name), ""
    if key is not None and kind != "state_dict":
        raise LoadError(
            f'{name} holds nothing but tensors; [target] weights_key = "{key}" names no part of it. Drop it.'
        )
    if kind == "safetensors":
        try:
            tensors = load_safetensors(raw)
        except (SafetensorError, ValueError, OverflowError, KeyError, RuntimeError) as error:
            raise LoadError(
                f"{name} is not a valid safetensors file: {error}. Save it again with safetensors.torch.save_file."
            ) from None
    elif kind == "state_dict" or (kind == "pickled_module" and trust_pickle):
        archive = _archive(raw, name)
        if kind == "state_dict":
            part, place = _state_dict(archive.content, name, key)
        else:
            part = _module_state(archive.content, name)
        try:
            tensors = {key: archive.value(value).clone() for key, value in part.items()}
        except UnreadableError as error:
            raise LoadError(f"{name} cannot be read: {error}. {SAVE_AGAIN}") from None
    else:
        raise refusal(raw, name, kind)
    if not tensors:
        raise LoadError(f"{name} holds no tensor; expected the weights of a model. Save the state dict again.")
    return replace(_finite_float32(tensors, name, hashlib.sha256(raw).hexdigest(), kind), key=place)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file whose mode follows the umask, which the library's own does not."""
    path.write_bytes(to_safetensors({name: value.contiguous().clone() for name, value in tensors.items()}))


def refusal(raw: bytes, name: str, kind: Kind) -> RefusedError:
    """Why a file is not loaded: what was found, why it is refused, what to do."""
    if kind in REFUSED:
        return RefusedError(f"{name} {REFUSED[kind]} {SAVE_AGAIN}")
    return RefusedError(
        f"{name} holds a pickled {_archive(raw, name).content.name}, not a state dict. Refused: unpickling it runs "
        f"whatever code the file names, and --trust-pickle was not given. {SAVE_AGAIN} If you made the file yourself, "
        "--trust-pickle takes it as it is."
    )


def fit_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    file: str,
    table: str = "[model]",
    prefix: str | None = None,
    dry_forward: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Loads `weights` strictly into `model`, in place, and makes the model float32; returns notes for the provenance.

    One prefix of all names (`module.`, `_orig_mod.`, any) is stripped where the rest fits exactly, and so are the names
    of compiled and parallel wrappers inside, which `model` has none of. Layers whose sizes come from their first
    forward take them from the weights, or from `dry_forward` where they cannot.

    Args:
        model: as its table or factory built it.
        weights: by name.
        file: of the weights, for messages.
        table: what built the model, for messages.
        prefix: `[target] strip_prefix`.
        dry_forward: runs the model once on its graph.

    Raises:
        LoadError: missing, unexpected or wrongly shaped tensors, ten at most, with the nearest rename; several
            prefixes fit; or the dry forward failed.
    """
    own = model.state_dict(keep_vars=True)  # some uninitialised parameters cannot even be detached
    given, notes = _stripped(own, weights, prefix, file)
    if not _fits(own, given):
        raise _misfit(own, given, file, table)
    failed: Exception | None = None
    try:
        model.load_state_dict(dict(given), strict=True)
    except (RuntimeError, IndexError, ValueError) as error:  # hooks of lazy layers read the shapes they are given
        failed = error
    if any(map(is_lazy, model.state_dict(keep_vars=True).values())):
        _run_dry(dry_forward, file, table)
        return fit_weights(model, weights, file=file, table=table, prefix=prefix)
    if not _fits(model.state_dict(keep_vars=True), given):  # a lazy layer knows its shape by now
        raise _misfit(model.state_dict(keep_vars=True), given, file, table)
    if failed is not None:
        raise LoadError(f"{file} does not fit {table}: {failed}. Correct the one or the other.")
    return notes | as_float32(model)


def as_float32(model: nn.Module) -> dict[str, Any]:
    """Casts parameters and buffers, in place; a note for the provenance where there was anything to cast."""
    values = [*model.named_parameters(), *model.named_buffers()]
    cast = {name: v.dtype for name, v in values if v.is_floating_point() and v.dtype != torch.float32}
    if not cast:
        return {}
    model.float()
    return {"model_cast_to_float32": {name: str(dtype).removeprefix("torch.") for name, dtype in cast.items()}}


def _run_dry(dry_forward: Callable[[], None] | None, file: str, table: str) -> None:
    """The forward that gives lazy layers their sizes."""
    why = "there is no graph to run it on"
    if dry_forward is not None:
        try:
            with torch.no_grad():
                return dry_forward()
        except Exception as error:  # a user's forward may raise anything
            why = f"{type(error).__name__}: {error}"
    raise LoadError(
        f"{file} cannot be put into {table}: its layers take their sizes from a first forward, which failed ({why}). "
        "Give the sizes in the constructor, or the graph it was trained on."
    )


def _fits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether the names are equal and every shape that is known."""
    return own.keys() == given.keys() and not _other_shapes(own, given)


def _other_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [key for key, v in own.items() if key in given and not is_lazy(v) and v.shape != given[key].shape]


def _stripped(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], prefix: str | None, file: str
) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The weights without the prefix that makes them fit, and notes: the prefix, and what lies outside of it."""

    def under(start: str) -> dict[str, Tensor]:
        return {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}

    if prefix is None:
        if _fits(own, weights) or not own:
            return weights, {}
        first = next(iter(own))
        starts = dict.fromkeys(key.removesuffix(first) for key in weights if key.endswith(f".{first}"))
        fitting = [start for start in starts if _fits(own, under(start))]
        if len(fitting) > 1:
            raise LoadError(
                f"{file} holds {len(fitting)} sets of weights that fit, under {', '.join(fitting)}; expected one. Set "
                f'[target] strip_prefix, as in strip_prefix = "{fitting[0]}".'
            )
        if not fitting:
            tried = (_stripped(own, bare, None, file) for bare in _unwrapped(weights))
            return next((found for found in tried if _fits(own, found[0])), (weights, {}))
        prefix = fitting[0]
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    if not under(prefix):
        starts = dict.fromkeys(key.partition(".")[0] + "." for key in weights)
        raise LoadError(f'{file} has no name under strip_prefix = "{prefix}". {nearest(prefix, starts)}')
    outside = [key for key in weights if not key.startswith(prefix)]
    return under(prefix), {"stripped_prefix": prefix} | ({"left_over": outside} if outside else {})


def _unwrapped(weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The weights by the names that they have without compiled parts, and without parallel ones."""
    for wrapper in (r"\b_orig_mod\.", r"\b(_orig_mod|module)\."):
        bare = {re.sub(wrapper, "", key): value for key, value in weights.items()}
        if bare.keys() != weights.keys():
            yield bare


def _misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], file: str, table: str) -> LoadError:
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    shapes = _other_shapes(own, weights)
    lines = [f"{key} is {list(weights[key].shape)}, the table builds {list(own[key].shape)}" for key in shapes]
    lines += [f"{key} is missing" for key in missing] + [f"{key} is unexpected" for key in unexpected]
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return LoadError(
        f"{file} does not fit {table}: {'; '.join(lines[:SHOWN])}{more}. "
        f"{_remedy(own, weights, shapes, missing, unexpected)}"
    )


def _remedy(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    shapes: list[str],
    missing: list[str],
    unexpected: list[str],
) -> str:
    """The one change that most likely makes the file fit."""
    if missing and unexpected:
        return f'"{unexpected[0]}" is in the file: {nearest(unexpected[0], missing)} Rename it, or correct the table.'
    if shapes:
        key = shapes[0]
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(weights[key].shape, own[key].shape, strict=False)) if a != b]
        if len(pairs) == 1 and len(own[key].shape) == len(weights[key].shape):
            axis, found, _ = pairs[0]
            first, last = next(iter(own)).rsplit(".", 2)[0], list(own)[-1].rsplit(".", 2)[0]
            if key.startswith(last) and first != last and axis == 0:
                return f"Set out_channels = {found}."
            if axis == 1 and key.startswith(first):
                return f"Set in_channels = {found}."
            return f"Set hidden_channels = {found}."
    if missing:
        return "The table builds more than the file holds: lower num_layers, or drop an option that adds weights."
    return "The file holds more than the table builds: raise num_layers, or add the option that makes these weights."


def _program(raw: bytes) -> Literal["pt2", "torchscript"] | None:
    """The kind of program that the archive is, if it is any; a damaged one is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None
    if any(name.endswith(("models/model.json", "archive_format")) for name in names):
        return "pt2"
    return "torchscript" if any(name.endswith("/constants.pkl") for name in names) else None


def _archive(raw: bytes, name: str) -> Archive:
    try:
        return Archive(raw)
    except UnreadableError as error:
        raise LoadError(
            f"{name} cannot be read: {error}. Expected a state dict written by torch.save in its default form; copy or "
            "save it again."
        ) from None


def _starts_as_pickle(raw: bytes) -> bool:
    """Whether the first opcodes read as a pickle of any protocol; nothing is executed."""
    try:
        for count, (opcode, _, _) in enumerate(pickletools.genops(raw[: 1 << 16])):
            if opcode.name == "STOP" or count >= 20:
                return True
    except Exception:
        return raw[:1] == b"\x80" and len(raw) > 1 and raw[1] <= 5
    return False


def _state_dict(content: Any, name: str, key: str | None) -> tuple[Mapping[str, Any], str]:
    """The one state dict of a checkpoint, at most two levels inside, and where it lies."""
    if not isinstance(content, dict):
        raise LoadError(
            f"{name} holds a {type(content).__name__}; expected a state dict, names to tensors. {SAVE_AGAIN}"
        )
    inside = content if key is None else _at(content, key, name)
    found = {".".join(filter(None, [key, place])): part for place, part in state_dicts(inside).items()}
    places = choices(found)
    if len(places) > 1:
        raise LoadError(
            f"{name} holds {len(places)} state dicts: {', '.join(places)}; set weights_key. Write this model's "
            f'under [target], as in weights_key = "{places[0]}".'
        )
    if not places:
        items = inside.items() if isinstance(inside, dict) else [(key, inside)]
        others = [f"{k} ({_kind_name(v)})" for k, v in items if not (isinstance(v, Record) and v.is_tensor)]
        raise LoadError(
            f"{name} holds {'more than tensors: ' + ', '.join(others[:SHOWN]) if others else 'no tensor'}; expected a "
            f"state dict, names to tensors. {SAVE_AGAIN}"
        )
    return found[places[0]], places[0]


def state_dicts(content: Any) -> dict[str, dict[str, Record]]:
    """Every dict of tensors of a checkpoint, two levels deep, by its key: "model.gnn", "" for the content itself."""
    return dict(_state_dicts(content, "", 2))


def _state_dicts(content: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Record]]]:
    if _is_state_dict(content):
        yield place, content
    elif isinstance(content, dict) and depth:
        for key, value in content.items():
            yield from _state_dicts(value, f"{place}.{key}" if place else str(key), depth - 1)


def choices(found: Mapping[str, Collection[str]]) -> list[str]:
    """The keys of those dicts that may be the model's, by the names of their tensors.

    Those that lie where a checkpoint usually keeps it, or all where none does; and a copy of one of them elsewhere (the
    best so far, a moving average), between which only the user can choose.
    """
    usual = [place for place in found if _is_usual(place.split("."), found)]
    return [place for place in found if any(_are_copies(found[place], found[other]) for other in usual)]


def _is_usual(parts: list[str], places: Iterable[str]) -> bool:
    """Whether at no level something with a usual name lies beside."""
    others = [place.split(".") for place in places]
    for level, part in enumerate(parts):
        beside = {name for other in others if other[:level] == parts[:level] for name in other[level : level + 1]}
        if part not in WRAPPERS and beside & set(WRAPPERS):
            return False
    return True


def _are_copies(a: Collection[str], b: Collection[str]) -> bool:
    """Whether the names are equal but for a prefix."""
    pairs = zip(sorted(a), sorted(b), strict=False)
    return len(a) == len(b) and all(x.endswith(y) or y.endswith(x) for x, y in pairs)


def state_dict_keys(path: Path) -> list[str]:
    """What `weights_key` can be for a checkpoint; [] where it holds nothing but tensors, or none."""
    raw = read_bytes(path)
    if kind_of(raw, path.name) != "state_dict":
        return []
    return [place for place in choices(state_dicts(_archive(raw, path.name).content)) if place]


def _at(content: Mapping[Any, Any], key: str, name: str) -> Any:
    """What lies under `key`, dots leading inside."""
    part: Any = content
    left = key
    while left:
        held = {str(name): value for name, value in part.items()} if isinstance(part, dict) else {}
        first, _, rest = (left, "", "") if left in held else left.partition(".")
        if first not in held:
            known = filter(None, state_dicts(content))
            raise LoadError(f'{name} holds nothing under weights_key = "{key}". {nearest(key, known)}')
        part, left = held[first], rest
    return part


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Record) and v.is_tensor for k, v in value.items())
    )


def _kind_name(value: Any) -> str:
    return value.short if isinstance(value, Record) else type(value).__name__


def _module_state(module: Record, name: str) -> Mapping[str, Any]:
    """The state dict of a pickled module by the tables that every nn.Module keeps."""
    found: dict[str, Any] = {}
    left = [("", module)]
    for _ in range(MAX_MODULES):
        if not left:
            return found
        prefix, part = left.pop()
        state = part.state if isinstance(part, Record) else None
        held = state if isinstance(state, dict) else {}
        tables = [held[t] for t in ("_parameters", "_buffers", "_modules") if isinstance(held.get(t), dict)]
        if len(tables) != 3:
            raise LoadError(f"{name} holds a {_kind_name(part)}; expected a torch module. Save the state dict.")
        hidden = held.get("_non_persistent_buffers_set", [])
        hidden = hidden if isinstance(hidden, list) else (getattr(hidden, "args", None) or ([],))[0]
        parameters, buffers, children = tables
        for key, value in {**parameters, **buffers}.items():
            if value is not None and key not in hidden:
                found[f"{prefix}{key}"] = value
        left += [(f"{prefix}{key}.", child) for key, child in children.items() if child is not None]
    raise LoadError(f"{name} holds a module of more than {MAX_MODULES} parts; expected fewer. Save the state dict.")


def _finite_float32(tensors: Mapping[str, Tensor], name: str, sha256: str, kind: Kind) -> Weights:
    """Every floating tensor in float32, after the check for NaN and infinity."""
    result: dict[str, Tensor] = {}
    cast: dict[str, str] = {}
    for key in sorted(tensors):
        value = tensors[key]
        if value.layout != torch.strided or value.is_complex() or value.is_quantized:
            raise LoadError(
                f"{name}: {key} is {value.dtype}, {value.layout}; expected dense real weights. "
                "Convert the tensor before saving."
            )
        if torch.is_floating_point(value):
            if value.dtype != torch.float32:
                cast[key] = str(value.dtype).removeprefix("torch.")
                value = value.float()
            if not torch.isfinite(value).all():
                bad = torch.nonzero(~torch.isfinite(value))[0].tolist()
                raise LoadError(
                    f"{name}: {key}{bad} is {value[tuple(bad)].item()}; expected finite weights. "
                    "The training diverged or the file is damaged: save a checkpoint from before."
                )
        result[key] = value
    return Weights(result, sha256, kind, cast)
