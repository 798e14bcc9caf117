"""Per-record gradients against loops and dense networks; what has none is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional
from torch_geometric import nn as pyg
from torch_geometric.utils import to_dense_adj, to_dense_batch

from auditor.errors import EvaluationError, PerRecordShapeError, SkippedError
from defenses.dp import record_layers
from defenses.dp.record_checks import check_records, synthetic_records
from defenses.dp.record_layers import RecordContext
from defenses.dp.records import RecordBatch, RecordModel
from tests.defenses.dp.record_batches import FEATURES, graphs_of, loop_gradients, network, relative_error


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("readout", ["add", "mean"])
@pytest.mark.parametrize("name", ["GCN", "GIN", "GraphSAGE"])
def test_gradients_equal_a_loop_over_records(name: str, readout: str, reduction: str) -> None:
    model, batch = RecordModel(network(name, readout=readout), reduction), RecordBatch.of(graphs_of())
    found = model.gradients(batch)
    assert [list(g.shape) for g in found] == [[batch.records, *p.shape] for p in model.parameters()]
    assert relative_error(found, loop_gradients(model, batch)) < 1e-5


def test_only_one_record_and_only_one_node_a_record() -> None:
    model = RecordModel(network("GCN"))
    for sizes in ((7,), (1,), (1, 1, 1)):
        batch = RecordBatch.of(graphs_of(sizes))
        assert relative_error(model.gradients(batch), loop_gradients(model, batch)) < 1e-5


def test_edge_weights_and_jumping_knowledge() -> None:
    batch = RecordBatch.of(graphs_of(weighted=True))
    model = RecordModel(network("GCN", jk="cat"))
    found = model.gradients(batch)
    assert relative_error(found, loop_gradients(model, batch)) < 1e-5
    assert relative_error(found, model.gradients(replace(batch, edge_weight=None))) > 1e-2


@pytest.mark.parametrize("name", ["GCN", "GraphSAGE"])
def test_rooted_records_are_read_out_at_their_root(name: str) -> None:
    kind = {"GCN": pyg.GCN, "GraphSAGE": pyg.GraphSAGE}[name]
    graph = graphs_of()
    assert graph.batch is not None
    roots = torch.searchsorted(graph.batch, torch.arange(graph.num_items), right=True) - 1  # the last row of each
    batch = RecordBatch(graph.x, graph.edge_index, graph.y, graph.batch, roots=roots)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RecordModel(kind(FEATURES, 8, 2, 2))
    assert relative_error(model.gradients(batch), loop_gradients(model, batch)) < 1e-5


def dense_loss(name: str, weights: dict[str, Tensor], x: Tensor, a: Tensor, mask: Tensor, y: Tensor) -> Tensor:
    """The same network on one padded record: x [n, F], a [n, n], mask [n]; padding is masked after every bias."""

    def linear(h: Tensor, key: str) -> Tensor:
        bias = weights.get(f"{key}.bias")
        out = h @ weights[f"{key}.weight"].T
        return out if bias is None else (out + bias) * mask[:, None]

    if name == "GCN":
        loops = a + torch.diag(mask)
        scale = loops.sum(dim=0).clamp_min(1).rsqrt()
        loops = scale[:, None] * loops * scale
    for i in range(2):
        if name == "GCN":
            x = (loops @ linear(x, f"gnn.convs.{i}.lin") + weights[f"gnn.convs.{i}.bias"]) * mask[:, None]
        else:
            x = linear((a @ x + x), f"gnn.convs.{i}.nn.lins.0").relu()
            x = linear(x, f"gnn.convs.{i}.nn.lins.1")
        x = x.relu() if i == 0 else x
    h = x.sum(dim=0)
    h = (h @ weights["head.lins.0.weight"].T + weights["head.lins.0.bias"]).relu()
    h = h @ weights["head.lins.1.weight"].T + weights["head.lins.1.bias"]
    return functional.cross_entropy(h[None], y[None])


@pytest.mark.parametrize("name", ["GCN", "GIN"])
def test_sparse_equals_dense(name: str) -> None:
    graph = graphs_of()
    model = RecordModel(network(name))
    weights = {key: value.detach() for key, value in model.model.state_dict().items() if not key.endswith("eps")}
    x, mask = to_dense_batch(graph.x, graph.batch)
    a = to_dense_adj(graph.edge_index, graph.batch)
    per_record = vmap(grad(lambda w, *record: dense_loss(name, w, *record)), in_dims=(None, 0, 0, 0, 0))(
        weights, x, a, mask.float(), graph.y
    )
    dense = [per_record[key] for key, _ in model.named_parameters()]
    assert relative_error(model.gradients(RecordBatch.of(graph)), dense) < 1e-5


def test_chunks_do_not_change_the_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = RecordModel(network("GIN")), RecordBatch.of(graphs_of())
    whole = model.gradients(batch)
    monkeypatch.setattr(record_layers, "CHUNK_BYTES", 1)
    assert relative_error(model.gradients(batch), whole) < 1e-6


def test_one_huge_record_does_not_pad_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = torch.cat([torch.randint(1, 40, (200,), generator=torch.Generator().manual_seed(0)), torch.tensor([620])])
    context = RecordContext()
    context.set(torch.repeat_interleave(torch.arange(201), sizes), 201)
    groups = list(context._padded(1))
    assert sorted(torch.cat([ids for ids, _ in groups]).tolist()) == list(range(201))
    assert sum(rows.numel() for _, rows in groups) <= 1.5 * int(sizes.sum())
    monkeypatch.setattr(record_layers, "CHUNK_BYTES", 50)
    assert all(rows.numel() <= 50 or len(ids) == 1 for ids, rows in context._padded(1))


def test_the_plain_network_is_the_one_that_trains() -> None:
    plain = network("GCN")
    names = list(plain.state_dict())
    model = RecordModel(plain)
    assert all(a is b for a, b in zip(model.parameters(), plain.parameters(), strict=True))
    batch = RecordBatch.of(graphs_of())
    with torch.no_grad():
        assert torch.allclose(batch.losses(plain), _in_context(model, batch), atol=1e-6)
    model.gradients(batch)
    assert model.close() is plain
    assert list(plain.state_dict()) == names
    assert all(p.grad is None and not vars(p) for p in plain.parameters())


def _in_context(model: RecordModel, batch: RecordBatch) -> Tensor:
    model.context.set(batch.record, batch.records)
    return batch.losses(model.twin)


def test_opacus_alone_takes_nodes_for_records() -> None:
    """Why none of this can be left to Opacus: GINConv runs under its hooks, one row a node."""
    graph = graphs_of((5, 40, 3))
    hooked = GradSampleModule(network("GIN"))
    with pytest.warns(UserWarning, match="Full backward hook"):
        functional.cross_entropy(hooked(graph.x, graph.edge_index, batch=graph.batch), graph.y).backward()
    rows = {p.grad_sample.shape[0] for p in hooked.parameters()}
    assert rows == {3, 48}  # the head is right, every convolution is not


class Pooled(nn.Module):
    """A layer, pooled by sum into a linear head."""

    def __init__(self, layer: nn.Module, width: int = FEATURES) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 2)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(pyg.global_add_pool(self.hidden(x, edge_index), batch))

    def hidden(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.layer(x, edge_index) if isinstance(self.layer, pyg.MessagePassing) else self.layer(x)


class Scaled(nn.Linear):
    """A linear layer that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "batch norm": (lambda: network("GIN", norm="batch_norm"), "normalises over rows"),
    "batch norm without statistics": (lambda: Pooled(nn.BatchNorm1d(FEATURES, affine=False)), "normalises over rows"),
    "instance norm": (lambda: Pooled(nn.InstanceNorm1d(FEATURES, track_running_stats=True)), "normalises over rows"),
    "graph norm": (lambda: network("GCN", norm="GraphNorm"), "normalises over rows"),
    "pair norm": (lambda: network("GCN", norm="PairNorm"), "normalises over rows"),
    "trained eps": (lambda: network("GIN", train_eps=True), "train_eps = false"),
    "attention": (lambda: network("GAT"), "unknown convolution"),
    "edge network": (lambda: network("EdgeCNN"), "unknown convolution"),
    "max aggregation": (lambda: network("GraphSAGE", aggr="max"), 'set aggr = "mean"'),
    "cached": (lambda: Pooled(pyg.GCNConv(FEATURES, FEATURES, cached=True)), "cached=True"),
    "attention pooling": (lambda: Pooled(pyg.AttentionalAggregation(nn.Linear(FEATURES, 1))), "pooling is learned"),
    "own parameter": (lambda: Pooled(nn.PReLU()), "weight have no per-record gradient"),
    "lstm": (lambda: Pooled(nn.LSTM(FEATURES, FEATURES)), "no per-record gradient"),
    "subclass of Linear": (lambda: Pooled(Scaled(FEATURES, FEATURES)), "no per-record gradient"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_layers_without_a_gradient_per_record_are_refused(case: str) -> None:
    build, reason = REFUSED[case]
    with pytest.raises(SkippedError, match=reason) as caught:
        RecordModel(build())
    assert "Supported: GCNConv" in str(caught.value)


class CrossRecord(Pooled):
    """Subtracts the mean of the whole batch: no layer of it can be seen to mix records."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return super().forward(x - x.mean(dim=0), edge_index, batch)


class Leaky(Pooled):
    """Uses a weight outside of its layer."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return super().forward(x, edge_index, batch) * (1 + self.head.weight.sum())


class Unused(Pooled):
    """Has a layer that the forward pass does not call."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(pyg.global_add_pool(x, batch))


class OnEdges(Pooled):
    """A linear layer on rows that are edges."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        messages = self.layer(x[edge_index[0]])
        return self.head(pyg.global_add_pool(messages, batch[edge_index[1]], size=int(batch.max()) + 1))


class Unpooled(Pooled):
    """One answer a node."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(self.layer(x, edge_index))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (CrossRecord, "record-independence"),
        (Leaky, "per-record-gradients"),
        (Unused, "layer.bias has per-record gradients nothing"),
        (Unpooled, "rows for 8 records"),
    ],
)
def test_probes_catch_what_no_list_of_layers_can(kind: type[Pooled], reason: str) -> None:
    model = RecordModel(kind(pyg.GCNConv(FEATURES, FEATURES)))
    with pytest.raises(PerRecordShapeError, match=reason):
        check_records(model, synthetic_records(FEATURES, 2))


def test_rows_that_are_edges_are_refused() -> None:
    with pytest.raises(PerRecordShapeError, match="layer layer got"):
        check_records(RecordModel(OnEdges(nn.Linear(FEATURES, FEATURES))), synthetic_records(FEATURES, 2))


@pytest.mark.parametrize("name", ["GCN", "GIN", "GraphSAGE"])
def test_what_is_supported_passes_every_probe_and_drops_nothing_out(name: str) -> None:
    model, batch = RecordModel(network(name, dropout=0.5)), synthetic_records(FEATURES, 2)
    state = torch.random.get_rng_state()
    rows = check_records(model, batch)
    assert all(torch.equal(a, b) for a, b in zip(model.gradients(batch), model.gradients(batch), strict=True))
    assert [row.id for row in rows] == ["per-record-rows", "record-independence", "per-record-gradients"]
    assert all(row.status == "pass" for row in rows)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.model.training


def test_rooted_networks_pass_every_probe() -> None:
    assert len(check_records(RecordModel(pyg.GCN(FEATURES, 8, 2, 2)), synthetic_records(FEATURES, 2, roots=True))) == 3


def test_records_must_be_sorted_and_complete() -> None:
    graph = graphs_of((3, 4))
    assert graph.batch is not None
    for record in (graph.batch.flip(0), graph.batch + 1):
        with pytest.raises(PerRecordShapeError, match="sorted"):
            RecordModel(network("GCN")).gradients(replace(RecordBatch.of(graph), record=record))


def test_a_loss_that_is_no_number_is_an_error() -> None:
    batch = RecordBatch.of(graphs_of((3, 4)))
    with pytest.raises(EvaluationError, match="record 1 of a batch is nan"):
        RecordModel(network("GIN")).gradients(replace(batch, x=batch.x.index_fill(0, torch.tensor([5]), float("nan"))))
