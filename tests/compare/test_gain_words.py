from __future__ import annotations

import numpy as np
import pytest

from auditor.compare.gain_words import judge_family, judge_gain, recovery
from auditor.statistics.intervals import student_t


def test_random_signs_are_rarely_called_a_gain() -> None:
    rng = np.random.default_rng(0)
    words = [judge_gain(rng.normal(0, 0.02, 10) * rng.choice([-1, 1], 10)).word for _ in range(500)]
    assert words.count("gain") / 500 <= 0.04
    assert words.count("gain") > 0  # the test is not blind either


def test_a_real_effect_is_found() -> None:
    rng = np.random.default_rng(1)
    words = [judge_gain(-rng.normal(0.03, 0.02, 10), random_weights=rng.normal(0, 0.02, 10)).word for _ in range(500)]
    assert words.count("gain") / 500 >= 0.9


def test_positive_is_worse_and_harm_needs_a_point() -> None:
    noise = np.array([-0.001, 0.001, 0.0, 0.002, -0.002] * 2)
    assert judge_gain(noise - 0.03).word == "gain"
    assert judge_gain(noise + 0.03).word == "harm"
    assert judge_gain(noise + 0.008).word == "no gain shown"  # worse, though by less than a point
    assert judge_gain(noise).word == "no gain shown"


def test_a_gain_must_beat_random_weights() -> None:
    better = [-0.03, -0.031, -0.029, -0.03, -0.032]
    assert judge_gain(better, random_weights=[-0.01] * 5).word == "gain"
    assert judge_gain(better, random_weights=[-0.04] * 5).word == "no gain shown"


def test_the_interval_is_students_t_and_few_seeds_are_indicative() -> None:
    values = [0.01, 0.03, -0.01, 0.02]
    found = judge_gain(values)
    assert found.ci == pytest.approx(student_t(values))
    assert found.indicative
    assert not judge_gain(values * 3).indicative
    with pytest.raises(ValueError, match="two"):
        judge_gain([0.1])


def test_holm_widens_the_interval_of_one_comparison_among_many() -> None:
    rng = np.random.default_rng(2)
    effect = [-0.015 + 0.02 * e for e in (-1.4, -0.9, -0.5, -0.2, 0.0, 0.1, 0.3, 0.6, 0.9, 1.1)]
    alone = judge_gain(effect)
    assert alone.word == "gain"
    noise = [list(rng.normal(0, 0.02, 10)) for _ in range(20)]
    among = judge_family([effect, *noise])[0]
    assert among.ci[1] - among.ci[0] > alone.ci[1] - alone.ci[0]
    assert among.word == "no gain shown"
    assert judge_family([effect])[0] == alone


def test_recovery_is_a_share_of_the_oracles_gain_or_nothing() -> None:
    control = [0.7, 0.71, 0.69, 0.7]
    oracle = [c + 0.1 + 0.001 * i for i, c in enumerate(control)]
    method = [c + 0.05 for c in control]
    assert recovery(method, control, oracle) == pytest.approx(0.05 / 0.1015)
    assert recovery(method, control, [0.7, 0.5, 0.9, 0.7]) is None
    assert recovery(method, control, [c - 0.1 for c in control]) is None
