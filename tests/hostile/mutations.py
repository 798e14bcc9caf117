"""Seeded mutations of small valid files: of bytes, of JSON, of arrays and their headers, of text."""

from __future__ import annotations

import copy
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import torch

Arrays = dict[str, Any]


class Still(Random):
    """Mutates nothing: what is written is the valid file."""

    def random(self) -> float:
        return 0.99


EXTREMES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 1e12, 1e308, -0.0, float("nan"),
    float("inf"), "", "x", "x" * 5000, "\x00", "../../etc/passwd", "/dev/zero", [], {}, [[]], [None], {"": {}},
)  # fmt: skip
TYPES = (">f8", ">i8", "<u8", "<u4", "<u2", "f2", "g", "c16", "S3", "U3", "M8[s]", "?", "i1", "V4", "O")
NUMBERS = (float("nan"), float("inf"), -1, -2, 0, 1e12, 2**53, 2**62, 2**63 - 1, -(2**63), 1e300)
SHAPES: tuple[Any, ...] = ((), (0,), (0, 10**12), (10**9, 64), (True, 64), (-1,), (2**62, 2**62), (10**18,), (1,) * 40)
DESCRIPTIONS = ("|V0", "<U0", "<i3", "|O", "<f16", "<M8[s]", "[('a', '<f4')]", "__import__('os').getcwd()", "")
WORDS = ("", "-1", "999999999999", "1e9", "1.5", "x", "²", "9" * 5000, "nan", "0x7f", "\x00", "\ud7ff", "1,1", "\t")


def damaged(raw: bytes, rng: Random) -> bytes:
    """Bytes flipped, cut, doubled, removed, or replaced by what parsers stumble over."""
    if isinstance(rng, Still):
        return raw
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 8, 64)))
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:end] = rng.choice((b"\xff" * 8, b"\0" * 8, b"{" * 50, b"[" * 500, b'"', b"\n", b"9" * 30))
            case 4 if rng.random() < 0.3:
                del data[at:]
            case _:
                data[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
    return bytes(data)


def edited_json(document: Any, rng: Random) -> bytes:
    """A JSON document with one to three places replaced, removed, renamed or doubled."""
    if isinstance(rng, Still):
        return json.dumps(document).encode()
    document = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            break
        within, key = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del within[key]
            case 1 if isinstance(within, dict):
                within[rng.choice(("", "x" * 300, "kind", str(key) + "s"))] = within.pop(key)
            case 2 if isinstance(within, list):
                within.extend([within[key]] * rng.choice((1, 50)))
            case 3:
                if (depth := rng.choice((3, 90, 3000))) == 3000:
                    return b'{"a":' * depth + b"1" + b"}" * depth
                within[key] = _nested(depth)
            case _:
                within[key] = copy.deepcopy(rng.choice(EXTREMES))
    return json.dumps(document).encode()


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def edited_text(text: str, rng: Random) -> bytes:
    """Text with words and lines replaced, removed or doubled."""
    if isinstance(rng, Still):
        return text.encode()
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, rng.choice(lines))
            case _:
                words = lines[at].replace(",", " , ").split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                lines[at] = " ".join(words)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def edited_arrays(arrays: Arrays, rng: Random) -> bytes:
    """An .npz of arrays of other types, shapes and values, or with headers that say something else."""
    if isinstance(rng, Still):
        return zipped({f"{key}.npy": npy(value) for key, value in arrays.items()})
    arrays = {key: np.array(value) for key, value in arrays.items()}
    headers: dict[str, bytes] = {}
    for _ in range(rng.choice((1, 1, 2))):
        key = rng.choice(sorted(arrays))
        match rng.randrange(6):
            case 0:
                arrays[key] = _retyped(arrays[key], rng.choice(TYPES))
            case 1:
                arrays[key] = _reshaped(arrays[key], rng)
            case 2:
                arrays[key] = _revalued(arrays[key], rng)
            case 3:
                arrays[rng.choice(("y", "x", "edge_index", "batch", "ptr", "z", "train_idx", "num_nodes"))] = (
                    arrays.pop(key)
                )
            case 4:
                headers[key] = _header(arrays[key], rng)
            case _:
                arrays[f"{key}_more"] = rng.choice((np.ones(3), np.array("word"), np.array([{}], dtype=object)))
    return zipped({f"{key}.npy": headers.get(key) or npy(value) for key, value in arrays.items()}, rng)


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def zipped(members: dict[str, bytes], rng: Random | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of members; with `rng`, packed in one way or another, and now and then with one member twice."""
    out = io.BytesIO()
    if rng is not None:
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, content in members.items():
            archive.writestr(name, content)
            if rng is not None and rng.random() < 0.02:
                archive.writestr(name, content[:-1])
    return out.getvalue()


def _retyped(array: Any, kind: str) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return array.astype(kind)
        except (TypeError, ValueError):
            return np.zeros(array.shape, dtype=kind)


def _reshaped(array: Any, rng: Random) -> Any:
    array = np.atleast_1d(array)
    forms: tuple[Callable[[], Any], ...] = (
        lambda: array.reshape(-1), lambda: array.T, lambda: array[:1], lambda: array[:0], lambda: array[None],
        lambda: array[..., None], lambda: np.array(array.flat[0] if array.size else 0), lambda: array[..., :0],
        lambda: np.concatenate([array, array]) if array.ndim else array, lambda: np.zeros((0, 10**7 + 1), array.dtype),
    )  # fmt: skip
    return rng.choice(forms)()


def _revalued(array: Any, rng: Random) -> Any:
    array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64) if array.dtype.kind in "biuf" else array
    if array.size and array.dtype.kind in "if":
        value = rng.choice(NUMBERS)
        if array.dtype.kind == "i" and (value != value or abs(value) >= 2**63):
            value = -7
        array.flat[rng.randrange(array.size)] = value
    return array


def _header(array: Any, rng: Random) -> bytes:
    """The bytes of an array behind a header that speaks of another one."""
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    if rng.random() < 0.6:
        described["shape"] = rng.choice(SHAPES)
    else:
        described["descr"] = rng.choice(DESCRIPTIONS)
    text = repr(described).encode() + rng.choice((b"\n", b" " * 70_000 + b"\n", b""))
    version = rng.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text) & 0xFFFF)
    return b"\x93NUMPY" + version + size + text + array.tobytes()


def edited_safetensors(raw: bytes, rng: Random) -> bytes:
    """A header with other types, shapes and offsets in front of the same bytes."""
    if isinstance(rng, Still):
        return raw
    size = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    entry = header[rng.choice(sorted(header))]
    match rng.randrange(5):
        case 0:
            entry["dtype"] = rng.choice(
                ("F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "U16", "U32", "U64", "BOOL", "BF16", "C64", "X9", "I8")
            )
        case 1:
            entry["shape"] = rng.choice(
                ([], [0], [10**9, 0], [-1], [2**62, 4], [True], [1e9], [[2]], entry["shape"][::-1])
            )
        case 2:
            entry["data_offsets"] = rng.choice(([0, 2**62], [-8, 0], [8, 0], [0], [0, len(data)], "0,8"))
        case 3:
            return struct.pack("<Q", size) + edited_json(header, rng).ljust(size)[:size] + data
        case _:
            header[rng.choice(("__metadata__", "x" * 300, "logits", "x"))] = rng.choice((entry, {}, None, {"a": "b"}))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[: rng.choice((None, -1, None, 0))]


ODD: tuple[Callable[[Any], Any], ...] = (
    lambda t: t.float()[:1].expand(max(1, t.shape[0]), *t.shape[1:]),
    lambda t: t.float().flatten()[:1].expand(10**9),
    lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    lambda t: t.to("meta"),
    lambda t: torch._neg_view(t.float()),
    lambda t: t.float() + 1j,
    lambda t: t.float().to(torch.float8_e4m3fn),
    lambda t: t.to(torch.uint16),
    lambda t: torch.nested.nested_tensor([t.float(), t.float()]),
    lambda t: t.float().reshape(t.shape[0], -1).to_sparse(),
    lambda t: torch.sparse_coo_tensor(torch.tensor([[0], [0]]), torch.ones(1), (10**9, 10**9)),
    lambda t: t.reshape(-1)[:1].reshape(()),
    lambda t: t[:0],
    lambda t: t.double() * 1e300,
    lambda t: torch.zeros(0, 10**12),
    lambda _: "words",
    lambda _: [1, "a", None],
    lambda _: 10**18,
    lambda t: {"a": t},
    lambda t: t.numpy(),
    lambda t: [t, t],
)


def edited_tensors(content: dict[str, Any], rng: Random) -> bytes:
    """A `torch.save` archive of tensors of unusual kinds, or with a pickle of which bytes are damaged."""
    if isinstance(rng, Still):
        return saved(content)
    content = dict(content)
    key = rng.choice(sorted(content))
    if rng.random() < 0.7:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                content[key] = rng.choice(ODD)(content[key])
            except (RuntimeError, IndexError):
                content[key] = None
    raw = saved(content)
    if rng.random() < 0.5:
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice([name for name in members if name.endswith("data.pkl") or "/data/" in name])
    members[name] = damaged(members[name], rng)
    return zipped(members, rng)


def saved(content: Any) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, out)
    return out.getvalue()
