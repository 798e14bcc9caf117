"""What the comparison measures itself: edits tried on every arm, paired contrasts, and their intervals, calibrated."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.compare.gain import ArmScores, gain_measured, paired_by_class, score_arm
from auditor.document import Measured
from auditor.outcomes import FlipSet
from auditor.policy.differences import of_reweighting, over_items
from tests.toys import toy_target


@pytest.fixture(scope="module")
def scored() -> tuple[ArmScores, np.ndarray]:
    """A toy's scores under nine flips, and the labels of its test items."""
    target = toy_target()
    scores = score_arm(target, [FlipSet(9, target.graph.pair_keys()[:9])])
    return scores, target.graph.y[target.split.test].numpy()


def by_name(numbers: tuple[Measured, ...]) -> dict[tuple[str, str], Measured]:
    found = {(number.metric, number.subset): number for number in numbers}
    assert len(found) == len(numbers)
    return found


def test_worst_case_is_over_every_set_within_the_budget_and_bad_sets_are_dropped() -> None:
    target = toy_target()
    edges = target.graph.pair_keys()
    small, large = FlipSet(3, edges[:3]), FlipSet(40, edges[:40])
    cheat = FlipSet(3, edges[:60])
    scores = score_arm(target, [small, large, cheat])
    assert sorted(scores.worst) == [3, 40]
    assert scores.attacks == {3: 1, 40: 2}
    assert scores.worst[40].mean() <= scores.worst[3].mean() <= scores.clean.mean()
    assert scores.clean.mean() == pytest.approx(target.accuracy())


def test_gain_of_an_arm_over_itself_is_zero_with_an_interval_around_it(scored) -> None:
    scores, y = scored
    others = {"twin": scores, "none": scores}
    numbers = by_name(gain_measured(scores, others, y, {9: "eps=0.05"}, np.random.default_rng(0)))
    assert set(numbers) == {("clean_accuracy", ""), ("balanced_accuracy", ""), ("robust_accuracy", "eps=0.05")}
    for number in numbers.values():
        assert [control.name for control in number.controls] == ["twin", "none"]
        for control in number.controls:
            assert control.contrast is not None
            assert control.contrast.value == 0
            assert control.contrast.half_width is not None
            assert control.contrast.half_width > 0


def test_every_contrast_is_own_less_other_and_the_first_control_alone_counts() -> None:
    y = np.arange(90) % 3
    own, first, none = (
        ArmScores(right, np.where(right, y, (y + 1) % 3), {}, {})
        for right in (np.arange(90) % 10 < 8, np.arange(90) % 10 < 9, np.arange(90) % 10 < 6)
    )
    numbers = gain_measured(own, {"first": first, "none": none}, y, {}, np.random.default_rng(0))
    for number in numbers:
        contrasts = {control.name: control.contrast for control in number.controls}
        for name, gained in (("first", -0.1), ("none", 0.2)):
            found = contrasts[name]
            assert found is not None
            assert found.value == pytest.approx(gained)
            assert found.lo is not None
            assert found.hi is not None
            assert found.lo < gained < found.hi
            control = next(control for control in number.controls if control.name == name)
            assert number.estimate.value == pytest.approx((control.estimate.value or 0.0) + gained)
        assert number.contrast is not None
        assert number.excess is not None
        assert (number.contrast.to, number.excess.value) == (
            "first",
            pytest.approx(0.1),
        )  # whatever is lost to the other


def test_what_edits_take_from_a_defended_model_is_judged_at_five_percent(scored) -> None:
    scores, y = scored
    numbers = gain_measured(scores, {"ce": scores}, y, {9: "eps=0.05"}, np.random.default_rng(0), judged="defense-gain")
    judged = {number.metric: number for number in numbers if number.judged}
    assert set(judged) == {"clean_accuracy", "worst_case_accuracy"}
    loss = judged["worst_case_accuracy"]
    assert loss.excess is not None
    assert loss.excess.value == pytest.approx(scores.clean.mean() - scores.worst[9].mean())
    assert {m: number.question for m, number in judged.items()} == {
        "clean_accuracy": "defense-cost",
        "worst_case_accuracy": "worst-case-loss",
    }
    assert not any(n.judged for n in gain_measured(scores, {"ce": scores}, y, {}, np.random.default_rng(0)))


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_reweighting_is_judged_by_balanced_accuracy_alone_and_on_each_part_where_there_are_parts(
    scored, in_parts: bool
) -> None:
    scores, y = scored
    small = np.arange(len(y)) % 2 == 0
    parts = {"id": small, "ood": ~small} if in_parts else {}
    rng = np.random.default_rng(0)
    numbers = gain_measured(scores, {"refit": scores}, y, {9: "eps=0.05"}, rng, judged="an-effect", parts=parts)
    judged = {(n.metric, n.subset, n.finding, n.question) for n in numbers if n.judged}
    subsets = ("id", "ood") if in_parts else ("",)
    assert judged == {("balanced_accuracy", subset, "an-effect", "harm") for subset in subsets}


def test_the_arm_without_a_defence_stands_beside_nothing(scored) -> None:
    scores, y = scored
    numbers = gain_measured(scores, {}, y, {9: "eps=0.05"}, np.random.default_rng(0), poisoned="metattack=0.25")
    assert {(n.metric, n.subset) for n in numbers} == {
        ("poisoned_accuracy", "metattack=0.25"),
        ("balanced_accuracy", ""),
        ("robust_accuracy", "eps=0.05"),
    }
    assert all(n.contrast is None and n.controls == () and n.estimate.half_width is not None for n in numbers)


def test_a_head_that_is_right_on_more_items_gains() -> None:
    y = np.arange(300) % 3
    paired = paired_by_class(np.arange(300) % 10 < 8, np.arange(300) % 10 < 7, y)
    assert paired.value == pytest.approx(0.1)
    assert paired.lo is not None
    assert paired.hi is not None
    assert 0 < paired.lo < 0.1 < paired.hi
    found = {"refit": over_items("refit", [0.1], [paired])}
    assert of_reweighting(found, ["refit"], over_items=True).status == "helps"


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
        paired = paired_by_class(own, other, y)
        assert (paired.half_width or 0) > 0
        found = {"refit": over_items("refit", [paired.value or 0.0], [paired])}
        gains += of_reweighting(found, ["refit"], over_items=True).status == "helps"
    assert gains <= 0.04 * 400


@pytest.mark.parametrize(("classes", "items", "better"), [(7, 10, 0.3), (6, 20, 0.45), (10, 10, 0.5), (3, 50, 0.05)])
def test_the_paired_interval_of_many_small_classes_covers(classes: int, items: int, better: float) -> None:
    rng, y = np.random.default_rng(classes), np.arange(classes * items) % classes
    covered = 0
    for _ in range(400):
        own = rng.random(len(y)) < 0.4 + better
        other = rng.random(len(y)) < 0.4
        found = paired_by_class(own, other, y)
        assert found.value == pytest.approx(
            np.mean([own[y == c].mean() - other[y == c].mean() for c in range(classes)])
        )
        assert found.lo is not None
        assert found.hi is not None
        assert found.lo <= found.value <= found.hi
        covered += found.lo <= better <= found.hi
    assert covered >= 0.93 * 400
