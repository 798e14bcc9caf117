"""What may be said of a private model's accuracy."""

from __future__ import annotations

import pytest

from auditor.compare.private_gain import leak_words, utility_words


def test_the_better_of_the_edge_free_models_is_the_control() -> None:
    own = [0.80, 0.81, 0.79, 0.80, 0.82]
    weak, strong = [0.60, 0.61, 0.60, 0.60, 0.61], [0.76, 0.78, 0.76, 0.75, 0.78]
    said = utility_words(own, {"edge-rand:hops=0": weak, "gap:hops=0": strong}, 0.3)
    assert "gain over an edge-free model: +3.8 points over gap:hops=0 [" in said
    assert "no gain" not in said
    assert "edge-rand:hops=0" not in said


def test_an_interval_that_touches_zero_is_no_gain() -> None:
    own, control = [0.80, 0.70, 0.78, 0.72, 0.75], [0.75, 0.74, 0.73, 0.75, 0.72]
    assert "no gain over an edge-free model: +1.2 points over gap:hops=0 [-4.2, +6.6]" in utility_words(
        own, {"gap:hops=0": control}, 0.3
    )


def test_few_seeds_are_said_and_one_is_no_gain() -> None:
    said = utility_words([0.8, 0.81, 0.82], {"gap:hops=0": [0.7, 0.72, 0.71]}, 0.3)
    assert said.endswith("; indicative, 3 of 5 seeds")
    assert "no gain over an edge-free model shown: +10.0 points" in utility_words([0.8], {"gap:hops=0": [0.7]}, 0.3)
    same = utility_words([0.8] * 5, {"gap:hops=0": [0.7] * 5}, 0.3)
    assert "no gain over an edge-free model shown" in same


@pytest.mark.parametrize(("accuracy", "worthless"), [(0.62, True), (0.629, True), (0.631, False)])
def test_less_than_three_points_over_the_constant_predictor_is_no_utility(accuracy: float, worthless: bool) -> None:
    said = utility_words([accuracy] * 3, {}, 0.6)
    assert said.startswith("no utility: ") == worthless
    assert "over the constant predictor (60.0 %)" in said


@pytest.mark.parametrize(
    ("beyond", "words"),
    [
        ([0.05, 0.06, 0.055], "+5.5 points over gap:hops=0 [+4.3, +6.7]: gives away links beyond an edge-free model"),
        ([0.05, -0.06, 0.02], "no leak shown beyond an edge-free model"),
        ([-0.05, -0.06, -0.055], "no leak shown beyond an edge-free model"),
        ([0.05], "one seed: nothing can be said"),
        ([0.05, 0.05], "equal at every seed, one sample: nothing can be said"),
    ],
)
def test_links_are_counted_beyond_an_edge_free_model(beyond: list[float], words: str) -> None:
    assert words in leak_words(beyond, "gap:hops=0")
