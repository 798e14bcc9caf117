import math
import time

import numpy as np
import pytest
from scipy import stats

from auditor.errors import ConfigError
from auditor.statistics import dp
from auditor.statistics.accounting import epsilon_of_mu, mu_of

TESTS = ("one-run", "A", "G")
HULLS = [  # shift, vertices, one-run, G, and the (false, true) "in" guesses of the vertex that one-run is best at
    (1, 386, 1.13346, 2.164749, (569, 2807)),
    (2, 374, 2.311945, 4.7218075, (167, 4499)),
    (4, 140, 4.395568, 9.133752, (10, 8223)),
]


def roc_hull(shift, n=10_000):
    """Vertices (false, true "in" guesses) of the ROC hull of normal quantiles against the same quantiles + shift."""
    out = stats.norm.ppf((np.arange(n) + 0.5) / n)
    cuts = np.unique(np.concatenate([out, out + shift]))
    points = {(n - int(np.searchsorted(out, t)), n - int(np.searchsorted(out + shift, t))) for t in cuts} | {(0, 0)}
    hull = []
    for x, y in sorted(points):
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (x1 - x0) * (y - y0) < (y1 - y0) * (x - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull


def best(bound, shift, vertices):
    alpha = 0.05 / len(roc_hull(shift))
    return max(bound(20_000, f + t, t, 1e-6, alpha) for f, t in vertices if f + t)


@pytest.mark.parametrize(
    ("shift", "vertices", "one_run", "g", "at"),
    [*(pytest.param(*hull, marks=pytest.mark.slow) for hull in HULLS[:2]), HULLS[2]],
)
def test_published_constants(shift, vertices, one_run, g, at):
    """Whole hull for G, a ninth of it and the best vertex for one-run (google-deepmind/jax_privacy, auditing tests)."""
    hull = roc_hull(shift)
    assert len(hull) == vertices
    assert best(dp.g_lower_bound, shift, hull) == pytest.approx(g, abs=2e-6)
    assert at in hull
    assert best(dp.one_run_lower_bound, shift, [*hull[::9], at]) == pytest.approx(one_run, abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "vertices", "one_run", "g", "at"), HULLS)
def test_published_constants_one_run_on_the_whole_hull(shift, vertices, one_run, g, at):
    assert best(dp.one_run_lower_bound, shift, roc_hull(shift)) == pytest.approx(one_run, abs=2e-6)


@pytest.mark.parametrize(
    ("m", "r", "v", "one_run", "g"),
    [
        (100, 100, 100, 3.490216, 8.216),
        (1000, 100, 90, 1.626143, 2.456),
        (1000, 500, 400, 1.197969, 2.077),
        (1000, 1000, 900, 2.020646, 3.779),
        (1000, 1000, 600, 0.297227, 0.584),
    ],
)
def test_point_values(m, r, v, one_run, g):
    assert dp.one_run_lower_bound(m, r, v, 1e-5, 0.05) == pytest.approx(one_run, abs=1e-6)
    assert dp.g_lower_bound(m, r, v, 1e-5, 0.05) == pytest.approx(g, abs=5e-4)


@pytest.mark.parametrize(("r", "epsilon"), [(10, 1.052), (100, 3.493), (1000, 5.809)])
@pytest.mark.parametrize("test", ["one-run", "A"])
def test_closed_form_when_every_guess_is_right(r, epsilon, test):
    found = dp.lower_bound(test, r, r, r, 0.0, 0.05)
    root = 0.05 ** (1 / r)
    assert found == pytest.approx(math.log(root / (1 - root)), abs=1e-6)
    assert found == pytest.approx(epsilon, abs=5e-4)


@pytest.mark.parametrize(("m", "r", "v", "delta", "epsilon"), [(60, 40, 33, 1e-3, 0.7), (50, 50, 30, 0.01, 0.0)])
def test_one_run_p_value_equals_the_sum_written_out(m, r, v, delta, epsilon):
    q = 1 / (1 + math.exp(-epsilon))
    mass = [math.comb(r, b) * q**b * (1 - q) ** (r - b) for b in range(r + 1)]
    by_hand = sum(mass[v:]) + 2 * m * delta * max(sum(mass[v - i : v]) / i for i in range(1, v + 1))
    assert dp.one_run_p_value(epsilon, m, r, v, delta) == pytest.approx(by_hand, rel=1e-10)


def test_a_survives_where_the_delta_term_of_one_run_kills_it():
    assert dp.a_lower_bound(1000, 500, 400, 1e-4, 1e-3) == pytest.approx(1.00, abs=0.005)
    assert dp.one_run_lower_bound(1000, 500, 400, 1e-4, 1e-3) == 0
    assert dp.a_lower_bound(1000, 500, 400, 1e-6, 1e-3) == pytest.approx(
        dp.one_run_lower_bound(1000, 500, 400, 1e-6, 1e-3), abs=0.016
    )
    assert [dp.universal(delta) for delta in (0.0, 1e-9)] == ["one-run", "A"]


@pytest.mark.parametrize("test", TESTS)
def test_bound_grows_with_right_guesses_and_falls_with_canaries_and_delta(test):
    def bounds(**varied):
        base = {"m": 2000, "r": 400, "v": 330, "delta": 1e-5}
        return [
            dp.lower_bound(test, **{**base, key: value}, alpha=0.01)
            for key, values in varied.items()
            for value in values
        ]

    assert np.all(np.diff(bounds(v=[0, 150, 200, 260, 300, 330, 399, 400])) >= 0)
    assert np.all(np.diff(bounds(v=[260, 300, 330, 399, 400])) > 0)
    assert np.all(np.diff(bounds(m=[400, 1000, 2000, 8000, 100_000])) < 0)
    assert np.all(np.diff(bounds(delta=[1e-9, 1e-7, 1e-6, 1e-5, 3e-5])) < 0)
    assert np.all(np.diff([dp.lower_bound(test, 2000, 400, 330, 1e-5, a) for a in (1e-4, 1e-3, 0.01, 0.1)]) > 0)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize(("m", "r", "v"), [(2000, 400, 330), (500, 500, 480), (10_000, 500, 300)])
def test_a_claim_is_rejected_exactly_below_the_bound(test, m, r, v):
    bound = dp.lower_bound(test, m, r, v, 1e-6, 1e-3)
    assert bound > 0.05
    assert dp.rejects_claim(test, bound - 1e-4, 1e-6, m, r, v, 1e-3)
    assert not dp.rejects_claim(test, bound + 1e-4, 1e-6, m, r, v, 1e-3)


def test_more_canaries_or_a_wider_curve_only_make_rejection_harder():
    """The Gaussian curve lies above its (ε, δ) line, so that A, which assumes nothing, never shows more than G."""
    for v in (60, 75, 90, 100):
        assert dp.a_lower_bound(1000, 100, v, 1e-5, 0.05) <= dp.g_lower_bound(1000, 100, v, 1e-5, 0.05)


@pytest.mark.parametrize("epsilon", [0.3, 2.0, 9.0, 5000.0])
def test_inverse_trade_off_curves(epsilon):
    """No right guess costs none; the Gaussian curve touches its (ε, δ) tangent and never crosses below it."""
    gaussian, line = dp.TradeOff.gaussian(mu_of(epsilon, 1e-5)), dp.TradeOff.approximate(epsilon, 1e-5)
    rates = np.unique(np.concatenate([np.linspace(1e-6, 1, 2001), 1 - np.geomspace(1e-12, 0.5, 200)]))
    gap = np.array([gaussian(rate) - line(rate) for rate in rates])
    assert gap.min() > -1e-9
    assert dp.TradeOff.gaussian(0.0)(0.3) == pytest.approx(0.3)
    assert dp.TradeOff.approximate(0.0, 0.0)(0.3) == pytest.approx(0.3)
    assert line(1.0) == pytest.approx(1 - 1e-5)


@pytest.mark.parametrize("m", [1000, 10_000])
@pytest.mark.parametrize("k", [10, 20, 40])
@pytest.mark.parametrize("delta", [1e-5, 1e-4, 1e-3])
def test_bounds_hold_for_a_mechanism_that_opens_k_bits_with_probability_m_delta_over_k(m, k, delta):
    """It is (0, δ)-DP by construction; the auditor guesses what was opened, else by coins: no smaller α may reject."""
    opens = m * delta / k
    if opens > 1:
        pytest.skip("m δ > k is no probability")
    for r in (k, 2 * k):
        for v in range(r, r // 2, -1):
            chance = opens * stats.binom.sf(v - k - 1, r - k, 0.5) + (1 - opens) * stats.binom.sf(v - 1, r, 0.5)
            below = chance * (1 - 1e-9)
            assert not dp.f_dp_rejects(dp.TradeOff.approximate(0.0, delta), m, r, v, below)
            assert dp.one_run_p_value(0.0, m, r, v, delta) > below


def test_g_does_reject_a_mechanism_that_is_not_gaussian():
    """It opens 10 of 10 000 bits with probability .1: honest, yet rejected, since G holds for Gaussian shapes only."""
    curve = dp.TradeOff.gaussian(mu_of(0.0, 1e-4))
    assert dp.f_dp_rejects(curve, 10_000, 10, 10, 0.05)
    assert not dp.f_dp_rejects(dp.TradeOff.approximate(0.0, 1e-4), 10_000, 10, 10, 0.05)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("claim", [0.5, 1.0, 4.0])
def test_a_decision_about_ten_thousand_guesses_takes_at_most_20_ms(test, claim):
    m = r = 10_000
    v_star = dp.smallest_rejecting(test, claim, 1e-5, m, r, 1e-3)
    for v in (v_star - 1, v_star, r):
        spent = []
        for _ in range(3):
            start = time.process_time()
            dp.rejects_claim(test, claim, 1e-5, m, r, v, 1e-3)
            spent.append(time.process_time() - start)
        assert min(spent) < 0.020


def test_no_share_at_or_below_delta_rejects_anything():
    for test in TESTS:
        assert not dp.rejects_claim(test, 0.1, 1e-4, 1000, 100, 100, 1e-4)
        assert dp.smallest_rejecting(test, 0.1, 1e-3, 1000, 1000, 1e-3) is None
        assert dp.enough_canaries(test, 0.1, 1e-3, 1.0, 1e-3) is None
    assert dp.f_dp_rejects(dp.TradeOff.gaussian(mu_of(0.1, 1e-4)), 1000, 100, 100, 1e-4)  # the rule stops G alone
    assert dp.rejects_claim("G", 0.1, 1e-4, 1000, 100, 100, 1.01e-4)


@pytest.mark.parametrize(("claim", "guesses"), [(1, 23), (2, 55), (4, 381), (8, 20596)])
def test_guesses_that_a_rejection_needs(claim, guesses):
    assert dp.enough_canaries("one-run", claim, 0.0, 1.0, 1e-3) == guesses
    assert guesses == math.ceil(math.log(1e-3) / math.log(1 / (1 + math.exp(-claim))))
    assert not dp.rejects_claim("one-run", claim, 0.0, guesses - 1, guesses - 1, guesses - 1, 1e-3)


def test_ceiling_of_one_run_falls_with_delta():
    found = [dp.ceiling("one-run", 1000, 1000, delta, 1e-3) for delta in (0, 1e-6, 1e-5, 1e-4, 1e-3)]
    assert found == pytest.approx([4.97, 4.94, 4.28, 1.57, 0], abs=0.006)


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("claim", [1.0, 4.0])
def test_smallest_rejecting_is_the_boundary(test, claim):
    v_star = dp.smallest_rejecting(test, claim, 1e-6, 1000, 1000, 1e-3)
    assert dp.rejects_claim(test, claim, 1e-6, 1000, 1000, v_star, 1e-3)
    assert not dp.rejects_claim(test, claim, 1e-6, 1000, 1000, v_star - 1, 1e-3)
    assert dp.detectable_epsilon(1000, v_star) > claim * (0.5 if test == "G" else 1)


def test_one_run_spends_its_level_on_randomised_response():
    v_star = dp.smallest_rejecting("one-run", 1.0, 0.0, 500, 500, 0.05)
    assert dp.power(1.0, 500, v_star) <= 0.05 < dp.power(1.0, 500, v_star - 1)
    assert dp.power(3.0, 500, v_star) > 0.999


def test_detectable_epsilon_has_the_power_it_names():
    epsilon = dp.detectable_epsilon(500, 400, 0.8)
    assert dp.power(epsilon, 500, 400) == pytest.approx(0.8, abs=1e-9)
    assert dp.detectable_epsilon(500, 3) == 0


def test_enough_canaries_for_a_true_epsilon():
    m = dp.enough_canaries("A", 1.0, 1e-6, 0.2, 1e-3, true_epsilon=2.0)
    r = round(0.2 * m)
    assert dp.power(2.0, r, dp.smallest_rejecting("A", 1.0, 1e-6, m, r, 1e-3)) >= 0.8
    half = m // 2
    too_few = dp.smallest_rejecting("A", 1.0, 1e-6, half, round(0.1 * half), 1e-3)
    assert dp.power(2.0, round(0.1 * half), too_few) < 0.8
    assert dp.enough_canaries("A", 1.0, 1e-6, 0.2, 1e-3, true_epsilon=0.9) is None
    assert dp.enough_canaries("A", 20.0, 1e-6, 1.0, 1e-3) is None


def test_too_many_canaries_hurt_one_run_and_the_window_is_found():
    def rejects(m):
        return dp.rejects_claim("one-run", 3.0, 3e-5, m, m, m, 1e-3)

    assert [m for m in range(1, 1500) if rejects(m)] == list(range(180, 1280))
    assert dp.enough_canaries("one-run", 3.0, 3e-5, 1.0, 1e-3) == 180


def test_gaussian_power_of_half_noise_and_of_an_honest_mechanism(rng):
    m, r = 10_000, 500
    v_star = dp.smallest_rejecting("G", 4.0, 1e-5, m, r, 5e-4)
    mu = mu_of(4.0, 1e-5)
    assert dp.gaussian_power(2 * mu, m, r, v_star, rng=rng) > 0.6
    assert dp.gaussian_power(mu, m, r, v_star, rng=rng) == 0


def test_correct_guesses_by_hand(rng):
    included = np.array([True, False, True, True, False, False])
    scores = np.array([9.0, 8.0, 7.0, 1.0, 0.0, 3.0])
    assert dp.correct_guesses(included, scores, 2, rng=rng) == 2  # 9 "in", 0 "out"
    assert dp.correct_guesses(included, scores, 4, rng=rng) == 2  # 8 is out, 1 is in
    assert dp.correct_guesses(included, scores, 6, rng=rng) == 4
    assert dp.correct_guesses(included, scores, 3, rng=rng) == 2


def test_two_valued_scores_are_the_guesses_themselves_when_all_are_guessed(rng):
    released = np.array([1.0, 1.0, 1.0, 0.0])
    assert dp.correct_guesses(np.array([True, True, True, False]), released, 4, rng=rng) == 4


def test_ties_are_broken_by_coin():
    included = np.arange(1000) < 500
    counts = [dp.correct_guesses(included, np.zeros(1000), 200, rng=np.random.default_rng(s)) for s in range(50)]
    assert abs(np.mean(counts) - 100) < 5
    assert np.std(counts) > 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: dp.one_run_p_value(1, 10, 11, 5, 0), "5 right of 11 guesses about 10 canaries"),
        (lambda: dp.one_run_p_value(-1, 10, 10, 5, 0), "epsilon = -1"),
        (lambda: dp.one_run_p_value(1, 10, 10, 5, 1.0), "delta = 1.0"),
        (lambda: dp.one_run_lower_bound(10, 10, 11, 0, 0.05), "11 right of 10"),
        (lambda: dp.a_lower_bound(10, 10, 5, 1e-5, 0.0), "alpha = 0.0"),
        (lambda: dp.g_lower_bound(10, 10, 5, 1e-5, 1.5), "alpha = 1.5"),
        (lambda: dp.multi_run_lower_bound(0, 0, 1, 1, 0, 0.05), "0 of 0"),
        (
            lambda: dp.correct_guesses(np.ones(3, bool), np.array([0, 1, np.nan]), 2, rng=np.random.default_rng()),
            "finite",
        ),
        (lambda: dp.correct_guesses(np.ones(3, bool), np.zeros(4), 2, rng=np.random.default_rng()), r"\(3,\)"),
        (lambda: dp.correct_guesses(np.ones(3, bool), np.zeros(3), 4, rng=np.random.default_rng()), "r = 4"),
    ],
)
def test_impossible_audits_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_g_has_no_meaning_without_delta():
    with pytest.raises(ConfigError, match="delta = 0"):
        dp.g_lower_bound(100, 100, 90, 0.0, 0.05)


def test_multi_run_bounds_when_every_training_is_told_apart():
    n, alpha = 500, 0.05
    low = (alpha / 4) ** (1 / n)
    assert dp.multi_run_lower_bound(n, 0, 0, n, 0.0, alpha) == pytest.approx(math.log(low / (1 - low)))
    assert dp.multi_run_lower_bound(n, 0, 0, n, 1e-2, alpha) == pytest.approx(math.log((low - 1e-2) / (1 - low)))
    expected = epsilon_of_mu(2 * stats.norm.ppf(low), 1e-5)
    assert dp.multi_run_gaussian_lower_bound(n, 0, 0, n, 1e-5, alpha) == pytest.approx(expected)


def test_gaussian_form_adds_the_quantiles_of_both_error_rates():
    fpr, fnr = stats.beta.ppf(1 - 0.05 / 4, [2 + 1, 300 + 1], [998, 700])
    mu = stats.norm.isf(fpr) - stats.norm.ppf(fnr)
    found = dp.multi_run_gaussian_lower_bound(700, 300, 2, 998, 1e-5, 0.05)
    assert found == pytest.approx(epsilon_of_mu(mu, 1e-5))
    assert found > dp.multi_run_lower_bound(700, 300, 2, 998, 1e-5, 0.05)


def test_multi_run_bounds_take_the_better_of_both_error_rates():
    """Few false "in" show as much as few false "out"; coins show nothing."""
    one, other = (
        dp.multi_run_lower_bound(300, 700, 2, 998, 1e-5, 0.05),
        dp.multi_run_lower_bound(998, 2, 700, 300, 1e-5, 0.05),
    )
    assert one == pytest.approx(other)
    assert 2.5 < one < math.log(150)
    assert dp.multi_run_lower_bound(500, 500, 500, 500, 1e-5, 0.05) == 0
    assert dp.multi_run_gaussian_lower_bound(500, 500, 500, 500, 1e-5, 0.05) == 0
    assert dp.multi_run_lower_bound(0, 1000, 0, 1000, 1e-5, 0.05) == 0
