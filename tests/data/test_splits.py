"""Splits: disjoint, by label, the same for the same seed, and clear about what cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.data.graph import Graph
from auditor.data.sources import LoadedData, load_data
from auditor.data.splits import make_split
from auditor.errors import ConfigError, SplitError
from tests.toys import sbm_graph, small_graphs

DRAWN = ("per-class:10", "random:0.6/0.2/0.2", "random:0.1/0.1/0.8")


def nodes() -> LoadedData:
    """300 nodes without masks, classes of 150, 100 and 50."""
    y = torch.tensor([0] * 150 + [1] * 100 + [2] * 50)[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    graph = Graph(torch.eye(300), torch.zeros(2, 0, dtype=torch.int64), y, name="toy")
    return LoadedData(graph, {}, "per-class:20", "toy", "0")


def graphs() -> LoadedData:
    return LoadedData(small_graphs(200), {}, "random:0.6/0.2/0.2", "toys", "0")


@pytest.mark.parametrize("spec", [*DRAWN, ""])
def test_a_split_depends_on_its_seed_alone(spec: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  the point: the global state must not matter
    first = make_split(spec, nodes(), 3)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    again, other = make_split(spec, nodes(), 3), make_split(spec, nodes(), 4)
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(first, part), getattr(again, part))
    assert not torch.equal(first.train, other.train)
    assert (first.spec, first.seed) == (spec or "per-class:20", 3)


@pytest.mark.parametrize("spec", DRAWN)
@pytest.mark.parametrize("data", [nodes, graphs])
def test_every_item_is_in_one_part(spec: str, data: object) -> None:
    split = make_split(spec, data(), 0)  # type: ignore[operator]
    counts = split.train.int() + split.val.int() + split.test.int()
    assert torch.equal(counts, torch.ones_like(counts))


def test_random_parts_have_the_shares_of_every_class() -> None:
    data = nodes()
    split = make_split("random:0.6/0.2/0.2", data, 0)
    assert split.sizes == (180, 60, 60)
    for part, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        counts = torch.bincount(data.graph.y[getattr(split, part)], minlength=3)
        assert torch.all((counts - share * torch.tensor([150, 100, 50])).abs() <= 1)


def test_per_class_takes_k_and_a_quarter_of_the_rest() -> None:
    data = nodes()
    split = make_split("per-class:10", data, 0)
    assert torch.bincount(data.graph.y[split.train]).tolist() == [10, 10, 10]
    assert torch.bincount(data.graph.y[split.val]).tolist() == [35, 22, 10]
    assert torch.bincount(data.graph.y[split.test]).tolist() == [105, 68, 30]


def test_a_rare_class_is_trained_on() -> None:
    data = nodes()
    y = data.graph.y.clone()
    y[:2] = torch.tensor([3, 4])  # one item each
    for seed in range(20):
        split = make_split("random:0.1/0.1/0.8", replace(data, graph=replace(data.graph, y=y)), seed)
        assert set(y[split.test].tolist()) <= set(y[split.train].tolist())


def test_size_trains_and_validates_on_small_graphs_only() -> None:
    data = graphs()
    sizes = torch.bincount(data.graph.batch)
    small = int((sizes <= 10).sum())
    split = make_split("size:10", data, 0)
    drawn = 9 * small // 10
    assert split.sizes == (drawn - drawn // 10, drawn // 10, 200 - drawn)
    assert int(sizes[split.train | split.val].max()) <= 10
    assert bool(split.test[sizes > 10].all())


def test_public_masks_are_taken_as_they_are() -> None:
    data = load_data("demo")
    for spec in ("public", "masks:0", ""):
        split = make_split(spec, data, 7)
        assert all(torch.equal(getattr(split, part), data.masks[part]) for part in ("train", "val", "test"))
        assert split.seed is None


@pytest.mark.parametrize("form", ["masks", "integer masks", "ids"])
def test_a_split_file_holds_masks_or_ids(form: str, tmp_path: Path) -> None:
    train, val, test = np.arange(0, 50), np.arange(50, 60), np.arange(60, 300)
    ids = {"train": train, "val": val, "test": test}
    masks = {f"{part}_mask": np.isin(np.arange(300), index) for part, index in ids.items()}
    content = {"masks": masks, "integer masks": {k: m.astype(np.uint8) for k, m in masks.items()}, "ids": ids}[form]
    np.savez(tmp_path / "s.npz", **content)
    split = make_split(f"file:{tmp_path / 's.npz'}", nodes(), 0)
    assert [torch.nonzero(m).flatten().tolist() for m in (split.train, split.val, split.test)] == [
        train.tolist(), val.tolist(), test.tolist(),
    ]  # fmt: skip


BAD = [
    ("publik", ConfigError, 'Did you mean "public"'),
    ("public", SplitError, "without public masks"),
    ("public:1", ConfigError, "takes nothing after the colon"),
    ("masks:0", SplitError, "without masks"),
    ("masks:x", ConfigError, "whole number"),
    ("prognn", SplitError, "DeepRobust"),
    ("per-class:49", SplitError, 'class 2 of toy has 50 items.*Use "per-class:48"'),
    ("per-class:0", ConfigError, "whole number from 1"),
    ("per-class", ConfigError, "whole number from 1"),
    ("random:0.6/0.2", ConfigError, "three shares"),
    ("random:0.6/0.2/0.3", ConfigError, "three shares"),
    ("random:1/0/0", ConfigError, "three shares"),
    ("random:a/b/c", ConfigError, "three shares"),
    ("random:nan/0.5/0.5", ConfigError, "three shares"),
    ("random:-0.2/0.6/0.6", ConfigError, "three shares"),
    ("size:25", SplitError, "toy is one graph"),
    ("file:absent.npz", SplitError, "it does not exist"),
    ("file:", SplitError, "names no file"),
]


@pytest.mark.parametrize(("spec", "error", "message"), BAD)
def test_a_bad_spec_is_explained(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_split(spec, nodes(), 0)


@pytest.mark.parametrize("spec", ["public", "masks:0", "prognn", "size:25", "given"])
@pytest.mark.parametrize("columns", [0, 4])
def test_an_unknown_split_is_no_remedy(spec: str, columns: int) -> None:
    data = replace(nodes(), default_split="unknown")
    if columns:
        train = torch.zeros(300, columns, dtype=torch.bool)
        train[:50] = True
        data = replace(data, masks={"train": train, "val": ~train & False, "test": ~train}, masks_from="file")
        if spec == "masks:0":
            assert make_split(spec, data, 0).sizes == (50, 0, 250)
            return
    with pytest.raises(SplitError) as refused:
        make_split(spec, data, 0)
    assert "unknown" not in str(refused.value)
    assert ('"masks:0" to "masks:3"' if columns else "train_mask and test_mask in the file") in str(refused.value)
    if columns and spec == "public":
        assert "4 own splits" in str(refused.value)


@pytest.mark.parametrize("largest", [1, 5, 14, 1000])
def test_a_size_that_does_not_divide_the_graphs_is_explained(largest: int) -> None:
    with pytest.raises(SplitError, match="Sizes reach from 6 to 14"):
        make_split(f"size:{largest}", graphs(), 0)


def test_a_negative_seed_is_explained() -> None:
    with pytest.raises(ConfigError, match="split_seed = -1"):
        make_split("random:0.6/0.2/0.2", nodes(), -1)


FILES = [
    ({"train_mask": np.ones(299, bool), "val_mask": np.zeros(299, bool), "test_mask": np.zeros(299, bool)}, "empty"),
    ({"train_mask": np.arange(299) < 5, "test_mask": np.arange(299) > 5}, "300"),
    ({"train": np.array([0, 1]), "test": np.array([1, 2])}, "both train and test"),
    ({"train": np.array([0, 1]), "test": np.array([2, 300])}, "from 0 to 299"),
    ({"train": np.array([0.5]), "test": np.array([2])}, "expected ids"),
    ({"train_mask": np.arange(300), "test": np.array([2])}, "name it train_idx"),
    ({"train": np.array([0, 1])}, "expected train_mask and test_mask"),
    ({"nothing": np.array([0, 1])}, "holds nothing"),
]


@pytest.mark.parametrize(("content", "message"), FILES)
def test_a_bad_split_file_is_explained(content: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", **content)
    with pytest.raises(SplitError, match=message):
        make_split(f"file:{tmp_path / 's.npz'}", nodes(), 0)


def test_an_unmasked_graph_of_small_classes_names_the_split_that_works() -> None:
    data = LoadedData(sbm_graph(30), {}, "per-class:20", "small", "0")
    with pytest.raises(SplitError, match='Use "per-class:8"'):
        make_split("", data, 0)


def test_the_published_size_split_of_proteins(data_root: Path) -> None:
    """L2R's PROTEINS_25: 548 small graphs, 565 large; 493 drawn, 49 of them validate."""
    split = make_split("size:25", load_data("tu_proteins", root=data_root), 0)
    assert split.sizes == (444, 49, 620)
