"""The links harness end to end on toys: contracts, the rule of the contrast, lists of links, null and planted leaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor.document import Control, Estimate, measured
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.harness import Settings, evaluate
from auditor.evaluate.links.measure import AUC, LOW_TPR, PRECISION, link_list, number, score_set
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.evaluate.links.rewiring import rewire
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.targets.target import Capability
from auditor.tasks import log_probabilities
from auditor.view import SideKnowledge
from tests.evaluate.links.cells import ByAnswers, Fixed, Twins, make_cell, row
from tests.toys import sbm_graph, toy_target


def names(number):
    return {control.name for control in number.controls}


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


@pytest.fixture(scope="module")
def stealing(target):
    models = Twins()
    result = evaluate(make_cell(target, PosteriorSimilarity(), profile="standard", models=models, replicates=60))
    return result, models


def test_judged_rows_controls_and_access(stealing):
    result, _ = stealing
    main = row(result)
    assert result.access == ("posteriors",)
    assert main.judged
    assert (main.unit, main.worse_when, main.question) == ("auc", "higher", "ranking")
    assert main.finding == "privacy-link-stealing"
    assert names(main) >= {"features", "features-standardised", "labels", "features+labels"}
    assert main.estimate.lo <= main.estimate.value <= main.estimate.hi
    assert main.contrast.lo <= main.contrast.value <= main.contrast.hi
    strongest = max(control.estimate.value for control in main.controls if not control.twin)
    assert main.contrast.value <= main.estimate.value - strongest + 1e-12
    subsets = {m.subset for m in result.measured}
    assert {"prior", "balanced", "prior/intra-class", "prior/low-degree"} <= subsets
    small = row(result, "tpr@0.001")  # 7,140 pairs: too few non-edges for this rate
    assert small.estimate.value is None
    assert not small.judged
    assert small.facts.needed == 50_000 > small.facts.negatives


def test_facts_say_what_is_known_and_how_many_pairs_there_are(stealing, target):
    result, _ = stealing
    edges = int(target.graph.pair_keys().numel())
    for found in result.measured:
        assert found.facts.knowledge == ("features", "labels")
        assert (found.facts.needed is None) == (found.estimate.value is not None)
        assert (found.facts.links is not None) == (found is row(result))
        assert (found.facts.twin is not None) == found.metric.endswith("/counterfactual")
    main = row(result).facts
    assert (main.positives, main.negatives) == (edges, 120 * 119 // 2 - edges)
    precision, links = row(result, "precision@edges").estimate, main.links
    assert links.n_links == edges
    assert links.k.value == pytest.approx(edges * precision.value)
    assert (links.k.lo, links.k.hi) == pytest.approx((edges * precision.lo, edges * precision.hi))
    assert links.r.value == pytest.approx(edges * edges / (120 * 119 / 2))
    assert not links.sampled


def test_few_false_alarms_name_the_control_that_the_contrast_is_to(target):
    found = row(evaluate(make_cell(target, PosteriorSimilarity(), replicates=50)), "tpr@0.01")
    low = found.facts.low_fpr
    assert (low.fpr, low.chance, low.attack) == (0.01, 0.01, found.estimate)
    assert low.control.value == pytest.approx(found.control.estimate.value)
    assert low.control.lo <= low.control.value <= low.control.hi
    unknowing = SideKnowledge(labels="none", features=False)
    alone = row(evaluate(make_cell(target, PosteriorSimilarity(), side=unknowing, replicates=50)), "tpr@0.01")
    assert alone.facts.low_fpr.control is None
    assert alone.contrast is None


def test_an_untrained_model_served_on_the_private_graph_is_a_line_never_a_control(stealing):
    result, _ = stealing
    for found in result.measured:
        assert "untrained" not in names(found)
        assert not any("architecture" in name for name in names(found))
    roles = {curve.name: curve.role for curve in result.series[0].curves}
    assert roles["architecture (untrained, served)"] == "reference"
    assert roles["attack"] == "value"
    assert roles["features+labels"] == "control"
    assert all(len(curve.x) <= 200 for curve in result.series[0].curves)


def test_counterfactual_twins_are_rewired_and_their_edges_are_judged_on_neither_side(stealing, target):
    result, models = stealing
    assert len(models.graphs) == 2
    real = set(target.graph.pair_keys().tolist())
    for scheme, graph in zip(("degree", "degree+class"), models.graphs, strict=True):
        other = set(graph.pair_keys().tolist())
        found = row(result, "auc/counterfactual", f"prior/counterfactual/{scheme}")
        assert found.facts.positives == len(real - other)
        assert found.facts.negatives == 120 * 119 // 2 - len(real | other)
        assert found.facts.twin.scheme == scheme
        assert found.facts.twin.overlap == pytest.approx(len(real & other) / len(real))
        assert not found.judged
        twin = next(c for c in row(result).controls if c.name == f"counterfactual/{scheme}")
        assert twin.twin
        assert twin.own == found.estimate
        assert twin.contrast.value == pytest.approx(found.estimate.value - twin.estimate.value)
    assert len([v for v in result.validity if v.id == "counterfactual"]) == 2


def test_graphmi_gets_the_untrained_control_and_gains_nothing_beyond_features_and_labels(target):
    result = evaluate(make_cell(target, GraphMI(steps=30), profile="standard", replicates=60))
    main = row(result)
    assert "untrained" in names(main)
    assert result.access == ("density", "features", "labels", "weights")
    assert main.contrast.lo <= 0
    assert main.contrast.value <= 0.01


def test_equal_seeds_give_equal_results(target):
    one, two = (evaluate(make_cell(target, PosteriorSimilarity(), replicates=50)) for _ in range(2))
    assert one.measured == two.measured
    assert one.series == two.series


def test_without_recipe_the_counterfactual_is_unavailable_and_the_leak_still_reported(target):
    frozen = replace(target, recipe=None, capabilities=target.capabilities - {Capability.RETRAIN})
    result = evaluate(make_cell(frozen, PosteriorSimilarity(), profile="standard", replicates=50))
    assert row(result).contrast.value is not None
    assert [v.status for v in result.validity if v.id == "counterfactual"] == ["not_checked"] * 2


def test_without_side_knowledge_the_control_is_chance(target):
    side = SideKnowledge(labels="none", features=False)
    main = row(evaluate(make_cell(target, PosteriorSimilarity(), side=side, replicates=50)))
    assert main.control.name == "chance"
    assert main.contrast.value == pytest.approx(main.estimate.value - 0.5)
    assert main.contrast.half_width == pytest.approx(main.estimate.half_width)
    assert main.facts.knowledge == ()
    assert main.facts.links.m is None


def test_a_graph_of_fewer_than_50_nodes_gets_a_value_and_no_gate():
    small = toy_target("gcn", graph=sbm_graph(40))
    result = evaluate(make_cell(small, PosteriorSimilarity()))
    main = row(result)
    assert main.estimate.value is not None
    assert not main.estimate.has_interval
    assert not main.contrast.has_interval
    assert not main.facts.links.k.has_interval
    assert not any(m.judged for m in result.measured)


def test_paper_protocol_is_a_mean_over_draws(target):
    big = toy_target("gcn", graph=sbm_graph(260, degree=16.0), epochs=20)
    result = evaluate(make_cell(big, GraphMI(protocol="paper", steps=4), protocol="paper", draws=4))
    area, precision = row(result, "auc", "paper"), row(result, "average_precision", "paper")
    assert area.judged
    assert not precision.judged
    draws = area.facts.draws
    assert area.estimate.n == draws.draws >= 2
    assert area.facts.positives == pytest.approx(draws.edges_per_draw * draws.draws)
    assert area.facts.positives + area.facts.negatives == draws.draws * 26 * 25 // 2
    assert draws.nodes_per_draw == 26
    assert draws.sd_over_draws > 0
    assert area.estimate.lo < area.estimate.value < area.estimate.hi


ASYMMETRIC = lambda pairs: (pairs[0] - 0.5 * pairs[1]).double()  # noqa: E731
SPLIT = lambda pairs: (pairs[0] + pairs[1]).double() - (pairs[0] + pairs[1]).double().mean()  # noqa: E731
NOT_FINITE = lambda pairs: torch.full((pairs.shape[1],), float("nan"), dtype=torch.float64)  # noqa: E731
WRONG_SHAPE = lambda pairs: torch.zeros(3, dtype=torch.float64)  # noqa: E731


@pytest.mark.parametrize(
    ("score", "words"),
    [(ASYMMETRIC, "asymmetric"), (SPLIT, "other pairs"), (NOT_FINITE, "not finite"), (WRONG_SHAPE, "expected one")],
)
def test_a_scorer_that_breaks_its_contract_is_an_error(target, score, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate(make_cell(target, Fixed(score)))
    big = toy_target("gcn", graph=sbm_graph(260, degree=16.0), epochs=1)
    with pytest.raises(EvaluationError, match=words):
        evaluate(make_cell(big, Fixed(score), protocol="paper", draws=3))


def test_a_sound_scorer_passes():
    found = check_scorer(lambda p: (p[0] * p[1]).double(), 100, np.random.default_rng(0), probe="probe")
    assert found.status == "pass"


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"protocol": "papre"}, ConfigError),
        ({"replicates": 3}, ConfigError),
        ({"negatives": 99}, ConfigError),
        ({"counterfactuals": -1}, ConfigError),
        ({"draws": 1}, ConfigError),
        ({"negative": 10}, ConfigError),
    ],
)
def test_bad_settings_are_refused(target, params, error):
    with pytest.raises(error):
        evaluate(make_cell(target, PosteriorSimilarity(), **params))


def test_what_does_not_apply_is_skipped(target):
    with pytest.raises(SkippedError, match="labels"):
        evaluate(make_cell(target, GraphMI(), side=SideKnowledge(labels="none")))
    with pytest.raises(SkippedError, match="features"):
        evaluate(make_cell(target, GraphMI(), side=SideKnowledge(features=False)))
    with pytest.raises(SkippedError, match="many graphs"):
        evaluate(make_cell(toy_target("graph-gin", epochs=1), PosteriorSimilarity()))
    with pytest.raises(ConfigError, match="density"):
        evaluate(make_cell(target, GraphMI(), side=SideKnowledge(density=500.0)))


def test_settings_defaults_are_by_profile():
    assert Settings().negatives is None


# --- the rule of the contrast -------------------------------------------------------------------------------------


def control(name, value, lo, hi, *, twin=False):
    contrast = Estimate(value=value, lo=lo, hi=hi)
    own = Estimate(value=0.5 + value) if twin else None
    return Control(name=name, estimate=Estimate(value=0.5), contrast=contrast, own=own, twin=twin)


def joint(*controls):
    return measured(AUC.metric, Estimate(value=0.6, n=10), finding="f", controls=controls).contrast


def test_contrast_must_beat_every_control_and_takes_the_value_of_the_strongest():
    found = joint(control("a", 0.2, 0.1, 0.3), control("b", 0.1, 0.05, 0.15))
    assert (found.to, found.value, found.lo, found.hi) == ("b", 0.1, 0.05, 0.15)
    wide = joint(control("a", 0.2, -0.1, 0.5), control("b", 0.1, 0.05, 0.15))
    assert (wide.lo, wide.hi) == (-0.1, 0.15)


def test_a_twin_lowers_what_is_proven_and_never_turns_a_result_into_a_pass():
    leak, twin = control("labels", 0.2, 0.15, 0.25), control("twin", 0.0, -0.02, 0.02, twin=True)
    alone, both = joint(leak), joint(leak, twin)
    assert (both.to, both.value) == ("twin", 0.0)
    assert both.lo == -0.02 < alone.lo
    assert both.hi == alone.hi == 0.25
    # A twin that is no threat changes nothing; beside no other control it stands alone.
    assert joint(leak, control("twin", 0.4, 0.3, 0.5, twin=True)) == alone
    assert (joint(twin).lo, joint(twin).hi) == (-0.02, 0.02)
    assert joint() is None


def test_without_intervals_both_ends_of_the_contrast_are_open():
    found = joint(control("a", 0.2, None, None), control("b", 0.1, None, None, twin=True))
    assert (found.to, found.value, found.lo, found.hi) == ("b", 0.1, None, None)


# --- the likeliest pairs as a list --------------------------------------------------------------------------------

SIX = torch.tensor([[0, 1, 2, 4], [1, 2, 3, 5]])  # four links among fifteen pairs
ATTACK = ((0, 1), (1, 2), (2, 3), (0, 5))  # three of its four likeliest pairs are links
GUESS = ((0, 1), (0, 2), (4, 5), (3, 4))  # two of them are


def favourites(pairs):
    """A score that puts `pairs` first, in order, and all others in one block behind them."""
    rank = {pair: 1.0 - place / 10 for place, pair in enumerate(pairs)}
    return lambda asked: torch.tensor([rank.get(pair, 0.0) for pair in map(tuple, asked.T.tolist())]).double()


def six_nodes(controls, *, replicates=0):
    graph = sbm_graph(6).with_edges(torch.cat([SIX, SIX.flip(0)], dim=1))
    pairs = prior_pairs(Truth.of(graph), 100, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    scored = score_set(
        pairs, favourites(ATTACK), controls, (AUC, PRECISION), num_nodes=6, rng=rng, replicates=replicates
    )
    return scored, number(scored, AUC, finding="f", knowledge=("labels",))


def test_links_among_the_likeliest_pairs_on_six_nodes():
    guess = Scorer("guess", (favourites(GUESS),))
    scored, found = six_nodes([guess])
    links = link_list(scored, found, n_links=4, num_nodes=6)
    assert (links.n_links, links.sampled) == (4, False)
    assert (links.k.value, links.m.value, links.r.value) == pytest.approx((3, 2, 16 / 15))
    assert not any(count.has_interval for count in (links.k, links.m, links.r))
    scored, found = six_nodes([guess], replicates=50)
    links, precision = link_list(scored, found, n_links=4, num_nodes=6), scored.estimate(PRECISION)
    assert links.k.value == pytest.approx(3)
    assert (links.k.lo, links.k.hi) == pytest.approx((4 * precision.lo, 4 * precision.hi))
    assert links.m.lo < links.m.value < links.m.hi
    assert not links.r.has_interval


def test_the_second_count_of_a_list_is_the_best_guess_without_the_model():
    scored, found = six_nodes([])
    assert found.contrast.to == "chance"
    assert link_list(scored, found, n_links=4, num_nodes=6).m is None
    scored, plain = six_nodes([Scorer("guess", (favourites(GUESS),))])
    strong = number(scored, AUC, finding="f", knowledge=(), further=[control("twin", -0.5, -0.6, -0.4, twin=True)])
    assert strong.contrast.to == "twin"
    lists = [link_list(scored, row, n_links=4, num_nodes=6) for row in (plain, strong)]
    assert lists[0].m is not None
    assert lists[0] == lists[1]  # a twin lowers what is proven, not what can be guessed


def test_a_list_is_an_estimate_where_non_edges_are_a_sample():
    truth = Truth.of(sbm_graph(200))
    counts = []
    for asked in (10**6, 2000):
        pairs = prior_pairs(truth, asked, np.random.default_rng(0))
        score = lambda p: torch.cos(p[0] * p[1] + p[0] + p[1]).double()  # noqa: E731
        found = score_set(
            pairs, score, [], (AUC, *LOW_TPR, PRECISION), num_nodes=200, rng=np.random.default_rng(0), replicates=0
        )
        counts.append(link_list(found, number(found, AUC, finding="f", knowledge=()), n_links=9, num_nodes=200))
    assert [links.sampled for links in counts] == [False, True]


# --- null and planted ---------------------------------------------------------------------------------------------


def neighbour_hash(graph, noise, seed):
    """A score that is 1 for edges, but for a share `noise` of pairs."""
    keys = torch.sort(graph.pair_keys()).values
    salt = 7919 * (seed + 1)

    def score(pairs):
        key = pairs.min(dim=0).values * graph.num_nodes + pairs.max(dim=0).values
        flip = ((key * 2654435761 + salt) % 1000) < 1000 * noise
        return (torch.isin(key, keys) ^ flip).double()

    return score


@pytest.mark.parametrize("seed", range(4))
def test_planted_edges_are_found(target, seed):
    attack = Fixed(neighbour_hash(target.graph, 0.05, seed))
    assert row(evaluate(make_cell(target, attack, replicates=60, seed=seed))).contrast.lo > 0


def permuted(graph, seed):
    order = torch.from_numpy(np.random.default_rng(seed).permutation(graph.num_nodes))
    return graph.with_edges(order[graph.edge_index])


@pytest.mark.slow
def test_null_truth_permuted_leaves_no_excess():
    """Features, labels and answers know nothing of edges between relabelled nodes: the interval must hold 0."""
    inside = 0
    for seed in range(20):
        graph = sbm_graph(seed=seed)
        base = toy_target("gcn", graph=graph, seed=seed, epochs=30)
        score_of = base.clean_logits().double().log_softmax(dim=1)
        unit = torch.nn.functional.normalize(score_of - score_of.mean(dim=1, keepdim=True), dim=1)
        attack = Fixed(lambda p, unit=unit: (unit[p[0]] * unit[p[1]]).sum(dim=1))
        null = replace(base, graph=permuted(graph, seed))
        main = row(evaluate(make_cell(null, attack, replicates=200, seed=seed)))
        inside += main.contrast.lo <= 0 <= main.contrast.hi
    assert inside >= 18


@pytest.mark.slow
def test_null_graphmi_on_untrained_weights_proves_nothing():
    proven = 0
    for seed in range(20):
        base = toy_target("gcn", graph=sbm_graph(seed=seed), seed=seed, epochs=0)
        main = row(
            evaluate(
                make_cell(base, GraphMI(steps=40), profile="standard", replicates=100, counterfactuals=0, seed=seed)
            )
        )
        proven += main.contrast.lo > 0
    assert proven <= 1


@pytest.mark.slow
def test_null_posteriors_served_on_a_rewired_graph_prove_nothing_against_its_twins():
    """Attack answers of a twin on G' for the edges of G: no better than another twin of the same kind."""
    proven = 0
    for seed in range(20):
        base = toy_target("gcn", graph=sbm_graph(seed=seed), seed=seed, epochs=30)
        truth = Truth.of(base.graph)
        other = rewire(truth.pairs, 120, rng=np.random.default_rng(1000 + seed), classes=base.graph.y.numpy())
        arcs = torch.from_numpy(np.concatenate([other.pairs, other.pairs[::-1]], axis=1))
        twin = base.retrained(base.graph.with_edges(arcs), seed=seed + 50)
        log_p = twin.clean_logits().double().log_softmax(dim=1)
        unit = torch.nn.functional.normalize(log_p - log_p.mean(dim=1, keepdim=True), dim=1)

        real = log_probabilities(base.clean_logits()).exp()
        attack = ByAnswers(unit, real, PosteriorSimilarity())
        main = row(evaluate(make_cell(base, attack, profile="standard", replicates=150, seed=seed)))
        proven += main.contrast.lo > 0
    assert proven <= 1
