"""What is said of paired differences: marks, statuses and codes, over seeds and over the test items of one model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from auditor.document import Decision, Difference, Estimate
from auditor.document.codes import (
    Blunt,
    Corrected,
    FewSeeds,
    ForeignEdits,
    Indicative,
    LeastOfModes,
    NoSpread,
    NotMeasured,
    NotTheIdea,
    NoUtility,
    OneSeed,
    OverItems,
    Recovery,
    TriedEdits,
    UntrustedArm,
)
from auditor.policy.differences import (
    of_links,
    of_private_model,
    of_recovery,
    of_reweighting,
    over_items,
    over_seeds,
    p_value,
    trusted,
    under_edits,
)
from auditor.records import Model
from auditor.statistics.estimate import SHARES
from auditor.statistics.intervals import student_t
from auditor.statistics.multiplicity import holm_levels

FLAT = [0.0] * 5


def against(**arms: Sequence[float]) -> dict[str, Difference]:
    """The differences to other arms, one per seed."""
    return {to: over_seeds(to, by_seed) for to, by_seed in arms.items() if by_seed}


def kinds(decision: Decision) -> set[type[Model]]:
    return {type(code) for code in decision.codes}


def test_no_interval_of_a_difference_leaves_what_it_can_be() -> None:
    """Neither one over items, nor one that is read at the level of several tests."""
    paired = [Estimate(value=v, lo=-0.9, hi=1.0) for v in (0.9, -0.3)]
    found = over_items("ce", [0.9, -0.3], paired, range_=SHARES.of_differences)
    assert (found.estimate.lo, found.estimate.hi) == (-1.0, 1.0)
    seeds = over_seeds("ce", [0.9, -0.9, 0.9, -0.9, 0.9], range_=SHARES.of_differences)
    read = of_reweighting({"ce": seeds}, ["ce"], level=0.001, together=50).estimate
    assert read is not None
    assert (read.lo, read.hi) == (-1.0, 1.0)


# --- under edits ----------------------------------------------------------------------------------------------------


def edited(
    ce: Sequence[float], cluster: Sequence[float] = (), reach: str = "every", modes: tuple[str, ...] = ()
) -> Decision:
    found = against(ce=ce, cluster=cluster)
    return under_edits("robustness", found, ["ce", "cluster"], reach, modes=modes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "status", "code"),
    [
        ([0.03, 0.03, 0.031, 0.029, 0.03], [0.02, 0.02, 0.021, 0.02, 0.02], "helps", TriedEdits(edits="every")),
        (
            [0.03, 0.03, 0.031, 0.029, 0.03],
            [0.0, 0.01, -0.01, 0.0, 0.0],
            "helps",
            NotTheIdea(arms=("cluster",)),
        ),
        ([0.001, -0.002, 0.002, 0.0, -0.001], FLAT, "not-shown", None),
        ([0.10, -0.09, 0.05, -0.06, 0.02], FLAT, "not-settled", FewSeeds(seeds=5, needed=59)),
        ([-0.03, -0.031, -0.029, -0.03, -0.03], FLAT, "hurts", None),
        ([0.5, 0.5, 0.5, 0.5], [0.5] * 4, "not-settled", FewSeeds(seeds=4, needed=5)),
        ([0.03] * 5, [0.03] * 5, "not-settled", NoSpread(seeds=5)),
        ([], [], "not-compared", NotMeasured()),
    ],
)
def test_a_robust_gain_over_seeds(first: list[float], second: list[float], status: str, code: Model | None) -> None:
    decision = edited(first, second)
    assert decision.status == status
    assert decision.codes == (() if code is None else (code,))
    assert decision.to == "ce"


def test_the_difference_that_was_judged_stands_in_the_decision_with_its_interval_where_one_may_be_read() -> None:
    gains = [0.03, 0.03, 0.031, 0.029, 0.03]
    enough, few = edited(gains).estimate, edited(gains[:4]).estimate
    assert enough is not None
    assert (enough.value, (enough.lo, enough.hi)) == (pytest.approx(0.03), pytest.approx(student_t(gains)))
    assert few is not None
    assert (few.value, few.has_interval) == (pytest.approx(0.03), False)


def test_a_gain_over_edits_of_others_alone_is_not_settled() -> None:
    gains = [0.04, 0.05, 0.06, 0.05, 0.05]
    assert edited(gains).status == "helps"
    assert edited(gains, reach="own").codes == (TriedEdits(edits="own"),)
    for reach in ("transferred", "poisoned"):
        decision = edited(gains, reach=reach)
        assert decision.status == "not-settled"
        assert decision.codes == (ForeignEdits(edits=reach),)  # type: ignore[arg-type]
    assert edited([-gain for gain in gains], reach="poisoned").status == "hurts"


def test_the_arms_of_several_modes_are_named_whatever_is_decided() -> None:
    for gains in ([], [0.1], [0.04, 0.05, 0.06, 0.05, 0.05]):
        assert LeastOfModes(arms=("a", "b")) in edited(gains, modes=("a", "b")).codes


def test_a_control_with_one_seed_is_not_beaten() -> None:
    assert edited([0.03, 0.03, 0.031, 0.029, 0.03], [0.5]).codes == (NotTheIdea(arms=("cluster",)),)


def items(to: str, value: float, half: float, seeds: int = 5) -> Difference:
    """A difference over the test items of one model, its interval symmetric."""
    return over_items(to, [value] * seeds, [Estimate(value=value, lo=value - half, hi=value + half, n=100)])


@pytest.mark.parametrize(
    ("value", "half", "random", "reach", "status", "code"),
    [
        (0.05, 0.02, 0.05, "every", "helps", TriedEdits(edits="every")),
        (0.05, 0.02, 0.001, "every", "helps", NotTheIdea(arms=("random-weights",))),
        (0.05, 0.02, 0.05, "poisoned", "not-settled", ForeignEdits(edits="poisoned")),
        (-0.05, 0.02, 0.05, "every", "hurts", None),
        (0.0, 0.01, 0.05, "every", "not-shown", None),
        (0.0, 0.05, 0.05, "every", "not-settled", Blunt(half_width=0.05)),
    ],
)
def test_a_robust_gain_of_a_refitted_head(
    value: float, half: float, random: float, reach, status: str, code: Model | None
) -> None:
    found = {d.to: d for d in (items("uniform-refit", value, half), items("random-weights", random, 0.01))}
    decision = under_edits("robustness", found, ["uniform-refit", "random-weights"], reach, over_items=True)
    assert decision.status == status
    assert decision.codes == ((OverItems(),) if code is None else (code, OverItems()))


def test_attacks_on_a_refitted_head_are_drawn_so_that_it_asks_for_five_seeds_too() -> None:
    found = {"refit": items("refit", 0.05, 0.01, seeds=4)}
    decision = under_edits("poisoned-accuracy", found, ["refit"], "poisoned", over_items=True)
    assert (decision.status, decision.codes) == ("not-settled", (FewSeeds(seeds=4, needed=5),))
    open_ended = {"refit": over_items("refit", [0.05] * 5, [])}
    assert under_edits("robustness", open_ended, ["refit"], "every", over_items=True).status == "not-compared"


# --- reweightings ---------------------------------------------------------------------------------------------------


def reweighted(gains: Sequence[float], random: Sequence[float] | None = None, **how: float) -> Decision:
    """Of own − refit, and own − random weights, one per seed."""
    found = against(refit=gains, **({} if random is None else {"random-weights": random}))
    return of_reweighting(found, ["refit", "random-weights"], random="random-weights", **how)  # type: ignore[arg-type]


def test_a_gain_that_random_weights_have_too_is_no_gain() -> None:
    gains = [0.05 + 0.001 * i for i in range(10)]
    assert (reweighted(gains).status, reweighted(gains).codes) == ("helps", ())
    assert reweighted(gains, gains).status == "helps"
    # random weights are as far above the refit as the method is: method − random = 0
    assert reweighted(gains, [0.0] * 10).status == "not-shown"
    assert reweighted(gains, [-0.01] * 10).status == "not-shown"


def test_few_seeds_are_indicative_and_fewer_settle_nothing() -> None:
    gains = [0.05 + 0.001 * i for i in range(10)]
    assert reweighted(gains[:6]).codes == (Indicative(seeds=6, wanted=10),)
    assert (reweighted(gains[:3]).status, reweighted(gains[:3]).codes) == (
        "not-settled",
        (FewSeeds(seeds=3, needed=5),),
    )
    assert (reweighted(gains[:1]).status, reweighted(gains[:1]).codes) == ("not-shown", (OneSeed(),))
    assert (reweighted([0.05] * 8).status, reweighted([0.05] * 8).codes) == ("not-shown", (NoSpread(seeds=8),))
    assert (reweighted([]).status, reweighted([]).codes) == ("not-compared", (NotMeasured(),))


def test_random_signs_are_rarely_called_a_gain() -> None:
    rng = np.random.default_rng(0)
    found = [reweighted(list(rng.normal(0, 0.02, 10) * rng.choice([-1, 1], 10))).status for _ in range(500)]
    assert found.count("helps") / 500 <= 0.04
    assert found.count("helps") > 0  # the test is not blind either


def test_a_real_effect_is_found() -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(500):
        gains, random = rng.normal(0.03, 0.02, 10), rng.normal(0, 0.02, 10)
        found.append(reweighted(list(gains), list(gains - random)).status)
    assert found.count("helps") / 500 >= 0.9


def test_harm_needs_a_point() -> None:
    noise = np.array([-0.001, 0.001, 0.0, 0.002, -0.002] * 2)
    assert reweighted(list(noise + 0.03)).status == "helps"
    assert reweighted(list(noise - 0.03)).status == "hurts"
    assert reweighted(list(noise - 0.008)).status == "not-shown"  # worse, though by less than a point
    assert reweighted(list(noise)).status == "not-shown"


def test_holm_widens_the_interval_of_one_comparison_among_many() -> None:
    rng = np.random.default_rng(2)
    effect = [0.015 - 0.02 * e for e in (-1.4, -0.9, -0.5, -0.2, 0.0, 0.1, 0.3, 0.6, 0.9, 1.1)]
    alone = reweighted(effect)
    assert alone.status == "helps"
    several = [over_seeds("refit", values) for values in (effect, *(list(rng.normal(0, 0.02, 10)) for _ in range(20)))]
    level = holm_levels([p_value(difference) or 0.0 for difference in several])[0]
    among = reweighted(effect, level=level, together=21)
    assert among.status == "not-shown"
    assert among.codes == (Corrected(together=21, level=level),)
    assert alone.estimate is not None
    assert among.estimate is not None
    assert (among.estimate.half_width or 0) > (alone.estimate.half_width or 1)
    assert reweighted(effect, level=holm_levels([p_value(several[0]) or 0.0])[0]) == alone


def test_the_p_value_is_that_of_the_interval() -> None:
    values = [0.01, 0.03, -0.01, 0.02, 0.04, 0.03]
    difference = over_seeds("refit", values)
    assert (difference.estimate.lo, difference.estimate.hi) == pytest.approx(student_t(values))
    p = p_value(difference)
    assert p is not None
    assert p < 0.05
    edge = reweighted(values, level=p).estimate
    assert edge is not None
    assert edge.lo == pytest.approx(0, abs=1e-12)  # at its own p value an interval ends at 0
    assert p_value(over_seeds("refit", [0.1])) is None
    assert p_value(over_seeds("refit", [0.0, 0.0])) == 1
    assert p_value(items("refit", 0.0196, 0.0196), over_items=True) == pytest.approx(0.05)


def refitted(first: Difference, second: Difference, level: float = 0.05) -> Decision:
    found = {d.to: d for d in (first, second)}
    controls = ["uniform-refit", "random-weights"]
    return of_reweighting(found, controls, random=controls[1], over_items=True, level=level)


def test_a_refitted_head_is_judged_over_the_test_items_of_one_model_whatever_the_number_of_seeds() -> None:
    own, random = items("uniform-refit", 0.03, 0.01, seeds=1), items("random-weights", 0.01, 0.02)
    assert (refitted(own, random).status, refitted(own, random).codes) == ("helps", (OverItems(),))
    assert refitted(own, random).estimate == own.estimate
    assert refitted(own, items("random-weights", -0.01, 0.02)).status == "not-shown"  # random weights gain more
    assert refitted(items("uniform-refit", -0.03, 0.01), random).status == "hurts"
    assert refitted(items("uniform-refit", -0.015, 0.01), random).status == "not-shown"  # less than a point, perhaps
    assert refitted(items("uniform-refit", 0.011, 0.01), random).status == "helps"
    assert refitted(items("uniform-refit", 0.011, 0.01), random, 0.0125).status == "not-shown"  # Holm over four
    assert refitted(over_items("uniform-refit", [0.03], []), random).status == "not-compared"


def test_recovery_is_a_share_of_a_gain_that_is_proven_or_nothing() -> None:
    own, none = items("refit", 0.01, 0.02), items("refit", 0.05, 0.06)
    decision = of_recovery(own, items("refit", 0.05, 0.01), "oracle", subset="ood")
    assert decision is not None
    (share,) = decision.codes
    assert isinstance(share, Recovery)
    assert (share.share, share.of, share.by) == (pytest.approx(0.2), 0.05, "oracle")
    assert (decision.subset, decision.to, decision.status) == ("ood", "refit", "not-shown")
    assert of_recovery(own, none, "oracle") is None
    assert of_recovery(own, over_seeds("refit", [-0.1, -0.11]), "oracle") is None
    assert of_recovery(own, over_seeds("refit", [0.1]), "oracle") is None


# --- private models -------------------------------------------------------------------------------------------------


def test_the_better_of_the_edge_free_models_is_the_control() -> None:
    own = [0.80, 0.81, 0.79, 0.80, 0.82]
    weak, strong = [0.60, 0.61, 0.60, 0.60, 0.61], [0.76, 0.78, 0.76, 0.75, 0.78]
    useful, beside = of_private_model(own, {"edge-rand:hops=0": weak, "gap:hops=0": strong}, 0.3)
    assert (useful.about, useful.status) == ("utility", "helps")
    assert (beside.about, beside.to, beside.status, beside.codes) == ("accuracy", "gap:hops=0", "helps", ())
    assert beside.estimate is not None
    assert beside.estimate.value == pytest.approx(0.038)


def test_an_interval_that_touches_zero_is_no_gain() -> None:
    own, control = [0.80, 0.70, 0.78, 0.72, 0.75], [0.75, 0.74, 0.73, 0.75, 0.72]
    _, beside = of_private_model(own, {"gap:hops=0": control}, 0.3)
    assert (beside.status, beside.codes) == ("not-shown", ())
    assert beside.estimate is not None
    assert [round(100 * (end or 0.0), 1) for end in (beside.estimate.lo, beside.estimate.hi)] == [-4.2, 6.6]


def test_few_seeds_are_said_and_one_is_no_gain() -> None:
    _, few = of_private_model([0.8, 0.81, 0.82], {"gap:hops=0": [0.7, 0.72, 0.71]}, 0.3)
    assert (few.status, few.codes) == ("helps", (Indicative(seeds=3, wanted=5),))
    _, one = of_private_model([0.8], {"gap:hops=0": [0.7]}, 0.3)
    assert (one.status, one.codes) == ("not-shown", (OneSeed(),))
    _, same = of_private_model([0.8] * 5, {"gap:hops=0": [0.7] * 5}, 0.3)
    assert (same.status, same.codes) == ("not-shown", (NoSpread(seeds=5),))


@pytest.mark.parametrize(("accuracy", "worthless"), [(0.62, True), (0.629, True), (0.631, False)])
def test_less_than_three_points_over_the_constant_predictor_is_no_utility(accuracy: float, worthless: bool) -> None:
    (useful,) = of_private_model([accuracy] * 3, {}, 0.6)
    assert (useful.status, kinds(useful)) == (("not-shown", {NoUtility}) if worthless else ("helps", set()))
    assert useful.estimate is not None
    assert useful.estimate.value == pytest.approx(accuracy - 0.6)


@pytest.mark.parametrize(
    ("beyond", "status", "codes"),
    [
        ([0.05, 0.06, 0.055], "hurts", ()),
        ([0.05, -0.06, 0.02], "not-shown", ()),
        ([-0.05, -0.06, -0.055], "not-shown", ()),
        ([0.05], "not-settled", (OneSeed(),)),
        ([0.05, 0.05], "not-settled", (NoSpread(seeds=2),)),
    ],
)
def test_links_are_counted_beyond_an_edge_free_model(beyond: list[float], status: str, codes) -> None:
    decision = of_links(over_seeds("gap:hops=0", beyond), "an-attack")
    assert (decision.status, decision.codes, decision.to, decision.probe) == (status, codes, "gap:hops=0", "an-attack")


# --- trust and marks ------------------------------------------------------------------------------------------------


def test_a_failed_check_spoils_a_decision_and_harm_stands_against_a_weak_control() -> None:
    gain, harm = reweighted([0.05, 0.051, 0.049, 0.05, 0.052]), reweighted([-0.05, -0.051, -0.049, -0.05, -0.052])
    weak = trusted(gain, {"weak-control": "strength"})
    assert weak.codes[-1] == UntrustedArm(checks=("weak-control",))
    assert weak.status == gain.status
    assert trusted(harm, {"weak-control": "strength"}) == harm
    both = trusted(harm, {"weak-control": "strength", "head-folds-back": "integrity"})
    assert both.codes[-1] == UntrustedArm(checks=("head-folds-back",))
    assert trusted(gain, {}) == gain


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        ([0.03, 0.03, 0.031, 0.029, 0.03], "better"),
        ([-0.03, -0.03, -0.031, -0.029, -0.03], "worse"),
        ([0.03, -0.03, 0.031, -0.029, 0.0], ""),
        ([0.03, 0.03, 0.031, 0.029], ""),  # four seeds
        ([0.03] * 5, ""),  # the same model each time says nothing
    ],
)
def test_a_difference_is_marked_where_it_is_proven_over_five_seeds(values: list[float], mark: str) -> None:
    assert over_seeds("none", values).mark == mark
    turned = {"better": "worse", "worse": "better", "": ""}[mark]
    assert over_seeds("none", values, worse_when="higher").mark == turned


def test_a_difference_that_holds_more_than_the_idea_is_never_marked() -> None:
    paired = [Estimate(value=0.05, lo=0.04, hi=0.06, n=100)]
    assert over_items("none", [0.05] * 5, paired).mark == "better"
    shown = over_items("none", [0.05] * 5, paired, judged=False)
    assert (shown.judged, shown.mark) == (False, "")


def test_seeds_that_share_their_items_keep_the_widest_interval_around_the_mean() -> None:
    paired = [Estimate(value=0.02, lo=0.0, hi=0.03, n=50), Estimate(value=0.04, lo=0.03, hi=0.08, n=50)]
    found = over_items("none", [0.02, 0.04], paired).estimate
    assert (found.value, found.lo, found.hi) == (pytest.approx(0.03), pytest.approx(0.01), pytest.approx(0.07))
