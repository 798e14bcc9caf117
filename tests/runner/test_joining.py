"""Numbers of several seeds become one result: means, the worst try, controls that differ, facts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from auditor.document import Contrast, Control, Estimate, Measured, Metric, Result, fingerprint, measured
from auditor.document.facts import (
    Bound,
    ClaimFacts,
    Confidence,
    Group,
    LinkFacts,
    LinkList,
    LowFpr,
    Named,
    Robust,
    Shipped,
)
from auditor.document.results import AtSeed
from auditor.errors import EvaluationError
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of
from auditor.statistics.seeds import joined
from tests.policy.samples import AUC, METRICS, TARGET, cell, claim, measurement, seeds

TRIES = [(0.20, 0.15, 0.25), (0.30, 0.25, 0.35), (0.25, 0.2, 0.3)]


def joined_of(cells: Sequence[Finished]) -> Result:
    (result,) = results_of(cells, TARGET)
    return result


def bounds(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    assert estimate is not None
    return estimate.value, estimate.lo, estimate.hi


# ---- one seed, several seeds ----------------------------------------------------------------------------------------


def test_one_seed_is_taken_as_it_is() -> None:
    number = measurement(0.3, 0.2, 0.4, subset="prior", p_adjusted=0.01, facts=Named(numbers={"k": 1.0}))
    result = joined_of([cell(number, arm="l2r", access=("weights", "features"))])
    assert result.estimate == number.estimate
    assert result.controls == number.controls
    assert result.contrast == number.contrast
    assert (result.finding, result.metric, result.subset) == ("privacy-link-stealing", "auc", "prior")
    assert (result.unit, result.worse_when, result.question, result.p_adjusted) == ("auc", "higher", "ranking", 0.01)
    assert (result.family, result.probe, result.arm) == ("privacy", "posterior-similarity", "l2r")
    assert (result.access, result.seeds, result.judged) == (("weights", "features"), (0,), True)
    assert result.facts == number.facts
    assert (result.joined_by, result.shown_seed, result.spread, result.judgement) == ("mean", None, (), None)
    assert result.by_seed == (
        AtSeed(
            cell="posterior-similarity-l2r-0",
            seed=0,
            estimate=number.estimate,
            controls=number.controls,
            contrast=number.contrast,
            p_adjusted=0.01,
        ),
    )


def test_means_over_seeds_are_those_of_the_statistics() -> None:
    cells = seeds(TRIES)
    result = joined_of(cells)
    numbers = [each.measured[0] for each in cells]
    assert result.estimate == joined([number.estimate for number in numbers])
    expected = joined([number.contrast for number in numbers if number.contrast is not None])
    assert bounds(result.contrast) == bounds(expected)
    assert result.contrast is not None
    assert result.contrast.to == "features+labels"
    assert (result.seeds, result.joined_by, result.shown_seed) == ((0, 1, 2), "mean", None)
    assert result.spread == pytest.approx((0.20, 0.25, 0.30))
    assert result.averaged == result.spread
    assert [each.seed for each in result.by_seed] == [0, 1, 2]


def test_no_interval_over_seeds_leaves_what_its_number_can_be() -> None:
    def near(value: float) -> Measured:
        control = Control(
            name="chance",
            estimate=Estimate(value=0.02, lo=0.0, hi=0.05),
            contrast=Estimate(value=value - 0.02, lo=value - 0.06, hi=min(value + 0.01, 1.0)),
        )
        own = Estimate(value=value, lo=max(value - 0.02, 0.0), hi=min(value + 0.02, 1.0))
        return measured(Metric("found", "share", "higher"), own, finding="privacy-membership", controls=[control])

    result = joined_of([cell(near(value), seed=seed) for seed, value in enumerate((0.01, 0.99, 0.98))])
    assert (result.estimate.lo, result.estimate.hi) == (0.0, 1.0)
    assert result.contrast is not None
    assert result.contrast.hi == 1.0
    assert result.contrast.lo is not None
    assert -1.0 <= result.contrast.lo < 0
    assert result.controls[0].estimate.lo == 0.0
    assert result.controls[0].contrast == Estimate(**result.contrast.model_dump(include={"value", "lo", "hi", "n"}))


def test_a_difference_by_itself_may_be_negative_over_seeds() -> None:
    def error(value: float) -> Measured:
        own = Estimate(value=value, lo=max(value - 0.02, 0.0), hi=value + 0.02)
        control = Control(name="confidence equal to accuracy", estimate=Estimate(value=0.0), contrast=own)
        over = Metric("over_confidence", "share", "higher", "over-confidence", signed=True)
        return measured(over, own, finding="shift-miscalibrated", controls=[control])

    result = joined_of([cell(error(value), seed=seed) for seed, value in enumerate((0.01, 0.05, 0.2))])
    assert result.signed
    assert result.estimate.lo is not None
    assert result.estimate.lo < 0


def test_results_stand_in_the_order_they_first_appear() -> None:
    first, second = measurement(subset="a"), measurement(subset="b")
    cells = [cell(second), cell(first, second, seed=1), cell(first, probe="graphmi")]
    assert [(r.probe, r.subset, r.seeds) for r in results_of(cells, TARGET)] == [
        ("posterior-similarity", "b", (0, 1)),
        ("posterior-similarity", "a", (1,)),
        ("graphmi", "a", (0,)),
    ]


def test_arms_and_parameters_keep_numbers_apart() -> None:
    cells = [cell(measurement(), arm=arm, probe=probe) for arm in ("none", "l2r") for probe in ("strata", "strata:k=2")]
    assert len(results_of(cells, TARGET)) == 4


@pytest.mark.parametrize("status", ["skipped", "error", "timeout"])
def test_a_cell_that_did_not_finish_gives_nothing(status: str) -> None:
    assert results_of([cell(measurement(), status=status)], TARGET) == ()


def test_one_thing_measured_twice_in_a_cell_is_refused() -> None:
    with pytest.raises(EvaluationError, match="posterior-similarity gives auc  twice for one seed"):
        results_of([cell(measurement(), measurement())], TARGET)
    with pytest.raises(EvaluationError, match="twice"):
        results_of([cell(measurement()), cell(measurement(), key="another")], TARGET)


def test_judged_and_p_value_are_those_of_the_strictest_seed() -> None:
    cells = [
        cell(measurement(judged=False, p_adjusted=0.2)),
        cell(measurement(judged=True, p_adjusted=0.01), seed=1),
        cell(measurement(judged=False), seed=2),
    ]
    result = joined_of(cells)
    assert result.judged
    assert result.p_adjusted == 0.2
    assert [each.p_adjusted for each in result.by_seed] == [0.2, 0.01, None]


def test_access_is_what_any_cell_held() -> None:
    cells = [cell(measurement(), access=("weights",)), cell(measurement(), seed=1, access=("labels", "weights"))]
    assert joined_of(cells).access == ("weights", "labels")


def test_a_seed_without_a_difference_leaves_none() -> None:
    result = joined_of([cell(measurement(0.3, 0.2, 0.4)), cell(measurement(None, raw=0.8), seed=1)])
    assert result.contrast is None
    assert result.excess is None
    assert result.spread == ()
    assert result.estimate.value == pytest.approx(0.8)


def test_an_end_open_in_one_seed_is_open_in_the_join() -> None:
    excess = joined_of([cell(measurement(0.3, 0.2, None)), cell(measurement(0.3, 0.2, 0.4), seed=1)]).excess
    assert excess is not None
    assert excess.hi is None
    assert excess.lo == pytest.approx(0.2)


def test_lower_is_worse_joins_the_same_excess() -> None:
    metric = Metric("accuracy", "share", "lower", "robustness")
    own, turned = joined_of(seeds(TRIES)), joined_of(seeds(TRIES, metric=metric))
    assert bounds(turned.excess) == pytest.approx(bounds(own.excess))
    assert bounds(turned.contrast)[0] == pytest.approx(-0.25)
    assert turned.spread == pytest.approx(own.spread)


def test_too_much_and_too_little_confidence_cancel_over_seeds_in_each_direction() -> None:
    """Half the seeds are too sure by .2, half too unsure: on average neither, and no seed is hidden."""
    over = Metric("over_confidence", "share", "higher", "over-confidence")

    def number(value: float) -> Measured:
        contrast = Estimate(value=value, lo=value - 0.05, hi=value + 0.05)
        calibrated = Control(name="confidence equal to accuracy", estimate=Estimate(value=0.0), contrast=contrast)
        return measured(over, contrast, finding="shift-miscalibrated", controls=[calibrated])

    result = joined_of([cell(number(value), seed=seed) for seed, value in enumerate((0.2, -0.2, 0.2, -0.2))])
    value, lo, hi = bounds(result.excess)
    assert value == pytest.approx(0.0)
    assert lo is not None
    assert hi is not None
    assert lo < -0.2
    assert hi > 0.2  # what the seeds differ by is in the interval: nothing passes
    assert result.spread == pytest.approx((-0.2, -0.2, 0.2, 0.2))


# ---- tries of one adversary -----------------------------------------------------------------------------------------


def test_worst_try_of_one_adversary_is_the_result_and_the_spread_is_kept() -> None:
    result = joined_of(seeds(TRIES, family="robustness", probe="structure-evasion", tries=True))
    assert bounds(result.excess) == (0.30, 0.25, 0.35)
    assert result.estimate.value == pytest.approx(0.80)
    assert (result.joined_by, result.shown_seed) == ("worst", 1)
    assert (result.spread, result.averaged) == ((0.20, 0.25, 0.30), ())
    assert result.seeds == (0, 1, 2)


def test_of_equal_tries_the_one_with_more_proven_is_worst() -> None:
    result = joined_of(seeds([(0.3, 0.1, 0.4), (0.3, 0.2, 0.5), (0.3, None, 0.4)], tries=True))
    assert result.shown_seed == 1


def test_a_try_without_a_number_comes_last() -> None:
    result = joined_of(seeds([(None,), (-0.4, -0.5, -0.3)], tries=True))
    assert (result.shown_seed, bounds(result.excess)) == (1, (-0.4, -0.5, -0.3))


def test_one_try_is_no_worst_of_several() -> None:
    result = joined_of(seeds(TRIES[:1], tries=True))
    assert (result.joined_by, result.shown_seed, result.spread) == ("worst", None, ())


def test_tries_on_a_refitted_arm_are_averaged() -> None:
    result = joined_of(seeds(TRIES[:2], tries=True, arm="l2r"))
    assert (result.joined_by, result.shown_seed) == ("mean", None)
    assert bounds(result.excess)[0] == pytest.approx(0.25)


# ---- a probe that draws nothing -------------------------------------------------------------------------------------


def test_a_probe_that_draws_nothing_has_no_seeds() -> None:
    assert joined_of(seeds(TRIES[:1], fixed=True)).seeds == "fixed"
    assert joined_of(seeds([TRIES[0]] * 2, fixed=True)).seeds == "fixed"


def test_on_a_refitted_arm_it_has() -> None:
    assert joined_of(seeds(TRIES[:2], fixed=True, arm="l2r")).seeds == (0, 1)


# ---- controls -------------------------------------------------------------------------------------------------------


def against(value: float, **others: float) -> Measured:
    """An AUC beside controls of these values, each with an interval of ± .01."""
    controls = [
        Control(
            name=name,
            estimate=Estimate(value=other),
            contrast=Estimate(value=value - other, lo=value - other - 0.01, hi=value - other + 0.01),
        )
        for name, other in others.items()
    ]
    return measured(AUC, Estimate(value=value), finding="privacy-link-stealing", controls=controls)


def test_controls_are_joined_by_name() -> None:
    result = joined_of(
        [cell(against(0.8, features=0.6, labels=0.5)), cell(against(0.9, features=0.8, labels=0.6), seed=1)]
    )
    assert [(c.name, c.estimate.value) for c in result.controls] == [
        ("features", pytest.approx(0.7)),
        ("labels", pytest.approx(0.55)),
    ]
    assert [bounds(c.contrast)[0] for c in result.controls] == [pytest.approx(0.15), pytest.approx(0.3)]
    assert result.contrast is not None
    assert (result.contrast.to, result.contrast.value) == ("features", pytest.approx(0.15))
    assert result.control == result.controls[0]


def test_a_strongest_control_that_differs_by_seed_is_one_of_its_own() -> None:
    result = joined_of(
        [cell(against(0.8, features=0.7, labels=0.5)), cell(against(0.9, features=0.5, labels=0.8), seed=1)]
    )
    assert result.contrast is not None
    assert (result.contrast.to, result.contrast.value) == ("features / labels", pytest.approx(0.1))
    assert [control.name for control in result.controls] == ["features", "labels", "features / labels"]
    assert result.control is not None
    assert result.control.estimate.value == pytest.approx(0.75)
    assert result.estimate.value == pytest.approx(0.75 + 0.1)


def test_a_control_that_one_seed_lacks_is_left_out() -> None:
    result = joined_of([cell(against(0.8, features=0.7)), cell(against(0.9, features=0.5, twin=0.1), seed=1)])
    assert [control.name for control in result.controls] == ["features"]


def test_a_shown_control_stays_without_a_difference() -> None:
    def number(value: float) -> Measured:
        shown = Control(name="edge-free", estimate=Estimate(value=value))
        return measured(AUC, Estimate(value=0.8), finding="f", controls=[shown])

    result = joined_of([cell(number(0.5)), cell(number(0.7), seed=1)])
    assert result.contrast is None
    assert result.control is not None
    assert (result.control.estimate.value, result.control.contrast) == (pytest.approx(0.6), None)


def test_own_side_on_other_items_is_joined_too() -> None:
    def number(own: float | None) -> Measured:
        side = None if own is None else Estimate(value=own)
        value = 0.8 if own is None else own
        contrast = Estimate(value=value - 0.5)
        twin = Control(name="twin", estimate=Estimate(value=0.5), contrast=contrast, own=side, twin=True)
        return measured(AUC, Estimate(value=0.8), finding="f", controls=[twin])

    (control,) = joined_of([cell(number(0.7)), cell(number(0.9), seed=1)]).controls
    assert control.own is not None
    assert (control.own.value, control.twin) == (pytest.approx(0.8), True)
    (mixed,) = joined_of([cell(number(0.6)), cell(number(None), seed=1)]).controls  # the other seed: the number itself
    assert mixed.own is not None
    assert mixed.own.value == pytest.approx(0.7)


# ---- facts ----------------------------------------------------------------------------------------------------------


def with_facts(facts: Sequence[object], values: Sequence[float] = (0.1, 0.5, 0.35), **more: object) -> Result:
    cells = [
        cell(measurement(value, value - 0.1, value + 0.1, facts=fact), seed=seed, **more)  # type: ignore[arg-type]
        for seed, (value, fact) in enumerate(zip(values, facts, strict=False))
    ]
    return joined_of(cells)


def test_facts_are_of_the_seed_nearest_the_joined_number() -> None:
    facts = [Group(cut_by="degree", group=str(seed), members=59, groups=15, permutation_p=0.5) for seed in range(3)]
    assert with_facts(facts).facts == facts[2]  # mean .317


def links(k: float, control: float | None = None) -> LinkFacts:
    listed = LinkList(
        n_links=100, k=Estimate(value=k, n=3), m=Estimate(value=k / 2), r=Estimate(value=2.0), sampled=True
    )
    other = None if control is None else Estimate(value=control)
    low = LowFpr(fpr=0.01, attack=Estimate(value=k / 100), control=other, chance=0.01)
    return LinkFacts(positives=100, negatives=300, links=listed, low_fpr=low)


def test_estimates_inside_facts_are_joined() -> None:
    found = with_facts([links(10, 0.1), links(20, 0.2), links(60, 0.3)]).facts
    assert isinstance(found, LinkFacts)
    assert found.links is not None
    assert found.low_fpr is not None
    assert found.low_fpr.control is not None
    assert (found.links.k.value, found.links.r.value, found.links.n_links) == (
        pytest.approx(30),
        pytest.approx(2.0),
        100,
    )
    assert (found.low_fpr.attack.value, found.low_fpr.control.value) == (pytest.approx(0.3), pytest.approx(0.2))
    assert (found.positives, found.negatives) == (100, 300)


def test_an_estimate_that_one_seed_lacks_is_the_nearest_seed_s() -> None:
    found = with_facts([links(10, 0.1), links(20), links(60, 0.3)]).facts
    assert isinstance(found, LinkFacts)
    assert found.low_fpr is not None
    assert found.low_fpr.control == Estimate(value=0.3)


def robust(attacked: float) -> Robust:
    return Robust(
        clean=Estimate(value=0.9),
        attacked=Estimate(value=attacked),
        random=Estimate(value=0.85),
        edge_free=None,
        majority=0.3,
        edits=5,
        budget=5,
        additions=3,
        deletions=2,
        attacked_items=100,
        winner=f"left {attacked}",
    )


def test_facts_of_the_worst_try_are_its_own() -> None:
    facts = [robust(0.7), robust(0.4), robust(0.55)]
    assert with_facts(facts, tries=True).facts == facts[1]
    averaged = with_facts(facts, tries=True, arm="l2r").facts
    assert isinstance(averaged, Robust)
    assert (averaged.attacked.value, averaged.winner) == (pytest.approx(0.55), "left 0.55")


@pytest.mark.parametrize("tries", [True, False])
def test_a_claim_and_a_file_are_as_bad_as_their_worst_seed(tries: bool) -> None:
    claims = [claim("CONSISTENT"), claim("VIOLATED", epsilon=2.0), claim("UNDERPOWERED")]
    assert with_facts(claims, tries=tries).facts == claims[1]
    assert with_facts(claims[::2] * 2, tries=tries).facts == claims[2]
    files = [Shipped(severity=severity, count=1, of=2) for severity in ("low", "critical", "none")]  # type: ignore[arg-type]
    assert with_facts(files, tries=tries).facts == files[1]


def test_a_claim_keeps_the_tests_of_every_seed() -> None:
    bounds = [Bound(test="t", guesses=k, right=k, rejected=False, lower=0.0, lower_95=0.0) for k in (10, 20, 30)]
    found = with_facts([claim("CONSISTENT", bounds=(bound,)) for bound in bounds]).facts
    assert isinstance(found, ClaimFacts)
    assert found.bounds == tuple(bounds)


def test_facts_that_some_seeds_lack_say_nothing() -> None:
    assert with_facts([claim("CONSISTENT"), None, claim("CONSISTENT")]).facts is None
    assert with_facts([None, None, None]).facts is None
    assert (
        with_facts([Named(), Confidence(confidence=Estimate(value=0.5), accuracy=Estimate(value=0.5)), Named()]).facts
        is None
    )


# ---- fingerprints ---------------------------------------------------------------------------------------------------


def test_fingerprint_holds_no_measured_value_and_separates_its_words() -> None:
    one = joined_of([cell(measurement(0.1, 0.0, 0.2))])
    other = joined_of([cell(measurement(0.9, 0.8, 1.0), seed=4, key="other")])
    assert one.fingerprint == other.fingerprint
    words = ("id", TARGET, "none", "probe", "auc", "prior")
    assert len({fingerprint(*words[:i], "else", *words[i + 1 :]) for i in range(6)} | {fingerprint(*words)}) == 7
    assert fingerprint("ab", "c", "", "", "", "") != fingerprint("a", "bc", "", "", "", "")
    assert one.fingerprint == fingerprint("privacy-link-stealing", TARGET, "none", "posterior-similarity", "auc", "")


def test_taxonomy_follows_finding_and_access() -> None:
    number = measurement(finding="robustness-structure", metric=METRICS["accuracy"])
    assert joined_of([cell(number, access=("posteriors", "graph"))]).taxonomy[0] == "AML.T0043.001"
    assert joined_of([cell(number, access=("weights", "graph"))]).taxonomy[0] == "AML.T0043.000"


def test_a_contrast_to_nothing_is_no_control() -> None:
    number = against(0.8, features=0.6).model_copy(update={"contrast": Contrast(value=0.2, to="another")})
    assert number.control is None
