import math

import pytest
from scipy.stats import norm

from auditor.errors import ConfigError
from auditor.statistics.accounting import (
    Account,
    accountant_id,
    check_delta,
    default_delta,
    epsilon_of_mu,
    gaussian_noise_for,
    mu_of,
    multi_term_epsilon,
    noise_for_multi_term,
    sigma_for,
    subsampled_gaussian,
)

NODES = {"population": 1624, "drawn": 128, "steps": 200, "delta": 1 / 16240}


@pytest.mark.parametrize(("epsilon", "std"), [(1, 3.7306), (4, 1.0812), (8, 0.6002)])
def test_mu_gives_the_noise_of_a_release_of_sensitivity_one(epsilon, std):
    assert gaussian_noise_for(epsilon, 1e-5, 1.0) == pytest.approx(std, abs=5e-5)


@pytest.mark.parametrize(("epsilon", "std"), [(1, 7.461), (4, 2.162), (8, 1.2005)])
def test_two_releases_that_an_undirected_pair_moves_by_root_two_need_twice_the_noise(epsilon, std):
    assert gaussian_noise_for(epsilon, 1e-5, math.sqrt(2) * math.sqrt(2)) == pytest.approx(std, abs=5e-4)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0, 30.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_mu_solves_the_gaussian_trade_off(epsilon, delta):
    mu = mu_of(epsilon, delta)
    direct = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert direct == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 8.0, 400.0, 1e5])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-12])
def test_epsilon_of_mu_inverts_mu(epsilon, delta):
    assert epsilon_of_mu(mu_of(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-8)


def test_hardly_any_noise_is_a_huge_epsilon_and_no_crash():
    assert epsilon_of_mu(1.0001e6, 1e-5) / epsilon_of_mu(0.9999e6, 1e-5) == pytest.approx(1.0004, abs=1e-6)
    assert epsilon_of_mu(1e9, 1e-5) == pytest.approx(5e17, rel=1e-6)
    assert epsilon_of_mu(1e100, 1e-5) == pytest.approx(5e199)
    assert epsilon_of_mu(1e300, 1e-5) == math.inf
    assert multi_term_epsilon(**NODES, terms=5, noise=1e-3) > 1e7
    assert multi_term_epsilon(**NODES, terms=5, noise=1e-200) == math.inf


def test_a_mechanism_that_delta_alone_covers_costs_no_epsilon():
    assert epsilon_of_mu(0.0, 1e-5) == 0
    assert epsilon_of_mu(1e-6, 1e-5) == 0
    assert epsilon_of_mu(1e-4, 1e-5) > 0


@pytest.mark.parametrize(("sensitivity", "epsilon"), [(2, 162411.6), (1, 41205.3)])
def test_noise_of_graphmi_protects_nothing(sensitivity, epsilon):
    assert epsilon_of_mu(sensitivity * math.sqrt(200) / 0.05, 1e-5) == pytest.approx(epsilon, abs=0.05)


@pytest.mark.parametrize(
    ("setting", "prv", "pld"),
    [
        ((0.01, 1, 1000, 1e-5), 1.838, 1.828),
        ((0.0719, 1, 700, 1e-3), 10.20, 10.19),
        ((0.1, 0.5, 200, 1e-4), 40.10, 40.08),
    ],
)
def test_two_accountants_agree_and_the_larger_one_counts(setting, prv, pld):
    account = subsampled_gaussian(*setting)
    assert account.prv == pytest.approx(prv, rel=0.01)
    assert account.pld == pytest.approx(pld, rel=0.01)
    assert account.epsilon == max(account.prv, account.pld)
    assert account.disagreement == pytest.approx(abs(account.prv - account.pld) / account.pld)
    assert account.disagreement < 0.02
    assert account.accountant == "prv+pld"


@pytest.mark.parametrize("sigma", [2.0, 10.0, 40.0])
def test_without_subsampling_epsilon_is_exact_and_both_accountants_confirm_it(sigma):
    account = subsampled_gaussian(1.0, sigma, 50, 1e-5)
    assert account.accountant == "gaussian-exact"
    assert account.epsilon == pytest.approx(epsilon_of_mu(math.sqrt(50) / sigma, 1e-5))
    assert account.pld == pytest.approx(account.epsilon, rel=0.002)
    assert account.prv == pytest.approx(account.epsilon, rel=0.01)


def test_a_huge_loss_is_counted_by_pld_alone():
    account = subsampled_gaussian(0.1, 0.1, 1000, 1e-5)
    assert account == Account(account.pld, 1e-5, None, account.pld, None, "pld")
    assert 300 < account.pld < epsilon_of_mu(math.sqrt(1000) / 0.1, 1e-5)  # subsampling cannot cost more


def test_next_to_no_loss_is_no_disagreement():
    account = subsampled_gaussian(1e-9, 0.5, 1, 1e-5)
    assert account.epsilon < 0.0011
    assert account.disagreement < 0.02


def test_equal_settings_are_accounted_once():
    assert subsampled_gaussian(0.01, 1, 1000, 1e-5) is subsampled_gaussian(0.01, 1.0, 1000, 1e-5)


@pytest.mark.parametrize(("epsilon", "q", "steps", "delta"), [(4.0, 0.5, 10, 1e-3), (1.0, 1.0, 10, 1e-5)])
def test_sigma_is_the_smallest_that_keeps_the_claim(epsilon, q, steps, delta):
    sigma = sigma_for(epsilon, q, steps, delta)
    assert subsampled_gaussian(q, sigma, steps, delta).epsilon <= epsilon
    assert subsampled_gaussian(q, sigma / 1.001, steps, delta).epsilon > epsilon


@pytest.mark.parametrize(("noise", "epsilon"), [(1, 10.92), (2, 4.65), (4, 2.08)])
def test_multi_term_bound(noise, epsilon):
    assert multi_term_epsilon(**NODES, terms=5, noise=noise) == pytest.approx(epsilon, abs=0.005)


def test_multi_term_bound_of_the_published_setting():
    found = multi_term_epsilon(90941, drawn=10000, terms=6, noise=2, steps=3000, delta=1 / 909410)
    assert found == pytest.approx(33.80, abs=0.005)


@pytest.mark.parametrize(("std", "naive", "honest"), [(1, 7.70, 400), (2, 2.53, 118), (4, 1.06, 38.5)])
def test_ordinary_accounting_of_node_dp_sgd_claims_a_fraction_of_the_bound(std, naive, honest):
    """The noise std is in clip norms: `noise` = std / (2 M) in the multi-term bound. Naive by Opacus' RDP."""
    from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent

    orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
    rdp = compute_rdp(q=128 / 1624, noise_multiplier=std, steps=200, orders=orders)
    claimed, _ = get_privacy_spent(orders=orders, rdp=rdp, delta=NODES["delta"])
    assert claimed == pytest.approx(naive, abs=0.005)
    assert subsampled_gaussian(128 / 1624, std, 200, NODES["delta"]).epsilon < claimed
    assert multi_term_epsilon(**NODES, terms=5, noise=std / 10) == pytest.approx(honest, rel=0.002)


def test_multi_term_bound_with_every_root_drawn_is_one_gaussian_per_step():
    """b = N draws all M marked roots each time: no amplification, RDP_a = a / (2 noise²)."""
    found = multi_term_epsilon(100, drawn=100, terms=4, noise=3.0, steps=7, delta=1e-5)
    a = [x / 10 for x in range(11, 100)] + list(range(10, 64))
    by_hand = min(7 * x / (2 * 9) + math.log(1 - 1 / x) - math.log(1e-5 * x) / (x - 1) for x in a)
    assert found == pytest.approx(by_hand, abs=1e-9)
    assert found > epsilon_of_mu(math.sqrt(7) / 3, 1e-5)


def test_multi_term_noise_is_the_smallest_that_keeps_the_claim():
    noise = noise_for_multi_term(4.0, **NODES, terms=5)
    assert multi_term_epsilon(**NODES, terms=5, noise=noise) <= 4.0
    assert multi_term_epsilon(**NODES, terms=5, noise=noise / 1.002) > 4.0


@pytest.mark.parametrize(("units", "delta"), [(1, 0.1), (99, 1e-3), (100, 1e-3), (101, 1e-4), (1113, 1e-5)])
def test_default_delta_is_a_power_of_ten_at_most_a_tenth_of_a_unit(units, delta):
    assert default_delta(units) == delta
    check_delta(delta, units if units > 1 else None)


def test_gdp_is_refused_with_the_reason_and_the_reason_is_true():
    from opacus.accountants import GaussianAccountant

    def gdp(q, sigma, steps, delta):
        with pytest.warns(UserWarning, match="can underestimate"):
            accountant = GaussianAccountant()
        accountant.history = [(sigma, q, steps)]
        return accountant.get_epsilon(delta)

    below, above = (0.01, 1, 1000, 1e-5), (0.1, 0.5, 200, 1e-4)
    assert gdp(*below) / subsampled_gaussian(*below).pld == pytest.approx(0.89, abs=0.01)
    assert gdp(*above) / subsampled_gaussian(*above).pld == pytest.approx(2.3, abs=0.05)
    with pytest.raises(ConfigError, match=r"gdp.*11 % below.*2\.3 times above"):
        accountant_id("gdp")
    with pytest.raises(ConfigError, match='Did you mean "prv\\+pld"'):
        accountant_id("prv")
    assert accountant_id("gaussian-exact") == "gaussian-exact"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mu_of(-1, 1e-5), "epsilon = -1"),
        (lambda: mu_of(1, 0), "delta = 0"),
        (lambda: mu_of(math.nan, 1e-5), "epsilon = nan"),
        (lambda: epsilon_of_mu(-1, 1e-5), "mu = -1"),
        (lambda: epsilon_of_mu(1, 1), "delta = 1"),
        (lambda: default_delta(0), "units = 0"),
        (lambda: check_delta(0, None), "delta = 0"),
        (lambda: check_delta(-1e-5, 10), "delta = -1e-05"),
        (lambda: check_delta(math.nan, 10), "delta = nan"),
        (lambda: check_delta(0.01, 100), "one of 100 units.*Use 0.001"),
        (lambda: subsampled_gaussian(1.1, 1, 10, 1e-5), "q = 1.1"),
        (lambda: subsampled_gaussian(0, 1, 10, 1e-5), "q = 0"),
        (lambda: subsampled_gaussian(0.1, 0, 10, 1e-5), "sigma = 0"),
        (lambda: subsampled_gaussian(0.1, 1e-200, 10, 1e-5), "sigma = 1e-200.*beyond computing"),
        (lambda: subsampled_gaussian(0.1, 1e200, 10, 1e-5), r"sigma = 1e\+200"),
        (lambda: subsampled_gaussian(0.1, 1, 0, 1e-5), "steps = 0"),
        (lambda: subsampled_gaussian(0.1, 1, 1.5, 1e-5), "steps = 1.5"),
        (lambda: subsampled_gaussian(0.1, 1, 10, 0), "delta = 0"),
        (lambda: subsampled_gaussian(0.5, 1e-4, 10000, 1e-5), "sigma = 0.0001.*beyond computing"),
        (lambda: sigma_for(0, 0.1, 10, 1e-5), "epsilon = 0"),
        (lambda: sigma_for(1e4, 0.1, 10, 1e-5), "epsilon = 10000"),
        (lambda: multi_term_epsilon(100, 10, 101, 1, 10, 1e-5), "terms = 101"),
        (lambda: multi_term_epsilon(100, 101, 5, 1, 10, 1e-5), "drawn = 101"),
        (lambda: multi_term_epsilon(100, 10, 5, 0, 10, 1e-5), "noise = 0"),
        (lambda: multi_term_epsilon(100, 10, 5, 1, 0, 1e-5), "steps = 0"),
        (lambda: noise_for_multi_term(1e-6, 100, 10, 5, 10, 1e-5), "epsilon = 1e-06.*at any noise"),
    ],
)
def test_impossible_requests_say_what_came_and_what_was_expected(call, said):
    with pytest.raises(ConfigError, match=said):
        call()
