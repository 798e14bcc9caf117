"""Fields that hold ids of nodes are renumbered with the nodes, as PyG would number the same graphs; else refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv
from torch_geometric.utils import subgraph

import auditor
from attacks.shift.corruption import KINDS, Whole
from auditor.data.batches import in_one_batch
from auditor.data.edits import EdgeSpace, select_graphs
from auditor.data.graph import Graph
from auditor.data.named import raw_from
from auditor.data.sources import complete
from auditor.errors import GraphError, SkippedError
from auditor.targets.capabilities import small_slice
from auditor.targets.live import read_data
from auditor.targets.reference import synthetic_inputs
from auditor.targets.relabelling import Relabelling
from auditor.targets.slices import GraphSlices


def one(size: int, seed: int) -> Data:
    """A cycle whose fields name nodes in every way that PyG counts on."""
    rng = np.random.default_rng(seed)

    def ids(*shape: int) -> Tensor:
        return torch.from_numpy(rng.integers(0, size, shape))

    around = torch.stack([torch.arange(size), (torch.arange(size) + 1) % size])
    far = int(rng.integers(4, 9))
    return Data(
        x=torch.rand(size, 3),
        edge_index=torch.cat([around, around.flip(0)], 1),
        y=torch.tensor([seed % 2]),
        edge_attr=torch.rand(2 * size, 2),
        root_index=ids(1),
        seat_index=ids(2),
        pair_index=ids(2, 1),
        parent_index=ids(size),
        edge_index_2=ids(2, far),
        edge_attr_2=torch.rand(far, 2),
        face=ids(3, 5 + seed % 3),
    )  # fmt: skip


PARTS = [one(5 + seed % 4, seed) for seed in range(9)]
NAMES = [name for name in PARTS[0].keys() if name != "y"]  # noqa: SIM118  a Data is no mapping


def read(parts: Sequence[Data]) -> Graph:
    batch = Batch.from_data_list(parts, follow_batch=["x", "edge_attr"])
    del batch["x_ptr"], batch["edge_attr_ptr"]  # [B + 1] belongs to nothing
    return read_data(batch).graph


WHOLE = read(PARTS)


def same(found: Graph, expected: Graph) -> None:
    assert {name for name, _ in found.fields} == {name for name, _ in expected.fields}
    for name in {*NAMES, "x_batch", "edge_attr_batch"} - {"x", "edge_index"}:
        assert torch.equal(found.fields.get(name), expected.fields.get(name)), name
    assert torch.equal(found.x, expected.x)


def test_graphs_taken_out_are_numbered_as_pyg_numbers_them() -> None:
    order = [7, 2, 5]
    same(GraphSlices(WHOLE).take(torch.tensor(order)), read([PARTS[i] for i in order]))
    chosen = [0, 3, 8]
    part, nodes = select_graphs(WHOLE, torch.tensor(chosen))
    same(part, read([PARTS[i] for i in chosen]))
    same(WHOLE.induced(nodes), part)


def test_copies_side_by_side_count_on_from_graph_to_graph() -> None:
    parts = [select_graphs(WHOLE, torch.tensor([i]))[0] for i in range(len(PARTS))]
    whole, _ = in_one_batch(parts)
    same(whole, WHOLE)


def test_a_relabelling_maps_ids_along() -> None:
    order = Relabelling.draw(WHOLE, np.random.default_rng(3))
    moved = order.graph(WHOLE)
    assert not torch.equal(moved.x, WHOLE.x)
    for name in ("root_index", "seat_index", "pair_index", "edge_index_2", "face"):
        assert torch.equal(moved.x[moved.fields.get(name)], WHOLE.x[WHOLE.fields.get(name)]), name
    parents = WHOLE.x[WHOLE.fields.get("parent_index")]
    assert torch.equal(moved.x[moved.fields.get("parent_index")], parents[order.nodes])


def test_edits_of_edges_leave_ids_and_other_edges_as_they_are() -> None:
    space = EdgeSpace.of(WHOLE)
    edited = space.toggled(space.existing[:4])
    for name in {*NAMES, "x_batch"} - {"x", "edge_index", "edge_attr"}:
        assert torch.equal(edited.fields.get(name), WHOLE.fields.get(name)), name
    assert edited.num_edges == WHOLE.num_edges - 8
    longer = space.toggled(space.draw(60, np.random.default_rng(1)))
    assert torch.equal(longer.fields.get("edge_attr_batch"), longer.batch[longer.edge_index[0]])


def of_nodes(part: Data) -> Data:
    """The same as one graph whose nodes are classified."""
    made = part.clone()
    made.y = part.y.repeat(part.num_nodes)
    return made


@pytest.mark.parametrize("parts", [PARTS, [of_nodes(PARTS[0])]])
def test_ids_of_nodes_on_edges_are_refused_by_name(parts: list[Data]) -> None:
    graphs = [part.clone() for part in parts]
    for graph in graphs:
        graph.via_index = graph.edge_index[0]
    with pytest.raises(GraphError, match="via_index has a row per edge"):
        read_data(graphs)


def without(graph: Graph, gone: Sequence[int]) -> Tensor:
    kept = torch.ones(graph.num_nodes, dtype=torch.bool)
    kept[torch.tensor(gone)] = False
    return torch.nonzero(kept).flatten()


@pytest.mark.parametrize("name", ["root_index", "seat_index", "pair_index", "parent_index"])
def test_a_node_that_a_field_names_cannot_be_taken_away(name: str) -> None:
    graph = alone(WHOLE, name)
    named = graph.fields.get(name).flatten()
    with pytest.raises(SkippedError, match=f"{name} of .* names nodes"):
        graph.induced(without(graph, [int(named[-1])]))
    free = [node for node in range(graph.num_nodes) if node not in named.tolist()][:3]
    part = graph.induced(without(graph, free))
    ids = part.fields.get(name)
    if name == "parent_index":
        named = named[without(graph, free)]
    assert torch.equal(part.x[ids.flatten()], graph.x[named])
    for kind in ("node-drop", "crop"):
        on = Whole(graph, None, torch.arange(3), torch.zeros(graph.num_nodes, dtype=torch.bool), torch.ones(3), graph.x)
        assert name in KINDS[kind].obstacle(on, 0.1)  # type: ignore[index]


def alone(graph: Graph, *names: str) -> Graph:
    """The graph with these fields alone."""
    return replace(graph, fields=graph.fields.only(names))


def single(**more: Any) -> dict[str, Any]:
    """One graph of 40 nodes."""
    rng = torch.Generator().manual_seed(0)
    edges = torch.randint(40, (2, 90), generator=rng)
    base = {"x": torch.rand(40, 3, generator=rng), "edge_index": edges, "y": torch.arange(40) % 2}
    other = torch.randint(40, (2, 70), generator=rng)
    return base | {"edge_index_2": other, "edge_attr_2": torch.rand(70, 2, generator=rng)} | more


@pytest.mark.parametrize("name", ["edge_index_2", "knn_edge_index", "edge_label_index", "links"])
def test_another_list_of_edges_is_cut_with_the_nodes(name: str) -> None:
    given = single()
    given[name] = given.pop("edge_index_2")
    loaded = complete(raw_from(given, "g"), "g", "")
    assert any(name in note and "edits of edge_index leave" in note for note in loaded.notes)
    keep = torch.arange(3, 31)
    part = loaded.graph.induced(keep)
    edges, attributes = subgraph(keep, given[name], given["edge_attr_2"], relabel_nodes=True, num_nodes=40)
    assert edges.shape[1] > 0
    assert torch.equal(part.fields.get(name), edges)
    assert torch.equal(part.fields.get("edge_attr_2"), attributes)


def test_a_row_per_entry_belongs_to_the_list_of_its_name() -> None:
    twins = single()
    twins["edge_index_3"], twins["edge_attr_3"] = twins["edge_index_2"].flip(1), twins["edge_attr_2"].flip(0)
    part = complete(raw_from(twins, "g"), "g", "").graph.induced(torch.arange(20))
    assert torch.equal(part.fields.get("edge_attr_3").flip(0), part.fields.get("edge_attr_2"))
    with pytest.raises(GraphError, match="70 entries of edge_index_2"):
        raw_from({**twins, "strength": torch.rand(70)}, "g")
    many = single(edge_index_2=torch.randint(40, (2, 40)), edge_attr_2=torch.rand(40, 2), pos=torch.rand(40, 2))
    assert set(raw_from(many, "g").fields.node) == {"pos"}
    longer = single(edge_index=torch.randint(40, (2, 70)))
    assert set(raw_from(longer, "g").fields.edge) == set()
    assert set(raw_from({**longer, "edge_weight_1": torch.rand(70)}, "g").fields.edge) == {"edge_weight_1"}


def test_ids_of_one_graph_follow_a_relabelling_and_forbid_a_part() -> None:
    given = single(anchor_index=torch.tensor([7, 7, 30]), start_index=torch.tensor(5))
    given["parent_index"] = torch.randint(-1, 40, (40,))  # -1: none
    graph = complete(raw_from(given, "g"), "g", "").graph
    order = Relabelling.draw(graph, np.random.default_rng(0))
    moved = order.graph(graph)
    assert torch.equal(moved.x[moved.fields.get("anchor_index")], graph.x[given["anchor_index"]])
    assert torch.equal(moved.x[moved.fields.get("start_index")], graph.x[5])
    before, after = given["parent_index"][order.nodes], moved.fields.get("parent_index")
    assert torch.equal(after < 0, before < 0)
    assert torch.equal(moved.x[after[after >= 0]], graph.x[before[before >= 0]])
    assert small_slice(graph).num_nodes == 40
    assert small_slice(alone(graph, "edge_index_2")).num_nodes == 16


@pytest.mark.parametrize("values", [torch.arange(40) * 3, torch.arange(40)])
def test_what_cannot_be_an_id_or_only_names_its_own_node_stays(values: Tensor) -> None:
    graph = complete(raw_from(single(code_index=values), "g"), "g", "").graph
    part = graph.induced(torch.arange(10, 20))
    assert torch.equal(part.fields.get("code_index"), values[10:20])
    assert small_slice(graph).num_nodes == 16


@pytest.mark.parametrize("name", ["root_index", "parent_index", "edge_index_2"])
def test_ids_of_another_graph_are_refused_by_name(name: str) -> None:
    batch = Batch.from_data_list(PARTS)
    batch[name] = batch[name].flip(-1)
    if name == "edge_index_2":
        batch[name] = torch.stack([batch[name][0], batch[name][1].flip(0)])
    with pytest.raises(GraphError, match=f'{name} is .*of its own graph.*"index" in their names'):
        read_data(batch)


class Counted(Data):
    """Data with a rule of its own."""

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        rules = {"root": self.num_nodes, "time_index": 0}
        return rules[key] if key in rules else super().__inc__(key, value, *args, **kwargs)


@pytest.mark.parametrize(("name", "word"), [("root", 'with "index" in it'), ("time_index", 'without "index"')])
def test_a_rule_that_no_name_shows_is_refused(name: str, word: str) -> None:
    graphs = [
        Counted(x=p.x, edge_index=p.edge_index, y=p.y, **{name: torch.tensor([1])}) for p in PARTS
    ]  # fmt: skip
    for data in (graphs, Batch.from_data_list(graphs), of_nodes(graphs[0])):
        with pytest.raises(GraphError, match=f"{name}.*__inc__ of .*{word}"):
            read_data(data)


def test_made_up_inputs_name_nodes_of_their_own() -> None:
    made = synthetic_inputs(WHOLE)
    assert {name for name, _ in made.fields} == {name for name, _ in WHOLE.fields}
    parts = GraphSlices(made)  # every id lies in its own graph, or this would refuse
    for i in range(made.num_items):
        part = parts.take(torch.tensor([i]))
        for name in ("root_index", "seat_index", "pair_index", "parent_index"):
            assert part.fields.get(name).shape[-1] == made.fields.get(name).shape[-1] // 4
    graph = complete(raw_from(single(anchor_index=torch.tensor([7, 39])), "g"), "g", "").graph
    made = synthetic_inputs(graph)
    assert made.num_nodes == 32
    assert made.x[made.fields.get("anchor_index")].shape == (2, 3)
    assert made.fields.get("edge_attr_2").shape[0] == made.fields.get("edge_index_2").shape[1]


class Rooted(nn.Module):
    """Reads each graph at one node."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = GCNConv(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor, edge_index: Tensor, root_index: Tensor) -> Tensor:
        return self.out(self.conv(x, edge_index).relu()[root_index])


class TwoKinds(nn.Module):
    """Two lists of edges, each with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far = GCNConv(3, 2), GCNConv(3, 2)

    def forward(self, x: Tensor, edge_index: Tensor, edge_index_2: Tensor) -> Tensor:
        return self.near(x, edge_index) + self.far(x, edge_index_2)


def test_a_model_that_reads_nodes_by_their_ids_is_audited() -> None:
    torch.manual_seed(0)
    data = Batch.from_data_list([one(5 + i % 4, i) for i in range(80)])
    split = {"train": torch.arange(20), "test": torch.arange(20, 80)}
    report = auditor.audit(Rooted().eval(), data, split=split, profile="quick", only=["corruption"])
    rows = {row.id: row.status for row in report.validity}
    assert rows["equivariant"] == rows["batch-independent"] == "pass"
    (cell,) = report.cells
    assert {"node-drop", "crop"} == set(cell.params["skipped"])
    assert all("root_index" in reason for reason in cell.params["skipped"].values())


def test_a_model_of_two_lists_of_edges_is_audited() -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    n = 90
    data = Data(x=torch.randn(n, 3, generator=rng), y=torch.arange(n) % 2)
    data.edge_index, data.edge_index_2 = (torch.randint(n, (2, e), generator=rng) for e in (200, 130))
    split = {"train": torch.arange(20), "test": torch.arange(20, n)}
    report = auditor.audit(TwoKinds().eval(), data, split=split, profile="quick", only=["corruption"])
    rows = {row.id: row.status for row in report.validity}
    assert rows["equivariant"] == "pass"
    (cell,) = report.cells
    assert "node-drop" not in cell.params["skipped"]
    notes = report.document.target.provenance["data"]["notes"]
    assert any("edge_index_2" in note for note in notes)
