"""From named tensors to a graph: everything present is passed on, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from auditor.data.named import raw_from
from auditor.errors import GraphError, SplitError, TaskError

EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 3]])


def given(**changes: Any) -> dict[str, Any]:
    """Four nodes, five arcs, two classes."""
    base = {"x": torch.ones(4, 2), "edge_index": EDGES, "y": torch.tensor([0, 1, 0, 1])}
    return {key: value for key, value in (base | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("y", "expected", "note"),
    [
        (torch.tensor([[0], [1], [0], [1]]), [0, 1, 0, 1], "y [N, 1] is read as [N]"),
        (torch.tensor([0.0, 1.0, 2.0, 1.0]), [0, 1, 2, 1], "y is float32 with whole values"),
        (torch.eye(4)[[2, 1, 0, 3]], [2, 1, 0, 3], "one-hot over 4 classes"),
        (torch.tensor([0, -1, 0, 1]), [0, -1, 0, 1], "1 items have no label"),
        (torch.tensor([0.0, float("nan"), 1.0, 1.0]), [0, -1, 1, 1], "1 items have no label"),
    ],
)
def test_labels_of_every_usual_form_are_class_indices(y: torch.Tensor, expected: list[int], note: str) -> None:
    raw = raw_from(given(y=y), "g")
    assert raw.y.tolist() == expected
    assert any(note in said for said in raw.notes)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.tensor([0.5, 1.0, 0.0, 1.0]), "regression"),
        (torch.tensor([[1, 1], [0, 1], [0, 0], [1, 0]]), "multi-label"),
        (torch.tensor([[0.3, 1.1], [0.2, 0.5], [0.4, 2.5], [1.5, 0.7]]), "regression"),
        (None, "recommendation"),
    ],
)
def test_other_tasks_are_named(y: torch.Tensor | None, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        raw_from(given(y=y), "g")


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_features_are_the_dense_ones() -> None:
    x = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    for form in (x.to_sparse_coo(), x.to_sparse_csr()):
        raw = raw_from(given(x=form), "g")
        assert torch.equal(raw.x, x)
        assert any("sparse" in note for note in raw.notes)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_a_transposed_adjacency_gives_the_edges_back() -> None:
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    adj_t = torch.sparse_coo_tensor(EDGES.flip(0), values, (4, 4)).coalesce().to_sparse_csr()
    raw = raw_from(given(edge_index=None, adj_t=adj_t), "g")
    found = dict(zip(map(tuple, raw.edge_index.T.tolist()), raw.edge_weight.tolist(), strict=True))
    assert found == dict(zip(map(tuple, EDGES.T.tolist()), values.tolist(), strict=True))


def test_everything_else_is_carried_by_what_its_rows_belong_to() -> None:
    raw = raw_from(given(pos=torch.rand(4, 3), edge_attr=torch.rand(5, 2), edge_type=torch.arange(5)), "g")
    assert set(raw.fields.node) == {"pos"}
    assert set(raw.fields.edge) == {"edge_attr", "edge_type"}
    assert raw.fields.edge["edge_type"].dtype == torch.int64


def test_a_length_that_fits_both_is_asked_for() -> None:
    square = given(edge_index=EDGES[:, :4], code=torch.arange(4), edge_code=torch.arange(4))
    with pytest.raises(GraphError, match=r'node_fields = \["code"\]'):
        raw_from(square, "g")
    raw = raw_from(square, "g", node_fields=("code",))
    assert set(raw.fields.node) == {"code"}
    assert set(raw.fields.edge) == {"edge_code"}  # its name says so


def test_whole_features_are_known_as_such_and_too_large_ones_are_refused() -> None:
    assert raw_from(given(x=torch.tensor([3, 1, 0, 2])), "g").whole_x
    with pytest.raises(GraphError, match="16777217"):
        raw_from(given(x=torch.full((4, 1), 2**24 + 1)), "g")


@pytest.mark.parametrize("form", ["train_idx test_idx", "idx_train idx_test", "train_ids test_ids", "train test"])
def test_lists_of_ids_are_the_split(form: str) -> None:
    train, test = form.split()
    raw = raw_from(given(**{train: torch.tensor([0, 1]), test: torch.tensor([3])}), "g")
    assert raw.masks["train"].tolist() == [True, True, False, False]
    assert raw.masks["test"].tolist() == [False, False, False, True]
    assert not raw.masks["val"].any()


def test_two_names_of_one_part_must_agree() -> None:
    masks = {"train_mask": torch.tensor([True, True, False, False]), "test_mask": torch.tensor([False] * 3 + [True])}
    raw_from(given(**masks, train_idx=torch.tensor([0, 1])), "g")
    with pytest.raises(SplitError, match="name different items"):
        raw_from(given(**masks, train_idx=torch.tensor([0, 2])), "g")


def test_a_part_alone_is_refused() -> None:
    with pytest.raises(SplitError, match="no test_mask"):
        raw_from(given(train_idx=torch.tensor([0])), "g")


def test_three_axes_are_a_forecaster() -> None:
    with pytest.raises(TaskError, match="forecaster"):
        raw_from(given(x=torch.rand(4, 6, 2)), "g")


def test_what_is_no_numbers_is_named() -> None:
    raw = raw_from(given(name="mine", shape={"a": 1}, num_nodes=4, train_idx=[0], test_idx=[1]), "g")
    assert raw.withheld == ("name", "shape", "train_idx", "test_idx")
    assert any("not passed on: name, shape" in note for note in raw.notes)


@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist, torch.from_numpy])
def test_numbers_are_read_in_whatever_holds_them(form: Callable[[Any], Any]) -> None:
    attr, pos = np.arange(10.0).reshape(5, 2), np.arange(12.0).reshape(4, 3)
    raw = raw_from(given(edge_attr=form(attr), pos=form(pos), alpha=-3.0), "g")
    assert torch.equal(raw.fields.edge["edge_attr"], torch.from_numpy(attr).float())
    assert torch.equal(raw.fields.node["pos"], torch.from_numpy(pos).float())
    assert float(raw.fields.graph["alpha"]) == -3.0
    assert raw.withheld == ()


def test_arrays_of_many_graphs_are_one_after_the_other() -> None:
    batch = torch.tensor([0, 0, 1, 1])
    two = given(batch=batch, y=torch.tensor([0, 1]), edge_index=torch.tensor([[0, 1, 2], [1, 0, 3]]))
    raw = raw_from({**two, "pos": [np.ones((2, 3)), np.zeros((2, 3))]}, "g")
    assert raw.fields.node["pos"].tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 2


def test_classes_of_plus_and_minus_one_are_no_missing_labels() -> None:
    with pytest.raises(GraphError, match="They look like two classes, and -1 means that an item has no label"):
        raw_from(given(y=torch.tensor([-1, 1, -1, 1])), "g")
    assert raw_from(given(y=torch.tensor([-1, 1, 0, 1])), "g").y.tolist() == [-1, 1, 0, 1]


@pytest.mark.parametrize(
    "split",
    [
        {"split_idx": {"train": torch.tensor([0]), "valid": np.array([1]), "test": [2, 3]}},
        {"split": ["train", "val", "test", "test"]},
        {"split": np.array(["train", "val", "test", "test"])},
    ],
)
def test_a_split_under_one_name_is_read(split: dict[str, Any]) -> None:
    masks = raw_from(given(**split), "g").masks
    assert {part: mask.nonzero().flatten().tolist() for part, mask in masks.items()} == {
        "train": [0], "val": [1], "test": [2, 3]
    }  # fmt: skip


def test_a_split_that_cannot_be_read_is_refused_and_a_contradicting_one_too() -> None:
    numbers = {"split": torch.tensor([0, 1, 2, 2])}
    with pytest.raises(SplitError, match="split holds 0, 1, 2, and nothing says which"):
        raw_from(given(**numbers), "g")
    masks = {"train_idx": [0], "test_idx": [2]}
    assert set(raw_from(given(**numbers, **masks), "g").fields.node) == {"split"}
    with pytest.raises(SplitError, match="split_idx has train, extra"):
        raw_from(given(split_idx={"train": [0], "extra": [1]}), "g")
    with pytest.raises(SplitError, match="name different items"):
        raw_from(given(**masks, train_mask=torch.tensor([0, 1, 0, 0])), "g")


def test_two_adjacencies_are_refused_and_lists_of_python_numbers_are_read() -> None:
    with pytest.raises(GraphError, match="adj beside edge_index"):
        raw_from(given(adj=torch.ones(4, 4)), "g")
    raw = raw_from(given(train_idx=[0, 1], test_mask=torch.tensor([0, 0, 0, 1]).numpy()), "g")
    assert raw.masks["train"].tolist() == [True, True, False, False]
    assert raw.masks["test"].tolist() == [False, False, False, True]
