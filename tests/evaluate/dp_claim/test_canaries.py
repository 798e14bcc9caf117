"""Canaries: what is planted, what stays as it was, what bad numbers of them are answered with."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from auditor.compare.arms import make_defense
from auditor.data.graph import Graph
from auditor.errors import ConfigError, EvaluationError
from auditor.evaluate.dp_claim.edge_canaries import EdgeCanaries
from auditor.evaluate.dp_claim.graph_canaries import GraphCanaries
from auditor.evaluate.dp_claim.node_canaries import NodeCanaries
from auditor.evaluate.dp_claim.subject import checked, draw_bits, observe, released_shares
from auditor.evaluate.dp_claim.subjects import of_defense
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Target
from tests.evaluate.dp_claim.claims import Flips, remembering_fit, task
from tests.toys import sbm_graph, small_graphs, toy_target

NODES = toy_target(graph=sbm_graph(240), epochs=1)
GRAPHS = toy_target("graph-gin", epochs=1)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def bits(*values: int) -> np.ndarray:
    return np.array(values, dtype=bool)


def pair_set(graph: Graph) -> set[int]:
    return set(graph.pair_keys().tolist())


def test_bits_are_fair_and_of_the_seed_alone() -> None:
    a = draw_bits(20_000, 0)
    assert abs(a.mean() - 0.5) < 0.02
    assert (a == draw_bits(20_000, 0)).all()
    assert abs((a == draw_bits(20_000, 1)).mean() - 0.5) < 0.02
    own = np.random.default_rng(np.random.SeedSequence([0])).random(20_000) < 0.5
    assert abs((a == own).mean() - 0.5) < 0.02


def test_graph_canaries_are_paths_of_two_sizes_at_the_data_scale() -> None:
    made = GraphCanaries.make(GRAPHS, 10, replace=False, rng=rng())
    sizes = torch.bincount(made.records.batch).tolist()
    train = torch.bincount(GRAPHS.graph.batch)[GRAPHS.split.train].double()
    assert sizes[0::2] == [int(torch.quantile(train, 0.95))] * 5
    assert sizes[1::2] == [4] * 5
    assert made.records.num_edges == sum(2 * (n - 1) for n in sizes)
    assert made.records.is_undirected
    assert torch.bincount(made.records.edge_index[0]).max() == 2
    assert set(made.records.y.tolist()) <= {0, 1}
    scale = GRAPHS.graph.x[GRAPHS.split.train[GRAPHS.graph.batch]].std(dim=0)
    many = GraphCanaries.make(GRAPHS, 400, replace=False, rng=rng()).records.x
    assert torch.allclose(many.std(dim=0), scale, atol=0.05)


def test_planted_graphs_are_training_graphs_behind_the_old_ones() -> None:
    made = GraphCanaries.make(GRAPHS, 4, replace=False, rng=rng())
    planted = made.planted(bits(1, 0, 1, 0))
    old = GRAPHS.graph
    assert planted.graph.num_items == old.num_items + 2
    assert torch.equal(planted.graph.x[: old.num_nodes], old.x)
    assert torch.equal(planted.graph.edge_index[:, : old.num_edges], old.edge_index)
    assert planted.graph.y[-2:].tolist() == made.records.y[[0, 2]].tolist()
    assert planted.split.train[-2:].all()
    assert planted.split.sizes[1:] == GRAPHS.split.sizes[1:]
    assert planted.digest != GRAPHS.digest != made.planted(bits(1, 0, 0, 1)).digest
    none = made.planted(bits(0, 0, 0, 0))
    assert none.graph.num_items == old.num_items


def test_replace_swaps_one_twin_for_the_other() -> None:
    made = GraphCanaries.make(GRAPHS, 2, replace=True, rng=rng())
    planted = made.planted(bits(1, 0))
    assert planted.graph.num_items == GRAPHS.graph.num_items + 2
    assert made.twins is not None
    first = made.records.x[made.records.batch == 0]
    second = made.twins.x[made.twins.batch == 1]
    assert torch.equal(planted.graph.x[-len(first) - len(second) :], torch.cat([first, second]))


def test_every_canary_of_a_model_that_remembers_is_told() -> None:
    made = GraphCanaries.make(GRAPHS, 60, replace=False, rng=rng())
    included = draw_bits(60, 0)
    scores = made.scores(remembering_fit(0.0)(made.planted(included), 0, 1.0)).numpy()
    assert scores[included].min() > scores[~included].max()
    swapped = GraphCanaries.make(GRAPHS, 60, replace=True, rng=rng())
    scores = swapped.scores(remembering_fit(0.0)(swapped.planted(included), 0, 1.0)).numpy()
    assert scores[included].min() > 0 > scores[~included].max()


@pytest.mark.parametrize("disjoint", [False, True])
def test_edge_canaries_are_distinct_non_edges(disjoint: bool) -> None:
    m = 60 if disjoint else 3000
    made = EdgeCanaries.make(NODES, m, arcs=False, disjoint=disjoint, rng=rng())
    low, high = made.pairs
    assert bool((low < high).all())
    keys = (low * NODES.graph.num_nodes + high).tolist()
    assert len(set(keys)) == m
    assert not set(keys) & pair_set(NODES.graph)
    if disjoint:
        assert made.pairs.flatten().unique().numel() == 2 * m


def test_included_pairs_become_edges_and_no_other_thing_changes() -> None:
    made = EdgeCanaries.make(NODES, 8, arcs=False, disjoint=True, rng=rng())
    included = draw_bits(8, 1)
    planted = made.planted(included)
    n = NODES.graph.num_nodes
    keys = (made.pairs[0] * n + made.pairs[1])[torch.from_numpy(included)]
    assert pair_set(planted.graph) == pair_set(NODES.graph) | set(keys.tolist())
    assert planted.graph.is_undirected
    assert torch.equal(planted.graph.x, NODES.graph.x)
    arcs = EdgeCanaries.make(NODES, 8, arcs=True, disjoint=True, rng=rng()).planted(included)
    assert arcs.graph.num_edges == NODES.graph.num_edges + int(included.sum())


def test_influence_tells_an_edge_from_none() -> None:
    target = toy_target(graph=sbm_graph(240), epochs=40)
    made = EdgeCanaries.make(target, 40, arcs=False, disjoint=True, rng=rng())
    included = draw_bits(40, 0)
    scores = made.scores(replace(made.planted(included), model=target.model)).numpy()
    assert scores[included].mean() > 3 * scores[~included].mean()


def test_node_canaries_keep_their_distance_and_blank_what_the_relation_says() -> None:
    made = NodeCanaries.make(NODES, 4, hops=1, swaps=False, rng=rng())
    n = NODES.graph.num_nodes
    dense = torch.zeros(n, n)
    dense[NODES.graph.edge_index[0], NODES.graph.edge_index[1]] = 1
    near = torch.eye(n) + dense + dense @ dense
    apart = near[made.nodes][:, made.nodes]
    assert int((apart > 0).sum()) == 4
    planted = made.planted(bits(1, 1, 0, 0))
    out, kept = made.nodes[2:], made.nodes[:2]
    assert not planted.graph.x[out].any()
    assert torch.equal(planted.graph.x[kept], made.x[1, :2])
    assert not planted.split.train[out].any()
    assert planted.split.train[kept].all()
    source, sink = planted.graph.edge_index
    assert not torch.isin(source, out).any()
    assert torch.isin(sink, out).any()
    rest = ~torch.isin(NODES.graph.edge_index[0], out)
    assert torch.equal(planted.graph.edge_index, NODES.graph.edge_index[:, rest])


def test_node_canaries_of_a_model_that_remembers_are_told() -> None:
    made = NodeCanaries.make(NODES, 4, hops=1, swaps=True, rng=rng())
    included = bits(1, 0, 1, 0)
    planted = made.planted(included)
    assert planted.split.sizes == NODES.split.sizes
    scores = made.scores(remembering_fit(0.0)(planted, 0, 1.0)).numpy()
    assert scores[included].min() > 0 > scores[~included].max()


@pytest.mark.parametrize(
    ("kind", "target", "m"),
    [
        ("edge", NODES, 10**6),
        ("edge-apart", NODES, 200),
        ("node", NODES, 200),
        ("edge", GRAPHS, 4),
        ("node", GRAPHS, 4),
    ],
)
def test_more_canaries_than_there_is_room_for_are_an_error(kind: str, target: Target, m: int) -> None:
    make = (
        partial(NodeCanaries.make, target, m, hops=1, swaps=False, rng=rng())
        if kind == "node"
        else partial(EdgeCanaries.make, target, m, arcs=False, disjoint=kind == "edge-apart", rng=rng())
    )
    with pytest.raises(ConfigError, match=r"--canaries|--level"):
        make()


def test_graph_canaries_need_graphs() -> None:
    with pytest.raises(ConfigError, match="classifies the nodes"):
        GraphCanaries.make(NODES, 4, replace=False, rng=rng())


def test_digests_follow_the_canaries() -> None:
    digests = {GraphCanaries.make(GRAPHS, 6, replace=False, rng=np.random.default_rng(s)).digest for s in (0, 0, 1)}
    assert len(digests) == 2


@pytest.mark.parametrize(
    "scores", [torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("inf")]), torch.ones(3)]
)
def test_scores_that_are_no_scores_are_an_error(scores: torch.Tensor) -> None:
    with pytest.raises(EvaluationError, match="expected 2 finite"):
        checked(scores, 2)


@pytest.mark.parametrize(
    ("spec", "shares"),
    [("edge-rand", (1.0,)), ("lap-graph", (0.02, 0.2)), ("gap", (0.05,)), ("edge-rand:hops=0", (0.05,))],
)
def test_guess_sizes_follow_what_is_released(spec: str, shares: tuple[float, ...]) -> None:
    assert released_shares(make_defense(spec).planned(NODES, task())) == shares  # type: ignore[attr-defined]


def test_released_bits_are_scored_and_less_noise_gives_more_right_ones() -> None:
    from auditor.evaluate.dp_claim.claim import read_claim

    claim = read_claim("4", level="edge", relation=None, access="released")
    defense = Flips(1.0)
    planned = defense.planned(NODES, task())
    fit = remembering_fit(0.0)
    subject = of_defense(NODES, defense, planned, claim, m=2000, seed=0, models=TrainedCache(), fit=fit)
    right = {
        scale: float((observe(subject, 0, scale).scores == draw_bits(2000, 0)).mean()) for scale in (1.0, 0.5, 0.0)
    }
    assert right[1.0] == pytest.approx(1 - defense.p, abs=0.03)
    assert right[0.5] == pytest.approx(1 - defense.p / 2, abs=0.03)
    assert right[0.0] == 1.0


def test_small_graphs_keep_their_weights() -> None:
    weighted = replace(small_graphs(10), edge_weight=torch.ones(small_graphs(10).num_edges))
    target = toy_target("graph-gin", graph=small_graphs(10), epochs=1)
    made = GraphCanaries.make(replace(target, graph=weighted), 2, replace=False, rng=rng())
    grown = made.planted(bits(1, 1)).graph
    assert grown.edge_weight is not None
    assert grown.edge_weight.shape[0] == grown.num_edges
