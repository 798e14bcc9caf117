"""Reads weights without running anything that came inside the file, and fits them into a model.

The kind of a file is decided by its content, never by its extension.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from auditor.errors import LoadError, RefusedError, nearest

Kind = Literal["safetensors", "state_dict", "pickled_module", "pt2", "pickle"]
SHOWN = 10
MAX_PICKLE_BYTES = 64 << 20
MAX_OPCODES = 2_000_000
SAVE_AGAIN = (
    "Save the state dict instead, torch.save(model.state_dict(), file), or use safetensors, "
    "and describe the model in [model] or by a factory."
)
# What a state dict's pickle may name: torch's own rebuild functions and plain containers. The weights-only loader
# enforces its own, stricter list; this one decides what the file is called in a message.
STATE_DICT_MODULES = ("torch", "torch._utils", "torch._tensor", "torch.storage", "collections", "torch.nn.parameter")
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, with what was seen on the way.

    Attributes:
        tensors: float32 (integers and booleans as they are).
        sha256: of the file's bytes.
        kind: what the content is.
        cast: names of tensors that were cast to float32, with their dtype in the file.
    """

    tensors: Mapping[str, Tensor]
    sha256: str
    kind: Kind
    cast: Mapping[str, str] = field(default_factory=dict)


def read_bytes(path: Path, *, expected_sha256: str | None = None) -> bytes:
    """The file's bytes.

    Raises:
        LoadError: missing, a folder, or not the file that `sha256` names.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise LoadError(f"{path} {what}; expected the weights that [target] names. Correct the path or add the file.")
    raw = path.read_bytes()
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
        LoadError: none of the known forms.
        RefusedError: an archive whose pickle cannot be read through.
    """
    if raw[:4] == b"PK\x03\x04":
        return _kind_of_archive(raw, name)
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


def read_weights(raw: bytes, name: str) -> Weights:
    """The tensors of a safetensors file or a state dict, finite and in float32.

    Raises:
        RefusedError: anything that would have to be unpickled to be read.
        LoadError: malformed, empty, not a flat dict of tensors, or a weight that is NaN or infinite.
    """
    kind = kind_of(raw, name)
    if kind == "safetensors":
        try:
            tensors = load_safetensors(raw)
        except (SafetensorError, ValueError, OverflowError, KeyError, RuntimeError) as error:
            raise LoadError(
                f"{name} is not a valid safetensors file: {error}. Save it again with safetensors.torch.save_file."
            ) from None
    elif kind == "state_dict":
        tensors = _read_state_dict(raw, name)
    else:
        raise refusal(raw, name, kind)
    if not tensors:
        raise LoadError(f"{name} holds no tensor; expected the weights of a model. Save the state dict again.")
    return _finite_float32(tensors, name, hashlib.sha256(raw).hexdigest(), kind)


def refusal(raw: bytes, name: str, kind: Kind) -> RefusedError:
    """Why a file is not loaded: what was found, why it is refused, what to do."""
    if kind == "pt2":
        return RefusedError(
            f"{name} is an exported program (.pt2). Loading one runs code that came inside the file, and this version "
            f"has no clean copy for it. {SAVE_AGAIN}"
        )
    found = ""
    if kind == "pickled_module":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            member = _pickle_member(archive)
            names = _foreign_globals(archive.read(member)) if member else []
        found = f", naming {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""
    what = "a pickled object that is more than a state dict" if kind == "pickled_module" else "a bare pickle"
    return RefusedError(
        f"{name} holds {what}{found}. Refused: unpickling it runs whatever code the file names. {SAVE_AGAIN}"
    )


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], *, file: str, table: str = "[model]") -> None:
    """Loads `weights` strictly into `model`, in place.

    Raises:
        LoadError: missing, unexpected or wrongly shaped tensors, ten at most, with the nearest rename.
    """
    own = model.state_dict()
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    shapes = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if not missing and not unexpected and not shapes:
        model.load_state_dict(dict(weights), strict=True)
        return
    lines = [f"{key} is {list(weights[key].shape)}, the table builds {list(own[key].shape)}" for key in shapes]
    lines += [f"{key} is missing" for key in missing] + [f"{key} is unexpected" for key in unexpected]
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    raise LoadError(
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


def _kind_of_archive(raw: bytes, name: str) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            names = archive.namelist()
            if len(names) != len(set(names)):
                raise RefusedError(
                    f"{name} holds two members of the same name. Refused: two readers would see two files. {SAVE_AGAIN}"
                )
            if any(n.endswith(("models/model.json", "archive_format")) for n in names):
                return "pt2"
            member = _pickle_member(archive)
            if member is None:
                raise LoadError(
                    f"{name} is a zip archive without data.pkl; expected a state dict written by torch.save. "
                    "Export the weights again."
                )
            if archive.getinfo(member).file_size > MAX_PICKLE_BYTES:
                raise RefusedError(
                    f"{name}: {member} unpacks to {archive.getinfo(member).file_size} bytes. Refused: a state dict's "
                    f"table of contents has at most {MAX_PICKLE_BYTES}. {SAVE_AGAIN}"
                )
            return "pickled_module" if _foreign_globals(archive.read(member)) else "state_dict"
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise LoadError(
            f"{name} is a damaged archive: {error}. Expected a state dict written by torch.save; copy or save it again."
        ) from None


def _pickle_member(archive: zipfile.ZipFile) -> str | None:
    """`<top>/data.pkl`, which torch's own archives hold exactly once."""
    return next((n for n in archive.namelist() if n.count("/") == 1 and n.endswith("/data.pkl")), None)


def _foreign_globals(pickle: bytes) -> list[str]:
    """What the pickle names that no state dict does, read from the opcodes without executing one.

    A nested heap of tuples, an extension opcode or bytes after STOP count as foreign as well: the first two can exhaust
    the stack or reach a registry, the third is a second program.
    """
    found: list[str] = []
    strings: list[str] = []
    memo: dict[int, str] = {}
    tuples = tensors = 0
    end = 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(pickle)):
            name, end = opcode.name, (position or 0) + 1
            if count > MAX_OPCODES:
                return ["more opcodes than any state dict"]
            if name in ("GLOBAL", "INST"):
                found.append(str(argument).replace(" ", "."))
            elif name == "STACK_GLOBAL":
                found.append(".".join(strings[-2:]))
            elif name in ("EXT1", "EXT2", "EXT4", "OBJ"):
                return [f"opcode {name}"]
            elif "UNICODE" in name or name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):
                strings.append(str(argument))
            elif name == "MEMOIZE":
                memo[len(memo)] = strings[-1] if strings else ""
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[int(str(argument))] = strings[-1] if strings else ""
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                strings.append(memo.get(int(str(argument)), ""))
            tuples += name in _TUPLES
            tensors += name == "BINPERSID"
            if tuples > 10 * tensors + 1000:  # about five per tensor are honest
                return [f"{tuples} tuples for {tensors} tensors"]
    except (ValueError, IndexError, UnicodeDecodeError, OverflowError) as error:
        return [f"a malformed pickle ({error})"]
    if end != len(pickle):
        return [f"{len(pickle) - end} bytes after the end of the pickle"]
    return list(dict.fromkeys(n for n in found if not _in_state_dict(n)))


def _in_state_dict(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    if module == "collections":
        return attribute == "OrderedDict"
    return module in STATE_DICT_MODULES and (
        attribute.startswith("_rebuild_") or attribute.endswith("Storage") or attribute in _dtype_names()
    )


def _dtype_names() -> frozenset[str]:
    return frozenset(n for n in dir(torch) if isinstance(getattr(torch, n), torch.dtype)) | {"Size", "device"}


def _starts_as_pickle(raw: bytes) -> bool:
    """Whether the first opcodes read as a pickle of any protocol; nothing is executed."""
    try:
        for count, (opcode, _, _) in enumerate(pickletools.genops(raw[: 1 << 16])):
            if opcode.name == "STOP" or count >= 20:
                return True
    except Exception:
        return raw[:1] == b"\x80" and len(raw) > 1 and raw[1] <= 5
    return False


def _read_state_dict(raw: bytes, name: str) -> dict[str, Tensor]:
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, runtime, key and attribute errors alike on a hostile file
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise RefusedError(
            f"{name} cannot be read as a state dict ({reason}). Refused: only torch's weights-only loader is used, "
            f"which takes tensors and plain containers. {SAVE_AGAIN}"
        ) from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise LoadError(
            f"{name} holds a {type(content).__name__}; expected a state dict, names to tensors. {SAVE_AGAIN}"
        )
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        inner = next((k for k in ("state_dict", "model_state", "model_state_dict") if k in content), None)
        hint = f'Save what is under "{inner}" alone.' if inner else SAVE_AGAIN
        raise LoadError(
            f"{name} holds more than tensors: {', '.join(others[:SHOWN])}; "
            f"expected a state dict, names to tensors. {hint}"
        )
    return {key: value.detach().clone() for key, value in content.items()}


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
