"""The links harness end to end on toys: contracts, rules of the advantage, null and planted leaks."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.links.harness import Settings, evaluate
from auditor.evaluate.links.measure import Comparison, advantage_of
from auditor.evaluate.links.pairs import Truth
from auditor.evaluate.links.rewiring import rewire
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.text import sentence
from auditor.probe import Cell, LinkOutcome
from auditor.registry import find_probe
from auditor.targets.target import Capability, log_probabilities
from auditor.view import Access, SideKnowledge
from tests.toys import sbm_graph, toy_target


class Twins:
    """Trains every twin anew and remembers which graphs were asked for."""

    def __init__(self):
        self.graphs = []
        self.replicates = {}

    def twin(self, target, graph, seed):
        self.graphs.append(graph)
        return target.retrained(graph, seed=seed)


def cell(target, attack, probe=None, *, profile="quick", side=None, models=None, seed=0, **params):
    return Cell(
        target,
        find_probe(probe or attack.id),
        (attack,),
        {key: str(value) for key, value in params.items()},
        profile,
        seed,
        side or SideKnowledge(),
        models or Twins(),
    )


def row(result, name="auc", subset="prior"):
    return next(m for m in result.measurements if (m.name, m.subset) == (name, subset))


def names(measurement):
    return {control.name for control in measurement.controls}


@dataclass(frozen=True)
class Fixed:
    """An attack that scores pairs by a given function."""

    id: ClassVar[str] = "posterior-similarity"
    needs: ClassVar[frozenset] = frozenset()
    access: ClassVar[frozenset] = frozenset({Access.POSTERIORS})
    score: object = None

    def run(self, view, task):
        return LinkOutcome(self.score)


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


@pytest.fixture(scope="module")
def stealing(target):
    models = Twins()
    result = evaluate(cell(target, PosteriorSimilarity(), profile="standard", models=models, replicates=60))
    return result, models


def test_primary_rows_controls_and_access(stealing):
    result, _ = stealing
    main = row(result)
    assert result.access == ("posteriors",)
    assert main.primary
    assert main.scale == "auc"
    assert main.finding == "privacy-link-stealing"
    assert names(main) >= {"features", "features-standardised", "labels", "features+labels"}
    assert main.ci.lo <= main.value <= main.ci.hi
    assert main.advantage.ci.lo <= main.advantage.value <= main.advantage.ci.hi
    strongest = max(c.value for c in main.controls if not c.name.startswith("counterfactual"))
    assert main.advantage.value <= main.value - strongest + 1e-12
    assert main.text
    subsets = {m.subset for m in result.measurements}
    assert {"prior", "balanced", "prior/intra-class", "prior/low-degree"} <= subsets
    small = row(result, "tpr@0.001")  # 7,140 pairs: too few non-edges for this rate
    assert small.value is None
    assert not small.primary
    assert "needs n" in small.notes["reason"]


def test_an_untrained_model_served_on_the_private_graph_is_a_line_never_a_control(stealing):
    result, _ = stealing
    for measurement in result.measurements:
        assert "untrained" not in names(measurement)
        assert not any("architecture" in name for name in names(measurement))
    roles = {curve.name: curve.role for curve in result.series[0].curves}
    assert roles["architecture (untrained, served)"] == "reference"
    assert roles["attack"] == "value"
    assert roles["features+labels"] == "control"
    assert all(len(curve.x) <= 200 for curve in result.series[0].curves)


def test_counterfactual_twins_are_rewired_and_their_edges_are_judged_in_neither_arm(stealing, target):
    result, models = stealing
    assert len(models.graphs) == 2
    real = set(target.graph.pair_keys().tolist())
    for scheme, graph in zip(("degree", "degree+class"), models.graphs, strict=True):
        other = set(graph.pair_keys().tolist())
        found = row(result, "auc/counterfactual", f"prior/counterfactual/{scheme}")
        assert found.notes["positives"] == len(real - other)
        assert found.notes["negatives"] == 120 * 119 // 2 - len(real | other)
        assert found.notes["overlap"] == pytest.approx(len(real & other) / len(real))
        assert not found.primary
    assert len([v for v in result.validity if v.id == "counterfactual"]) == 2


def test_graphmi_gets_the_untrained_control_and_words_for_no_leak(target):
    result = evaluate(cell(target, GraphMI(steps=30), profile="standard", replicates=60))
    main = row(result)
    assert "untrained" in names(main)
    assert result.access == ("density", "features", "labels", "weights")
    assert "the model adds nothing that an adversary with features and labels did not have" in main.text


def test_equal_seeds_give_equal_results(target):
    one, two = (evaluate(cell(target, PosteriorSimilarity(), replicates=50)) for _ in range(2))
    assert one.measurements == two.measurements
    assert one.series == two.series


def test_without_recipe_the_counterfactual_is_unavailable_and_the_leak_still_reported(target):
    frozen = replace(target, recipe=None, capabilities=target.capabilities - {Capability.RETRAIN}, _clean={})
    result = evaluate(cell(frozen, PosteriorSimilarity(), profile="standard", replicates=50))
    assert row(result).advantage.value is not None
    checks = [v for v in result.validity if v.id == "counterfactual"]
    assert {v.status for v in checks} == {"not_checked"}
    assert "unavailable" in checks[0].evidence


def test_without_side_knowledge_the_control_is_chance(target):
    side = SideKnowledge(labels="none", features=False)
    main = row(evaluate(cell(target, PosteriorSimilarity(), side=side, replicates=50)))
    assert main.control.name == "chance"
    assert main.advantage.value == pytest.approx(main.value - 0.5)


def test_a_graph_of_fewer_than_50_nodes_gets_a_value_and_no_gate():
    small = toy_target("gcn", graph=sbm_graph(40))
    result = evaluate(cell(small, PosteriorSimilarity()))
    main = row(result)
    assert main.value is not None
    assert main.ci is None
    assert not any(m.primary for m in result.measurements)


def test_paper_protocol_is_a_mean_over_draws(target):
    big = toy_target("gcn", graph=sbm_graph(260, degree=16.0), epochs=20)
    result = evaluate(cell(big, GraphMI(protocol="paper", steps=4), protocol="paper", draws=4))
    area, precision = row(result, "auc", "t10"), row(result, "average_precision", "t10")
    assert area.primary
    assert not precision.primary
    assert area.n == area.notes["draws"] >= 2
    assert area.notes["nodes_per_draw"] == 26
    assert area.notes["sd_over_draws"] > 0
    assert area.ci.lo < area.value < area.ci.hi


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
        evaluate(cell(target, Fixed(score)))
    big = toy_target("gcn", graph=sbm_graph(260, degree=16.0), epochs=1)
    with pytest.raises(EvaluationError, match=words):
        evaluate(cell(big, Fixed(score), protocol="paper", draws=3))


def test_a_sound_scorer_passes():
    found = check_scorer(lambda p: (p[0] * p[1]).double(), 100, np.random.default_rng(0), probe="probe")
    assert found.status == "pass"


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"protocol": "papre"}, ConfigError),
        ({"replicates": 3}, ConfigError),
        ({"draws": 1}, ConfigError),
        ({"negative": 10}, ConfigError),
    ],
)
def test_bad_settings_are_refused(target, params, error):
    with pytest.raises(error):
        evaluate(cell(target, PosteriorSimilarity(), **params))


def test_what_does_not_apply_is_skipped(target):
    with pytest.raises(SkippedError, match="labels"):
        evaluate(cell(target, GraphMI(), side=SideKnowledge(labels="none")))
    with pytest.raises(SkippedError, match="features"):
        evaluate(cell(target, GraphMI(), side=SideKnowledge(features=False)))
    with pytest.raises(SkippedError, match="many graphs"):
        evaluate(cell(toy_target("graph-gin", epochs=1), PosteriorSimilarity()))
    with pytest.raises(ConfigError, match="density"):
        evaluate(cell(target, GraphMI(), side=SideKnowledge(density=500.0)))


def test_settings_defaults_are_by_profile():
    assert Settings().negatives == -1


# --- the rule of the advantage ------------------------------------------------------------------------------------


def compared(name, value, lo, hi, *, counterfactual=False):
    return Comparison(name, 0.5, (value, lo, hi), counterfactual)


def test_advantage_must_beat_every_control_and_takes_the_value_of_the_strongest():
    strongest, found = advantage_of([compared("a", 0.2, 0.1, 0.3), compared("b", 0.1, 0.05, 0.15)])
    assert strongest.name == "b"
    assert (found.value, found.ci.lo, found.ci.hi) == (0.1, 0.05, 0.15)
    _, wide = advantage_of([compared("a", 0.2, -0.1, 0.5), compared("b", 0.1, 0.05, 0.15)])
    assert (wide.ci.lo, wide.ci.hi) == (-0.1, 0.15)


def test_a_counterfactual_lowers_what_is_proven_and_never_turns_a_result_into_a_pass():
    leak = compared("labels", 0.2, 0.15, 0.25)
    twin = compared("counterfactual/degree", 0.0, -0.02, 0.02, counterfactual=True)
    _, alone = advantage_of([leak])
    strongest, both = advantage_of([leak, twin])
    assert strongest.counterfactual
    assert both.ci.lo == -0.02 < alone.ci.lo
    assert both.ci.hi == alone.ci.hi == 0.25
    assert advantage_of([]) is None


def words(comparisons, value=0.8):
    judged, no_model = advantage_of(comparisons), advantage_of([c for c in comparisons if not c.counterfactual])
    return sentence("probe", "auc", value, *judged, no_model and no_model[1], comparisons, "features and labels")


def test_sentences():
    labels = "features+labels"
    assert "no leak beyond features and labels" in words([compared(labels, -0.05, -0.06, -0.04)])
    nothing = "the model adds nothing that an adversary with features and labels did not have"
    assert nothing in words([compared(labels, -0.05, -0.06, -0.04)])
    assert nothing in words([compared(labels, 0.001, -0.02, 0.02)])
    assert "better than features and labels" in words([compared(labels, 0.1, 0.09, 0.11)])
    assert nothing not in words([compared(labels, 0.1, 0.09, 0.11)])
    assert "not shown to be beyond" in words([compared(labels, 0.05, -0.02, 0.12)])
    twin = compared("counterfactual/degree", 0.0, -0.02, 0.02, counterfactual=True)
    assert "explained by degrees and class mixing" in words([compared(labels, 0.1, 0.09, 0.11), twin])
    edges = compared("counterfactual/degree", 0.3, 0.28, 0.32, counterfactual=True)
    assert "the edges themselves" in words([compared(labels, 0.1, 0.09, 0.11), edges])


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
    assert row(evaluate(cell(target, attack, replicates=60, seed=seed))).advantage.ci.lo > 0


def permuted(graph, seed):
    order = torch.from_numpy(np.random.default_rng(seed).permutation(graph.num_nodes))
    return graph.with_edges(order[graph.edge_index])


@pytest.mark.slow
def test_null_truth_permuted_leaves_no_advantage():
    """Features, labels and answers know nothing of edges between relabelled nodes: the interval must hold 0."""
    inside = 0
    for seed in range(20):
        graph = sbm_graph(seed=seed)
        base = toy_target("gcn", graph=graph, seed=seed, epochs=30)
        score_of = base.clean_logits().double().log_softmax(dim=1)
        unit = torch.nn.functional.normalize(score_of - score_of.mean(dim=1, keepdim=True), dim=1)
        attack = Fixed(lambda p, unit=unit: (unit[p[0]] * unit[p[1]]).sum(dim=1))
        null = replace(base, graph=permuted(graph, seed), _clean={})
        main = row(evaluate(cell(null, attack, replicates=200, seed=seed)))
        inside += main.advantage.ci.lo <= 0 <= main.advantage.ci.hi
    assert inside >= 18


@pytest.mark.slow
def test_null_graphmi_on_untrained_weights_proves_nothing():
    proven = 0
    for seed in range(20):
        base = toy_target("gcn", graph=sbm_graph(seed=seed), seed=seed, epochs=0)
        main = row(
            evaluate(cell(base, GraphMI(steps=40), profile="standard", replicates=100, counterfactuals=0, seed=seed))
        )
        proven += main.advantage.ci.lo > 0
    assert proven <= 1


@dataclass(frozen=True)
class FromTwin(PosteriorSimilarity):
    """Scores the real target by the answers of a twin, and every other target by its own."""

    answers: object = None
    real: object = None

    def run(self, view, task):
        if torch.equal(view.posteriors, self.real):
            return LinkOutcome(lambda p: (self.answers[p[0]] * self.answers[p[1]]).sum(dim=1))
        return PosteriorSimilarity().run(view, task)


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

        attack = FromTwin(answers=unit, real=log_probabilities(base.clean_logits()).exp())
        main = row(evaluate(cell(base, attack, profile="standard", replicates=150, seed=seed)))
        proven += main.advantage.ci.lo > 0
    assert proven <= 1
