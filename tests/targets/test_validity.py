"""Each row has a target that fails it and one that passes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv
from torch_geometric.utils import to_dense_adj

from auditor.data.graph import Graph, Split
from auditor.document import ValidityRow
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Capability, Target
from auditor.targets.validity import validity_rows
from tests.toys import sbm_graph, small_graphs, toy_target

GCN = toy_target("gcn")
GIN = toy_target("graph-gin")


def rows_of(target: Target) -> dict[str, ValidityRow]:
    return {row.id: row for row in validity_rows(target, np.random.default_rng(0))}


class Wrapped(nn.Module):
    """The trained model, and something done to its answer."""

    def __init__(self, model: nn.Module, change: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x, edge_index, edge_weight=None, batch=None):
        extra: dict[str, Any] = {} if batch is None else {"batch": batch}
        if edge_weight is not None:
            extra["edge_weight"] = edge_weight
        return self.change(self.model(x, edge_index, **extra), x=x, edge_index=edge_index, batch=batch)


def changed(change: Callable[..., torch.Tensor], target: Target = GCN, **fields: Any) -> Target:
    model = Wrapped(copy.deepcopy(target.model), change)
    return replace(target, model=model, **fields)


def noise(out, **_):
    return out + 0.01 * torch.randn_like(out)


def nan_row(out, **_):
    bad = torch.zeros_like(out)
    bad[3, 1] = float("nan")
    return out + bad


def positional(out, **_):
    return out + torch.linspace(0, 1, out.shape[0])[:, None] * torch.tensor([1.0, -1.0, 0.0])


def batch_statistics(out, **_):
    return out - out.mean(dim=0)


def saturated(out, **_):
    return 1e4 * out


def detached(out, **_):
    return out.detach()


def cached(out, *, edge_index, **_):
    """Pretends to use the edges and answers from a constant."""
    return out.detach() * 0 + torch.linspace(-1, 1, 3) + 0 * edge_index.sum()


def per_edge(out, *, edge_index, **_):
    return out + 1 / edge_index.shape[1]


def scaled_weights() -> Target:
    class Scaled(Wrapped):
        def forward(self, x, edge_index, edge_weight=None):
            weight = None if edge_weight is None else 0.5 * edge_weight + 0.2
            return self.model(x, edge_index, edge_weight=weight)

    return replace(GCN, model=Scaled(copy.deepcopy(GCN.model), noise))


def cached_layer() -> Target:
    from torch_geometric.nn import GCNConv

    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = GCNConv(GCN.graph.num_features, 3, cached=True)

        def forward(self, x, edge_index):
            return self.conv(x, edge_index)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Cached()
    with torch.no_grad():
        model(GCN.graph.x, GCN.graph.edge_index)
    return replace(GCN, model=model)


def untested_class() -> Target:
    y = GCN.graph.y
    train = GCN.split.train & (y != 2)
    return replace(GCN, split=Split(train, GCN.split.val, GCN.split.test))


def untrained() -> Target:
    def constant(out, **_):
        return 0 * out + torch.tensor([0.0, 1.0, 0.0]) + 0.01 * out

    return changed(constant)


def copied_rows() -> Target:
    """As many test nodes as can have the features of a train node."""
    train, test = (torch.nonzero(mask).flatten() for mask in (GCN.split.train, GCN.split.test))
    x, copied = GCN.graph.x.clone(), min(len(train), len(test))
    x[test[:copied]] = x[train[:copied]]
    return replace(GCN, graph=replace(GCN.graph, x=x))


def copied_graphs() -> Target:
    """As many test graphs as can are a train graph, too."""
    train, test = (torch.nonzero(mask).flatten() for mask in (GIN.split.train, GIN.split.test))
    order, copied = torch.arange(GIN.graph.num_items), min(len(train), len(test))
    order[test[:copied]] = train[:copied]
    slices = GraphSlices(GIN.graph)
    parts = [slices.take(i[None]) for i in order]
    nodes = torch.tensor([part.num_nodes for part in parts])
    before = nodes.cumsum(0) - nodes
    graph = replace(
        GIN.graph,
        x=torch.cat([part.x for part in parts]),
        edge_index=torch.cat([part.edge_index + start for part, start in zip(parts, before, strict=True)], dim=1),
        y=GIN.graph.y[order],
        batch=torch.arange(len(parts)).repeat_interleave(nodes),
    )
    return replace(GIN, graph=graph)


def hygiene() -> Target:
    g = GCN.graph
    extra = torch.tensor([[0, 0, 5], [0, 1, 5]])  # a loop, an edge one way (at least), a loop
    return replace(GCN, graph=replace(g, edge_index=torch.cat([g.edge_index, extra, extra], dim=1)))


def tidy() -> Target:
    """No isolated node: a ring through everybody."""
    n = 120
    ring = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
    edges = torch.cat([ring, ring.flip(0)], dim=1)
    return replace(GCN, graph=replace(sbm_graph(), edge_index=edges))


def probabilities() -> Target:
    return replace(GCN, provenance={"outputs": "probs"})


REFERENCE = {"reference": {"difference": 0.0, "scale": 3.0}}
CALL = {"forward": "forward(x, edge_index)", "not_used": [], "output": None, "status": "pass", "evidence": "proved"}
CASES: dict[str, tuple[Callable[[], Target], str, Callable[[], Target]]] = {
    "deterministic": (lambda: changed(noise), "fail", lambda: GCN),
    "finite": (lambda: changed(nan_row), "fail", lambda: GCN),
    "reference": (
        lambda: replace(GCN, provenance={"reference": {"difference": 0.1, "scale": 3.0}}),
        "fail",
        lambda: replace(GCN, provenance=REFERENCE),
    ),
    "clean-accuracy": (
        lambda: replace(GCN, claimed_accuracy=GCN.accuracy() - 0.05),
        "fail",
        lambda: replace(GCN, claimed_accuracy=GCN.accuracy()),
    ),
    "call": (
        lambda: replace(GCN, provenance={"call": CALL | {"status": "fail", "evidence": "0.9 is claimed"}}),
        "fail",
        lambda: replace(GCN, provenance={"call": CALL}),
    ),
    "equivariant": (lambda: changed(positional), "fail", lambda: GCN),
    "batch-independent": (lambda: changed(batch_statistics, GIN), "fail", lambda: GIN),
    "split": (untested_class, "fail", lambda: GCN),
    "edge-dependence": (lambda: changed(cached), "fail", lambda: GCN),
    "beats-constant": (untrained, "fail", lambda: GCN),
    "gradient": (lambda: changed(detached), "fail", lambda: GCN),
    "output-scale": (lambda: changed(saturated), "fail", lambda: GCN),
    "output-kind": (probabilities, "warn", lambda: GCN),
    "relaxation-gap": (scaled_weights, "warn", lambda: GCN),
    "graph-hygiene": (hygiene, "warn", tidy),
    "row-duplicate": (copied_rows, "warn", lambda: GCN),
    "graph-duplicate": (copied_graphs, "warn", lambda: GIN),
}


@pytest.mark.parametrize("id_", CASES)
def test_a_row_fails_where_it_must_and_passes_where_it_may(id_: str) -> None:
    broken, status, sound = CASES[id_]
    bad, good = rows_of(broken())[id_], rows_of(sound())[id_]
    assert bad.status == status
    assert good.status == "pass"
    assert bad.evidence != good.evidence


class Dense(nn.Module):
    """Adds up neighbours by a matrix of its own: no layer that an edge could be scaled in."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(GCN.graph.num_features, 3)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return to_dense_adj(edge_index, max_num_nodes=x.shape[0])[0].T @ self.lin(x)


class Unweighted(nn.Module):
    """Lists an edge weight and gives NaN with any; its layer is fed edges in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(GCN.graph.num_features, 3)

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self.conv(x, edge_index.flip(1)) * (1 if edge_weight is None else float("nan"))


class WithoutGradient(Dense):
    """A message-passing layer through which no gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(3, 3)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.conv(self.lin(x), edge_index)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Dense, "no edge relaxation: forward takes no weight of an edge, and the model has no message-passing layer"),
        (Unweighted, "no edge relaxation: no way to put a weight on edges runs through the model with finite answers"),
        (WithoutGradient, "no edge relaxation: no gradient reaches the weight of an edge"),
    ],
)
def test_why_edges_have_no_weight_is_said_in_words(kind: type[nn.Module], words: str) -> None:
    torch.manual_seed(0)
    row = rows_of(replace(GCN, model=kind().eval()))["relaxation-gap"]
    assert row.status == "warn"
    assert row.evidence.startswith(words)
    assert row.evidence.endswith("attacks that follow a gradient to edges do not apply")
    assert not {"inf", "nan"} & set(row.evidence.replace(",", " ").split())


def test_every_row_of_the_table_is_here_and_of_its_kind() -> None:
    kinds = {row.id: row.kind for row in rows_of(GIN).values()}
    kinds |= {row.id: row.kind for row in rows_of(GCN).values()}
    of_causes = {"node-table", "ties"}  # see test_causes.py
    assert set(kinds) == {*CASES, *of_causes} | {"call"}
    assert {i for i, kind in kinds.items() if kind == "strength"} == {"beats-constant", "gradient", "output-scale"}
    assert {i for i, kind in kinds.items() if kind == "warning"} == {
        "output-kind",
        "relaxation-gap",
        "graph-hygiene",
        "row-duplicate",
        "graph-duplicate",
        "ties",
    }
    assert "batch-independent" not in rows_of(GCN)


def test_without_a_reference_or_a_claim_nothing_is_checked() -> None:
    rows = rows_of(GCN)
    assert rows["reference"].status == rows["clean-accuracy"].status == "not_checked"


def test_a_forward_that_needs_an_edge_is_told_and_the_other_rows_stand() -> None:
    rows = rows_of(changed(per_edge))
    assert rows["edge-dependence"].status == "pass"
    assert "the forward fails after drop of all" in rows["edge-dependence"].evidence
    assert set(rows) == set(rows_of(GCN))


def test_a_cached_adjacency_is_dropped_and_told() -> None:
    row = rows_of(cached_layer())["edge-dependence"]
    assert row.status == "warn"
    assert "cached adjacency was dropped from conv" in row.evidence


def test_models_without_edge_gradients_fail_the_gradient_row() -> None:
    target = replace(GCN, capabilities=GCN.capabilities - {Capability.GRAD_EDGE})
    assert rows_of(target)["gradient"].status == "fail"


def test_counts_of_the_graph_are_exact() -> None:
    graph = Graph(
        x=torch.eye(6),
        edge_index=torch.tensor([[0, 1, 1, 0, 2, 3, 4], [1, 0, 2, 1, 2, 3, 5]]),
        y=torch.tensor([0, 1, 0, 1, 0, 1]),
    )
    ids = torch.arange(6)
    split = Split(ids < 2, ids < 0, ids >= 2)
    target = replace(toy_target("gcn", graph=sbm_graph(n=60, seed=1)), graph=graph, split=split, num_classes=2)
    target = replace(target, model=toy_target("gcn", graph=graph, epochs=1).model)
    evidence = rows_of(target)["graph-hygiene"].evidence
    assert evidence == (
        "1 duplicate edge, 2 self-loops, 2 edges without their reverse, 1 node without edges, "
        "features are the identity: they name the node"
    )


def test_rows_change_nothing_and_repeat() -> None:
    digest, state = GIN.graph.digest(), {k: v.clone() for k, v in GIN.model.state_dict().items()}
    before = torch.get_rng_state()
    first = rows_of(GIN)
    assert rows_of(changed(noise))["deterministic"].status == "fail"
    assert torch.equal(torch.get_rng_state(), before)
    assert first == rows_of(GIN)
    assert GIN.graph.digest() == digest
    assert all(torch.equal(value, GIN.model.state_dict()[key]) for key, value in state.items())


def test_graph_gradients_in_one_pass_are_those_taken_one_by_one() -> None:
    graphs = small_graphs(12)
    x = graphs.x.clone().requires_grad_(True)
    out = GIN.logits(x, graphs.edge_index, None, graphs.batch)
    losses = torch.nn.functional.cross_entropy(out, graphs.y, reduction="none")
    together = torch.autograd.grad(losses.sum(), x, retain_graph=True)[0]
    one_by_one = sum(torch.autograd.grad(loss, x, retain_graph=True)[0] for loss in losses)
    torch.testing.assert_close(together, one_by_one)


def test_a_model_that_remembers_its_training_items_tells_a_swapped_split() -> None:
    graph = sbm_graph(n=160, mixing=0.6)
    target = toy_target("mlp", graph=replace(graph, x=torch.eye(160)), epochs=200)
    told = rows_of(target)["split"]
    assert told.status == "pass"
    assert "consistent with training" in told.evidence
    split = target.split
    swapped = replace(target, split=Split(split.test, split.val, split.train))
    row = rows_of(swapped)["split"]
    assert row.status == "warn"
    assert "swapped?" in row.evidence


class Answers(nn.Module):
    """Says what it is given, whatever it is asked."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.logits


def test_too_few_test_items_to_tell_a_model_from_a_constant_are_no_failure_of_the_model() -> None:
    """Of 10 items 7 right where a constant has 6: the interval reaches from worthless to good."""
    y = torch.tensor([0, 1] * 60)
    test = torch.zeros(120, dtype=torch.bool)
    test[:10] = True
    y[:10] = torch.tensor([0] * 6 + [1] * 4)
    split = replace(GCN.split, test=test, train=GCN.split.train & ~test, val=GCN.split.val & ~test)

    def seen(right: int) -> ValidityRow:
        said = torch.where(torch.arange(120) < right, y, 1 - y)
        model = Answers(nn.functional.one_hot(said, GCN.num_classes).float())
        return rows_of(replace(GCN, graph=replace(GCN.graph, y=y), split=split, model=model))["beats-constant"]

    assert [(right, seen(right).status) for right in (5, 6, 7, 10)] == [
        (5, "fail"),
        (6, "fail"),
        (7, "warn"),
        (10, "pass"),
    ]
    assert "10 test items are too few" in seen(7).evidence
    assert "nothing to lose" in seen(6).evidence


def test_an_unknown_split_is_not_checked_and_nothing_is_claimed_of_test_items() -> None:
    rows = rows_of(replace(GCN, split=Split.unknown(GCN.graph.num_items)))
    for name in ("split", "clean-accuracy", "beats-constant"):
        assert rows[name].status == "not_checked"


def test_features_that_are_not_there_have_no_gradient_to_miss_and_none_is_constant() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.conv = nn.Embedding(120, 8), GCNConv(8, 3)

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
            return self.conv(self.emb.weight, edge_index)

    graph = replace(GCN.graph, x=torch.zeros(120, 0))
    rows = rows_of(replace(GCN, graph=graph, model=Table(), fixed_nodes=("emb.weight",)))
    assert rows["gradient"].status == "pass"
    assert "no features; edges have one" in rows["gradient"].evidence
    assert "constant" not in rows["graph-hygiene"].evidence or rows["graph-hygiene"].status == "pass"
