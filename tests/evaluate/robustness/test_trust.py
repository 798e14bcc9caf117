"""Planted faults are flagged, and healthy models are not."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import APPNP, GCNConv, GINConv, GraphConv, SAGEConv, global_add_pool
from torch_geometric.utils import to_dense_adj

from auditor.document import ValidityRow
from auditor.errors import SkippedError
from auditor.evaluate.robustness import differences, trust
from auditor.evaluate.robustness.differences import differences_row
from auditor.evaluate.robustness.harness import evaluate
from auditor.evaluate.robustness.oracle import graphs_broken
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.probe import Registered
from auditor.registry import Profile
from auditor.targets.target import Capability, Target
from auditor.targets.validity import validity_rows
from tests.evaluate.robustness.cells import cell, claims, robust, shipped
from tests.toys import ALL, random_split, toy_target

FEATURES, CLASSES = 24, 3


class Two(nn.Module):
    """Two layers of message passing."""

    def __init__(self, make: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.one, self.two = make(FEATURES, 16), make(16, CLASSES)

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).relu(), edge_index)


class Propagated(nn.Module):
    """A network on features, whose answers APPNP spreads."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.spread = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES), APPNP(5, 0.1)

    def forward(self, x, edge_index):
        return self.spread(self.two(self.one(x).relu()), edge_index)


def summing(inputs: int, outputs: int) -> nn.Module:
    """A layer of GIN."""
    return GINConv(nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs)))


def trained(model: nn.Module, *, epochs: int = 60) -> Target:
    """A target around a model that is trained here."""
    like = toy_target("gcn", epochs=0)
    graph = like.graph
    split = random_split(graph.num_items)
    torch.manual_seed(0)
    for part in model.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
    for _ in range(epochs):
        optimizer.zero_grad()
        out = model(graph.x, graph.edge_index)
        functional.cross_entropy(out[split.train], graph.y[split.train]).backward()
        optimizer.step()
    return dataclasses.replace(like, graph=graph, split=split, model=model.eval(), recipe=None, build=None)


def flags(
    target: Target, attacks: Sequence[Registered] | None = None, *, profile: Profile = "quick"
) -> dict[str, tuple[str, str]]:
    """Id, status and evidence of every row that does not pass, about the target and about the attack on it."""
    chosen = shipped(**{"active-set": {"cycles": 2}}) if attacks is None else attacks
    rows = [
        *validity_rows(target, np.random.default_rng(0)),
        *evaluate(cell(target, chosen, profile=profile, eps="0.05")).validity,
    ]
    return {row.id: (row.status, row.evidence) for row in rows if row.status in ("warn", "fail")}


HEALTHY: dict[str, Callable[[], Target]] = {
    "gcn": lambda: toy_target("gcn"),
    "gin": lambda: trained(Two(summing), epochs=8),
    "sage": lambda: toy_target("sage"),
    "gat": lambda: toy_target("gat"),
    "appnp": lambda: trained(Propagated()),
    "graphconv": lambda: trained(Two(GraphConv), epochs=8),
}
"""Sums over neighbours are trained for as long as their answers are not saturated: that is a fault below."""


@pytest.mark.slow
@pytest.mark.parametrize("name", HEALTHY)
def test_no_check_fails_on_a_healthy_model(name):
    target = HEALTHY[name]()
    found = flags(target, profile="standard")
    assert not {id_: said for id_, said in found.items() if said[0] == "fail"}
    assert not {"finite-differences", "black-box-wins"} & set(found)


class Wrapped(nn.Module):
    """A trained model, and something done to what goes in or comes out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)


class IgnoresWeights(Wrapped):
    def forward(self, x, edge_index, edge_weight=None):
        return self.model(x, edge_index)


class Stochastic(Wrapped):
    def forward(self, x, edge_index):
        return self.model(x, edge_index) + 0.1 * torch.randn(x.shape[0], 1) * x[:, :CLASSES]


class Saturated(Wrapped):
    def forward(self, x, edge_index):
        return 1000 * self.model(x, edge_index)


class Softmaxed(Wrapped):
    def forward(self, x, edge_index):
        return self.model(x, edge_index).softmax(dim=1)


class Dense(nn.Module):
    """Makes a matrix of its edges: nothing that a gradient goes through."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(FEATURES, CLASSES)

    def forward(self, x, edge_index):
        a = to_dense_adj(edge_index, max_num_nodes=x.shape[0])[0] + torch.eye(x.shape[0])
        return a.round() @ self.one(x)


class SignedMax(nn.Module):
    """Takes the largest of signed messages: one of weight 0 counts as 0, and a removed one does not count."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = SAGEConv(FEATURES, 16, aggr="max"), SAGEConv(16, CLASSES, aggr="max")

    def forward(self, x, edge_index):
        return self.two(self.one(x - 0.5, edge_index).tanh(), edge_index)


class CachedModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = GCNConv(FEATURES, 16, cached=True), GCNConv(16, CLASSES, cached=True)

    def forward(self, x, edge_index):
        return self.two(self.one(x, edge_index).relu(), edge_index)


class _Backwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w):
        return w.view_as(w)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class LedAstray(nn.Module):
    """Exact at every weight of an edge, with a gradient that points the other way."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = GCNConv(FEATURES, 16), GCNConv(16, CLASSES)

    def forward(self, x, edge_index, edge_weight=None):
        weight = None if edge_weight is None else _Backwards.apply(edge_weight)
        return self.two(self.one(x, edge_index, weight).relu(), edge_index, weight)


class HalfCut(LedAstray):
    """Its second layer lets no gradient through to the edges."""

    def forward(self, x, edge_index, edge_weight=None):
        cut = None if edge_weight is None else edge_weight.detach()
        return self.two(self.one(x, edge_index, edge_weight).relu(), edge_index, cut)


def wrapped(kind: type[Wrapped]) -> Target:
    plain = toy_target("gcn")
    return dataclasses.replace(plain, model=kind(plain.model).eval())


def with_edges(make: Callable[[torch.Tensor], torch.Tensor]) -> Target:
    plain = toy_target("gcn")
    return dataclasses.replace(plain, graph=plain.graph.with_edges(make(plain.graph.edge_index)))


def leaking() -> tuple[Registered, ...]:
    return (claims(lambda space, budget, attempt: space.draw(2 * budget, attempt.rng)), *shipped())


FAULTS: dict[str, tuple[Callable[[], Target], set[str]]] = {
    "duplicate edges": (lambda: with_edges(lambda e: torch.cat([e, e[:, :40]], dim=1)), {"canonical"}),
    "ignored weights": (lambda: wrapped(IgnoresWeights), {"relaxation"}),
    "cached layer": (lambda: trained(CachedModel()), {"edge-dependence"}),
    "wrong relaxation": (lambda: trained(SignedMax()), {"weak-attack"}),
    "stochastic forward": (lambda: wrapped(Stochastic), {"deterministic"}),
    "saturated outputs": (lambda: wrapped(Saturated), {"output-scale"}),
    "one-way arcs": (lambda: with_edges(lambda e: e[:, 3:]), {"canonical"}),
    "softmax outputs": (lambda: wrapped(Softmaxed), {"output-kind"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_flagged(name):
    make, expected = FAULTS[name]
    assert set(flags(make())) & expected


def test_an_attack_that_leaks_its_budget_is_flagged():
    assert flags(toy_target("gcn"), leaking())["budget"][0] == "fail"


def test_preprocessing_without_a_gradient_is_flagged_and_nothing_is_claimed():
    target = trained(Dense())
    target = dataclasses.replace(target, capabilities=ALL - {Capability.GRAD_EDGE})
    (row,) = (row for row in validity_rows(target, np.random.default_rng(0)) if row.id == "gradient")
    assert (row.status, row.kind) == ("fail", "strength")
    with pytest.raises(SkippedError, match="GRAD_EDGE"):
        evaluate(cell(target, shipped()))
    with pytest.raises(SkippedError, match="no gradient"):  # also where nobody tried it before
        evaluate(cell(dataclasses.replace(target, capabilities=ALL), shipped()))


def searched_again(target: Target, **params: str) -> dict[str, ValidityRow]:
    """Rows of a short search at `standard`."""
    attacks = shipped(**{"active-set": {"cycles": 2, "rounds": 0, "losses": ("tanh",)}})
    return {row.id: row for row in evaluate(cell(target, attacks, profile="standard", **params)).validity}


def test_a_gradient_that_leads_astray_is_flagged_by_all_that_do_without():
    rows = searched_again(trained(LedAstray()), eps="0.25")
    assert {id_: rows[id_].status for id_ in ("finite-differences", "black-box-wins", "oracle")} == {
        "finite-differences": "warn",
        "black-box-wins": "fail",
        "oracle": "warn",
    }
    assert rows["black-box-wins"].kind == "strength"
    assert "250 queries" in rows["black-box-wins"].evidence


def test_what_answers_alone_led_to_counts_among_the_edits():
    attacks = shipped(**{"active-set": {"cycles": 1, "rounds": 0, "losses": ("tanh",)}})
    found = robust(evaluate(cell(trained(LedAstray()), attacks, profile="standard", eps="0.25")), "eps=0.25")
    assert found.facts.winner.startswith("black-box")
    assert found.estimate.value == min(found.facts.attempts.values())


def test_a_gradient_that_is_cut_off_somewhere_is_flagged():
    row = differences_row(trained(HalfCut()), np.random.default_rng(0))
    assert row is not None
    assert row.status == "warn"


class PooledHalfCut(nn.Module):
    """Of graphs: its second layer lets no gradient through to the edges."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = GraphConv(2, 16), GraphConv(16, 2)

    def forward(self, x, edge_index, batch, edge_weight=None):
        cut = None if edge_weight is None else edge_weight.detach()
        return global_add_pool(self.two(self.one(x, edge_index, edge_weight).relu(), edge_index, cut), batch)


class Bent(nn.Module):
    """Its slope changes just above the weight at which slopes are taken, in every node that hears of an edge."""

    def forward(self, x, edge_index, edge_weight=None):
        weight = torch.ones(edge_index.shape[1], dtype=x.dtype) if edge_weight is None else edge_weight
        bent = weight + 5 * (weight - 0.5 - 3e-5).relu()
        heard = torch.zeros(x.shape[0], dtype=x.dtype).index_add(0, edge_index[1], bent * x[edge_index[0], 0])
        return heard[:, None] * torch.tensor([1.0, -1.0, 0.5], dtype=x.dtype)


def test_a_gradient_that_is_cut_off_in_graphs_is_flagged_however_small_the_steps():
    target = dataclasses.replace(toy_target("graph-gin"), model=PooledHalfCut().eval())
    row = differences_row(target, np.random.default_rng(0))
    assert row is not None
    assert row.status == "warn"


def test_a_bend_inside_a_step_is_no_wrong_gradient(monkeypatch):
    graph = toy_target("gcn").graph
    target = dataclasses.replace(toy_target("gcn"), model=Bent(), graph=dataclasses.replace(graph, x=graph.x + 1))
    row = differences_row(target, np.random.default_rng(0))
    assert row is not None
    assert row.status == "pass"
    assert "in 10 of them at smaller steps" in row.evidence
    monkeypatch.setattr(differences, "STEPS", differences.STEPS[:1])
    row = differences_row(target, np.random.default_rng(0))
    assert row is not None
    assert row.status == "warn"


@pytest.mark.parametrize(
    ("silent", "status", "said"),
    [(0.5, "pass", "; no answer moves with the weight of"), (0.95, "not_checked", "no answer moves")],
)
def test_arcs_that_move_no_answer_are_counted_and_prove_nothing(silent, status, said):
    graph = toy_target("gcn").graph
    heard = torch.arange(graph.num_nodes) >= silent * graph.num_nodes
    graph = dataclasses.replace(graph, x=heard.float()[:, None].expand(graph.x.shape).clone())
    row = differences_row(dataclasses.replace(toy_target("gcn"), model=Bent(), graph=graph), np.random.default_rng(0))
    assert row is not None
    assert row.status == status
    assert said in row.evidence


@pytest.mark.parametrize("name", HEALTHY)
def test_autograd_of_a_healthy_model_agrees_with_finite_differences(name):
    row = differences_row(HEALTHY[name](), np.random.default_rng(0))
    assert row is not None
    assert row.status == "pass"


def test_on_many_graphs_every_flip_in_a_few_is_tried_and_answers_are_asked_about_each():
    target = toy_target("graph-gin")
    attacks = shipped(**{"active-set": {"losses": ("tanh",)}})
    rows = {row.id: row for row in evaluate(cell(target, attacks[:2], profile="standard", graphs="12")).validity}
    assert rows["black-box-wins"].status == "pass"
    assert "tried at" in rows["oracle"].evidence
    assert rows["oracle"].status in ("pass", "warn")


def test_the_oracle_over_graphs_finds_what_single_edits_break():
    target = toy_target("graph-gin")
    items = torch.nonzero(target.split.test).flatten()
    verifier = Verifier(target, items)
    right = np.flatnonzero(verifier.clean().correct)[:4].tolist()
    space, batch = verifier.space, target.graph.batch
    expected = []
    for place in right:
        nodes = torch.nonzero(batch == items[place]).flatten()
        keys = [space.keys(u[None], v[None]) for u, v in torch.combinations(nodes)]
        expected.append(any(not verifier.check(FlipSet(1, key)).correct[place] for key in keys))
    assert graphs_broken(verifier, right).tolist() == expected


def test_no_pass_rests_on_a_weak_attack():
    (row,) = (row for row in evaluate(cell(trained(SignedMax()))).validity if row.id == "weak-attack")
    assert (row.status, row.kind) == ("fail", "strength")


def test_a_model_that_falls_however_it_is_edited_passes_nothing():
    clean, some = np.ones(60, dtype=bool), np.arange(60) >= 30
    row = trust.beyond_chance_row(clean, some, some)
    assert (row.kind, row.status) == ("strength", "fail")
    assert "takes 50.0 points" in row.evidence
    assert trust.beyond_chance_row(clean, np.arange(60) >= 10, np.arange(60) >= 40) is None  # the search adds more
    assert trust.beyond_chance_row(clean, np.arange(60) >= 2, np.arange(60) >= 2) is None  # hardly anything falls
    assert trust.beyond_chance_row(clean[:0], clean[:0], clean[:0]) is None
