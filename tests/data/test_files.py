"""A user's own graph file: three forms give one graph, and every defect has its own message."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from safetensors.torch import save_file
from torch_geometric.data import Data

from auditor.data.graph import Graph
from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.errors import AuditorError, DataError, GraphError, RefusedError, SplitError, TaskError

Arrays = dict[str, Any]


def good() -> Arrays:
    """Six nodes, a path in both directions, two classes, one set of masks."""
    path = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    return {
        "x": np.arange(18, dtype=np.float32).reshape(6, 3),
        "edge_index": np.concatenate([path, path[::-1]], axis=1),
        "y": np.array([0, 1, 0, 1, 0, 1]),
        "train_mask": np.array([1, 1, 0, 0, 0, 0], dtype=bool),
        "val_mask": np.array([0, 0, 1, 1, 0, 0], dtype=bool),
        "test_mask": np.array([0, 0, 0, 0, 1, 1], dtype=bool),
    }


def sparse() -> Arrays:
    """The same graph without masks, as compressed sparse rows."""
    plain = good()
    adjacency = scipy.sparse.csr_matrix((np.ones(10), tuple(plain["edge_index"])), shape=(6, 6))
    features = scipy.sparse.csr_matrix(plain["x"])
    arrays: Arrays = {"labels": plain["y"], "idx_to_node": np.array([{"unused": 1}], dtype=object)}
    for part, matrix in (("adj", adjacency), ("attr", features)):
        for key in ("data", "indices", "indptr", "shape"):
            arrays[f"{part}_{key}"] = np.asarray(getattr(matrix, key))
    return arrays


def _npz(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_pt_and_safetensors_give_the_same_graph(tmp_path: Path) -> None:
    tensors = {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in good().items()}
    torch.save(Data(**tensors), tmp_path / "data.pt")
    torch.save(tensors, tmp_path / "dict.pt")
    save_file({key: value.contiguous() for key, value in tensors.items()}, tmp_path / "g.safetensors")
    _npz(tmp_path / "g.npz", good())
    loaded = [load_data(str(tmp_path / name)) for name in ("data.pt", "dict.pt", "g.safetensors", "g.npz")]
    assert len({data.graph.digest() for data in loaded}) == 1
    assert all(make_split("", data, 0).sizes == (2, 2, 2) for data in loaded)
    assert all(data.default_split == "file" for data in loaded)
    for spec in ("", "file", "public"):  # none of them was published
        assert {make_split(spec, data, 0).spec for data in loaded} == {"in the file"}


def test_sparse_rows_give_the_graph_of_the_plain_layout(tmp_path: Path) -> None:
    plain = {key: value for key, value in good().items() if not key.endswith("mask")}
    a = load_data(str(_npz(tmp_path / "a.npz", plain))).graph
    b = load_data(str(_npz(tmp_path / "b.npz", sparse()))).graph
    assert torch.equal(a.x, b.x)
    assert torch.equal(a.y, b.y)
    assert torch.equal(a.arc_keys(), b.arc_keys())


def test_a_stored_zero_is_no_edge(tmp_path: Path) -> None:
    arrays = sparse()
    arrays["adj_data"][:2] = 0
    data = load_data(str(_npz(tmp_path / "g.npz", arrays)))
    assert data.graph.num_edges == 8
    assert data.graph.edge_weight is None


def test_reading_a_pt_file_leaves_the_list_of_safe_classes_as_it_was(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save(Data(**{key: torch.from_numpy(value.copy()) for key, value in good().items()}), tmp_path / "g.pt")
    load_data(str(tmp_path / "g.pt"))
    assert set(torch.serialization.get_safe_globals()) == before


def test_content_decides_and_not_the_extension(tmp_path: Path) -> None:
    path = _npz(tmp_path / "g.npz", good()).rename(tmp_path / "g.pt")
    assert load_data(str(path)).graph.num_nodes == 6


def test_weights_directions_and_loops_of_an_own_graph_are_kept(tmp_path: Path) -> None:
    arrays = good() | {"edge_index": np.array([[0, 1, 1], [1, 1, 2]]), "edge_weight": np.array([1.0, 2.0, 0.5])}
    data = load_data(str(_npz(tmp_path / "g.npz", arrays)))
    assert data.graph.edge_index.tolist() == [[0, 1, 1], [1, 1, 2]]
    assert data.graph.edge_weight is not None
    assert data.graph.edge_weight.tolist() == [1.0, 2.0, 0.5]
    assert any("directed" in note for note in data.notes)


def test_a_graph_without_edges_is_allowed_and_noted(tmp_path: Path) -> None:
    data = load_data(str(_npz(tmp_path / "g.npz", good() | {"edge_index": np.zeros((2, 0), dtype=np.int64)})))
    assert data.graph.num_edges == 0
    assert any("no edges" in note for note in data.notes)


@pytest.mark.parametrize("x", [None, np.zeros((6, 0), dtype=np.float32)])
def test_nodes_without_features_have_none_until_somebody_says_what_stood_there(tmp_path: Path, x: Any) -> None:
    arrays = {key: value for key, value in (good() | {"x": x}).items() if value is not None}
    file = str(_npz(tmp_path / "g.npz", arrays))
    assert load_data(file).graph.x.shape == (6, 0)
    assert load_data(file, features="degree").graph.x.flatten().tolist() == [1, 2, 2, 2, 2, 1]
    data = load_data(file, features="identity")
    assert torch.equal(data.graph.x, torch.eye(6))
    assert data.has_identity_features
    assert not data.is_bag_of_words
    assert any("identity" in note for note in data.notes)


def test_graphs_without_features_have_none_until_somebody_says_what_stood_there(tmp_path: Path) -> None:
    arrays = {
        "edge_index": np.array([[0, 2], [1, 3]]), "batch": np.array([0, 0, 1, 1]), "y": np.array([0, 1]),
    }  # fmt: skip
    file = str(_npz(tmp_path / "g.npz", arrays))
    data = load_data(file)
    assert data.graph.task.level == "graph"
    assert torch.equal(load_data(file, features="ones").graph.x, torch.ones(4, 1))
    assert data.default_split == "unknown"
    assert not data.has_identity_features


def test_several_sets_of_masks_are_told_apart_by_number(tmp_path: Path) -> None:
    masks = {key: np.stack([value, value[::-1]], axis=1) for key, value in good().items() if key.endswith("mask")}
    data = load_data(str(_npz(tmp_path / "g.npz", good() | masks)))
    assert data.default_split == "unknown"  # nothing says which of them it was
    assert make_split("masks:0", data, 0).train.tolist() == good()["train_mask"].tolist()
    assert make_split("masks:1", data, 0).train.tolist() == good()["train_mask"][::-1].tolist()


def test_a_mask_of_one_column_serves_every_split(tmp_path: Path) -> None:
    train = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)  # as WikiCS has it
    val = np.roll(train, 2, axis=0) & ~train & (np.arange(6) < 5)[:, None]
    test = np.array([False] * 5 + [True])
    data = load_data(str(_npz(tmp_path / "g.npz", good() | {"train_mask": train, "val_mask": val, "test_mask": test})))
    assert data.default_split == "unknown"
    for k in range(3):
        split = make_split(f"masks:{k}", data, 0)
        assert split.train.tolist() == train[:, k].tolist()
        assert split.val.tolist() == val[:, k].tolist()
        assert split.test.tolist() == test.tolist()
    with pytest.raises(SplitError, match=r'"masks:3", but g has 3 sets of masks; expected a number from 0 to 2'):
        make_split("masks:3", data, 0)
    with pytest.raises(SplitError, match=r"test_mask is \[5\], train_mask is \[6, 3\].*one of \[N\] serves all K"):
        load_data(str(_npz(tmp_path / "h.npz", good() | {"train_mask": train, "val_mask": val, "test_mask": test[:5]})))


def test_a_mask_of_one_column_is_a_mask(tmp_path: Path) -> None:
    masks = {key: value[:, None] for key, value in good().items() if key.endswith("mask")}
    data, plain = (load_data(str(_npz(tmp_path / "g.npz", good() | given))) for given in (masks, {}))
    assert data.default_split == plain.default_split != "unknown"
    for part in ("train", "val", "test"):
        assert torch.equal(data.masks[part], plain.masks[part])
    split = make_split("", data, 0)
    assert split.train.tolist() == good()["train_mask"].tolist()


def _with(**changes: Any) -> Callable[[], Arrays]:
    return lambda: {key: value for key, value in (good() | changes).items() if value is not None}


def _sparse_with(**changes: Any) -> Callable[[], Arrays]:
    return lambda: {key: value for key, value in (sparse() | changes).items() if value is not None}


NAN = np.ones((6, 3), dtype=np.float32)
NAN[2, 1] = np.nan
NONE = np.zeros(6, dtype=bool)
# One line a case, so that adding one is a line.
# ruff: noqa: E501
BAD: list[tuple[str, Callable[[], Arrays], type[AuditorError], str]] = [
    ("id too large", _with(edge_index=np.array([[0, 1], [1, 6]])), GraphError, r"from 0 to 6; expected ids in \[0, 6\)"),
    ("id below zero", _with(edge_index=np.array([[0, -1], [1, 2]])), GraphError, "ids from -1 to 2"),
    ("float edge_index", _with(edge_index=np.array([[0.0, 1.0], [1.0, 2.0]])), GraphError, "edge_index is float64"),
    ("edge_index transposed", _with(edge_index=np.zeros((5, 2), dtype=int)), GraphError, r"\[5, 2\]; expected int64 \[2, E\]"),
    ("edge_index absent", _with(edge_index=None), GraphError, "lacks edge_index"),
    ("x with NaN", _with(x=NAN), GraphError, r"x\[2, 1\] is nan"),
    ("x beyond float32", _with(x=np.full((6, 3), 1e300)), GraphError, "is inf; expected finite"),
    ("x flat", _with(x=np.zeros((6, 2, 2, 2))), GraphError, r"x is \[6, 2, 2, 2\]"),
    ("x of words", _with(x=np.full((6, 3), "a")), GraphError, "expected numbers"),
    ("x too short", _with(x=np.ones((5, 3))), GraphError, r"expected ids in \[0, 5\)"),
    ("y negative", _with(y=np.array([0, 1, 0, 1, 0, -1])), SplitError, "1 items of the test mask have no label"),
    ("y float", _with(y=np.array([0, 1, 0, 1, 0, 0.5])), TaskError, "regression"),
    ("y multi-label", _with(y=np.ones((6, 2), dtype=int)), TaskError, "multi-label"),
    ("y too short", _with(y=np.array([0, 1])), GraphError, r"y is torch.int64 \[2\]; expected int64 \[6\]"),
    ("y absent", _with(y=None), TaskError, "no labels"),
    ("no nodes", lambda: {"x": np.zeros((0, 3)), "edge_index": np.zeros((2, 0), int), "y": np.zeros(0, int)}, GraphError, "N > 0"),
    ("no nodes, no x", lambda: {"edge_index": np.zeros((2, 0), int), "y": np.zeros(0, int)}, GraphError, "N > 0"),
    ("weights too few", _with(edge_weight=np.ones(3)), GraphError, r"edge_weight is \[3\]"),
    ("weights NaN", _with(edge_weight=np.full(10, np.nan)), GraphError, "edge_weight"),
    ("weights of words", _with(edge_weight=np.full(10, "a")), GraphError, "edge_weight is <U1"),
    ("batch unordered", _with(batch=np.array([0, 1, 0, 1, 0, 1]), y=np.array([0, 1])), GraphError, "batch"),
    ("edge between graphs", _with(batch=np.array([0, 0, 0, 1, 1, 1]), y=np.array([0, 1])), GraphError, "joins two graphs"),
    ("object arrays", _with(x=np.array([{}], dtype=object), y=np.array([{}], dtype=object)), GraphError, "x is Python objects"),
    ("masks overlap", _with(test_mask=np.array([0, 1, 0, 0, 1, 1], bool)), SplitError, "1 items are in both train and test"),
    ("masks too short", _with(**{f"{p}_mask": np.arange(5) == i for i, p in enumerate(("train", "val", "test"))}), SplitError, "the masks have 5 entries, .* has 6 items"),
    ("masks of two lengths", _with(val_mask=np.ones(5, bool)), SplitError, r"val_mask is \[5\], train_mask is \[6\]"),
    ("train mask empty", _with(train_mask=NONE), SplitError, "the train mask is empty"),
    ("test mask empty", _with(test_mask=NONE), SplitError, "the test mask is empty"),
    ("test mask absent", _with(test_mask=None), SplitError, "no test_mask"),
    ("mask of ids", _with(train_mask=np.array([0, 1, 2, 3, 4, 5])), SplitError, "values other than 0 and 1"),
    ("mask of words", _with(train_mask=np.full(6, "a")), SplitError, "train_mask is <U1"),
    ("adjacency not square", _sparse_with(adj_shape=np.array([6, 7])), GraphError, "6 × 7"),
    ("sparse array absent", _sparse_with(adj_indptr=None), GraphError, "lacks adj_indptr"),
    ("labels absent", _sparse_with(labels=None), GraphError, "lacks labels"),
    ("sparse id out of range", _sparse_with(adj_indices=np.full(10, 99)), GraphError, "do not form a sparse matrix"),
    ("sparse shape of three", _sparse_with(adj_shape=np.array([6, 6, 6])), GraphError, "adj_shape is"),
    ("features beyond memory", _sparse_with(attr_shape=np.array([6, 2**40])), GraphError, r"features of 6 × 1099511627776 would take \d+ bytes"),
    ("sparse object arrays", _sparse_with(attr_data=np.array([{}], dtype=object)), GraphError, "attr_data hold Python objects"),
]  # fmt: skip


@pytest.mark.parametrize(("arrays", "error", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_graph_is_named(
    arrays: Callable[[], Arrays], error: type[AuditorError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        load_data(str(_npz(tmp_path / "g.npz", arrays())))
    assert caught.value.exit_code == 2
    assert "expected" in str(caught.value)


class _Payload:
    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.sentinel}",)


def _hostile_torch(path: Path, payload: object) -> None:
    torch.save({"x": payload}, path)


def _hostile_legacy(path: Path, payload: object) -> None:
    torch.save({"x": payload}, path, _use_new_zipfile_serialization=False)


def _hostile_pickle(path: Path, payload: object) -> None:
    path.write_bytes(pickle.dumps({"x": payload}))


def _hostile_array(path: Path, payload: object) -> None:
    np.savez(path.with_suffix(".npz"), x=np.array([payload], dtype=object), edge_index=np.zeros((2, 0)), y=np.zeros(1))
    path.with_suffix(".npz").rename(path)


@pytest.mark.parametrize(
    ("write", "code"), [(_hostile_torch, 4), (_hostile_legacy, 4), (_hostile_pickle, 4), (_hostile_array, 2)]
)
def test_a_file_that_would_run_code_is_not_executed(
    write: Callable[[Path, object], None], code: int, tmp_path: Path
) -> None:
    sentinel, path = tmp_path / "executed", tmp_path / "g.pt"
    write(path, _Payload(sentinel))
    with pytest.raises((RefusedError, GraphError)) as caught:
        load_data(str(path))
    assert caught.value.exit_code == code
    assert not sentinel.exists()
    pickle.loads(pickle.dumps(_Payload(sentinel)))
    assert sentinel.exists(), "the payload itself is harmless, so that the test would show nothing"


def test_a_module_in_place_of_a_graph_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")
    with pytest.raises(RefusedError, match=r"holds a torch\.Linear; expected a graph"):
        load_data(str(tmp_path / "m.pt"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("g.npz", b"", "none of .npz, .pt, .safetensors"),
        ("g.npz", b"hello world", "none of .npz, .pt, .safetensors"),
        ("g.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{oops}..", "not a valid safetensors file"),
        ("g.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "not a valid safetensors file"),
    ],
)
def test_a_damaged_file_is_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / name))


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    path = _npz(tmp_path / "g.npz", good())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"g\.npz"):
        load_data(str(path))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: it does not exist; expected"):
        load_data(str(tmp_path / "absent.npz"))
    with pytest.raises(DataError, match="is a folder"):
        load_data(str(tmp_path))
    loop = tmp_path / "loop.npz"
    loop.symlink_to(loop)
    with pytest.raises(DataError, match=r"cannot read .*loop\.npz: Too many levels"):
        load_data(str(loop))


def test_a_sum_that_overflows_is_no_infinite_feature() -> None:
    graph = Graph(torch.full((6, 3), 3e38), torch.tensor([[0], [1]]), torch.tensor([0, 1] * 3))
    assert not torch.isfinite(graph.x.sum())
    x = graph.x.clone()
    x[5, 2] = float("nan")
    with pytest.raises(GraphError, match=r"x\[5, 2\] is nan"):
        Graph(x, graph.edge_index, graph.y)
