"""What a comparison says of a difference: words over seeds and over items, and the interval under them, calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.audit import Difference, Interval
from auditor.compare.comparison_words import accuracy_words, refit_robust_words, refit_words, robust_words
from auditor.compare.gain import paired_by_class


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ([0.03, 0.03, 0.031, 0.029, 0.03], [0.02, 0.02, 0.021, 0.02, 0.02], "gain supported: +3.0 points over ce"),
        (
            [0.03, 0.03, 0.031, 0.029, 0.03],
            [0.0, 0.01, -0.01, 0.0, 0.0],
            "nothing proven is gained over ce_cluster",
        ),
        ([0.001, -0.002, 0.002, 0.0, -0.001], [0.0] * 5, "gain not supported"),
        ([0.10, -0.09, 0.05, -0.06, 0.02], [0.0] * 5, "underpowered: needs about"),
        ([-0.03, -0.031, -0.029, -0.03, -0.03], [0.0] * 5, "harmful here"),
        ([0.5, 0.5, 0.5, 0.5], [0.5] * 4, "underpowered: 4 seeds, at least 5"),
        ([0.03] * 5, [0.03] * 5, "equal at every seed"),
        ([], [], "gave no number"),
    ],
)
def test_words_of_a_robust_gain(first: list[float], second: list[float], words: str) -> None:
    assert words in robust_words({"ce": first, "ce_cluster": second}, ["ce", "ce_cluster"])


def test_a_gain_that_random_weights_have_too_is_no_gain() -> None:
    gains = [0.05 + 0.001 * i for i in range(10)]
    assert ": gain" in accuracy_words({"refit": gains}, ["refit"])
    # random weights are as far above the refit as the method is: method − random = 0
    assert "no gain shown" in accuracy_words(
        {"refit": gains, "random-weights": [0.0] * 10}, ["refit", "random-weights"]
    )
    assert "indicative, 6 of 10" in accuracy_words({"refit": gains[:6]}, ["refit"])
    assert "underpowered: 3 seeds" in accuracy_words({"refit": gains[:3]}, ["refit"])


def test_a_gain_over_edits_of_others_alone_is_not_supported() -> None:
    gains = {"ce": [0.04, 0.05, 0.06, 0.05, 0.05]}
    assert robust_words(gains, ["ce"]).startswith("gain supported")
    assert "each arm against its own attacks" in robust_words(gains, ["ce"], "own")
    assert robust_words(gains, ["ce"], "transferred").startswith("against transferred attacks only: +5.0 points")


def paired(to: str, value: float, half: float) -> Difference:
    """A difference with a symmetric interval."""
    return Difference(to=to, value=value, ci=Interval(lo=value - half, hi=value + half))


def test_words_of_a_refitted_head_come_from_the_test_items_of_one_model() -> None:
    own, random = paired("uniform-refit", 0.03, 0.01), paired("random-weights", 0.01, 0.02)
    controls = ["uniform-refit", "random-weights"]

    def said(first: Difference, second: Difference, level: float = 0.05) -> str:
        return refit_words({d.to: d for d in (first, second)}, controls, level)

    assert said(own, random).endswith("over the test items of one trained model: gain")
    assert "+3.0 points against uniform-refit [+2.0, +4.0]" in said(own, random)
    assert said(own, paired("random-weights", -0.01, 0.02)).endswith("no gain shown")  # random weights gain more
    assert said(paired("uniform-refit", -0.03, 0.01), random).endswith(": harm")
    assert said(paired("uniform-refit", -0.015, 0.01), random).endswith("no gain shown")  # less than a point, perhaps
    assert said(paired("uniform-refit", 0.011, 0.01), random).endswith(": gain")
    assert said(paired("uniform-refit", 0.011, 0.01), random, 0.0125).endswith("no gain shown")  # Holm over four
    assert "gave no number" in refit_words({}, controls)


def test_holm_tightens_what_end_to_end_modes_are_judged_on() -> None:
    gains = [0.01, 0.03, 0.02, 0.04, 0.015]
    assert accuracy_words({"erm": gains}, ["erm"]).endswith("gain; indicative, 5 of 10 seeds")
    assert "no gain shown" in accuracy_words({"erm": gains}, ["erm"], 0.005)


def test_poison_made_against_another_model_supports_no_gain() -> None:
    words = robust_words({"ce": [0.05, 0.052, 0.049, 0.05, 0.051]}, ["ce"], "poisoned")
    assert words.startswith("against transferred attacks only:")
    assert "inconclusive" in words


@pytest.mark.parametrize("discordant", [1, 3, 12])
def test_two_heads_that_differ_by_coin_seldom_gain(discordant: int) -> None:
    """A bootstrap that ends at 0 exactly would call one item on the right side a gain, in two of five such pairs."""
    rng, y = np.random.default_rng(discordant), np.arange(168) % 3
    gains = 0
    for _ in range(400):
        own = rng.random(168) < 0.8
        other = own.copy()
        at = rng.choice(168, discordant, replace=False)
        own[at] = rng.random(discordant) < 0.5
        other[at] = ~own[at]
        value, lo, hi = paired_by_class(own, other, y)  # other − own
        assert lo < hi
        difference = Difference(to="uniform-refit", value=-value, ci=Interval(lo=-hi, hi=-lo))
        gains += refit_words({"uniform-refit": difference}, ["uniform-refit"]).endswith(": gain")
    assert gains <= 0.04 * 400


def test_a_head_that_is_right_on_more_items_gains() -> None:
    y = np.arange(300) % 3
    other = np.arange(300) % 10 < 7
    own = np.arange(300) % 10 < 8
    value, lo, hi = paired_by_class(own, other, y)
    assert value == pytest.approx(-0.1)
    assert lo < value < hi < 0
    difference = Difference(to="uniform-refit", value=0.1, ci=Interval(lo=-hi, hi=-lo))
    assert refit_words({"uniform-refit": difference}, ["uniform-refit"]).endswith(": gain")


@pytest.mark.parametrize(
    ("value", "half", "random", "reach", "words"),
    [
        (0.05, 0.02, 0.05, "every", "gain supported: +5.0 points over uniform-refit [+3.0, +7.0] over test items"),
        (0.05, 0.02, 0.001, "every", "nothing proven is gained over random-weights"),
        (0.05, 0.02, 0.05, "poisoned", "against transferred attacks only"),
        (-0.05, 0.02, 0.05, "every", "harmful here"),
        (0.0, 0.01, 0.05, "every", "gain not supported"),
        (0.0, 0.05, 0.05, "every", "underpowered: more test items"),
    ],
)
def test_robust_words_of_a_refitted_head(value: float, half: float, random: float, reach, words: str) -> None:
    differences = {
        "uniform-refit": paired("uniform-refit", value, half),
        "random-weights": paired("random-weights", random, 0.01),
    }
    assert words in refit_robust_words(differences, ["uniform-refit", "random-weights"], reach)


@pytest.mark.parametrize(("classes", "items", "better"), [(7, 10, 0.3), (6, 20, 0.45), (10, 10, 0.5), (3, 50, 0.05)])
def test_the_paired_interval_of_many_small_classes_covers(classes: int, items: int, better: float) -> None:
    rng, y = np.random.default_rng(classes), np.arange(classes * items) % classes
    covered = 0
    for _ in range(400):
        own = rng.random(len(y)) < 0.4 + better
        other = rng.random(len(y)) < 0.4
        value, lo, hi = paired_by_class(own, other, y)
        assert value == pytest.approx(np.mean([other[y == c].mean() - own[y == c].mean() for c in range(classes)]))
        assert lo <= value <= hi
        covered += lo <= -better <= hi
    assert covered >= 0.93 * 400
