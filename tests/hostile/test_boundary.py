"""What is measured before it is read, and that honest files pass: kinds of files, sizes, numbers, keys."""

from __future__ import annotations

import datetime
import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from auditor.api.files import read_file
from auditor.api.options import parse_seeds, resolve
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.errors import ConfigError, DataError, GraphError, LoadError, RefusedError, SplitError, UsageError
from auditor.policy.baseline import read_baseline
from auditor.reading import archives, files
from auditor.reading.files import bytes_of, first_line, measure, reading
from auditor.reading.toml import read_toml
from auditor.targets.load import load_target
from tests.hostile.corpus import Corpus
from tests.hostile.mutations import Still
from tests.targets.projects import Project
from tests.toys import sbm_graph

GRAPH = sbm_graph(n=60)
ARRAYS: dict[str, Any] = {"x": GRAPH.x.numpy(), "edge_index": GRAPH.edge_index.numpy(), "y": GRAPH.y.numpy()}


def graph(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "g.npz", **{key: value for key, value in (ARRAYS | changes).items() if value is not None})
    return folder / "g.npz"


@pytest.mark.parametrize("name", ["x", "edge_index", "y"])
@pytest.mark.parametrize("order", [">", "<"])
def test_either_byte_order_is_the_same_graph(name: str, order: str, tmp_path: Path) -> None:
    array = ARRAYS[name].astype(ARRAYS[name].dtype.newbyteorder(order))
    found = load_data(str(graph(tmp_path, **{name: array}))).graph
    assert torch.equal(getattr(found, name), torch.from_numpy(ARRAYS[name]))


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8", "i1", "i2", "i4"])
def test_whole_numbers_of_any_width_are_read(kind: str, tmp_path: Path) -> None:
    found = load_data(str(graph(tmp_path, y=ARRAYS["y"].astype(kind), edge_index=ARRAYS["edge_index"].astype(kind))))
    assert torch.equal(found.graph.y, GRAPH.y)
    assert torch.equal(found.graph.edge_index, GRAPH.edge_index)


def y_of(value: float) -> Any:
    y = ARRAYS["y"].astype(np.float64 if isinstance(value, float) else np.uint64 if value > 2**62 else np.int64)
    y[3] = value
    return y


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "long double": ({"x": ARRAYS["x"].astype(np.longdouble)}, "x is float128; expected at most 64 bits"),
    "complex": ({"x": ARRAYS["x"].astype(complex)}, "x is complex128; expected numbers"),
    "text": ({"x": ARRAYS["x"].astype(str)}, "expected numbers"),
    "x without dimensions": ({"x": np.array(1.0)}, r"x is \[\]; expected numbers"),
    "y without dimensions": ({"y": np.array(1)}, r"y is \[\]; expected one class index"),
    "edges without dimensions": ({"edge_index": np.array(1)}, r"edge_index is torch.int64 \[\]; expected int64"),
    "batch without dimensions": ({"batch": np.array(0)}, r"batch is \[\]; expected"),
    "pointer without dimensions": ({"ptr": np.array(0)}, r"ptr is \[\]; expected"),
    "large label": ({"y": y_of(10**12)}, "y holds 1000000000000; expected class indices below 65536"),
    "largest label": ({"y": y_of(2**63 - 1)}, "y holds 9223372036854775807; expected class"),
    "label beyond 63 bits": ({"y": y_of(2**64 - 1)}, "y holds 18446744073709551615; expected whole numbers below"),
    "label in float": ({"y": y_of(1e300)}, r"y holds 1e\+300; expected class indices"),
    "least whole feature": ({"x": np.where(ARRAYS["x"] > 0, -(2**63), 0)}, "x holds 9223372036854775808"),
    "objects": ({"x": np.array([{}], dtype=object)}, "Python objects, which only an unsafe loader"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_numbers_are_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, words = REFUSED[name]
    with pytest.raises(GraphError, match=words) as caught:
        load_data(str(graph(tmp_path, **changes)))
    assert caught.value.exit_code == 2


TENSORS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float8_e4m3fn": lambda x: x.to(torch.float8_e4m3fn),
    "_rebuild_qtensor": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "_rebuild_meta_tensor": lambda x: x.to("meta"),
    "conjugated or negated": torch._neg_view,
    "_rebuild_nested_tensor": lambda x: torch.nested.nested_tensor([x, x]),
    "again and again": lambda x: x[:1].clone().expand(60, x.shape[1]),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("words", TENSORS)
def test_tensors_of_other_kinds_are_refused_in_graphs_and_weights(words: str, tmp_path: Path) -> None:
    x = TENSORS[words](GRAPH.x)
    torch.save({"x": x, "edge_index": GRAPH.edge_index, "y": GRAPH.y}, tmp_path / "g.pt")
    with pytest.raises(GraphError, match=words):
        load_data(str(tmp_path / "g.pt"))
    if words == "float8_e4m3fn":
        return  # weights of any precision are cast, with a note
    project = Project(tmp_path / "p", GRAPH)
    torch.save({"conv.weight": x}, project.folder / "model.safetensors")
    with pytest.raises(LoadError, match=words) as caught:
        load_target(project.folder)
    assert caught.value.exit_code == 4


def test_a_view_of_other_numbers_is_read(tmp_path: Path) -> None:
    wide = torch.rand(GRAPH.num_features, 120)
    torch.save({"x": wide.T[::2], "edge_index": GRAPH.edge_index, "y": GRAPH.y}, tmp_path / "g.pt")
    assert torch.equal(load_data(str(tmp_path / "g.pt")).graph.x, wide.T[::2])


def test_a_single_array_is_refused_by_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ARRAYS["x"])
    for name in ("x.npy", "x.npz"):
        (tmp_path / name).write_bytes((tmp_path / "x.npy").read_bytes())
        with pytest.raises(GraphError, match=r"is a single array \(\.npy\)"):
            load_data(str(tmp_path / name))
        with pytest.raises((SplitError, GraphError), match="a single array"):
            make_split(f"file:{tmp_path / name}", load_data(str(graph(tmp_path))), 0)


def test_honest_files_that_pack_well_are_read(tmp_path: Path) -> None:
    x = np.zeros((20_000, 400), dtype=np.float32)
    x[:, 0] = 1
    y, edges = np.arange(20_000) % 2, np.array([[0, 1], [1, 0]])
    np.savez_compressed(tmp_path / "z.npz", x=x, y=y, edge_index=edges)
    assert x.nbytes / (tmp_path / "z.npz").stat().st_size > 300
    assert torch.equal(load_data(str(tmp_path / "z.npz")).graph.x, torch.from_numpy(x))


def test_a_file_beyond_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "machine_memory", lambda: 20_000)
    with pytest.raises(UsageError, match="at most 10000 are read"):
        load_data(str(graph(tmp_path, z=np.zeros((60, 40)))))
    monkeypatch.setattr(files, "machine_memory", lambda: 1 << 40)
    monkeypatch.setattr(archives, "machine_memory", lambda: 20_000)
    with pytest.raises(GraphError, match=r"would take .* expected at most 10000"):
        load_data(str(graph(tmp_path, z=np.zeros((60, 40)))))


def piped(folder: Path, content: bytes | None) -> Path:
    """A named pipe into which a thread writes, and leaves it open where there is nothing to write."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    if content is not None:
        threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True).start()
    return pipe


def test_an_audit_may_come_through_a_pipe(tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    assert read_file(piped(tmp_path, content)) == content


def test_a_pipe_is_read_up_to_its_cap_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.3)
    with pytest.raises(UsageError, match=r"pipe into which nobody wrote .*; expected a file"):
        read_file(piped(tmp_path, None))
    (tmp_path / "pipe").unlink()
    with pytest.raises(UsageError, match="gave more than 1000 bytes"):
        bytes_of(piped(tmp_path, b"x" * 5000), error=UsageError, cap=1000, pipe=True, expected="less.")
    with pytest.raises(RefusedError, match="it is a named pipe; expected none"):
        bytes_of(tmp_path / "pipe", error=RefusedError, expected="none.")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "~nobody-of-this-name/g.npz"])
def test_a_name_that_no_file_can_have_is_an_answer(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        load_data(name)
    for read in (lambda path: measure(path, error=UsageError, expected="a file."), read_file):
        with pytest.raises(UsageError, match=r"cannot read .*; expected"):
            read(tmp_path / name)


def test_what_goes_wrong_inside_is_the_file_s_fault() -> None:
    for error in (MemoryError(), OSError("no"), TypeError(), OverflowError("big"), RecursionError("deep")):
        with (
            pytest.raises(LoadError, match=r"w cannot be read \(.+\); expected weights"),
            reading("w", error=LoadError, expected="weights."),
        ):
            raise error
    with pytest.raises(SplitError, match=r"^inside$"), reading("w", error=LoadError, expected="weights."):
        raise SplitError("inside")
    assert len(first_line(ValueError("x" * 9000 + "\ny"))) == 200


GOOD_TOML = {
    "strings": 'a = "[[[[ {{{{ a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a" # "[[[[',
    "long strings": f'a = """{"b." * 9000}\n"quoted" \\""" end"""\nb = \'\'\'{"[" * 900}\'\'\'\nc = "{"d" * 9000}"',
    "quotes at the end": "a = \"\"\"x\"\"\"\"\"\nb = '''y'''''",
    "comment": f"# {'a.' * 5000}\na = 1 # ]]]",
    "array over lines": "a = [\n  [1, 2], # [\n  {b = [3]},\n]\nc = 1",
    "sixteen deep": ".".join("abcdefghijklmnop") + " = 1",
    "header and key": "[a.b.c.d]\ne.f = {g = {h = 1}}\n[[i.j]]\nk = 1",
    "windows": "a = 1\r\n[b]\r\nc = '''\r\nd'''\r\n",
}
BAD_TOML = {
    "seventeen deep": (".".join("abcdefghijklmnopq") + " = 1", "deeper than 16"),
    "header and key": (f"[{'.'.join('abcdefghi')}]\n{'.'.join('jklmnopq')} = 1", "deeper than 16"),
    "inline": ("a = " + "{b = " * 16 + "1" + "}" * 16, "deeper than 16"),
    "arrays": ("a = " + "[" * 16 + "]" * 16, "deeper than 16"),
    "quoted key": (f'"{"k" * 300}" = 1', "302 characters"),
    "quoted header": (f'["{"k" * 300}"]', "302 characters"),
    "quoted inline": (f'a = {{"{"k" * 300}" = 1}}', "302 characters"),
    "number": ("a = " + "9" * 300, "300 characters"),
    "more than 64 bits": ("a = 9223372036854775808", "more than 64 bits"),
    "open string": ('a = "b\nc = 1', "in line 1 has no end"),
    "not UTF-8": (b"a = '\xff'", "not valid TOML"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_TOML)
def test_the_scan_knows_strings_comments_and_brackets(name: str, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_bytes(GOOD_TOML[name].encode())
    assert read_toml(tmp_path / "t.toml", missing=UsageError, error=ConfigError)


@pytest.mark.parametrize("name", BAD_TOML)
def test_tables_that_nobody_writes_are_refused(name: str, tmp_path: Path) -> None:
    text, words = BAD_TOML[name]
    (tmp_path / "t.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=words):
        read_toml(tmp_path / "t.toml", missing=UsageError, error=ConfigError)


def test_numbers_of_a_run_have_limits() -> None:
    cores = os.cpu_count() or 1
    assert resolve({"threads": 4 * cores}, {})["threads"] == 4 * cores
    for options in ({"threads": 4 * cores + 1}, {"training_seeds": 1001}):
        with pytest.raises(ConfigError, match="at most"):
            resolve(options, {})
    with pytest.raises(ConfigError, match="names 1001 seeds"):
        parse_seeds(",".join(map(str, range(1001))))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    corpus.baseline_json(Still())
    document: dict[str, Any] = json.loads((corpus.folder / "inputs" / "baseline.json").read_bytes())
    return document


UNLIMITED: dict[str, tuple[dict[str, Any], str]] = {
    "for ever": ({"expires": "9999-12-31"}, "expected 0 to 365"),
    "a day too long": ({"created": "2026-01-01", "expires": "2027-01-02"}, "366 days; expected 0 to 365"),
    "over before it began": ({"expires": "2026-01-01", "created": "2026-01-02"}, "-1 days"),
    "no reason": ({"reason": ""}, "without a reason"),
    "a reason of spaces": ({"reason": " \n"}, "without a reason"),
    "no bound": ({"hi": None}, "without an upper bound"),
    "made tomorrow": ({"created": "2099-01-01", "expires": "2099-02-01"}, "expected a day up to today"),
    "no date": ({"expires": "2027-02-30"}, "expires"),
    "a date in seconds": ({"expires": 1800000000}, "expected a date such as"),
}


@pytest.mark.parametrize("name", UNLIMITED)
def test_a_baseline_cannot_accept_more_than_its_limits(name: str, baseline: dict[str, Any]) -> None:
    changes, words = UNLIMITED[name]
    spoiled = baseline | {"accepted": [baseline["accepted"][0] | changes]}
    with pytest.raises(UsageError, match=words) as caught:
        read_baseline(json.dumps(spoiled).encode())
    assert caught.value.exit_code == 2
    read_baseline(json.dumps(baseline).encode())


def test_a_bound_that_is_no_number_and_a_baseline_of_no_cell_are_refused(baseline: dict[str, Any]) -> None:
    text = json.dumps(baseline | {"accepted": [baseline["accepted"][0] | {"hi": 1}]})
    for word in ("1e999", "NaN", "Infinity"):
        with pytest.raises(UsageError, match="without an upper bound"):
            read_baseline(text.replace('"hi": 1', f'"hi": {word}').encode())
    with pytest.raises(UsageError, match="names no cell"):
        read_baseline(json.dumps(baseline | {"cells": []}).encode())


def test_a_year_and_the_day_of_today_are_accepted(baseline: dict[str, Any]) -> None:
    day = datetime.date(2026, 2, 1)
    entry = baseline["accepted"][0] | {"created": str(day), "expires": str(day + datetime.timedelta(days=365))}
    raw = json.dumps(baseline | {"accepted": [entry]}).encode()
    assert read_baseline(raw, today=day).accepted
    with pytest.raises(UsageError, match="expected a day up to today"):
        read_baseline(raw, today=day - datetime.timedelta(days=1))


def test_a_reference_of_impossible_graphs_is_refused(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", GRAPH)
    plain = {
        "x": torch.zeros(4, GRAPH.num_features),
        "edge_index": torch.zeros(2, 1).long(),
        "logits": torch.zeros(4, 3),
    }
    for changes, words in (
        ({"logits": torch.tensor([[float("nan")] * 3] * 4)}, "logits with NaN or infinity"),
        ({"x": plain["x"] + float("inf")}, "x with NaN or infinity"),
        ({"logits": torch.zeros(4, 3).long()}, "logits int64"),
        ({"batch": torch.tensor([0, 0, 0, 10**12])}, "batch torch.int64"),
        ({"edge_index": torch.zeros(2, 1).bool()}, "edge_index torch.bool"),
    ):
        save_file(plain | changes, project.folder / "r.safetensors")
        project.write(reference="r.safetensors")
        with pytest.raises(LoadError, match=words) as caught:
            load_target(project.folder)
        assert caught.value.exit_code == 4


def test_an_id_that_no_node_has_never_becomes_another_arc(tmp_path: Path) -> None:
    folder = tmp_path / "polblogs"
    folder.mkdir()
    (folder / "labels.tsv").write_text("0\n1\n" * 6)
    for last in ("15", "-1", "1000000000000"):
        (folder / "adjacency.tsv").write_text(f"0\t1\n3\t{last}\n")
        with pytest.raises(DataError, match="the arcs name nodes"):
            load_data("polblogs", root=tmp_path)
    (folder / "adjacency.tsv").write_text("0\t1\n3\t11\n")
    assert load_data("polblogs", root=tmp_path).graph.num_edges == 4
