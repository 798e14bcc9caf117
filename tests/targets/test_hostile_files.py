"""Files that would run code when unpickled: none may, each is refused in three parts, and each benign twin loads."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from auditor.errors import LoadError, RefusedError, TargetError
from auditor.targets.load import load_target
from auditor.targets.weights import kind_of, read_weights
from tests.targets.projects import Project

WEIGHTS = {"a": torch.ones(2, 3), "b": torch.zeros(3)}


def payload(sentinel: Path, function: Callable[..., object], *arguments: object) -> object:
    class Payload:
        def __reduce__(self):
            return function, arguments

    return Payload()


def torch_zip(content: bytes, *, extra: dict[str, bytes] | None = None) -> bytes:
    """A torch archive whose data.pkl is `content`, with the storages of a real one."""
    real = io.BytesIO()
    torch.save(OrderedDict(WEIGHTS), real)
    out = io.BytesIO()
    with zipfile.ZipFile(real) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, content if name.endswith("/data.pkl") else source.read(name))
        for name, value in (extra or {}).items():
            target.writestr(name, value)
    return out.getvalue()


def saved(content: object, **options: object) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, out, **options)
    return out.getvalue()


def state_pickle() -> bytes:
    with zipfile.ZipFile(io.BytesIO(saved(OrderedDict(WEIGHTS)))) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith("/data.pkl")))


def module(sentinel: Path) -> torch.nn.Module:
    class_ = torch.nn.Linear(2, 2)
    class_.hook = payload(sentinel, os.system, f"touch {sentinel}")
    return class_


def evil(sentinel: Path, protocol: int = 2) -> bytes:
    return pickle.dumps({"a": payload(sentinel, os.system, f"touch {sentinel}")}, protocol)


def set_state(sentinel: Path) -> bytes:
    """A dict subclass whose __setstate__ would run; named by module and class, as pickle does."""
    return b"\x80\x02c" + b"tests.targets.test_hostile_files\nStateful\n)R}(X\x01\x00\x00\x00aK\x01ub."


class Stateful(dict):
    def __setstate__(self, state: object) -> None:
        raise AssertionError("executed")


def legacy_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    return out.getvalue()


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "os.system in a torch archive": lambda s: saved({"a": payload(s, os.system, f"touch {s}")}),
    "builtins.eval": lambda s: saved({"a": payload(s, eval, f"open({str(s)!r}, 'w')")}),
    "getattr chain": lambda s: saved({"a": payload(s, getattr, str, "upper")}),
    "torch.hub.load": lambda s: saved({"a": payload(s, torch.hub.load, "x/y", "z")}),
    "whole module": lambda s: saved(module(s)),
    "bare pickle": evil,
    "protocol 0 text": lambda s: evil(s, 0),
    "protocol 4 frames": lambda s: evil(s, 4),
    "data.pkl of protocol 0": lambda s: torch_zip(evil(s, 0)),
    "data.pkl of protocol 4": lambda s: torch_zip(evil(s, 4)),
    "extension registry": lambda _: torch_zip(b"\x80\x02\x82\x01."),
    "odd persistent id": lambda _: torch_zip(b"\x80\x02X\x03\x00\x00\x00oddQ."),
    "two pickles in a row": lambda s: torch_zip(state_pickle() + evil(s)),
    "payload after STOP": lambda s: state_pickle() + evil(s),
    "nested tuples": lambda _: torch_zip(b"\x80\x02)" + b"\x85" * 300_000 + b"."),
    "nested tuple as a key": lambda _: torch_zip(b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s."),
    "memo bomb": lambda _: torch_zip(
        b"\x80\x02)q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60_000)) + b"."
    ),
    "dict subclass": lambda s: torch_zip(set_state(s)),
    "renamed to safetensors": lambda s: saved({"a": payload(s, os.system, f"touch {s}")}),
    "legacy serialization": lambda s: saved(
        {"a": payload(s, os.system, f"touch {s}")}, _use_new_zipfile_serialization=False
    ),
    "legacy tar": lambda _: legacy_tar(),
    "numpy object array": lambda s: saved({"a": np.array([payload(s, os.system, f"touch {s}")], dtype=object)}),
    "exported program": lambda s: torch_zip(evil(s), extra={"archive/archive_format": b"pt2"}),
    "TorchScript": lambda s: torch_zip(evil(s), extra={"archive/constants.pkl": evil(s)}),
    "duplicate member": lambda s: torch_zip(state_pickle(), extra={"archive/data.pkl": evil(s)}),
    "truncated archive": lambda _: saved(OrderedDict(WEIGHTS))[:-200],
    "safetensors with a header of 2^63 bytes": lambda _: struct.pack("<Q", 2**63) + b'{"a":1}' + bytes(100),
    "safetensors with overlapping offsets": lambda _: header(
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
    ),
    "safetensors of unknown dtype": lambda _: header('{"a":{"dtype":"X99","shape":[2],"data_offsets":[0,8]}}'),
    "safetensors with NaN": lambda _: save({"a": torch.tensor([1.0, float("nan")])}),
    "state dict with infinity": lambda _: saved({"a": torch.tensor([1.0, float("inf")])}),
    "no tensors": lambda _: saved({}),
    "a list": lambda _: saved([torch.ones(2)]),
    "a zip of something else": lambda _: archive_of({"readme.txt": b"hello"}),
    "text": lambda _: b"these are not the weights you are looking for",
    "empty": lambda _: b"",
}


def exported() -> bytes:
    out = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.Linear(3, 2), (torch.ones(1, 3),)), out)
    return out.getvalue()


def scripted() -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), out)
    return out.getvalue()


@pytest.mark.parametrize(("make", "words"), [(exported, r"exported program \(.pt2\)"), (scripted, "is TorchScript")])
@pytest.mark.parametrize("trust_pickle", [False, True])
def test_programs_are_refused_with_any_flag(
    make: Callable[[], bytes], words: str, trust_pickle: bool, tmp_path: Path
) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(make())
    with pytest.raises(RefusedError, match=f"{words}, which is not audited.*Save the state dict") as caught:
        load_target(file, trust_pickle=trust_pickle)
    assert "--trust-pickle" not in str(caught.value)


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + bytes(16)


def archive_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return out.getvalue()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_file_is_refused_and_nothing_in_it_runs(name: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    raw = HOSTILE[name](sentinel)
    project = Project(tmp_path / "p")
    (project.folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(TargetError) as caught:
        load_target(project.folder)
    assert not sentinel.exists()
    message = str(caught.value)
    assert caught.value.exit_code == 4
    assert message.startswith("model.safetensors")
    assert message.count(". ") >= 1, "what came and what to do are sentences of their own"
    assert any(word in message for word in ("Save", "save", "Export", "Write", "copy")), message


def test_the_payload_would_have_left_its_mark(tmp_path: Path) -> None:
    """The positive control of every sentinel above."""
    pickle.loads(evil(tmp_path / "executed"))
    assert (tmp_path / "executed").exists()


UNPICKLING = [name for name in list(HOSTILE)[:22] if "nested" not in name and "bomb" not in name]


@pytest.mark.parametrize("name", UNPICKLING)
def test_reading_runs_nothing_even_where_the_file_is_trusted(name: str, tmp_path: Path) -> None:
    """With trust, the tensors of a pickled module are read; the module is not made, and nothing it names is called."""
    sentinel = tmp_path / "executed"
    with contextlib.suppress(TargetError):  # what is harmless without its payload may be read
        read_weights(HOSTILE[name](sentinel), "w", trust_pickle=True)
    assert not sentinel.exists()


def test_a_whole_module_is_refused_with_what_why_and_what_to_do(tmp_path: Path) -> None:
    project = Project(tmp_path)
    torch.save(project.model, tmp_path / "whole.pt")
    for path in (tmp_path / "whole.pt", project.write(weights="whole.pt")):
        with pytest.raises(RefusedError) as caught:
            load_target(path, data="graph.npz")
        found, why, remedy = str(caught.value).split(". ", 2)
        assert "torch_geometric.nn.models" in found
        assert "Refused: unpickling it runs" in why
        assert "torch.save(model.state_dict(), file)" in remedy


def test_a_trusted_pickle_loads_and_says_so(tmp_path: Path) -> None:
    project = Project(tmp_path)
    torch.save(project.model, tmp_path / "whole.pt")
    target = load_target(project.write(weights="whole.pt"), trust_pickle=True)
    assert target.kind == "pickled_module"
    assert target.provenance["trusted_pickle"] is True
    assert target.recipe is None
    g = project.graph
    assert torch.equal(target.clean_logits(), project.model.eval()(g.x, g.edge_index))


BENIGN: dict[str, Callable[[dict[str, torch.Tensor]], bytes]] = {
    "safetensors": save,
    "state dict": lambda state: saved(OrderedDict(state)),
    "plain dict": lambda state: saved(dict(state)),
    "parameters": lambda state: saved({key: torch.nn.Parameter(value) for key, value in state.items()}),
    "shared storage": lambda state: saved({key: value.clone().view_as(value) for key, value in state.items()}),
    "transposed": lambda state: saved({key: value.T.contiguous().T for key, value in state.items()}),
}


@pytest.mark.parametrize("name", BENIGN)
@pytest.mark.parametrize("extension", ["pt", "safetensors", "bin"])
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_the_benign_twin_loads_whatever_it_is_called(name: str, extension: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    file = tmp_path / f"w.{extension}"
    file.write_bytes(BENIGN[name](project.model.state_dict()))
    target = load_target(project.write(weights=file.name))
    assert target.kind == ("safetensors" if name == "safetensors" else "state_dict")
    g = project.graph
    torch.testing.assert_close(target.clean_logits(), project.model.eval()(g.x, g.edge_index), atol=0, rtol=0)


def test_half_precision_is_cast_and_recorded(tmp_path: Path) -> None:
    project = Project(tmp_path)
    save_file({key: value.half() for key, value in project.model.state_dict().items()}, tmp_path / "half.safetensors")
    target = load_target(project.write(weights="half.safetensors"))
    assert set(target.provenance["cast_to_float32"].values()) == {"float16"}
    assert target.clean_logits().dtype == torch.float32


def test_the_first_non_finite_weight_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    state = {key: value.clone() for key, value in project.model.state_dict().items()}
    state["convs.1.bias"][2] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(LoadError, match=r"convs\.1\.bias\[2\] is nan; expected finite"):
        load_target(project.write(weights="nan.safetensors"))


def test_a_safetensors_header_that_starts_like_a_pickle_is_still_safetensors() -> None:
    """A header of 640 bytes begins 80 02, which is also how pickles of protocol 2 begin."""
    for padding in range(700):
        raw = save(WEIGHTS, metadata={"p": "x" * padding})
        if raw[:2] == b"\x80\x02":
            break
    assert raw[:2] == b"\x80\x02"
    assert kind_of(raw, "w") == "safetensors"
    assert set(read_weights(raw, "w").tensors) == set(WEIGHTS)
