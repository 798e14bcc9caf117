"""Budgets, envelope, RAUC and eps50 against hand-computed and published values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.budgets import flips_for, graph_levels, node_caps, node_levels, parse_eps
from auditor.evaluate.robustness.envelope import Tried, envelope, eps50, rauc
from auditor.evaluate.robustness.verification import Verified
from tests.toys import sbm_graph, small_graphs


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [((0.786, 0.372, 0.230, 0.089, 0.083, 0.073), 0.01295), ((0.852, 0.831, 0.817, 0.773, 0.726, 0.684), 0.29962)],
)
def test_rauc_matches_the_published_table(accuracy, expected):
    assert rauc((0, 0.01, 0.02, 0.05, 0.1, 0.15), accuracy, 0.35) == pytest.approx(expected, abs=1e-5)


def test_rauc_interpolates_at_its_end_and_is_zero_without_a_gain_over_features():
    # clipped at the support first: 1 at 0, 0 at 0.2, hence 0.25 at 0.15; (1 + 0.25) / 2
    assert rauc((0, 0.2), (1.0, 0.0), 0.5) == pytest.approx(0.625, abs=1e-12)
    assert rauc((0, 0.15), (0.6, 0.5), 0.4) == 0.0
    with pytest.raises(ValueError, match="covers"):
        rauc((0, 0.1), (0.9, 0.8), 0.5)


def test_eps50_is_linear_on_the_curve():
    eps, accuracy = (0, 0.01, 0.05, 0.1, 0.25), (0.814, 0.756, 0.538, 0.465, 0.268)
    assert eps50(eps, accuracy, 0.319) == pytest.approx(0.04477, abs=1e-5)
    assert eps50(eps, (0.8, 0.79, 0.78, 0.77, 0.76), 0.319) is None


@pytest.mark.parametrize(("eps", "m", "flips"), [("0.01", 5278, 52), ("0.05", 5278, 263), ("0.1", 5278, 527)])
def test_budgets_on_cora(eps, m, flips):
    assert flips_for(eps, m) == flips


def test_budgets_are_exact_decimals_and_at_least_one():
    assert flips_for("0.25", 5278) == 1319
    assert flips_for("0.29", 100) == 29  # int(0.29 * 100) is 28
    assert flips_for("0.001", 100) == 1


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("1.5",), "edges"),
        (("-0.1",), "edges"),
        (("nan",), "edges"),
        (("five",), "edges"),
        (("0.05", "0.050"), "edges"),
        (("2.5",), "absolute"),
    ],
)
def test_malformed_budgets_are_refused(words, kind):
    with pytest.raises(ValueError, match="eps="):
        parse_eps(words, kind)


def test_budgets_are_sorted_and_zero_is_dropped():
    assert parse_eps(("0.10", "0", "0.05"), "edges") == ["0.05", "0.1"]


def test_levels_of_one_graph():
    space = EdgeSpace.of(sbm_graph())
    targets = torch.arange(10)
    u, v = space.ends(space.existing)
    touching = int(((u < 10) | (v < 10)).sum())
    (own,) = node_levels(space, targets, ("0.5",), "targets", "quick")
    assert own.budget == touching // 2
    (absolute,) = node_levels(space, targets, ("7",), "absolute", "quick")
    assert (absolute.subset, absolute.budget) == ("flips=7", 7)
    assert [level.subset for level in node_levels(space, targets, (), "edges", "standard")] == [
        "eps=0.01",
        "eps=0.05",
        "eps=0.1",
        "eps=0.25",
    ]
    with pytest.raises(ConfigError, match="pairs"):
        node_levels(space, targets, ("99999999",), "absolute", "quick")


def test_levels_of_many_graphs_are_of_each_graphs_own_edges():
    space = EdgeSpace.of(small_graphs(12))
    targets = torch.tensor([1, 4, 9])
    one, half = graph_levels(space, targets, ("one", "0.5"), "quick")
    assert one.item_budgets.tolist() == [1, 1, 1]
    batch = space.graph.batch
    edges = [int((batch[space.ends(space.existing)[0]] == b).sum()) for b in (1, 4, 9)]
    assert half.item_budgets.tolist() == [max(1, m // 2) for m in edges]
    assert half.budget == sum(half.item_budgets.tolist())


def test_node_caps_are_shares_of_the_degree():
    space = EdgeSpace.of(sbm_graph())
    degree = torch.bincount(space.graph.edge_index[0], minlength=120)
    assert torch.equal(node_caps(space, 0.5), degree // 2)
    assert node_caps(space, 0.0) is None


def verified(correct, flips=1):
    return Verified(np.array(correct, dtype=bool), True, flips, 0)


def tried(level, correct, flips=1):
    return Tried("a", "search", str(level), level, verified(correct, flips))


def test_envelope_is_per_graph_for_one_graph_and_per_item_for_many():
    clean = verified([1, 1, 1, 1], 0)
    sets = [tried(0, [0, 1, 1, 1]), tried(0, [1, 0, 1, 1], 2), tried(1, [1, 1, 1, 1])]
    together = envelope(clean, sets, 2, per_item=False)
    assert [point.accuracy for point in together] == [1, 0.75, 0.75]
    assert together[0].winner.verified is clean
    assert together[2].winner is sets[0]  # the weaker larger budget does not raise the curve
    each = envelope(clean, sets, 2, per_item=True)
    assert [point.accuracy for point in each] == [1, 0.5, 0.5]


def test_checks_speak_of_edits_whatever_is_edited_and_nothing_has_no_minus():
    right = np.ones(40, dtype=np.bool_)
    even = Tried("a", "search", "", 0, Verified(right, True, 0, 0))
    row = trust.random_wins_row([right.astype(np.float64)], [[even]], np.random.default_rng(0))
    assert row.evidence == "searches against random edits at equal budget: +0.0 points at least"
    assert trust.loss_moves_row({"loss": {"tanh": (0.0, 1.0)}}, 0.0).evidence.endswith("accuracy +0.0 points")
    assert trust.loss_moves_row({"loss": {"tanh": (0.0, 1.0)}}, 0.0004).evidence.endswith("accuracy +0.0 points")
    assert trust.loss_moves_row({"loss": {"tanh": (0.0, 1.0)}}, 0.02).evidence.endswith("accuracy -2.0 points")
