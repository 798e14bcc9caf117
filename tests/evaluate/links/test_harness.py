"""The links harness end to end on toys: contracts, the rule of the contrast, lists of links, null and planted leaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor.document import Control, Estimate, measured
from auditor.document.facts import Twin
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.links import twins
from auditor.evaluate.links.controls import Scorer
from auditor.evaluate.links.harness import Settings, evaluate
from auditor.evaluate.links.measure import comparisons, link_list, number
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.evaluate.links.rewiring import rewire
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.scoring import AUC, LOW_TPR, PRECISION, Reference, prepared, score_set
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
    assert (main.unit, main.worse_when, main.question) == ("errors", "higher", "ranking")
    assert main.finding == "privacy-link-stealing"
    assert names(main) >= {"features", "features-standardised", "labels", "features+labels", "mlp", "chance"}
    assert main.estimate.lo <= main.estimate.value <= main.estimate.hi
    assert main.contrast.lo <= main.contrast.value <= main.contrast.hi
    # What is judged: the headroom, and the strictest rate of false alarms that the pairs allow.
    assert {m.metric for m in result.measured if m.judged} == {"headroom", "combined_tpr@0.01"}
    alone = row(result, "auc")
    strongest = max(control.estimate.value for control in alone.controls if not control.twin)
    assert alone.contrast.value == pytest.approx(alone.estimate.value - strongest)
    subsets = {m.subset for m in result.measured}
    assert {"prior", "balanced", "prior/intra-class", "prior/low-degree"} <= subsets
    for metric in ("tpr@0.001", "combined_tpr@0.001"):  # 7,140 pairs: too few non-edges for this rate
        small = row(result, metric)
        assert small.estimate.value is None
        assert not small.judged
        assert small.facts.needed == 50_000 > small.facts.negatives


def test_headroom_is_the_share_of_errors_avoided_against_each_control_on_its_own_pairs(stealing):
    result, _ = stealing
    main, areas = row(result), row(result, "combined_auc")
    rivals = {rival.control: rival for rival in main.facts.rivals}
    assert set(rivals) == names(main) == names(areas)
    for control, area in zip(main.controls, areas.controls, strict=True):
        rival = rivals[control.name]
        a, c = rival.with_model.value, rival.without_model.value
        assert control.estimate.value == 0
        assert control.contrast == control.own
        assert control.contrast.value == pytest.approx((a - c) / (1 - c))
        assert control.contrast.lo < control.contrast.value < control.contrast.hi < 1
        assert area.contrast.value == pytest.approx(a - c)
        assert (area.own.value, area.estimate.value) == pytest.approx((a, c))
        assert rival.twin == control.twin == control.name.startswith("counterfactual")
        assert (rival.positives == main.facts.positives) != control.twin
    first = main.facts.rivals[0]
    plain = [rival for rival in main.facts.rivals if not rival.twin]
    assert first.without_model.value == max(rival.without_model.value for rival in plain)
    assert main.estimate.value == next(c.own.value for c in main.controls if c.name == first.control)
    assert main.contrast.lo == min(c.contrast.lo for c in main.controls)


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
    links = main.links
    assert links.n_links == edges
    assert links.k.lo <= links.k.value <= links.k.hi
    assert links.r.value == pytest.approx(edges * edges / (120 * 119 / 2))
    assert not links.sampled


def test_few_false_alarms_name_the_control_that_the_contrast_is_to(target):
    plain = {"replicates": 50, "counterfactuals": 0}
    result = evaluate(make_cell(target, PosteriorSimilarity(), **plain))
    found = row(result, "combined_tpr@0.01")
    low = found.facts.low_fpr
    assert (low.fpr, low.chance) == (0.01, 0.01)
    guesses = [control for control in found.controls if control.name != "chance"]
    strongest = max(guesses, key=lambda control: control.estimate.value)  # at this rate, not over the whole ranking
    assert (low.attack, low.control) == (strongest.own, strongest.estimate)
    assert low.control.lo <= low.control.value <= low.control.hi
    # A guess that finds fewer links than chance would is no bar: chance is a control of every metric.
    chance = next(c for c in found.controls if c.name == "chance")
    assert chance.estimate.value == 0.01
    assert chance.contrast.value == pytest.approx(found.estimate.value - 0.01)
    unknowing = SideKnowledge(labels="none", features=False)
    alone = evaluate(make_cell(target, PosteriorSimilarity(), side=unknowing, **plain))
    blind = row(alone, "combined_tpr@0.01")
    assert blind.facts.low_fpr.control is None
    assert names(blind) == {"chance"}
    assert blind.contrast.value == pytest.approx(blind.estimate.value - 0.01)


def test_an_untrained_model_served_on_the_private_graph_is_a_line_never_a_control(stealing):
    result, _ = stealing
    for found in result.measured:
        assert "untrained" not in names(found)
        assert not any("architecture" in name for name in names(found))
    roles = {curve.name: curve.role for curve in result.series[0].curves}
    assert roles["architecture (untrained, served)"] == "reference"
    assert roles["attack and side knowledge together"] == "value"
    assert roles["attack alone"] == "reference"
    assert roles["features+labels"] == "control"
    assert all(len(curve.x) <= 200 for curve in result.series[0].curves)


def test_counterfactual_twins_are_rewired_and_their_edges_are_judged_on_neither_side(stealing, target):
    result, models = stealing
    assert len(models.graphs) == 2
    real = set(target.graph.pair_keys().tolist())
    for scheme, graph in zip(("degree+class", "degree"), models.graphs, strict=True):
        other = set(graph.pair_keys().tolist())
        found = row(result, "auc/counterfactual", f"prior/counterfactual/{scheme}")
        assert found.facts.positives == len(real - other)
        assert found.facts.negatives == 120 * 119 // 2 - len(real | other)
        assert found.facts.twin.scheme == scheme
        assert found.facts.twin.overlap == pytest.approx(len(real & other) / len(real))
        assert not found.judged
        (alone,) = found.controls
        assert alone.name == f"counterfactual/{scheme}"
        assert found.contrast.value == pytest.approx(found.estimate.value - alone.estimate.value)
        twin = next(c for c in row(result).controls if c.name == f"counterfactual/{scheme}")
        assert twin.twin
        rival = next(r for r in row(result).facts.rivals if r.control == twin.name)
        assert (rival.positives, rival.negatives) == (found.facts.positives, found.facts.negatives)
    assert len([v for v in result.validity if v.id == "counterfactual"]) == 2


def test_graphmi_gets_the_untrained_control_and_gains_nothing_beyond_features_and_labels(target):
    result = evaluate(make_cell(target, GraphMI(steps=30), profile="standard", replicates=60))
    main = row(result)
    assert "untrained" in names(main)
    assert result.access == ("density", "features", "labels", "weights")
    assert main.contrast.lo <= 0
    assert row(result, "auc").contrast.value <= 0.01


def test_on_a_large_graph_one_untrained_network_is_attacked_and_the_cell_says_so(target, monkeypatch):
    monkeypatch.setattr(twins, "LARGE", target.graph.num_nodes - 1)
    result = evaluate(make_cell(target, GraphMI(steps=3), profile="standard", replicates=60))
    assert "untrained" in names(row(result))
    assert result.params["untrained"] == "1 network in place of 3: the graph is large"
    monkeypatch.setattr(twins, "LARGE", target.graph.num_nodes)
    assert "untrained" not in evaluate(make_cell(target, GraphMI(steps=3), profile="standard", replicates=60)).params


def test_seeds_of_a_run_are_asked_about_the_same_pairs_and_share_what_needs_no_model(target):
    models = Twins()
    made, columns = [], []
    for seed in (0, 1):
        made.append(evaluate(make_cell(target, PosteriorSimilarity(), models=models, seed=seed, replicates=60)))
        columns.append(len(models.replicates))
    first, second = (row(result, "auc") for result in made)
    assert first.estimate == second.estimate  # the attack draws nothing
    assert first.controls == second.controls
    # The twin is another one, on pairs of its own: attack, guess and twin, and the guess added to either.
    assert columns[1] - columns[0] == 5 < columns[0]
    assert row(made[0], "combined_auc").controls != row(made[1], "combined_auc").controls


def test_equal_seeds_give_equal_results(target):
    one, two = (evaluate(make_cell(target, PosteriorSimilarity(), replicates=50)) for _ in range(2))
    assert one.measured == two.measured
    assert one.series == two.series


def test_without_recipe_the_counterfactual_is_unavailable_and_the_leak_still_reported(target):
    frozen = replace(target, recipe=None, capabilities=target.capabilities - {Capability.RETRAIN})
    result = evaluate(make_cell(frozen, PosteriorSimilarity(), profile="standard", replicates=50))
    assert row(result).contrast.value is not None
    assert row(result).at_most == row(result, "combined_tpr@0.01").at_most == "medium"
    assert [v.status for v in result.validity if v.id == "counterfactual"] == ["not_checked"] * 2


def test_without_side_knowledge_the_control_is_chance(target):
    side = SideKnowledge(labels="none", features=False)
    result = evaluate(make_cell(target, PosteriorSimilarity(), side=side, replicates=50, counterfactuals=0))
    main, alone = row(result), row(result, "auc")
    assert main.control.name == alone.control.name == "chance"
    assert main.contrast.value == pytest.approx(2 * alone.estimate.value - 1)
    assert main.contrast.lo == pytest.approx(2 * alone.estimate.lo - 1)
    assert alone.contrast.value == pytest.approx(alone.estimate.value - 0.5)
    assert alone.contrast.half_width == pytest.approx(alone.estimate.half_width)
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
    main = row(result, "headroom", "paper")
    assert main.judged
    assert not area.judged
    assert not precision.judged
    assert main.at_most == "medium"
    assert names(main) == {*names(area), "chance"}
    assert all(c.contrast.lo < c.contrast.value < c.contrast.hi for c in main.controls)
    strongest = main.facts.rivals[0]
    assert strongest.without_model.value == max(rival.without_model.value for rival in main.facts.rivals)
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


def six_nodes(attack, *controls, replicates=0):
    """The comparisons of an attack on four links among fifteen pairs; every pair is a reference pair."""
    graph = sbm_graph(6).with_edges(torch.cat([SIX, SIX.flip(0)], dim=1))
    pairs = prior_pairs(Truth.of(graph), 100, np.random.default_rng(0))
    scorers = [Scorer("attack", (attack,)), *(Scorer(f"guess {k}", (each,)) for k, each in enumerate(controls))]
    scored = score_set(
        pairs,
        [prepared(scorer, pairs, Reference(pairs.tensor)) for scorer in scorers],
        (AUC, PRECISION),
        num_nodes=6,
        rng=np.random.default_rng(0),
        replicates=replicates,
        together=[(0, place) for place in range(1, len(scorers))],
    )
    return comparisons(scored, ())


def flat(pairs):
    return torch.zeros(pairs.shape[1], dtype=torch.float64)


def test_links_among_the_likeliest_pairs_on_six_nodes():
    first, *_ = six_nodes(favourites(ATTACK), flat)
    links = link_list(first, n_links=4, n_pairs=15)
    assert (links.n_links, links.sampled) == (4, False)
    # Beside a guess that knows nothing the attack stands alone: three of its four pairs are links.
    assert (links.k.value, links.m.value, links.r.value) == pytest.approx((3, 16 / 15, 16 / 15))
    assert not any(count.has_interval for count in (links.k, links.m, links.r))
    first, *_ = six_nodes(favourites(ATTACK), favourites(GUESS), replicates=50)
    links, precision = link_list(first, n_links=4, n_pairs=15), first.scored.estimate(PRECISION, first.own)
    assert links.k.value == pytest.approx(4 * precision.value)
    assert (links.k.lo, links.k.hi) == pytest.approx((4 * precision.lo, 4 * precision.hi))
    assert links.m.value == pytest.approx(2)
    assert links.m.lo < links.m.value < links.m.hi
    assert not links.r.has_interval


def test_without_a_guess_the_list_has_no_second_count():
    (chance,) = six_nodes(favourites(ATTACK))
    assert (chance.name, chance.own, chance.other) == ("chance", 0, None)
    assert link_list(chance, n_links=4, n_pairs=15).m is None


def test_attack_and_guess_are_added_up_as_normal_scores_of_their_ranks():
    first, *_ = six_nodes(favourites(ATTACK), favourites(GUESS))
    pairs = first.scored.pairs
    own, guess = (favourites(each)(pairs.tensor).numpy() for each in (ATTACK, GUESS))
    by_hand = sum(norm.ppf((rankdata(scores) - 0.5) / len(scores)) for scores in (own, guess))
    area = roc_auc_score(pairs.is_edge, by_hand)
    alone = roc_auc_score(pairs.is_edge, guess)
    rival = first.rival()
    assert (rival.with_model.value, rival.without_model.value) == pytest.approx((area, alone))
    assert first.headroom().own.value == pytest.approx((area - alone) / (1 - alone))


def test_scores_count_the_better_way_round():
    """Where linked nodes are unlike, attack and guess rank links last; both are read in reverse, and it is said."""
    unlike = lambda scores: lambda pairs: -scores(pairs)  # noqa: E731
    straight, reversed_ = (
        six_nodes(turn(favourites(ATTACK)), turn(favourites(GUESS)))[0] for turn in (lambda own: own, unlike)
    )
    assert straight.rival().with_model.value == pytest.approx(reversed_.rival().with_model.value)
    assert straight.rival().without_model.value == pytest.approx(reversed_.rival().without_model.value)
    assert straight.rival().without_model.value > 0.5
    assert (straight.rival().in_reverse, reversed_.rival().in_reverse) == (False, True)
    assert number(reversed_.scored, AUC, finding="f", knowledge=()).facts.in_reverse
    # The choice costs width: the attack alone is wider than the same scores as a control, which nobody chose.
    # On six nodes no reading is sure.
    wide = six_nodes(favourites(ATTACK), favourites(ATTACK), replicates=80)[0].scored
    assert wide.estimate(AUC, 0).half_width > 1.05 * wide.estimate(AUC, 1).half_width


def test_the_twin_of_an_attack_is_compared_together_with_the_same_guess():
    guess = favourites(GUESS)
    main = six_nodes(favourites(ATTACK), guess)[0].scored
    scorers = [*main.scorers, prepared(Scorer("twin", (favourites(ATTACK),)), main.pairs, Reference(main.pairs.tensor))]
    part = score_set(
        main.pairs,
        scorers,
        (AUC,),
        num_nodes=6,
        rng=np.random.default_rng(0),
        replicates=0,
        together=[(0, 1), (2, 1)],
    )
    twin = comparisons(main, [(Twin(scheme="degree"), part)])[-1]
    assert (twin.own, twin.other) == ((0, 1), (2, 1))
    assert twin.headroom().contrast.value == pytest.approx(0.0)  # equal answers of the twin: nothing is of the edges


def test_a_list_is_an_estimate_where_non_edges_are_a_sample():
    truth = Truth.of(sbm_graph(200))
    counts = []
    for asked in (10**6, 2000):
        pairs = prior_pairs(truth, asked, np.random.default_rng(0))
        score = lambda p: torch.cos(p[0] * p[1] + p[0] + p[1]).double()  # noqa: E731
        found = score_set(
            pairs,
            [Scorer("attack", (score,))],
            (AUC, *LOW_TPR, PRECISION),
            num_nodes=200,
            rng=np.random.default_rng(0),
            replicates=0,
        )
        counts.append(link_list(comparisons(found, ())[0], n_links=9, n_pairs=19_900))
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
    found = row(evaluate(make_cell(target, attack, replicates=60, seed=seed, counterfactuals=0)))
    assert found.contrast.lo > 0.25


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
        main = row(evaluate(make_cell(null, attack, replicates=200, seed=seed, counterfactuals=0)))
        inside += main.contrast.lo <= 0
    assert inside >= 19


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
