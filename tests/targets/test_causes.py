"""Each cause has a model that has it, and a benign twin that looks like it and has not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GCNConv, GraphConv, RGCNConv, TopKPooling, global_mean_pool
from torch_geometric.nn.models import LINKX

from auditor import registry
from auditor.data.fields import Fields
from auditor.data.graph import Graph
from auditor.document import ValidityRow
from auditor.probe import Cell
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks
from auditor.targets.call_rules import find_calls
from auditor.targets.capabilities import try_capabilities
from auditor.targets.node_table import find_node_table
from auditor.targets.target import Capability, ModelHandle, Target
from auditor.targets.validity import validity_rows
from auditor.view import SideKnowledge
from tests.toys import sbm_graph, small_graphs, toy_target

GRAPH, GRAPHS = sbm_graph(), small_graphs(40)
N, F = GRAPH.x.shape
CAUSES = ("finite", "deterministic", "node-table", "ties", "equivariant", "batch-independent")


def made(build: Callable[[], nn.Module], graph: Graph = GRAPH) -> Target:
    base = toy_target("gcn" if graph.batch is None else "graph-gin", epochs=1)
    if graph.batch is not None and graph.num_items != base.graph.num_items:
        base = toy_target("graph-gin", graph=graph, epochs=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace(base, graph=graph, model=build(), build=build)


def rows_of(target: Target) -> dict[str, ValidityRow]:
    return {row.id: row for row in validity_rows(target, np.random.default_rng(0))}


def statuses(target: Target) -> dict[str, str]:
    return {id_: row.status for id_, row in rows_of(target).items() if id_ in CAUSES and row.status != "pass"}


class Net(nn.Module):
    """A GCN, and something done to its answer or its input."""

    def __init__(self, inputs: int = F) -> None:
        super().__init__()
        self.conv = GCNConv(inputs, 3)

    def forward(self, x, edge_index):
        return self.after(self.conv(self.before(x), edge_index), edge_index)

    def before(self, x: Tensor) -> Tensor:
        return x

    def after(self, out: Tensor, edge_index: Tensor) -> Tensor:
        return out


class ByDegree(Net):
    def after(self, out, edge_index):
        degree = torch.bincount(edge_index[1], minlength=out.shape[0]).float()
        return out * (degree / degree).unsqueeze(1)


class LostRow(Net):
    def after(self, out, edge_index):
        return out.masked_fill(out == out.max(), float("inf"))


class Dropped(Net):
    def before(self, x):
        return functional.dropout(x)


class DroppedInTraining(Net):
    def before(self, x):
        return functional.dropout(x, training=self.training)


class Drawn(Net):
    def after(self, out, edge_index):
        return out + torch.randn(1)


class Counting(Net):
    calls = 0

    def after(self, out, edge_index):
        self.calls += 1
        return out + self.calls


class Embedded(Net):
    def __init__(self, rows: int = N, width: int = 16) -> None:
        super().__init__(F + width)
        self.emb = nn.Embedding(rows, width)

    def before(self, x):
        return torch.cat([x, self.emb.weight], dim=1)


class Listed(Net):
    """The same in a plain attribute."""

    def __init__(self) -> None:
        super().__init__(F + 4)
        self.tables = [torch.randn(N, 4)]

    def before(self, x):
        return torch.cat([x, self.tables[0]], dim=1)


class AsWide(Net):
    """As many hidden features as there are nodes."""

    def __init__(self) -> None:
        super().__init__(N)
        self.linear = nn.Linear(F, N)

    def before(self, x):
        return self.linear(x).relu()


class Placed(Net):
    def after(self, out, edge_index):
        return out + torch.linspace(0, 1, out.shape[0]).unsqueeze(1)


class EdgesPlaced(Net):
    def after(self, out, edge_index):
        return out + edge_index[0, :1].bincount(minlength=out.shape[0]).unsqueeze(1)


class Pooled(nn.Module):
    def __init__(self, inputs: int, *, placed: bool = False) -> None:
        super().__init__()
        self.conv, self.pool, self.next = GraphConv(inputs, 8), TopKPooling(8, 0.5), GraphConv(8, 8)
        self.head, self.placed = nn.Linear(8, 2), placed

    def forward(self, x, edge_index, batch):
        h = self.conv(x, edge_index).relu()
        if self.placed:
            h = h + torch.linspace(0, 1, len(h)).unsqueeze(1)
        h, edge_index, _, batch, _, _ = self.pool(h, edge_index, None, batch)
        return self.head(global_mean_pool(self.next(h, edge_index).relu(), batch))


class Normed(nn.Module):
    def __init__(self, norm: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv, self.norm, self.head = GraphConv(2, 8), norm(), nn.Linear(8, 2)

    def forward(self, x, edge_index, batch):
        return self.head(global_mean_pool(self.norm(self.conv(x, edge_index)).relu(), batch))


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = GraphConv(2, 8), nn.Linear(8, 2)

    def forward(self, x, edge_index, batch):
        pooled = global_mean_pool(self.conv(x, edge_index).relu(), batch)
        return self.head(pooled - pooled.mean(dim=0))


def coarse() -> Graph:
    """Features of two values: equal scores everywhere."""
    return replace(GRAPHS, x=(GRAPHS.x > 0.3).float())


def lonely() -> Graph:
    """Nodes 0 to 20 have no edge."""
    return GRAPH.keeping((GRAPH.edge_index > 20).all(dim=0))


EXPLAINED = {"ties": "not_checked", "equivariant": "not_checked"}
BROKEN: dict[str, tuple[Callable[[], Target], dict[str, str], str, str]] = {
    "isolated": (lambda: made(ByDegree, lonely()), {"finite": "fail"}, "finite", "NaN on 21 items, all isolated nodes"),
    "infinite": (lambda: made(LostRow), {"finite": "fail"}, "finite", "infinity on 1 item, number "),
    "dropout": (
        lambda: made(Dropped),
        {"deterministic": "fail", "node-table": "not_checked", **EXPLAINED},
        "deterministic",
        "drawn at random: dropout without training=self.training?",
    ),
    "drawn": (
        lambda: made(Drawn),
        {"deterministic": "fail", "node-table": "not_checked", **EXPLAINED},
        "deterministic",
        "equal with the same seed: it is drawn at random",
    ),
    "state": (
        lambda: made(Counting),
        {"deterministic": "fail", "node-table": "not_checked", **EXPLAINED},
        "deterministic",
        "it keeps state between calls",
    ),
    "embedding": (lambda: made(Embedded), EXPLAINED, "node-table", "emb.weight [120, 16] has a row per node"),
    "embedding as wide": (
        lambda: made(lambda: Embedded(width=N)),
        EXPLAINED,
        "node-table",
        "emb.weight [120, 120] has a row per node",
    ),
    "attribute": (lambda: made(Listed), EXPLAINED, "node-table", "tables.0 [120, 4] has a row per node"),
    "ties": (
        lambda: made(lambda: Pooled(2), coarse()),
        {"ties": "warn", "equivariant": "not_checked"},
        "ties",
        "breaks ties by node order: ",
    ),
    "position": (lambda: made(Placed), {"equivariant": "fail"}, "equivariant", "on node order; cause not found"),
    "edges": (lambda: made(EdgesPlaced), {"equivariant": "fail"}, "equivariant", "edge order; cause not found"),
    "position and ties": (
        lambda: made(lambda: Pooled(2, placed=True), coarse()),
        {"equivariant": "fail", "batch-independent": "fail"},
        "equivariant",
        "depends on node order; cause not found",
    ),
    "batch statistics": (
        lambda: made(lambda: Normed(lambda: nn.BatchNorm1d(8, track_running_stats=False)), GRAPHS),
        {"batch-independent": "fail"},
        "batch-independent",
        "batch statistics: norm has no running ones",
    ),
    "other graphs": (
        lambda: made(Centred, GRAPHS),
        {"batch-independent": "fail"},
        "batch-independent",
        "reads other graphs of its batch",
    ),
}
BENIGN: dict[str, Callable[[], Target]] = {
    "no isolated node": lambda: made(Net, lonely()),
    "dropout in training": lambda: made(DroppedInTraining),
    "hidden features as many as nodes": lambda: made(AsWide),
    "embedding not per node": lambda: made(lambda: IndexedByDegree()),
    "untied top-k": lambda: made(lambda: Pooled(2), GRAPHS),
    "batch norm in eval": lambda: made(lambda: Normed(lambda: nn.BatchNorm1d(8)), GRAPHS),
}


class IndexedByDegree(Net):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(64, 3)

    def after(self, out, edge_index):
        return out + self.emb(torch.bincount(edge_index[1], minlength=out.shape[0]).clamp(max=63))


@pytest.mark.parametrize("name", BROKEN)
def test_each_cause_is_named_and_nothing_else_fails(name: str) -> None:
    build, expected, row, sentence = BROKEN[name]
    target = build()
    rows = rows_of(target)
    assert sentence in rows[row].evidence
    found = {id_: r.status for id_, r in rows.items() if id_ in CAUSES and r.status != "pass"}
    assert {id_: found.get(id_) for id_ in expected} == expected
    assert {id_ for id_, status in found.items() if status == "fail"} == {
        id_ for id_, status in expected.items() if status == "fail"
    }


@pytest.mark.parametrize("name", BENIGN)
def test_a_benign_twin_passes_every_cause(name: str) -> None:
    assert statuses(BENIGN[name]()) == {}


def test_of_a_model_that_answers_nan_only_finite_fails() -> None:
    rows = rows_of(made(ByDegree, lonely()))
    assert [row.id for row in rows.values() if row.status == "fail" and row.kind == "integrity"] == ["finite"]
    assert rows["gradient"].status == "not_checked"


def test_the_noise_floor_is_the_largest_share_of_labels_that_ties_decide() -> None:
    rows = rows_of(made(lambda: Pooled(2), coarse()))
    assert rows["ties"].noise_floor is not None
    assert 0 <= rows["ties"].noise_floor < 1
    assert all(row.noise_floor is None for row in rows.values() if row.id != "ties")


def test_tables_of_linkx_and_of_a_relational_network_without_features_are_found() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linkx = LINKX(N, F, 8, 3, num_layers=2).eval()
        relational = Relational().eval()
    found = find_node_table(linkx, GRAPH)
    assert found is not None
    assert found.tensors == (f"edge_lin.weight [{N}, 8]",)
    types = Fields(edge={"edge_type": torch.arange(GRAPH.num_edges) % 2})
    (answer,) = find_calls(relational, replace(GRAPH, x=torch.zeros(N, 0), fields=types))
    found = find_node_table(answer.call.bound(copy.deepcopy(relational)), answer.prepared(typed(types)))
    assert found is not None
    assert set(found.tensors) == {f"conv.weight [2, {N}, 3]", f"conv.root [{N}, 3]"}


def typed(types: Fields) -> Graph:
    return replace(GRAPH, x=torch.zeros(N, 0), fields=types)


class Relational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = RGCNConv(N, 3, num_relations=2)

    def forward(self, edge_index, edge_type):
        return self.conv(None, edge_index, edge_type)


class ByName(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.conv = nn.Embedding(N, 8), GCNConv(8, 3)

    def forward(self, n_id, edge_index):
        return self.conv(self.emb(n_id), edge_index)


def test_a_model_that_is_told_the_ids_of_its_nodes_can_be_asked_about_fewer() -> None:
    model = ByName().eval()
    (answer,) = find_calls(model, GRAPH)
    graph, bound = answer.prepared(GRAPH), answer.call.bound(copy.deepcopy(model))
    assert find_node_table(bound, graph) is None
    assert statuses(replace(made(Net, graph), model=bound)) == {}
    part = graph.induced(torch.arange(50))
    assert ModelHandle(bound).logits(part.x, part.edge_index, None, None, part.fields).shape == (50, 3)


def test_capabilities_of_a_model_with_a_table_are_tried_on_its_own_nodes() -> None:
    target = made(Embedded)
    found = try_capabilities(ModelHandle(target.model), GRAPH, has_recipe=False, has_split=True, fixed_nodes=True)
    assert Capability.ANY_NODES not in found
    assert {Capability.GRAD_X, Capability.GRAD_EDGE, Capability.EMBEDDINGS} <= found


@pytest.mark.parametrize("probe", ["graphmi", "posterior-similarity", "structure-evasion", "strata", "corruption"])
def test_probes_of_given_nodes_run_on_a_model_with_a_table(probe: str) -> None:
    entry = registry.probes()[probe]
    lacking = frozenset(Capability) - {Capability.ANY_NODES, Capability.RETRAIN}
    target = replace(made(Embedded), capabilities=lacking, fixed_nodes=(f"emb.weight [{N}, 16]",), recipe=None)
    attacks, own = build_attacks(entry, {})
    result = registry.load_location(entry.evaluation)(
        Cell(target, entry, attacks, own, "quick", 0, SideKnowledge(), TrainedCache())
    )
    assert result.measured
    if probe == "corruption":
        assert result.params["skipped"]["node-drop"] == f"the model knows these {N} nodes only"
