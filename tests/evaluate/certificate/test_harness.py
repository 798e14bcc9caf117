"""The certificate on toy targets: sound, below what was seen, and said to be broken where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor.data.edits import EdgeSpace, select_graphs
from auditor.data.fields import Fields
from auditor.data.graph import Split
from auditor.document.facts import Certified
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.certificate import graphs
from auditor.evaluate.certificate.noise import NoisyCopies, sizes, total
from auditor.evaluate.certificate.settings import Settings
from auditor.evaluate.certificate.smoothing import Noise
from auditor.parameters import build
from auditor.targets.target import Capability, Target
from tests.evaluate.certificate.cells import certified, number, row
from tests.toys import ALL, MLP, sbm_graph, small_graphs, toy_target


@pytest.fixture(scope="module")
def on_graphs():
    return certified(toy_target("graph-gin", graph=small_graphs(80)), parts="5")


@pytest.fixture(scope="module")
def on_nodes():
    return certified(toy_target(graph=sbm_graph(60)))


def test_certified_is_at_most_what_was_found_and_that_at_most_the_vote(on_graphs) -> None:
    vote = on_graphs.measured[0]
    assert vote.metric == "vote_accuracy"
    before = vote.estimate.value
    for edits in (1, 2, 3):
        found = number(on_graphs, f"flips={edits}")
        by_name = {control.name: control.estimate.value for control in found.controls}
        assert found.estimate.value <= by_name["worst edits found"] <= by_name["random edits"] + 1e-9
        assert found.estimate.value <= before
        before = found.estimate.value
    assert isinstance(number(on_graphs, "flips=1").facts, Certified)
    assert number(on_graphs, "flips=1").facts.exact
    assert not number(on_graphs, "flips=2").facts.exact
    assert row(on_graphs, "certificate-holds").status == "pass"
    assert number(on_graphs, "flips=1").estimate.value > 0


def test_nothing_is_judged_and_every_number_stands_beside_the_model(on_graphs, on_nodes) -> None:
    for result in (on_graphs, on_nodes):
        assert not any(m.judged for m in result.measured)
        assert all("the model itself" in {control.name for control in m.controls} for m in result.measured)
        assert all(m.estimate.has_interval for m in result.measured)


def test_a_radius_that_is_too_large_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "radius", lambda votes: np.full(len(votes), 3))
    broken = certified(toy_target("graph-gin", graph=small_graphs(80)), parts="5")
    assert row(broken, "certificate-holds").status == "fail"


def test_a_model_without_edges_is_certified_wherever_it_is_right() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, x, edge_index, batch):
            return self.head(torch.zeros(int(batch.max()) + 1, 2).index_add(0, batch, x))

    target = replace(toy_target("graph-gin", graph=small_graphs(80)), model=Pooled())
    result = certified(target, parts="7")
    assert {number(result, f"flips={edits}").estimate.value for edits in (1, 2, 3)} == {
        result.measured[0].estimate.value
    }
    assert result.measured[0].estimate.value == float(target.accuracy())


def test_a_vote_that_is_no_better_than_a_constant_says_so(on_nodes) -> None:
    assert row(on_nodes, "vote-beats-constant").status == "pass"
    constant = certified(replace(toy_target(graph=sbm_graph(60)), model=MLP(24, 4, 3)))
    assert row(constant, "vote-beats-constant").status == "fail"
    assert number(constant, "flips=1").estimate.value <= constant.measured[0].estimate.value


def test_the_same_seed_gives_the_same_result_and_the_target_is_untouched(on_nodes) -> None:
    target = toy_target(graph=sbm_graph(60))
    before, state = target.graph.digest(), torch.get_rng_state()
    again = certified(target)
    assert again == on_nodes
    assert target.graph.digest() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_noisy_copies_prove_something_and_redraw_alike(on_nodes) -> None:
    assert row(on_nodes, "votes-drawn-again").status == "pass"
    assert row(on_nodes, "certificate-holds").status == "pass"
    assert row(on_nodes, "within-reach").status == "warn"  # additions are out of reach of 400 copies
    assert number(on_nodes, "flips=1").estimate.value == 0
    one, five = (number(on_nodes, f"deletions={k}").estimate.value for k in (1, 5))
    assert on_nodes.measured[0].estimate.value >= one >= five
    assert one > 0.1
    assert on_nodes.params["abstained"] < on_nodes.params["targets"]


class Drawn(nn.Module):
    """Answers by chance."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, edge_index):
        return torch.randn(x.shape[0], 3) * self.scale


def test_a_model_that_answers_by_chance_cannot_be_drawn_again() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = certified(replace(toy_target(graph=sbm_graph(60)), model=Drawn()))
    assert row(result, "votes-drawn-again").status == "fail"
    assert result.params["abstained"] > 20


class Silent(nn.Module):
    """Never gives a number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, edge_index):
        return torch.full((x.shape[0], 3), float("nan")) * self.scale


def test_answers_that_are_no_numbers_certify_nothing() -> None:
    result = certified(replace(toy_target(graph=sbm_graph(60)), model=Silent()))
    assert {m.estimate.value for m in result.measured} == {0.0}
    assert result.params["abstained"] == result.params["targets"]


class Counts(nn.Module):
    """Says whether node v has an edge to node 0, and how many edges there are."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.seen: list[torch.Tensor] = []

    def forward(self, x, edge_index):
        self.seen.append(edge_index.clone())
        return self.scale * torch.zeros(x.shape[0], 3)


def test_copies_lose_edges_and_gain_pairs_with_the_probabilities_that_are_certified() -> None:
    target = replace(toy_target(graph=sbm_graph(60)), model=Counts())
    space, noise = EdgeSpace.of(target.graph), Noise(0.02, 0.4)
    copies = NoisyCopies(target, space, noise, torch.arange(60))
    votes = copies.votes(500, lambda number: np.random.default_rng(number))
    assert int(total(votes).sum()) == 60 * 500
    held = copies._handle.model.seen
    kept = np.mean([int(space.exists(keys_of(arcs)).sum()) for arcs in held])
    added = np.mean([int((~space.exists(keys_of(arcs))).sum()) for arcs in held])
    absent = space.num_pairs - space.m
    assert kept == pytest.approx(0.6 * space.m, abs=4 * np.sqrt(space.m * 0.24 / 500))
    assert added == pytest.approx(0.02 * absent, abs=4 * np.sqrt(absent * 0.02 / 500))
    assert all(keys_of(arcs).numel() == torch.unique(keys_of(arcs)).numel() == arcs.shape[1] // 2 for arcs in held)


def test_a_copy_of_a_complete_graph_gains_nothing() -> None:
    """Edits that are held against a certificate may join every pair of a small graph."""
    arcs = torch.combinations(torch.arange(4)).T
    target = replace(toy_target(graph=sbm_graph(60)), model=Counts())
    few = sbm_graph(60).taking(torch.arange(4), torch.arange(4), torch.arange(0))
    space = EdgeSpace.of(few.with_edges(torch.cat([arcs, arcs.flip(0)], dim=1)))
    copies = NoisyCopies(target, space, Noise(0.3, 0.4), torch.arange(4))
    copies.votes(200, lambda number: np.random.default_rng(number))
    held = copies._handle.model.seen
    assert max(each.shape[1] for each in held) == 12
    assert min(each.shape[1] for each in held) < 12


def keys_of(arcs: torch.Tensor) -> torch.Tensor:
    u, v = arcs[:, arcs[0] < arcs[1]]
    return u * 60 + v


def test_blocks_make_up_the_copies_that_were_asked_for() -> None:
    assert sum(sizes(1234)) == 1234
    assert len(sizes(7)) == 100


def test_too_few_copies_are_refused_before_any_is_made() -> None:
    with pytest.raises(SkippedError, match="underpowered"):
        certified(toy_target(graph=sbm_graph(60)), samples="10")


@pytest.mark.parametrize(
    "given",
    [
        {"flips": "0"},
        {"flips": ""},
        {"flips": "one"},
        {"parts": "2"},
        {"plus": "-0.1"},
        {"minus": "0.5"},
        {"minus": "0"},
        {"alpha": "1"},
        {"choosing": "5"},
        {"draws": "0"},
        {"nothing": "1"},
    ],
)
def test_parameters_that_cannot_be_used_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        build(Settings, given, owner="certificate")


def test_without_a_split_or_edges_it_is_skipped() -> None:
    target = toy_target(graph=sbm_graph(60))
    with pytest.raises(SkippedError, match="split"):
        certified(replace(target, capabilities=ALL - {Capability.SPLIT}, split=Split.unknown(60)))
    bare = target.graph.keeping(torch.empty(0, dtype=torch.int64))
    with pytest.raises(SkippedError, match="no noise"):
        certified(replace(target, graph=bare))


class OfWeights(nn.Module):
    """Sums what its edges weigh."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x, edge_index, edge_weight):
        drawn = torch.zeros(x.shape[0]).index_add(0, edge_index[1], edge_weight)
        return self.scale * torch.stack([drawn, torch.full_like(drawn, 2.5), torch.zeros_like(drawn)], dim=1)


def weighing(heavy: float) -> Target:
    """Edges of weight 1, but for those of one node."""
    target = toy_target(graph=sbm_graph(60))
    arcs = target.graph.edge_index
    weight = torch.ones(arcs.shape[1])
    weight[(arcs == arcs[0, 0]).any(dim=0)] = heavy
    return replace(target, graph=replace(target.graph, edge_weight=weight), model=OfWeights())


def test_noisy_copies_of_edges_that_are_more_than_there_or_not_prove_nothing() -> None:
    with pytest.raises(SkippedError, match="weights that differ"):
        certified(weighing(50))
    assert certified(weighing(1)).measured  # one weight for all says no more than that they are there
    target = toy_target(graph=sbm_graph(60))
    valued = replace(target.graph, fields=Fields(edge={"edge_attr": torch.ones(target.graph.num_edges, 1)}))
    with pytest.raises(SkippedError, match="edge_attr"):
        certified(replace(target, graph=valued))
    with pytest.raises(SkippedError, match="one direction only, 1 of them"):
        certified(replace(target, graph=target.graph.keeping(torch.arange(1, target.graph.num_edges))))


def test_of_few_copies_one_that_was_drawn_is_drawn_again() -> None:
    few = certified(toy_target(graph=sbm_graph(60)), samples="25", deletions="1", alpha="0.4")
    assert ", 0 votes" not in row(few, "votes-drawn-again").evidence


def test_graphs_that_lack_an_arc_are_edited_as_all_of_them_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, flips = list[torch.Tensor](), graphs._random_flips
    monkeypatch.setattr(graphs, "_random_flips", lambda *given: drawn.append(flips(*given)) or drawn[-1])
    target = toy_target("graph-gin", graph=small_graphs(80))
    first = int(torch.nonzero(target.split.test)[0])  # of its few arcs one is more than 1 %, of all of them it is not
    arc = int(torch.nonzero(target.graph.batch[target.graph.edge_index[0]] == first)[0])
    lacking = target.graph.keeping(torch.arange(target.graph.num_edges) != arc)
    result = certified(replace(target, graph=lacking), parts="5")
    n = select_graphs(lacking, torch.nonzero(target.split.test).flatten())[0].num_nodes
    assert all(bool((keys // n < keys % n).all()) for keys in drawn)  # pairs, not arcs
    assert row(result, "certificate-holds").status == "pass"
