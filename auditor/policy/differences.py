"""What may be said of paired differences between arms of a comparison: marks, statuses and codes, from numbers alone.

A difference is own − other in the number's own unit. Its interval is Student's t over seeds, each of which is a new
fit; or, where both arms come from one trained model, the paired interval over its test items (`over_items`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, Literal

import numpy as np
from scipy import stats

from auditor.document import Decision, Difference, Estimate
from auditor.document.codes import (
    Blunt,
    Corrected,
    DecisionCode,
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
from auditor.document.results import WorseWhen
from auditor.policy.bounds import ALPHA, SEEDS_FOR_A_CLAIM, SEEDS_FOR_A_FIRM_CLAIM, has_spread
from auditor.statistics.estimate import ANY, SHARES, Range
from auditor.statistics.intervals import student_t

Status = Literal["helps", "hurts", "not-shown", "not-settled", "not-compared"]
Reach = Literal["every", "own", "transferred", "poisoned"]
"""Edits that an arm was tried with: every one found on any arm; its own alone; only those of others; or those in the
graph that it was fitted on, made by somebody who looked at another model."""
BLUNT: Final = 0.02
"""Half-width of an interval that holds 0, up to which a gain worth having is excluded."""
HARM: Final = 0.01
"""Balanced accuracy lost, beyond which a reweighting hurts."""
NO_UTILITY: Final = 0.03
"""Accuracy above the constant predictor, below which a model is of no use."""
_SAME = 1e-9
LEVEL: Final = 2 * ALPHA
"""Of an interval that is read on its own."""


def over_seeds(
    to: str, by_seed: Sequence[float], *, worse_when: WorseWhen = "lower", range_: Range = ANY
) -> Difference:
    """The difference to another arm at seeds that are fits of their own.

    `worse_when` is the number's direction, and `range_` what the difference can be: the interval ends there.
    """
    mean = float(np.mean(by_seed))
    lo, hi = range_.cut(*student_t(by_seed)) if len(by_seed) > 1 else (None, None)
    return _marked(to, Estimate(value=mean, lo=lo, hi=hi, n=len(by_seed)), by_seed, worse_when)


def over_items(
    to: str,
    by_seed: Sequence[float],
    paired: Sequence[Estimate],
    *,
    worse_when: WorseWhen = "lower",
    range_: Range = ANY,
    judged: bool = True,
) -> Difference:
    """The difference to another arm made from the same trained model.

    Args:
        to: the other arm.
        by_seed: at every seed that both have.
        paired: the paired intervals over test items, which the seeds share: the widest of them counts, around the mean.
            None: there is no interval.
        worse_when: the number's direction.
        range_: what the difference can be: the interval ends there.
        judged: see `Difference`.
    """
    closed = [
        (e.value, e.value - e.lo, e.hi - e.value)
        for e in paired
        if e.value is not None and e.lo is not None and e.hi is not None
    ]
    if not closed:
        return _marked(to, Estimate(value=float(np.mean(by_seed))), by_seed, worse_when, judged=judged)
    mean = float(np.mean([value for value, _, _ in closed]))
    lo, hi = range_.cut(mean - max(below for _, below, _ in closed), mean + max(above for _, _, above in closed))
    n = max(e.n for e in paired)
    return _marked(to, Estimate(value=mean, lo=lo, hi=hi, n=n), by_seed, worse_when, judged=judged)


def under_edits(
    about: Literal["robustness", "poisoned-accuracy"],
    against: Mapping[str, Difference],
    controls: Sequence[str],
    reach: Reach,
    *,
    over_items: bool = False,
    modes: tuple[str, ...] = (),
    probe: str = "",
    subset: str = "",
) -> Decision:
    """Whether edits take less from a defence than from its control.

    Args:
        about: edits of the graph that it is served on, or of the one that it was fitted on.
        against: the difference to each arm.
        controls: the first is the same capacity without the idea; the others say what else explains a gain.
        reach: which edits were tried.
        over_items: whether the intervals are over the test items of one model; seeds still draw the attacks.
        modes: arms that serve the same fit, where `against` holds the least of their differences.
        probe: whose headline it is; empty for what the comparison itself measures.
        subset: the budget, or the attack that poisoned the graph.
    """
    first = against.get(controls[0])
    codes: tuple[DecisionCode, ...] = (LeastOfModes(arms=modes),) if modes else ()
    decided = partial(Decision, about=about, probe=probe, subset=subset, to=controls[0])
    if first is None or not first.by_seed:
        return decided(status="not-compared", codes=(NotMeasured(), *codes))
    seeds = len(first.by_seed)
    if few := _too_few(first):
        return decided(status="not-settled", estimate=_bare(first), codes=(*few, *codes))
    if not over_items and not has_spread(first.by_seed):
        return decided(status="not-settled", estimate=_bare(first), codes=(NoSpread(seeds=seeds), *codes))
    lo, hi = first.estimate.lo, first.estimate.hi
    if lo is None or hi is None:
        return decided(status="not-compared", codes=(NotMeasured(), *codes))
    decided = partial(decided, estimate=first.estimate)
    codes = (*codes, OverItems()) if over_items else codes
    if lo > 0 and (reach == "transferred" or reach == "poisoned"):
        return decided(status="not-settled", codes=(ForeignEdits(edits=reach), *codes))
    if lo > 0:
        equals = tuple(spec for spec in controls[1:] if spec in against and not _is_above(against[spec].estimate))
        why = NotTheIdea(arms=equals) if equals else TriedEdits(edits="own" if reach == "own" else "every")
        return decided(status="helps", codes=(why, *codes))
    if hi < 0:
        return decided(status="hurts", codes=codes)
    if (hi - lo) / 2 <= BLUNT:
        return decided(status="not-shown", codes=codes)
    if over_items:
        return decided(status="not-settled", codes=(Blunt(half_width=(hi - lo) / 2), *codes))
    needed = math.ceil((1.96 * float(np.std(first.by_seed, ddof=1)) / BLUNT) ** 2)
    return decided(status="not-settled", codes=(FewSeeds(seeds=seeds, needed=needed), *codes))


def of_reweighting(
    against: Mapping[str, Difference],
    controls: Sequence[str],
    *,
    random: str = "",
    over_items: bool = False,
    level: float = LEVEL,
    together: int = 1,
    subset: str = "",
) -> Decision:
    """Whether a reweighting's balanced accuracy beats that of its own control, and that of random weights too.

    Args:
        against: the difference to each arm.
        controls: its own control first.
        random: the control with the variance and without the idea; empty where there is none.
        over_items: whether the intervals are over the test items of one model: then one seed is enough.
        level: at which the interval is read: Holm's where several are judged together.
        together: how many those are.
        subset: the set of test items.
    """
    first = against.get(controls[0])
    decided = partial(Decision, about="balanced-accuracy", subset=subset, to=controls[0])
    if first is None or first.estimate.value is None or (over_items and first.estimate.half_width is None):
        return decided(status="not-compared", codes=(NotMeasured(),))
    seeds = len(first.by_seed)
    if not over_items:
        if blind := _no_interval(first):
            return decided(status="not-shown", estimate=_bare(first), codes=blind)
        if few := _too_few(first):
            return decided(status="not-settled", estimate=_bare(first), codes=few)
    lo, hi = SHARES.of_differences.cut(*_at_level(first, level, over_items=over_items))
    beats_random = random not in against or (against[random].estimate.value or 0.0) > 0
    codes: list[DecisionCode] = [OverItems()] if over_items else []
    if not over_items and seeds < SEEDS_FOR_A_FIRM_CLAIM:
        codes.append(Indicative(seeds=seeds, wanted=SEEDS_FOR_A_FIRM_CLAIM))
    if together > 1:
        codes.append(Corrected(together=together, level=level))
    return decided(
        status="helps" if lo > 0 and beats_random else "hurts" if hi < -HARM else "not-shown",
        estimate=first.estimate.model_copy(update={"lo": lo, "hi": hi}),
        codes=tuple(codes),
    )


def of_recovery(own: Difference, room: Difference, oracle: str, *, subset: str = "") -> Decision | None:
    """The share of what `oracle`, which is told the groups, gains over the same control; None where it gains nothing.

    A share of a gain that is not proven is no number.
    """
    if own.estimate.value is None or room.estimate.value is None or not _is_above(room.estimate):
        return None
    share = Recovery(share=own.estimate.value / room.estimate.value, of=room.estimate.value, by=oracle)
    status: Status = "helps" if _is_above(own.estimate) else "not-shown"
    return Decision(about="recovery", subset=subset, to=own.to, estimate=own.estimate, status=status, codes=(share,))


def of_private_model(
    own: Sequence[float], edge_free: Mapping[str, Sequence[float]], constant: float
) -> tuple[Decision, ...]:
    """What the accuracy of a differentially private model is worth: beside a constant, then beside no edges.

    A private model that does not beat an edge-free one has paid for edges it cannot use. Of several edge-free models
    the one with the best mean is the control: a defence may not pick the weaker one.

    Args:
        own: accuracies, one per seed, as fractions.
        edge_free: accuracies of each edge-free model at the same seeds, by spec.
        constant: accuracy of the best constant guess.
    """
    beyond = float(np.mean(own)) - constant
    useful = Decision(
        about="utility",
        estimate=Estimate(value=beyond, n=len(own)),
        status="not-shown" if beyond < NO_UTILITY else "helps",
        codes=(NoUtility(beyond=beyond),) if beyond < NO_UTILITY else (),
    )
    if not edge_free:
        return (useful,)
    best = best_control(edge_free)
    gained = over_seeds(best, [a - b for a, b in zip(own, edge_free[best], strict=True)])
    decided = partial(Decision, about="accuracy", to=best)
    if blind := _no_interval(gained):
        return useful, decided(status="not-shown", estimate=_bare(gained), codes=blind)
    few = (Indicative(seeds=len(own), wanted=SEEDS_FOR_A_CLAIM),) if len(own) < SEEDS_FOR_A_CLAIM else ()
    status: Status = "helps" if _is_above(gained.estimate) else "not-shown"
    return useful, decided(status=status, estimate=gained.estimate, codes=few)


def best_control(edge_free: Mapping[str, Sequence[float]]) -> str:
    """The edge-free model with the highest mean accuracy."""
    return max(edge_free, key=lambda spec: float(np.mean(edge_free[spec])))


def of_links(beyond: Difference, probe: str = "") -> Decision:
    """Whether a private model gives away links beyond an edge-free one, which has none to give.

    Args:
        beyond: excess of the attack on the private model, less that on the edge-free one.
        probe: which attack.
    """
    decided = partial(Decision, about="links", probe=probe, to=beyond.to)
    if blind := _no_interval(beyond):
        return decided(status="not-settled", estimate=_bare(beyond), codes=blind)
    return decided(status="hurts" if _is_above(beyond.estimate) else "not-shown", estimate=beyond.estimate)


def trusted(decision: Decision, failed: Mapping[str, Literal["integrity", "strength"]]) -> Decision:
    """The decision with the checks that spoil it, if any.

    Args:
        decision: decided from numbers.
        failed: kind by id of the rows that failed on this arm or on its control. Harm that was measured stands against
            a weak control all the more, so that a row of kind strength does not spoil it.
    """
    spoil = tuple(id_ for id_, kind in failed.items() if kind == "integrity" or decision.status != "hurts")
    return decision.model_copy(update={"codes": (*decision.codes, UntrustedArm(checks=spoil))}) if spoil else decision


def p_value(difference: Difference, *, over_items: bool = False) -> float | None:
    """Two-sided p of "there is no difference"; None where there is no interval."""
    value, half = difference.estimate.value, difference.estimate.half_width
    if value is None or half is None:
        return None
    if half == 0:
        return float(value == 0)
    statistic = abs(value) * _quantile(difference, 1 - ALPHA, over_items=over_items) / half
    return 2 * float(stats.norm.sf(statistic) if over_items else stats.t.sf(statistic, len(difference.by_seed) - 1))


def _marked(
    to: str, estimate: Estimate, by_seed: Sequence[float], worse_when: WorseWhen, *, judged: bool = True
) -> Difference:
    """`better` or `worse` where a judged difference is proven over enough seeds.

    An interval without width: the seeds made the same model each time and say nothing.
    """
    mark: Literal["better", "worse", ""] = ""
    lo, hi = estimate.lo, estimate.hi
    if judged and len(by_seed) >= SEEDS_FOR_A_CLAIM and lo is not None and hi is not None and hi - lo > _SAME:
        better, worse = (lo > 0, hi < 0) if worse_when == "lower" else (hi < 0, lo > 0)
        mark = "better" if better else "worse" if worse else ""
    return Difference(to=to, estimate=estimate, by_seed=tuple(by_seed), judged=judged, mark=mark)


def _no_interval(difference: Difference) -> tuple[DecisionCode, ...]:
    """Why there is no interval over seeds; empty where there is one."""
    seeds = len(difference.by_seed)
    if seeds < 2:
        return (OneSeed(),)
    return () if has_spread(difference.by_seed) else (NoSpread(seeds=seeds),)


def _too_few(difference: Difference) -> tuple[DecisionCode, ...]:
    seeds = len(difference.by_seed)
    return () if seeds >= SEEDS_FOR_A_CLAIM else (FewSeeds(seeds=seeds, needed=SEEDS_FOR_A_CLAIM),)


def _bare(difference: Difference) -> Estimate:
    """The difference alone: an interval that nothing may be read from is left out."""
    return Estimate(value=difference.estimate.value, n=difference.estimate.n)


def _is_above(estimate: Estimate) -> bool:
    return estimate.lo is not None and estimate.lo > 0


def _at_level(difference: Difference, level: float, *, over_items: bool) -> tuple[float, float]:
    """The interval at another level than 5 %; never a narrower one."""
    value, lo, hi = difference.estimate.value, difference.estimate.lo, difference.estimate.hi
    assert value is not None and lo is not None and hi is not None  # noqa: PT018 - the caller looked
    wanted, own = (_quantile(difference, q, over_items=over_items) for q in (1 - level / 2, 1 - ALPHA))
    stretch = max(1.0, wanted / own)
    return value - stretch * (value - lo), value + stretch * (hi - value)


def _quantile(difference: Difference, q: float, *, over_items: bool) -> float:
    """Of what the interval's half-width is made of: normal over items, Student's t over seeds."""
    return float(stats.norm.ppf(q) if over_items else stats.t.ppf(q, len(difference.by_seed) - 1))
