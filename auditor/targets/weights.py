"""Reads weights without running anything that came inside the file.

The kind of a file is decided by its content, never by its extension. Archives of `torch.save` are read by
`auditor.data.inert`: what they name beside tensors stays a record, so that a checkpoint's optimizer, hyperparameters
and callbacks may be of any class.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import pickletools
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor

from auditor.data.inert import Archive, Record, UnreadableError
from auditor.data.tensors import read_safetensors
from auditor.errors import LoadError, RefusedError, nearest
from auditor.reading.archives import EASY_BYTES
from auditor.reading.files import SMALL, bytes_of, library_errors, measure, reading

Kind = Literal["safetensors", "state_dict", "pickled_module", "pt2", "torchscript", "pickle"]
REFUSED: Mapping[str, str] = {
    "pt2": "is an exported program (.pt2), which is not audited: loading it runs code that came inside the file.",
    "torchscript": "is TorchScript, which is not audited: loading it runs code that came inside the file.",
    "pickle": "holds a bare pickle. Refused: unpickling it runs whatever code the file names.",
}
"""What no flag allows, with the reason."""

SHOWN = 10
MAX_MODULES = 100_000
MAX_STATE_DICTS = 200
MAX_HEADER = 100_000_000  # bytes, the format's own limit
ZIP = b"PK\x03\x04"
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
    """The file's bytes, once it is a regular file and no larger than what it declares to hold.

    Raises:
        LoadError: missing, a folder, a pipe or a device, not readable, or not the file that `sha256` names.
    """
    expected = "the weights that [target] names. Correct the path or the file's permissions, or add the file."
    size = measure(path, error=LoadError, expected=expected)
    with reading(path.name, error=LoadError, expected=expected):
        _check_declared(path, size)
    raw = bytes_of(path, error=LoadError, expected=expected)
    found = hashlib.sha256(raw).hexdigest()
    if expected_sha256 is not None and found != expected_sha256.lower():
        raise LoadError(
            f"{path.name} has sha256 {found}; [target] expects {expected_sha256.lower()}. "
            "The file was changed or swapped: restore it, or update sha256 if the change is yours."
        )
    return raw


def _check_declared(path: Path, size: int) -> None:
    """Refuses a large safetensors file whose header does not speak of as many bytes; of others, their kind decides."""
    if size <= SMALL:
        return
    with path.open("rb") as stream:
        head = stream.read(9)
        if head[:4] == ZIP or head[8:] != b"{":
            return
        header = json.loads(b"{" + stream.read(min(int.from_bytes(head[:8], "little"), MAX_HEADER) - 1))
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    if size > 2 * max(ends, default=0):
        raise LoadError(
            f"{path.name} has {size} bytes, and its header speaks of {max(ends, default=0)}; expected as many. Save "
            "the weights again."
        )


def kind_of(raw: bytes, name: str) -> Kind:
    """What a file is, by its content.

    Raises:
        LoadError: none of the known forms, or an archive that cannot be read through.
    """
    if raw[:4] == ZIP:
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
    with reading(name, error=LoadError, expected=f"the weights of a model. {SAVE_AGAIN}"):
        return _read_weights(raw, name, key, trust_pickle)


def _read_weights(raw: bytes, name: str, key: str | None, trust_pickle: bool) -> Weights:
    kind, place = kind_of(raw, name), ""
    if key is not None and kind != "state_dict":
        raise LoadError(
            f'{name} holds nothing but tensors; [target] weights_key = "{key}" names no part of it. Drop it.'
        )
    if kind == "safetensors":
        tensors = read_safetensors(raw, name, error=LoadError)
    elif kind == "state_dict" or (kind == "pickled_module" and trust_pickle):
        archive = _archive(raw, name)
        if kind == "state_dict":
            part, place = _state_dict(archive.content, name, key)
        else:
            part = _module_state(archive.content, name)
        tensors = _rebuilt(archive, part, name)
    else:
        raise refusal(raw, name, kind)
    if not tensors:
        raise LoadError(f"{name} holds no tensor; expected the weights of a model. Save the state dict again.")
    return replace(_finite_float32(tensors, name, hashlib.sha256(raw).hexdigest(), kind), key=place)


def _rebuilt(archive: Archive, part: Mapping[str, Any], name: str) -> dict[str, Tensor]:
    """Tensors of their own, none sharing numbers with another."""
    try:
        values = {key: archive.value(value) for key, value in part.items()}
    except UnreadableError as error:
        raise LoadError(f"{name} cannot be read: {error}. Expected plain tensors. {SAVE_AGAIN}") from None
    if odd := next((key for key, value in values.items() if not isinstance(value, Tensor)), None):
        raise LoadError(f"{name}: {odd} is {_kind_name(values[odd])}; expected a tensor. {SAVE_AGAIN}")
    total = sum(value.nbytes for value in values.values() if value.layout == torch.strided)
    if total > max(EASY_BYTES, 8 * archive.size):
        raise LoadError(
            f"{name} has {archive.size} bytes and names {total} bytes of weights; expected as many, but for tied ones. "
            f"{SAVE_AGAIN}"
        )
    return {key: value.clone() for key, value in values.items()}


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


def _program(raw: bytes) -> Literal["pt2", "torchscript"] | None:
    """The kind of program that the archive is, if it is any; a damaged one is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
    except library_errors():
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
    """Every dict of tensors of a checkpoint, two levels deep, by its key: "model.gnn", "" for the content itself.

    Raises:
        LoadError: more than 200, none of which could be told from the others.
    """
    found = dict(itertools.islice(_state_dicts(content, "", 2), MAX_STATE_DICTS + 1))
    if len(found) > MAX_STATE_DICTS:
        raise LoadError(f"it holds more than {MAX_STATE_DICTS} state dicts; expected the one of a model. {SAVE_AGAIN}")
    return found


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
    with reading(path.name, error=LoadError, expected=f"the weights of a model. {SAVE_AGAIN}"):
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
