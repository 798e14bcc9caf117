"""Graphs that `torch.save` wrote: every form of PyG gives its fields, and nothing that a file names is ever run."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData, InMemoryDataset, TemporalData

from auditor.data import inert
from auditor.data.inert import Archive, UnreadableError
from auditor.data.saved_graph import read_graph
from auditor.errors import GraphError, RefusedError, TaskError


def graphs() -> list[Data]:
    rng = torch.Generator().manual_seed(0)
    return [
        Data(
            x=torch.randn(n, 3, generator=rng),
            edge_index=torch.tensor([[0, 1, n - 1], [1, 2, 0]]),
            edge_attr=torch.randn(3, 2, generator=rng),
            y=torch.tensor([n % 2]),
            smiles=f"C{n}",
            weight=n / 2,
        )
        for n in (4, 5, 3)
    ]


def read(content: object, folder: Path, **options: Any) -> dict[str, Any]:
    torch.save(content, folder / "g.pt", **options)
    return read_graph(folder / "g.pt")


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[key], value), key
        else:
            assert found[key] == value, key


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_one_graph_keeps_every_field(protocol: int, tmp_path: Path) -> None:
    data = graphs()[0]
    data.pos = torch.ones(4, 2, dtype=torch.float64).T.contiguous().T
    data.half = torch.ones(4).bfloat16()
    data.missing = None
    expected = {key: value for key, value in data.to_dict().items() if value is not None}
    assert_same(read(data, tmp_path, pickle_protocol=protocol), expected)
    assert_same(read(data.to_dict(), tmp_path, pickle_protocol=protocol), expected)


def test_many_graphs_are_joined_as_pyg_joins_them(tmp_path: Path) -> None:
    parts = graphs()
    batch = Batch.from_data_list(parts)
    expected = batch.to_dict()
    assert_same(read(batch, tmp_path), expected)
    del expected["ptr"]
    merged, slices = InMemoryDataset.collate(parts)
    for form in (
        parts,
        (merged, slices),
        (merged.to_dict(), slices, Data),
        (merged.to_dict(), slices, {"num_edge_labels": 0}, Data),
    ):
        assert_same(read(form, tmp_path), expected)


def test_graphs_without_features_count_their_written_nodes(tmp_path: Path) -> None:
    parts = [Data(edge_index=torch.tensor([[0], [1]]), num_nodes=n) for n in (3, 2)]
    merged, slices = InMemoryDataset.collate(parts)
    for form in (parts, (merged.to_dict(), slices, Data), (merged, slices)):
        found = read(form, tmp_path)
        assert found["edge_index"].tolist() == [[0, 3], [1, 4]]
        assert found["batch"].tolist() == [0, 0, 0, 1, 1]
        assert found["num_nodes"] == 5


@pytest.mark.parametrize("name", ["batch", "batch_index", "x_batch"])
def test_ids_of_graphs_in_single_graphs_are_refused_by_name(name: str, tmp_path: Path) -> None:
    parts = [Data(x=torch.ones(3, 1), edge_index=torch.zeros(2, 1).long(), **{name: torch.zeros(3).long()})] * 2
    with pytest.raises(GraphError, match=f"many graphs with {name} each"):
        read(parts, tmp_path)


def test_one_graph_in_a_form_for_many_has_no_batch(tmp_path: Path) -> None:
    data = graphs()[0]
    _, slices = InMemoryDataset.collate([data, data])
    single = {key: steps[:2] if isinstance(steps, torch.Tensor) else steps for key, steps in slices.items()}
    for form in ((data, None), (data.to_dict(), None, Data), [data], (data, single)):
        assert "batch" not in read(form, tmp_path)


@pytest.fixture
def sparse_tensor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Instances that pickle as torch_sparse's do."""
    monkeypatch.setitem(sys.modules, "torch_sparse", types.ModuleType("torch_sparse"))
    kinds = {}
    for place, name in (("storage", "SparseStorage"), ("tensor", "SparseTensor")):
        module = types.ModuleType(f"torch_sparse.{place}")
        kinds[place] = type(name, (), {"__module__": module.__name__})
        setattr(module, name, kinds[place])
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(**fields: object) -> object:
        tensor, tensor_storage = kinds["tensor"](), kinds["storage"]()
        empty = dict.fromkeys(("_row", "_rowptr", "_col", "_value", "_rowcount"))
        vars(tensor_storage).update({**empty, **fields})
        vars(tensor)["storage"] = tensor_storage
        return tensor

    return make


MATRIX = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [4.0, 0.0, 5.0]])


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_fields_are_the_matrices_they_stand_for(tmp_path: Path, sparse_tensor: Callable[..., object]) -> None:
    coo, csr = MATRIX.to_sparse(), MATRIX.to_sparse_csr()
    twice = torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.tensor([1.0, 1.0]), (3, 3))
    by_row = {"_col": csr.col_indices(), "_sparse_sizes": (3, 3)}
    found = read(
        {
            "coo": coo,
            "csr": csr,
            "csc": MATRIX.to_sparse_csc(),
            "rows": sparse_tensor(_row=coo.coalesce().indices()[0], _value=csr.values(), **by_row),
            "steps": sparse_tensor(_rowptr=csr.crow_indices(), **by_row),
            "twice": twice,
        },
        tmp_path,
    )
    for key in ("coo", "csr", "csc", "rows"):
        assert torch.equal(found[key].to_dense(), MATRIX), key
    assert torch.equal(found["steps"].to_dense(), (MATRIX > 0).float())
    assert found["twice"].to_dense()[0, 1] == 2
    joined = read([Data(x=torch.ones(3, 1), adj_t=coo), Data(x=torch.ones(3, 1), adj_t=2 * coo)], tmp_path)
    assert torch.equal(joined["adj_t"].to_dense(), torch.block_diag(MATRIX, 2 * MATRIX))


def test_an_index_of_pyg_is_its_plain_tensor(tmp_path: Path) -> None:
    plain = torch.tensor([[0, 1], [1, 0]])
    found = read(Data(edge_index=EdgeIndex(plain, sparse_size=(2, 2)), x=torch.ones(2, 1)), tmp_path)
    assert type(found["edge_index"]) is torch.Tensor
    assert torch.equal(found["edge_index"], plain)


def test_views_of_one_storage_share_it(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    found = read(
        {"a": base[:, 1], "b": base.T, "c": base[1:].requires_grad_(), "d": torch.nn.Parameter(base)}, tmp_path
    )
    assert torch.equal(found["a"], base[:, 1])
    assert torch.equal(found["b"], base.T)
    assert found["b"].untyped_storage().data_ptr() == found["a"].untyped_storage().data_ptr()
    assert not any(value.requires_grad for value in found.values())


def test_fields_of_pyg_1_are_attributes(tmp_path: Path) -> None:
    archive = _with_pickle(
        b"\x80\x02ctorch_geometric.data.data\nData\n)\x81}(X\x01\x00\x00\x00xNX\x04\x00\x00\x00nameX\x01\x00\x00\x00a"
        b"X\x0d\x00\x00\x00__num_nodes__K\x07ub."
    )
    (tmp_path / "g.pt").write_bytes(archive)
    assert read_graph(tmp_path / "g.pt") == {"name": "a", "num_nodes": 7}


def _with_pickle(pickled: bytes, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("g/data.pkl", pickled)
        for name, content in members.items():
            archive.writestr(f"g/data/{name.removeprefix('_')}", content)
    return out.getvalue()


class Net(torch.nn.Module):
    pass


class OwnData(Data):
    pass


def _foreign_data() -> object:
    """Called `Data`, made like PyG's, and not PyG's."""
    kind = type("Data", (OwnData,), {"__module__": __name__, "__qualname__": "ForeignData"})
    globals()["ForeignData"] = kind
    return kind(x=torch.ones(2, 1))


def _network() -> object:
    import networkx

    return networkx.path_graph(3)


def _hetero() -> HeteroData:
    data = HeteroData()
    data["paper"].x = torch.ones(2, 1)
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0], [1]])
    return data


def _temporal() -> TemporalData:
    one = torch.tensor([0])
    return TemporalData(src=one, dst=one, t=one, msg=torch.ones(1, 1))


OTHERS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "networkx": (_network, RefusedError, "g.pt holds a networkx.Graph; expected a graph of PyG"),
    "module": (Net, RefusedError, "g.pt holds a tests.Net; expected"),
    "foreign Data": (_foreign_data, RefusedError, "g.pt holds a tests.ForeignData; expected"),
    "own Data in a list": (lambda: [OwnData(x=torch.ones(1, 1))] * 2, RefusedError, "holds a tests.OwnData"),
    "own Data in a tuple": (lambda: ({"x": torch.ones(1, 1)}, None, OwnData), RefusedError, "holds a tests.OwnData"),
    "numpy field": (lambda: {"x": np.ones(2)}, RefusedError, "holds x as a numpy.ndarray"),
    "tensor": (lambda: torch.ones(2), RefusedError, "holds a torch.Tensor"),
    "text": (lambda: "hello", RefusedError, "holds a str"),
    "empty list": (list, RefusedError, "holds a list"),
    "hetero": (_hetero, TaskError, r"holds HeteroData, .* save data.to_homogeneous\(\)"),
    "hetero list": (lambda: [_hetero(), _hetero()], TaskError, "HeteroData"),
    "hetero batch": (lambda: Batch.from_data_list([_hetero(), _hetero()]), TaskError, "HeteroData"),
    "hetero tuple": (lambda: (_hetero().to_dict(), None, HeteroData), TaskError, "HeteroData"),
    "temporal": (_temporal, TaskError, r"holds TemporalData, .* Data\(x="),
    "split beside": (lambda: (graphs()[0], {"train": torch.ones(1)}), GraphError, "holds train beside its graph"),
    "field in one": (lambda: [graphs()[0], Data(x=torch.ones(1, 3))], GraphError, "graph 1 lacks edge_index"),
    "two widths": (lambda: [Data(x=torch.ones(1, 3)), Data(x=torch.ones(1, 2))], GraphError, "x of its 2 graphs"),
    "no count": (lambda: [Data(edge_index=torch.zeros(2, 1).long())] * 2, GraphError, "how many nodes each has"),
    "meta": (lambda: {"x": torch.ones(2, device="meta")}, GraphError, "x: a tensor is saved by"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_graph_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    make, error, words = OTHERS[name]
    with pytest.raises(error, match=words) as caught:
        read(make(), tmp_path)
    assert "weights_only" not in str(caught.value)
    assert caught.value.exit_code == (4 if error is RefusedError else 2)  # type: ignore[attr-defined]


class Payload:
    def __init__(self, sentinel: Path, function: Callable[..., object] = os.system) -> None:
        self.sentinel, self.function = sentinel, function

    def __reduce__(self) -> tuple[object, ...]:
        if self.function is os.system:
            return os.system, (f"touch {self.sentinel}",)
        return eval, (f"open({str(self.sentinel)!r}, 'w').close()",)


class Stateful(dict):  # type: ignore[type-arg]
    def __setstate__(self, state: object) -> None:
        raise AssertionError("executed")


def _in_graph(payload: Payload) -> Data:
    data = graphs()[0]
    data.extra = payload
    return data


STATEFUL = f"c{__name__}\nStateful\n)R}}(X\x01\x00\x00\x00aK\x01ub.".encode()
HOSTILE: dict[str, Callable[[Path], object]] = {
    "os.system": lambda s: Payload(s),
    "eval": lambda s: Payload(s, eval),
    "in a field": lambda s: _in_graph(Payload(s)),
    "in a dictionary": lambda s: {"x": torch.ones(2, 1), "y": Payload(s)},
    "in a list": lambda s: [graphs()[0], Payload(s)],
    "as slices": lambda s: (graphs()[0].to_dict(), {"x": Payload(s)}, Data),
    "as a class": lambda s: (graphs()[0].to_dict(), None, Payload(s)),
    "numpy objects": lambda s: {"x": np.array([Payload(s)], dtype=object)},
    "__setstate__": lambda s: _with_pickle(b"\x80\x02" + STATEFUL),
    "extension registry": lambda s: _with_pickle(b"\x80\x02\x82\x01."),
    "instance": lambda s: _with_pickle(b"(S'touch'\nios\nsystem\n."),
    "text protocol": lambda s: _with_pickle(pickle.dumps(Payload(s), 0)),
    "second pickle": lambda s: _with_pickle(pickle.dumps({"x": 1}, 2) + pickle.dumps(Payload(s), 2)),
    "odd reference": lambda s: _with_pickle(b"\x80\x02X\x03\x00\x00\x00oddQ."),
    "no end": lambda s: _with_pickle(b"\x80\x02}"),
    "empty stack": lambda s: _with_pickle(b"\x80\x02R."),
    "nested tuples": lambda s: _with_pickle(b"\x80\x02}X\x01\x00\x00\x00x)" + b"\x85" * 200_000 + b"s."),
    "nested key": lambda s: _with_pickle(b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s."),
    "memo bomb": lambda s: _with_pickle(
        b"\x80\x02}X\x01\x00\x00\x00x)q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"s."
    ),
    "memo bomb as a key": lambda s: _with_pickle(
        b"\x80\x02})q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60)) + b"K\x01s."
    ),
    "too many steps": lambda s: _with_pickle(b"\x80\x02" + b"N0" * (inert.MAX_OPCODES // 2 + 1) + b"N."),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_hostile_file_runs(name: str, tmp_path: Path) -> None:
    sentinel, file = tmp_path / "executed", tmp_path / "g.pt"
    content = HOSTILE[name](sentinel)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises((RefusedError, GraphError, TaskError), match=r"^g\.pt"):
        read_graph(file)
    assert not sentinel.exists()


@pytest.mark.parametrize("function", [os.system, eval])
def test_the_payload_would_have_left_its_mark(function: Callable[..., object], tmp_path: Path) -> None:
    """The positive control of the sentinel."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed", function)))
    assert (tmp_path / "executed").exists()


def _numbers(pickled: bytes, old: bytes, new: bytes) -> bytes:
    assert pickled.count(old) >= 1
    return pickled.replace(old, new, 1)


def _edited(content: object, old: bytes, new: bytes, folder: Path) -> bytes:
    """The archive of `content` with one run of its pickle's bytes replaced."""
    torch.save(content, folder / "g.pt")
    out = io.BytesIO()
    with zipfile.ZipFile(folder / "g.pt") as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            raw = source.read(name)
            target.writestr(name, _numbers(raw, old, new) if name.endswith("data.pkl") else raw)
    return out.getvalue()


FOUR = torch.ones(4, 5)
MANY = b"J\xff\xff\xff\x7fK\x05\x86q\x08K\x00K\x00\x86"  # strides of zero
BOMBS: dict[str, tuple[object, bytes, bytes]] = {
    # K\x04K\x05\x86 is the size (4, 5); J and four bytes is a larger number
    "rows beyond the storage": (FOUR, b"K\x04K\x05\x86", b"J\xff\xff\xff\x7fK\x05\x86"),
    "offset beyond the storage": (FOUR, b"QK\x00K\x04", b"QK\x01K\x04"),
    "a stride below zero": (FOUR, b"K\x05K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86"),
    "a size that is no number": (FOUR, b"K\x04K\x05\x86", b"NK\x05\x86"),
    "one number many times": (
        FOUR,
        b"K\x04K\x05\x86q\x08K\x05K\x01\x86",
        MANY,
    ),
    "a storage larger than its bytes": (FOUR, b"K\x14t", b"J\xff\xff\xff\x7ft"),
    "a sparse matrix without end": (MATRIX.to_sparse(), b"K\x03K\x03\x86", b"K\x03K\x02\x86"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.filterwarnings("ignore:Duplicate name", "ignore:Sparse")
def test_no_tensor_is_larger_than_the_file(name: str, tmp_path: Path) -> None:
    content, old, new = BOMBS[name]
    (tmp_path / "g.pt").write_bytes(_edited({"x": content}, old, new, tmp_path))
    with pytest.raises(GraphError, match=r"^g\.pt cannot be read: x: "):
        read_graph(tmp_path / "g.pt")
    assert set(read({"x": content}, tmp_path)) == {"x"}, "the benign twin"


def test_steps_and_counts_cannot_make_more_than_the_file_holds(tmp_path: Path) -> None:
    merged, slices = InMemoryDataset.collate(graphs())
    many = torch.tensor([0, 1, 2, 10**12])
    for form in (
        (merged.to_dict(), slices | {"edge_index": many}, Data),
        (merged.to_dict(), slices | {"edge_index": many.flip(0)}, Data),
        (merged.to_dict(), slices | {"x": many}, Data),
        (merged.to_dict() | {"_num_nodes": [10**12, 1, 1]}, slices, Data),
        (merged.to_dict() | {"_num_nodes": [4, 5, 4]}, slices, Data),
    ):
        with pytest.raises(GraphError, match=r"^g\.pt"):
            read(form, tmp_path)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as source,
        zipfile.ZipFile(tmp_path / "g.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(GraphError, match="unpacks to"):
        read_graph(tmp_path / "g.pt")
    with pytest.raises(UnreadableError, match="unpacks to"):
        Archive((tmp_path / "g.pt").read_bytes())


def test_reading_a_graph_imports_no_class_of_pyg(tmp_path: Path) -> None:
    torch.save(Batch.from_data_list(graphs()), tmp_path / "g.pt")
    code = (
        "import sys, pathlib\nfrom auditor.data.saved_graph import read_graph\n"
        f"assert 'batch' in read_graph(pathlib.Path({str(tmp_path / 'g.pt')!r}))\n"
        "assert not [name for name in sys.modules if name.startswith('torch_geometric')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
