"""The call convention: what each parameter gets, what is asked, what is refused; the answers of a direct call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GAT, GCN, GCNConv, GINEConv, GraphSAGE, global_add_pool

from auditor.data.fields import Fields
from auditor.data.graph import Graph, Split
from auditor.errors import CallError, ConfigError, GraphError, TaskError
from auditor.targets.call_rules import MAX_CALLS, find_calls
from auditor.targets.resolve import call_line, resolve
from auditor.targets.target import ModelHandle
from tests.toys import random_split, sbm_graph, small_graphs

PLAIN = sbm_graph(n=60)
N, E, F = PLAIN.num_nodes, PLAIN.num_edges, PLAIN.num_features


def seeded(size: int, *more: int) -> Tensor:
    return torch.rand(size, *more, generator=torch.Generator().manual_seed(size))


FULL = replace(PLAIN, fields=Fields({"pos": seeded(N, 3)}, {"edge_attr": seeded(E, 4)}))
WEIGHTED = replace(PLAIN, fields=Fields(edge={"edge_attr": seeded(E)}))
UNKNOWN = Split.unknown(N)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lin = nn.Linear(F, 8)
        self.conv = GCNConv(8, 3)
        self.edges = GINEConv(nn.Linear(8, 3), edge_dim=4)


def made(forward: Callable[..., Any]) -> nn.Module:
    """A model of that forward, in eval mode."""
    return type("Made", (Net,), {"forward": forward})().eval()


def direct(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    with torch.no_grad():
        return model(*args, **kwargs)


def through(model: nn.Module, graph: Graph, **options: Any) -> Tensor:
    """Logits by the resolved call."""
    found = resolve(model, graph, split=UNKNOWN if graph.batch is None else Split.unknown(graph.num_items), **options)
    g = found.graph
    with torch.no_grad():
        return ModelHandle(model, call=found.call).logits(g.x, g.edge_index, g.edge_weight, g.batch, g.fields)


def test_an_encoder_of_another_name_and_width_is_called_as_it_is() -> None:
    model = made(lambda self, feat, edges: self.conv(self.lin(feat).relu(), edges))
    torch.testing.assert_close(through(model, PLAIN), direct(model, PLAIN.x, PLAIN.edge_index))


def test_required_and_optional_fields_are_passed_by_name() -> None:
    required = made(lambda self, x, edge_index, edge_attr: self.edges(self.lin(x), edge_index, edge_attr))
    expected = direct(required, FULL.x, FULL.edge_index, FULL.fields.edge["edge_attr"])
    torch.testing.assert_close(through(required, FULL), expected)

    def forward(self: Any, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        return (
            self.conv(self.lin(x), edge_index) if edge_attr is None else self.edges(self.lin(x), edge_index, edge_attr)
        )

    torch.testing.assert_close(through(made(forward), FULL), expected)


def test_a_field_that_the_graph_lacks_is_named() -> None:
    model = made(lambda self, x, edge_index, edge_type: self.conv(self.lin(x), edge_index))
    with pytest.raises(CallError, match="forward needs edge_type; the graph holds x, edge_index, pos, edge_attr, y"):
        find_calls(model, FULL)


def test_what_forward_does_not_take_is_told() -> None:
    model = made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index))
    found = resolve(model, FULL, split=UNKNOWN)
    assert set(found.call.unused) == {"pos", "edge_attr"}
    assert not found.graph.fields
    assert list(found.graph.columns) == ["pos"]
    some = torch.tensor([3, 1])
    torch.testing.assert_close(found.graph.taking(some, some).columns["pos"], FULL.fields.node["pos"][some])


def test_data_holds_every_field() -> None:
    def forward(self: Any, data: Data) -> Tensor:
        assert data.y is None
        return self.edges(self.lin(data.x) + data.pos.sum(dim=1, keepdim=True), data.edge_index, data.edge_attr)

    model = made(forward)
    data = Data(x=FULL.x, edge_index=FULL.edge_index, y=None, **dict(FULL.fields))
    torch.testing.assert_close(through(model, FULL), direct(model, data))


@pytest.mark.parametrize(
    "look",
    [
        lambda data, name: getattr(data, name, None),
        lambda data, name: name in data,
        lambda data, name: hasattr(data.clone(), name),
        lambda data, name: data[name],
        lambda data, name: getattr(data, name),
    ],
)
@pytest.mark.parametrize(("name", "words"), [("train_mask", "trained or tested on"), ("kind", "neither a tensor")])
def test_what_is_withheld_is_refused_where_forward_looks_for_it(
    look: Callable[[Any, str], Any], name: str, words: str
) -> None:
    def forward(self: Any, data: Data) -> Tensor:
        found = look(data, name)
        return self.conv(self.lin(data.x), data.edge_index) * (2.0 if isinstance(found, Tensor) or found is True else 1)

    with pytest.raises(CallError, match=rf"data\.{name}, which .*{words}"):
        resolve(made(forward), replace(PLAIN, withheld=("kind", "train_mask")), split=UNKNOWN)


def test_a_mask_that_is_looked_up_and_moves_no_answer_is_no_obstacle() -> None:
    def forward(self: Any, data: Data) -> Any:
        z = self.conv(self.lin(data.x), data.edge_index)
        return (z, z[data.train_mask].mean()) if "train_mask" in data else (z, None)

    model = made(forward)
    expected = direct(model, Data(x=PLAIN.x, edge_index=PLAIN.edge_index))[0]
    torch.testing.assert_close(through(model, replace(PLAIN, withheld=("train_mask",))), expected)


def test_what_is_withheld_and_not_looked_for_is_told() -> None:
    graph = replace(PLAIN, withheld=("kind", "train_mask"))
    model = made(lambda self, data: self.conv(self.lin(data.x), data.edge_index))
    assert resolve(model, graph, split=UNKNOWN).call.unused == ("kind",)
    optional = made(lambda self, x, edge_index, kind=None: self.conv(self.lin(x), edge_index))
    with pytest.raises(CallError, match="forward takes kind, which is in the data and cannot be handed on"):
        resolve(optional, graph, split=UNKNOWN)
    assert resolve(optional, graph, split=UNKNOWN, pinned={"kind": "none"}).call.unused == ("kind",)


def test_a_batch_of_graphs_knows_its_graphs() -> None:
    graph = small_graphs(9)
    lin = nn.Linear(graph.num_features, 2)
    model = made(lambda self, data: global_add_pool(lin(data.x), data.batch, size=data.num_graphs))
    torch.testing.assert_close(
        through(model, graph), direct(model, Data(x=graph.x, batch=graph.batch, num_graphs=graph.num_items))
    )


def test_an_adjacency_is_edge_index_where_the_layer_reads_it_and_a_matrix_where_it_must() -> None:
    sparse = made(lambda self, x, adj_t: adj_t.matmul(self.lin(x))[:, :3])
    adjacency = torch.zeros(N, N).index_put((PLAIN.edge_index[1], PLAIN.edge_index[0]), torch.tensor(1.0))
    torch.testing.assert_close(through(sparse, PLAIN), direct(sparse, PLAIN.x, adjacency))
    layer = made(lambda self, x, adj_t: self.conv(self.lin(x), adj_t))
    torch.testing.assert_close(through(layer, PLAIN), direct(layer, PLAIN.x, PLAIN.edge_index))


def test_weights_in_one_column_are_asked_for_unless_something_decides() -> None:
    model = made(lambda self, x, edge_index, edge_weight=None: self.conv(self.lin(x), edge_index, edge_weight))
    with pytest.raises(CallError, match=r"edge_attr \[E\] may be edge_weight, and the answers differ"):
        resolve(model, WEIGHTED, split=UNKNOWN)
    with_them = direct(model, PLAIN.x, PLAIN.edge_index, WEIGHTED.fields.edge["edge_attr"])
    without = direct(model, PLAIN.x, PLAIN.edge_index)
    torch.testing.assert_close(through(model, WEIGHTED, pinned={"edge_weight": "edge_attr"}), with_them)
    torch.testing.assert_close(through(model, WEIGHTED, pinned={"edge_weight": "none"}), without)


def shaken(model: nn.Module) -> nn.Module:
    """A library's model whose layers give every node an answer of its own."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_weights_under_the_name_of_a_parameter_that_a_library_model_ignores_are_asked_for() -> None:
    model = shaken(GCN(F, 8, 2, 3))  # its forward names edge_attr and never reads it
    weights = WEIGHTED.fields.edge["edge_attr"]
    with_them, without = (direct(model, PLAIN.x, PLAIN.edge_index, w) for w in (weights, None))
    with pytest.raises(CallError, match=r"changes no answer as edge_attr, may be edge_weight") as asked:
        resolve(model, WEIGHTED, split=UNKNOWN)
    assert "forward(x, edge_index); forward(x, edge_index, edge_weight=edge_attr)" in str(asked.value)
    for pinned in ({"edge_weight": "edge_attr"}, {"edge_weight": "edge_attr", "edge_attr": "none"}):
        torch.testing.assert_close(through(model, WEIGHTED, pinned=pinned), with_them)
    torch.testing.assert_close(through(model, WEIGHTED, pinned={"edge_weight": "none"}), without)
    split, y = random_split(N), with_them.argmax(dim=1)
    assert bool((without.argmax(dim=1) != y)[split.test].any())
    found = resolve(model, replace(WEIGHTED, y=y), split=split, claim=1.0)
    assert (found.status, found.call.describe()) == ("pass", "forward(x, edge_index, edge_weight=edge_attr)")
    edited = found.graph.keeping(torch.arange(0, E, 2))
    logits = ModelHandle(model, call=found.call).logits(edited.x, edited.edge_index, edited.edge_weight)
    torch.testing.assert_close(logits, direct(model, PLAIN.x, PLAIN.edge_index[:, ::2], weights[::2]))


def test_weights_that_a_model_reads_as_features_of_edges_are_no_question() -> None:
    graph = replace(PLAIN, fields=Fields(edge={"edge_attr": seeded(E, 1)}))
    model = shaken(GAT(F, 6, 2, 3, edge_dim=1))
    expected = direct(model, PLAIN.x, PLAIN.edge_index, edge_attr=seeded(E, 1))
    torch.testing.assert_close(through(model, graph), expected)


@pytest.mark.parametrize("kind", [GCN, GraphSAGE])
def test_a_field_that_is_taken_and_changes_nothing_is_told_as_not_used(kind: type[nn.Module]) -> None:
    model = shaken(kind(F, 8, 2, 3))
    line = call_line(resolve(model, FULL, split=UNKNOWN).describe())
    assert line.startswith("forward(x, edge_index); in the data but not used by forward")
    assert "edge_attr" in line
    assert call_line(resolve(model, PLAIN, split=UNKNOWN).describe()).startswith("forward(x, edge_index); nothing")
    assert not resolve(model, FULL, split=UNKNOWN).graph.fields


def test_a_required_field_that_changes_nothing_is_given_and_told() -> None:
    model = made(lambda self, x, edge_index, pos: self.conv(self.lin(x), edge_index))
    found = resolve(model, FULL, split=UNKNOWN)
    assert found.call.describe() == "forward(x, edge_index, pos)"
    assert set(found.call.unused) == {"edge_attr", "pos"}
    reads = made(lambda self, x, edge_index, pos: self.conv(self.lin(x) + pos.sum(), edge_index))
    assert set(resolve(reads, FULL, split=UNKNOWN).call.unused) == {"edge_attr"}


def test_a_synonym_of_edge_weight_is_no_guess() -> None:
    model = made(lambda self, x, edge_index, edge_weight=None: self.conv(self.lin(x), edge_index, edge_weight))
    graph = replace(PLAIN, fields=Fields(edge={"weight": seeded(E)}))
    torch.testing.assert_close(through(model, graph), direct(model, PLAIN.x, PLAIN.edge_index, seeded(E)))


def test_a_claim_decides_and_the_most_accurate_does_not() -> None:
    model = made(lambda self, x, edge_index, edge_weight=None: self.conv(self.lin(x), edge_index, edge_weight))
    split, weights = random_split(N), 9.0 * (seeded(E) > 0.8)
    y = direct(model, PLAIN.x, PLAIN.edge_index, weights).argmax(dim=1)  # so that it is always right with the weights
    graph = replace(PLAIN, y=y, fields=Fields(edge={"edge_attr": weights}))
    right = direct(model, PLAIN.x, PLAIN.edge_index).argmax(dim=1) == y
    without = float(right[split.test].double().mean())
    assert without < 0.9
    found = resolve(model, graph, split=split, claim=without)
    assert found.status == "pass"
    assert found.graph.edge_weight is None
    assert resolve(model, graph, split=split, claim=1.0).graph.edge_weight is not None
    wrong = resolve(model, graph, split=split, claim=0.0123)
    assert wrong.status == "fail"
    assert "0.0123 is claimed" in wrong.evidence


def test_a_preparation_that_meets_the_claim_is_advice_alone() -> None:
    model = made(lambda self, x, adj_t: adj_t @ self.lin(x)[:, :3])
    split = random_split(N)
    pinned = resolve(model, PLAIN, split=split, pinned={"adj": "gcn-norm"})
    logits = ModelHandle(model, call=pinned.call).logits(PLAIN.x, PLAIN.edge_index)
    found = resolve(model, replace(PLAIN, y=logits.argmax(dim=1)), split=split, claim=1.0)
    assert found.status == "fail"
    assert 'with [call] adj = "gcn-norm" it is 1.0000' in found.evidence
    assert ("adj_t", "gcn-norm") not in found.call.arguments


@pytest.mark.parametrize("name", ["adj", "A", "adj_t"])
def test_the_advice_on_an_adjacency_is_taken_whatever_the_parameter_is_called(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def forward(self, x, {name}): return {name} @ self.lin(x)[:, :3]", scope)
    found = resolve(made(scope["forward"]), PLAIN, split=UNKNOWN, pinned={"adj": "gcn-norm"})
    assert (name, "gcn-norm") in found.call.arguments
    with pytest.raises(ConfigError, match='adj is "gcn"'):
        resolve(made(scope["forward"]), PLAIN, split=UNKNOWN, pinned={"adj": "gcn"})


@pytest.mark.parametrize("graph", [PLAIN, small_graphs(9)])
def test_a_batch_that_is_the_only_parameter_is_the_whole_graph(graph: Graph) -> None:
    lin = nn.Linear(graph.num_features, 3)
    model = made(
        lambda self, batch: lin(batch.x) if batch.batch is None else global_add_pool(lin(batch.x), batch.batch)
    )
    expected = direct(model, Data(x=graph.x, batch=graph.batch))
    torch.testing.assert_close(through(model, graph), expected)


def test_a_batch_size_is_the_number_of_graphs() -> None:
    graph = small_graphs(9)
    lin = nn.Linear(graph.num_features, 3)
    model = made(lambda self, x, batch, batch_size: global_add_pool(lin(x), batch, batch_size))
    torch.testing.assert_close(through(model, graph), direct(model, graph.x, graph.batch, 9))


@pytest.mark.parametrize("whole", [True, False])
def test_features_of_one_dimension_are_handed_on_as_they_are(whole: bool) -> None:
    table = nn.Embedding(5, 8)
    x = torch.arange(N) % 5
    graph = replace(PLAIN, x=x.float()[:, None], whole_x=True, flat_x=True)
    if whole:
        model = made(lambda self, data: self.conv(table(data.x), data.edge_index))
        expected = direct(model, Data(x=x, edge_index=PLAIN.edge_index))
    else:
        model = made(lambda self, x, edge_index: self.conv(table(x), edge_index))
        expected = direct(model, x, PLAIN.edge_index)
    torch.testing.assert_close(through(model, graph), expected)
    column = made(lambda self, x, edge_index: self.conv(table(x[:, 0]), edge_index))
    torch.testing.assert_close(through(column, graph), direct(column, x[:, None], PLAIN.edge_index))


def test_an_answer_of_another_shape_gets_advice_that_fits_it() -> None:
    with pytest.raises(CallError, match="a column per node: return its transpose"):
        find_calls(made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index).t()), PLAIN)
    graph = small_graphs(9)
    lin = nn.Linear(graph.num_features, 2)
    with pytest.raises(CallError, match=r"takes all graphs for one.*to_dense_batch"):
        find_calls(made(lambda self, x, adj: lin(x).mean(0, keepdim=True)), graph)


@dataclass
class Answer:
    loss: float
    logits: Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z, h: (z, torch.tensor(0.3)),
        lambda z, h: {"logits": z, "hidden": h},
        lambda z, h: Answer(0.1, z),
        lambda z, h: [z],
    ],
)
def test_the_answers_are_found_among_several_outputs(wrap: Callable[[Tensor, Tensor], Any]) -> None:
    def forward(self: Any, x: Tensor, edge_index: Tensor) -> Any:
        h = self.lin(x)
        return wrap(self.conv(h, edge_index), h)

    expected = direct(made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index)), PLAIN.x, PLAIN.edge_index)
    torch.testing.assert_close(through(made(forward), PLAIN), expected)


def test_two_outputs_that_could_both_be_the_answers_are_asked_for() -> None:
    model = made(lambda self, x, edge_index: (self.lin(x), self.conv(self.lin(x), edge_index)))
    with pytest.raises(CallError, match="output 0 of 2 may hold the answers"):
        resolve(model, PLAIN, split=UNKNOWN)
    assert through(model, PLAIN, pinned={"output": 1}).shape == (N, 3)
    with pytest.raises(CallError, match="output is 7"):
        resolve(model, PLAIN, split=UNKNOWN, pinned={"output": 7})


def test_one_logit_is_two_classes() -> None:
    graph = replace(PLAIN, y=PLAIN.y.clamp(max=1))
    model = made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index)[:, 0])
    z = direct(model, graph.x, graph.edge_index)
    torch.testing.assert_close(through(model, graph), torch.stack([torch.zeros(N), z], dim=1))
    sure = made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index)[:, :1].sigmoid())
    torch.testing.assert_close(through(sure, graph).exp()[:, 1], z.sigmoid())


def test_labels_beyond_the_outputs_are_refused_and_absent_classes_are_not() -> None:
    model = made(lambda self, x, edge_index: self.conv(self.lin(x), edge_index))
    assert resolve(model, replace(PLAIN, y=PLAIN.y.clamp(max=0)), split=UNKNOWN).num_classes == 3
    with pytest.raises(GraphError, match="labels up to 3, the model gives 3 outputs"):
        resolve(model, replace(PLAIN, y=PLAIN.y + 1), split=UNKNOWN)


def test_ids_stay_whole_numbers() -> None:
    graph = replace(PLAIN, x=torch.arange(N).float()[:, None] % 7, whole_x=True)
    table = nn.Embedding(7, 3)
    model = made(lambda self, x, edge_index: table(x[:, 0]))
    torch.testing.assert_close(through(model, graph), direct(model, graph.x.long(), graph.edge_index))
    reads_floats = made(lambda self, x, edge_index: x @ torch.ones(1, 3))
    assert through(reads_floats, graph).dtype == torch.float32


@pytest.mark.parametrize(
    ("forward", "error", "words"),
    [
        (lambda self, x_dict, edge_index_dict: 0, TaskError, "heterogeneous"),
        (lambda self, x, t, msg: 0, TaskError, "temporal"),
        (lambda self, x, edge_index, edge_label_index: 0, TaskError, "link prediction"),
        (lambda self: 0, CallError, "reads the global data"),
        (lambda self, x, edge_index: self.lin(x[:, :2]), CallError, "RuntimeError"),
        (lambda self, x, edge_index: self.lin(x)[:5], CallError, r"returns \[5, 8\]; .* \[60, C\]"),
        (lambda self, *args: self.conv(*args), CallError, r"forward\(\*args\) does not name its arguments"),
        (lambda self, **given: self.lin(given["x"]), CallError, r"forward\(\*\*given\) does not name its arguments"),
        (lambda self, x, edges, /: self.conv(x, edges), CallError, r"\(x, edges, /\) does not name its arguments"),
        (lambda self, x, *rest: self.conv(x, *rest), CallError, r"forward\(x, \*rest\) has arguments without names"),
        (lambda self, x, edge_index, y: self.lin(x), CallError, "forward needs y, the labels"),
        (lambda self, data: self.lin(data.x) * data.y[:, None], CallError, "forward reads data.y, the labels"),
        (lambda self, data: self.lin(data["x"]) * data["y"][:, None], CallError, "forward reads data.y, the labels"),
        (lambda self, data: self.lin(data.x[:, :2]) + data.adj_t, CallError, "RuntimeError"),
        (lambda self, data: self.lin(data.x)[data.train_mask], CallError, "data.train_mask, which items"),
        (
            lambda self, data: self.lin(data.x) + data.tempo,
            CallError,
            "reads data.tempo; the graph holds x, edge_index, y",
        ),
    ],
)
def test_what_cannot_be_audited_is_named(forward: Callable[..., Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        find_calls(made(forward), PLAIN)


NO_SCORES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "argmax": (
        lambda z: z.argmax(dim=1),
        r"class numbers \(int64 \[60\]\); logits or probabilities \[60, C\] are needed",
    ),
    "argmax kept": (lambda z: z.argmax(dim=1, keepdim=True), r"class numbers \(int64 \[60, 1\]\).*without argmax"),
    "argmax as floats": (lambda z: z.argmax(dim=1).float(), r"class numbers \(float32 \[60\]\)"),
    "one-hot": (lambda z: functional.one_hot(z.argmax(dim=1)), "whole numbers"),
    "thresholds": (lambda z: z > 0, r"yes or no \(bool \[60, 8\]\)"),
    "a threshold": (lambda z: z[:, 0] > 0, r"yes or no \(bool \[60\]\)"),
    "complex": (lambda z: torch.complex(z, z), r"complex numbers \(complex64 \[60, 8\]\).*Return real"),
    "sparse": (lambda z: z.to_sparse(), "a sparse tensor.*to_dense"),
    "numpy": (lambda z: z.numpy(), r"numpy.ndarray \[60, 8\].*Return the tensor"),
    "a list": (lambda z: z.tolist(), "5: list and 54 more"),
    "nothing": (lambda z: None, r"nothing \(None\)"),
    "words": (lambda z: {"loss": 0.1, "kind": "gcn"}, "loss: float, kind: str"),
    "classes in a tuple": (lambda z: (z.argmax(dim=1), z.mean()), r"0: class numbers \(int64 \[60\]\), 1: \[\]"),
}


@pytest.mark.parametrize("name", NO_SCORES)
def test_answers_without_scores_are_named_with_the_remedy(name: str) -> None:
    change, words = NO_SCORES[name]
    with pytest.raises(CallError, match=f"forward returns .*{words}"):
        find_calls(made(lambda self, x, edge_index: change(self.lin(x))), PLAIN)


def test_class_numbers_beside_scores_are_no_choice() -> None:
    model = made(lambda self, x, edge_index: (self.lin(x).argmax(dim=1), self.lin(x)))
    (answer,) = find_calls(model, PLAIN)
    assert answer.call.output == 1
    assert not answer.call.inexact
    torch.testing.assert_close(answer.logits, direct(model, PLAIN.x, None)[1])
    with pytest.raises(CallError, match=r"class numbers \(int64 \[60\]\)"):
        find_calls(model, PLAIN, {"output": 0})


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, data: self.conv(self.lin(data.x), data.adj_t),
        lambda self, g: self.conv(self.lin(g["x"]), g["adj_t"]),
    ],
)
def test_an_adjacency_that_is_looked_up_in_data_is_made(forward: Callable[..., Any]) -> None:
    given = PLAIN.with_edges(PLAIN.edge_index[:, : E // 2])  # one-way edges: a transposed adjacency gives others
    expected = direct(made(lambda self, x, e: self.conv(self.lin(x), e)), given.x, given.edge_index)
    torch.testing.assert_close(through(made(forward), given), expected)


def test_an_adjacency_is_not_made_for_who_asks_whether_it_is_there() -> None:
    model = made(lambda self, data: self.lin(data.x) * (1 if hasattr(data, "adj_t") else 2))
    torch.testing.assert_close(through(model, PLAIN), 2 * direct(model.lin, PLAIN.x))


def test_an_adjacency_of_many_graphs_is_made_in_their_batch() -> None:
    graphs = small_graphs(5)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = GCNConv(graphs.num_features, 2)

        def forward(self, data: Any) -> Tensor:
            assert isinstance(data, Batch)
            assert data.num_graphs == 5
            return global_add_pool(self.conv(data.x, data.adj_t), data.batch)

    model = Pooled().eval()
    expected = global_add_pool(direct(model.conv, graphs.x, graphs.edge_index), graphs.batch)
    torch.testing.assert_close(through(model, graphs), expected)


def test_encode_and_decode_are_link_prediction() -> None:
    model = made(lambda self, x, edge_index: self.lin(x))
    model.encode = model.decode = None
    with pytest.raises(TaskError, match="link prediction"):
        find_calls(model, PLAIN)


@pytest.mark.parametrize(
    ("pinned", "words"),
    [({"edge_wieght": "none"}, "edge_weight"), ({"edge_weight": "pso"}, "pos"), ({"adj": "x"}, "csr")],
)
def test_a_wrong_call_table_is_explained(pinned: dict[str, str], words: str) -> None:
    model = made(lambda self, x, adj_t, edge_weight=None: 0)
    with pytest.raises(ConfigError, match=words):
        find_calls(model, FULL, pinned)


def test_the_order_of_fields_and_parameters_changes_nothing() -> None:
    there = made(lambda self, x, edge_index, edge_attr: self.edges(self.lin(x), edge_index, edge_attr))
    back = made(lambda self, edge_attr, edge_index, x: self.edges(self.lin(x), edge_index, edge_attr))
    turned = replace(FULL, fields=Fields(FULL.fields.node, dict(reversed(FULL.fields.edge.items()))))
    assert torch.equal(through(there, FULL), through(back, turned))


def test_at_most_24_forwards_are_tried() -> None:
    calls = []

    def forward(self: Any, x: Tensor, adj: Tensor, adj_t: Tensor, A: Tensor, edge_weight: Any = None) -> Tensor:
        calls.append(1)
        raise ValueError("no")

    with pytest.raises(CallError, match="ValueError: no"):
        find_calls(made(forward), WEIGHTED)
    assert len(calls) <= MAX_CALLS


def test_an_edit_that_forgets_a_field_is_no_silent_number() -> None:
    model = made(lambda self, x, edge_index, edge_attr: self.edges(self.lin(x), edge_index, edge_attr))
    found = resolve(model, FULL, split=UNKNOWN)
    handle, g = ModelHandle(model, call=found.call), found.graph
    with pytest.raises(CallError, match="edge_attr"):
        handle.logits(g.x, g.edge_index)
    with pytest.raises(CallError, match="rows"):
        handle.logits(g.x, g.edge_index[:, 1:], None, None, g.fields)


def test_a_weight_or_attribute_that_forward_does_not_take_is_said_to_change_nothing() -> None:
    both = replace(PLAIN, edge_weight=seeded(E), fields=Fields(edge={"edge_attr": seeded(E, 4)}))
    weighs = made(lambda self, x, edge_index, edge_weight: self.conv(self.lin(x), edge_index, edge_weight))
    reads = made(lambda self, x, edge_index, edge_attr: self.edges(self.lin(x), edge_index, edge_attr))
    for model, left in ((weighs, "edge_attr"), (reads, "edge_weight")):
        line = call_line(resolve(model, both, split=UNKNOWN).describe())
        assert f"in the data but not used by forward, so without effect on any number: {left};" in line
