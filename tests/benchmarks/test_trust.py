"""The benchmark of trust is itself right: nulls know no private edge, and claims are counted as defined."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.document import Estimate, Judgement, Result
from auditor.document.results import AtSeed
from auditor.statistics.estimate import Contrast
from benchmarks.trust import coverage, null, planted, probes
from benchmarks.trust.graphs import adjacency, blocks, latent, split
from benchmarks.trust.judging import row_of
from benchmarks.trust.models import Edgeless, NeighbourHash, OwnEdges, gcn, serving, trained
from benchmarks.trust.running import each, shares

NO_EDGES = torch.empty(2, 0, dtype=torch.int64)


def result(value: float, lo: float | None, hi: float, *, threshold: float = 0.25, status: str = "pass") -> Result:
    excess = Contrast(value=value, lo=lo, hi=hi, n=100, to="labels")
    return Result(
        estimate=Estimate(value=0.7 + value, n=100),
        contrast=excess,
        finding="privacy-link-stealing",
        metric="auc",
        unit="auc",
        worse_when="higher",
        question="ranking",
        judged=True,
        fingerprint="0",
        family="privacy",
        probe="posterior-similarity",
        seeds=(0,),
        by_seed=(AtSeed(estimate=Estimate(value=0.7 + value, n=100), contrast=excess, cell="c", seed=0),),
        judgement=Judgement(
            status=status, severity="none", severity_upper="none", confidence="low", threshold=threshold
        ),
    )


def test_a_claim_is_above_nothing_after_widening_over_the_run() -> None:
    barely = result(0.020, 0.001, 0.039)
    assert row_of(barely, 1).claim
    widened = row_of(barely, 4)
    assert not widened.claim
    assert widened.lo == pytest.approx(0.020 - 0.019 * 2.4977 / 1.95996, abs=1e-4)  # z(1 − .025 / 4) / z(.975)
    assert not row_of(result(0.02, None, 0.04), 1).claim


def test_a_number_crosses_its_threshold_whatever_the_status_says() -> None:
    beyond = row_of(result(0.40, 0.30, 0.50, status="inconclusive"), 8)
    assert beyond.crosses
    assert beyond.status == "inconclusive"
    assert not row_of(result(0.40, 0.20, 0.60), 8).crosses
    at_zero = result(0.020, 0.001, 0.039, threshold=0.0)
    assert row_of(at_zero, 1).crosses
    assert not row_of(at_zero, 4).crosses


@pytest.mark.parametrize("kind", null.KINDS)
def test_no_null_was_trained_or_is_served_on_the_private_edges(kind: str) -> None:
    law, own_edges, is_gcn = null.KINDS[kind]
    graph = law(np.random.default_rng(0), 8.0)
    own = own_edges(graph, np.random.default_rng(1))
    overlap = np.isin(own[0] * 400 + own[1], graph.pairs[0] * 400 + graph.pairs[1])
    assert own.size == 0 or 0 < overlap.mean() < 0.25
    width = graph.x.shape[1]

    def build() -> OwnEdges:
        inner = gcn(width, 4, 4) if is_gcn else Edgeless(width, 4, 4)
        return OwnEdges(inner, adjacency(own, 400), serves_own=True, counts=True)

    recipe = {"lr": 0.01, "weight_decay": 0.0, "epochs": 2}
    train = torch.arange(100)
    other = law(np.random.default_rng(2), 8.0)
    other = type(graph)(graph.x, graph.y, other.pairs, other.rate)
    first, second = (trained(build, g, train, recipe, seed=0) for g in (graph, other))
    with torch.no_grad():
        answers = [m(graph.x, e).softmax(1) for m in (first, second) for e in (graph.edge_index, NO_EDGES)]
        assert all(torch.allclose(answers[0], more, atol=1e-6) for more in answers[1:])
        handed = serving(first, own=False)
        assert torch.equal(handed(graph.x, graph.edge_index), handed.inner(graph.x, graph.edge_index))
        moved = handed(graph.x, graph.edge_index) - handed(graph.x, NO_EDGES)
        assert bool(moved.any()) is is_gcn


def test_counted_edges_move_the_logits_and_no_posterior() -> None:
    model = OwnEdges(Edgeless(3, 4, 2), adjacency(np.empty((2, 0), np.int64), 5), serves_own=True, counts=True).eval()
    x, edges = torch.ones(5, 3), torch.tensor([[0, 1], [1, 0]])
    with torch.no_grad():
        assert torch.allclose(model(x, edges) - model(x, NO_EDGES), torch.tensor(0.002), atol=1e-6)


def test_a_hash_follows_the_neighbours_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = NeighbourHash(6, 4)
    torch.nn.init.zeros_(model.lin.weight)
    x = torch.rand(5, 6)
    edges = torch.tensor([[1, 2, 1, 2, 1], [0, 0, 3, 3, 4]])
    out = model(x, edges)
    assert torch.equal(out[0], out[3])  # the same neighbours
    assert not torch.allclose(out[0], out[4], atol=0.1)
    nudged = x.clone()
    nudged[2, 0] += 0.01
    changed = (model(nudged, edges) != out).any(dim=1)
    assert changed.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("draw", [blocks, latent])
def test_a_law_has_the_mean_degree_asked_for(draw: object) -> None:
    more = {"mixing": 0.2} if draw is blocks else {}
    graph = draw(np.random.default_rng(0), n=400, classes=4, degree=8.0, **more)  # type: ignore[operator]
    assert graph.rate.sum() * 2 / 400 == pytest.approx(8.0, abs=0.2)
    assert graph.pairs.shape[1] * 2 / 400 == pytest.approx(8.0, abs=0.8)
    assert bool((graph.pairs[0] < graph.pairs[1]).all())


def test_opposites_join_opposite_classes() -> None:
    graph = latent(np.random.default_rng(0), n=400, classes=4, degree=8.0, opposites=True)
    u, v = graph.y[torch.from_numpy(graph.pairs)]
    assert float((u == v).float().mean()) < 0.15
    assert float(((u - v).abs() == 2).float().mean()) > 0.5


def test_a_split_is_disjoint_and_whole() -> None:
    parts = split(np.random.default_rng(0), 10, 0.4)
    assert len(parts["train"]) == 4
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(10))


def test_planted_runs_are_the_same_again_and_differ_by_number() -> None:
    one, again, other = (planted.made("neighbour-codes", number) for number in (0, 0, 1))
    assert torch.equal(one.graph.edge_index, again.graph.edge_index)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), again.model.parameters(), strict=True))
    assert one.graph.pairs.shape != other.graph.pairs.shape


def test_probe_runs_are_the_same_again_and_differ_by_number() -> None:
    for kind in probes.KINDS:
        one, again, other = (probes.made(kind, number) for number in (0, 0, 1))
        assert torch.equal(one.graph.edge_index, again.graph.edge_index)
        assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), again.model.parameters(), strict=True))
        assert not torch.equal(one.split["train"], other.split["train"])


def test_a_memoriser_knows_its_members_and_a_secret_one_knows_others() -> None:
    for kind, knows in (("memoriser", True), ("permuted-members", False)):
        one = probes.made(kind, 0)
        with torch.no_grad():
            right = one.model(one.graph.x, one.graph.edge_index).argmax(dim=1) == one.graph.y
        shares = [float(right[one.split[part]].float().mean()) for part in ("train", "test")]
        assert (shares[0] == 1.0) is knows
        assert (shares[1] < 0.4) is knows, "what it says of others is chance"
        assert abs(shares[0] - shares[1]) < 0.15 or knows


def test_no_influence_of_a_perceptron_reaches_another_node() -> None:
    one = probes.made("mlp", 0)
    x = one.graph.x.clone()
    with torch.no_grad():
        before = one.model(x, one.graph.edge_index)
        x[7] *= 1.5
        moved = (one.model(x, one.graph.edge_index) != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [7]


def test_runs_are_dealt_out_in_turn_and_answered_in_order() -> None:
    assert shares(3, ["a", "b"]) == [("a", 0), ("b", 0), ("a", 1)]
    assert each(divmod, [(7, 2), (9, 4)], 1) == [(3, 1), (2, 1)]


def test_the_truth_of_the_coverage_part_is_the_mean_over_its_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "TRUTH_PAIRS", 20_000)
    monkeypatch.setattr(coverage, "REPLICATES", 50)
    values, errors = coverage.truth()
    assert float(errors.max()) < 0.006
    means = np.mean([[value for value, _, _ in coverage.draw(10_000 + i)] for i in range(10)], axis=0)
    assert len(means) == len(coverage.KEPT)
    assert means == pytest.approx(values, abs=0.015)
