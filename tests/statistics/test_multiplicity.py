import numpy as np
import pytest

from auditor.statistics.multiplicity import bootstrap_p, holm, holm_levels, replicates_for


def test_holm_hand_numbers():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_never_lowers_a_p_value_and_keeps_their_order(rng):
    p = rng.random(20)
    adjusted = np.array(holm(list(p)))
    assert (adjusted >= p).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_levels_hand_numbers():
    assert holm_levels([0.01, 0.04, 0.03]) == pytest.approx([0.05 / 3, 0.025, 0.025])  # .03 > .025 stops it
    assert holm_levels([0.04, 0.01, 0.02]) == pytest.approx([0.05, 0.05 / 3, 0.025])
    assert holm_levels([0.3], level=0.1) == [0.1]
    assert holm_levels([]) == []


def test_a_comparison_is_significant_at_its_level_where_its_adjusted_p_value_is(rng):
    for _ in range(200):
        p = list(rng.random(6) ** 3)
        levels = holm_levels(p)
        assert [a <= 0.05 for a in holm(p)] == [value <= level for value, level in zip(p, levels, strict=True)]


def test_bootstrap_p_counts_itself():
    assert bootstrap_p(np.array([0.2, 0.3, 0.05]), 0.1) == pytest.approx(2 / 4)
    assert bootstrap_p(np.full(999, 0.2), 0.1) == pytest.approx(0.001)


@pytest.mark.parametrize("gates", [1, 12, 40, 200])
def test_enough_replicates_for_a_p_value_to_survive_holm(gates):
    assert gates / (replicates_for(gates) + 1) <= 0.025


def test_family_wise_error_of_the_gate(rng):
    """40 true nulls exactly at tau: at most 6 % of 200 audits may fail any of them."""
    tau, n, raised = 0.10, 1000, 0
    for _ in range(200):
        values = rng.normal(tau, 0.4 / np.sqrt(n), 40)  # each estimated gap, its truth exactly tau
        replicates = values + rng.normal(0, 0.4 / np.sqrt(n), (replicates_for(40), 40))
        adjusted = holm([bootstrap_p(replicates[:, k], tau) for k in range(40)])
        lower = np.quantile(replicates, 0.025, axis=0)
        raised += bool(((np.array(adjusted) <= 0.025) & (lower > tau)).any())
    assert raised <= 12
