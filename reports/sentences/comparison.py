"""A comparison in words: what may be said of each defence, and how a difference is written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, assert_never

from auditor.document import NONE, Arm, Audit, Comparison, Decision, Difference, Estimate, Headline, Result
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
from auditor.document.results import Unit
from auditor.guarantee import STANDING
from reports.sentences import names
from reports.sentences.numbers import MISSING, Differences, closed, count, digits, ends, listed, lowered, value_cell
from reports.sentences.templates import called, template

WORDS: Final[Mapping[str, str]] = {
    "helps": "helps",
    "hurts": "hurts",
    "not-shown": "not shown to help",
    "not-settled": "not settled",
    "not-compared": "not compared",
}
_ABOUT = {
    "accuracy": "Accuracy",
    "poisoned-accuracy": "Accuracy on the poisoned graph",
    "balanced-accuracy": "Accuracy as a mean of classes",
    "robustness": "Right answers after edits",
    "links": "Links found",
    "utility": "Accuracy",
    "recovery": "Gain that is reached without knowing the groups",
}
_FOREIGN = {
    "transferred": "only edits that were found on others were tried, since no attack of its own could be made",
    "poisoned": "the poison was made against another model",
}
_TRIED = {
    "every": "every edit that was found on any of them was tried on both",
    "own": "each was tried with its own edits alone",
}
UNDECIDED: Final = "NOT DECIDED"
NOTHING_COMPARED: Final = "Nothing is decided: it has no control of its own that lacks its idea."
CONTROLS: Final = "Indented: controls that lack one idea of the defence above them; ↑ more is better, ↓ less is better."
_REPLACED = ("--seeds", "-o", "--out")
"""Options of a comparison that the next one has of its own."""
PARETO = (
    "Pareto: no other row is at least as good in every column and better in one, by the values alone, without their "
    "intervals."
)


def decided(decision: Decision, arm: Arm | None = None, results: Iterable[Result] = ()) -> str:
    """What may be said of a defence in one respect.

    Its arm says in which unit its probe's headline is, and the results what that probe finds.
    """
    untrusted = [why(code) for code in decision.codes if isinstance(code, UntrustedArm)]
    reasons = [why(code) for code in decision.codes if not isinstance(code, UntrustedArm | NoUtility)]
    headlines = () if arm is None or not decision.probe else arm.headlines
    unit: Unit = next((line.unit for line in headlines if line.probe == decision.probe), "share")
    compared = _compared(decision, unit)
    said = f"{_word(decision)}, {compared}" if compared else _word(decision)
    return closed(f"{about(decision, results)}: {': '.join((*untrusted, '; '.join((said, *reasons))))}")


def _word(decision: Decision) -> str:
    if decision.about == "utility":
        return "of use" if decision.status == "helps" else "of no use"
    return WORDS[decision.status]


def about(decision: Decision, results: Iterable[Result] = ()) -> str:
    """What a decision is about: `Right answers after edits (5 in 100 edges)`, `Links read from the answers`."""
    results = list(results)
    where = f" ({names.subset(decision.subset, results)})" if decision.subset else ""
    own = [result for result in results if (result.family, result.probe) == ("privacy", decision.probe)]
    return f"{called(own)[0] if own else _ABOUT[decision.about]}{where}"


def why(code: DecisionCode) -> str:
    """What a code says of a decision."""
    match code:
        case OneSeed():
            return "one seed"
        case FewSeeds():
            ran = f"{count(code.seeds, 'seed')} {'was' if code.seeds == 1 else 'were'} run"
            return f"{ran}, {'about ' if code.needed > 10 else ''}{digits(code.needed)} are needed"
        case NoSpread():
            return f"equal at {'all ' if code.seeds > 1 else ''}{count(code.seeds, 'seed')}, so that there is no range"
        case Blunt():
            return f"the range is too wide ({digits(100 * code.half_width, 1)} points to each side): more test items"
        case ForeignEdits():
            return _FOREIGN[code.edits]
        case TriedEdits():
            return _TRIED[code.edits]
        case NotTheIdea():
            lack = "lacks" if len(code.arms) == 1 else "lack"
            return f"nothing proven is gained over {listed(code.arms)}, which {lack} the idea"
        case Indicative():
            return f"an indication, {digits(code.seeds)} of {count(code.wanted, 'seed')}"
        case Corrected():
            return f"judged at the level {digits(code.level, 3)}, since {digits(code.together)} are compared (Holm)"
        case OverItems():
            return "over the test items of one trained model"
        case LeastOfModes():
            return f"it can be served as {listed(code.arms, 'or')}, and this is where it gains least"
        case NoUtility():
            return "of no use"
        case Recovery():
            return f"{digits(100 * code.share)} in 100 of the {digits(100 * code.of, 1)} points that {code.by} gains"
        case UntrustedArm():
            return f"does not count, since {names.checks(code.checks)} failed"
        case NotMeasured():
            return "the control gave no number"
        case _:
            assert_never(code)


def _compared(decision: Decision, unit: Unit) -> str:
    """`4.8 points better than CONTROL (between 4.1 and 5.5)`; empty where nothing is compared."""
    estimate = decision.estimate
    if estimate is None or estimate.value is None:
        return f"beside {decision.to}" if decision.to else ""
    gained = estimate.negated() if decision.about == "links" else estimate
    write = Differences.of(unit, gained, sides=("worse", "better"))
    other = "always naming the commonest class" if decision.about == "utility" else names.arm(decision.to)
    than = f" than {other}" if other else ""
    between = f" ({write.between(gained)})" if gained.has_interval else ""
    value = write.said(gained.value or 0.0)
    return f"{value}{than if value != 'no difference' else than.replace('than', 'to', 1)}{between}"


def outcome(arm: Arm) -> str:
    """`HELPS (links found) and HURTS (accuracy)`, or the one word that holds for all decisions."""
    said = [decision for decision in arm.decisions if decision.about != "utility"]
    if arm.reason and not arm.headlines:
        return "NOT FITTED"
    parts = []
    for status in ("helps", "hurts"):
        links = len({decision.probe for decision in said if decision.about == "links"})
        of = dict.fromkeys(
            about(decision) + (f" by {decision.probe}" if decision.about == "links" and links > 1 else "")
            for decision in said
            if decision.status == status
        )
        parts += [f"{WORDS[status].upper()} ({listed([lowered(text) for text in of])})"] if of else []
    if parts:
        return " and ".join(parts)
    statuses = {decision.status for decision in said}
    if not statuses:
        return UNDECIDED
    settled = next((each for each in ("not-settled", "not-shown") if each in statuses), "not-compared")
    return WORDS[settled].upper()


def headline(name: str, comparison: Comparison) -> str:
    """The verdict on each defence: `demo-gcn: joint-cluster is NOT SHOWN TO HELP. 1 seed was run, 5 are needed`."""
    asked = [arm for arm in comparison.arms if not arm.control_of and arm.arm != NONE]
    found: dict[str, list[str]] = {}
    for arm in asked:
        found.setdefault(outcome(arm), []).append(arm.arm)
    said = []
    for word, arms in found.items():
        is_ = "" if word.startswith(("HELPS", "HURTS")) else "is " if len(arms) == 1 else "are "
        said.append(f"{listed(arms)} {is_}{word}")
    few = next((c for a in asked for d in a.decisions for c in d.codes if isinstance(c, FewSeeds)), None)
    text = "; ".join(said) or "no defence was asked for"
    return f"{name}: {text}." + (f" {closed(why(few))}" if few else "")


def head(column: Headline, results: Sequence[Result]) -> tuple[str, str]:
    """What a column asks, and its unit; a leak is named by what its finding is called, since several share a metric."""
    text, unit = names.column(column, results)
    if column.family == "privacy":
        found = (r for r in results if r.judgement is not None and (r.probe, r.metric) == (column.probe, column.metric))
        result = next(found, None)
        text = text if result is None else lowered(template(result.finding).brief.label(result, ""))
    return text, unit


def beside_none(arm: Arm, results: Sequence[Result]) -> str:
    """What is another number than without a defence, better first, and what is over its limit with it."""
    sure, before = confidence(results, arm.arm), confidence(results, NONE)
    better: list[str] = []
    worse: list[str] = []
    for line in arm.headlines:
        found = next((each for each in line.differences if each.to == NONE), None)
        if found is None or found.estimate.value is None:
            continue
        harm = found.estimate.negated() if line.worse_when == "lower" else found.estimate
        write = Differences.of(line.unit, harm)
        if (said := write.said(harm.value or 0.0)) != "no difference":
            between = f" ({write.between(harm)})" if harm.has_interval else ""
            (worse if (harm.value or 0.0) > 0 else better).append(f"{head(line, results)[0]} {said}{between}")
    moved = [f"confidence {sure}, {before} before"] if sure != before else []
    text = "; ".join((*better, *worse, *moved)) or "nothing that was measured differs"
    over = called(r for r in results if r.arm == arm.arm and r.has_status("fail"))
    return closed(f"{text}. Over the limit with it: {listed(list(map(lowered, over)))}" if over else text)


def buys(arm: Arm, results: Sequence[Result] = ()) -> list[str]:
    """What is better than its controls, or not shown to be; what says that it is worse stands among the costs."""
    kept = (each for each in arm.decisions if each.status != "hurts" and each.about != "utility")
    return [decided(each, arm, results) for each in kept]


def costs(arm: Arm, results: Sequence[Result] = ()) -> list[str]:
    """What is worse than its controls."""
    kept = (each for each in arm.decisions if each.status == "hurts" and each.about != "utility")
    return [decided(each, arm, results) for each in kept]


def use(arm: Arm) -> list[str]:
    """Whether what is left of its accuracy is of use."""
    return [decided(each, arm) for each in arm.decisions if each.about == "utility"]


def again(audit: Audit) -> str:
    """The same command with enough seeds; empty where enough were run, or where it is not known."""
    assert audit.comparison is not None
    few = [c for arm in audit.comparison.arms for each in arm.decisions for c in each.codes if isinstance(c, FewSeeds)]
    if not few or audit.argv[:1] != ("compare",):
        return ""
    words, kept = iter(audit.argv), []
    for word in words:
        if word in _REPLACED:
            next(words, None)
        elif not word.startswith(tuple(f"{option}=" for option in _REPLACED)):
            kept.append(word)
    seeds = ",".join(map(str, range(max(code.needed for code in few))))
    return f"auditor {shlex.join(kept)} --seeds {seeds}"


# ---- numbers of the matrix ------------------------------------------------------------------------------------------


def title(headline: Headline) -> str:
    """`clean accuracy`, `AUC excess`: the word `excess` where a difference to the control is shown."""
    text = names.metric(headline.metric)
    return f"{text} excess" if headline.shown == "excess" else text


def titles(columns: Sequence[Headline]) -> list[str]:
    """One title per column, no two alike: the probe is added where the metric alone does not tell them apart."""
    plain = [title(column) for column in columns]
    return [
        f"{text}, {column.probe or column.family}" if plain.count(text) > 1 else text
        for text, column in zip(plain, columns, strict=True)
    ]


def confidence(results: Iterable[Result], arm: str) -> str:
    """How far the confidence of an arm is from its accuracy, in points: `40.1 too low`."""
    found = next((r for r in results if r.arm == arm and r.question == "over-confidence"), None)
    value = None if found is None else found.estimate.value
    if value is None:
        return MISSING
    write = Differences.of("share", sides=("too low", "too high"))
    return write.sided(value)


def arrow(headline: Headline) -> str:
    """Which way is better."""
    return "↑" if headline.worse_when == "lower" else "↓"


def number(headline: Headline) -> tuple[str, str]:
    """A number of the matrix and its interval: `79.1`, `77.1 to 81.1`, in percent, points or its own unit."""
    estimate = headline.estimate
    value = MISSING if estimate.value is None else _scaled(headline, estimate.value)
    return value, _range(headline, estimate)


def difference(headline: Headline, found: Difference) -> tuple[str, str]:
    """A difference to another arm and its interval: `2.5 worse`, `1.9 to 3.1 worse`; better or worse for the owner."""
    worse = found.estimate.negated() if headline.worse_when == "lower" else found.estimate
    if worse.value is None:
        return MISSING, ""
    write = Differences.of(headline.unit, worse)
    return write.sided(worse.value), write.between(worse, to=True)


def marking(comparison: Comparison) -> str:
    """When a difference is marked, in one sentence."""
    codes = [code for arm in comparison.arms for decision in arm.decisions for code in decision.codes]
    few = next((code for code in codes if isinstance(code, FewSeeds)), None)
    marked = any(d.mark for arm in comparison.arms for h in arm.headlines for d in h.differences)
    if few is not None and not marked:
        ran = f"{count(few.seeds, 'seed')} {'was' if few.seeds == 1 else 'were'} run"
        return f"No difference is marked: {ran}, {digits(few.needed)} are needed."
    return (
        "A star marks a difference that is proven: its interval, over enough seeds or over the test items of one "
        "trained model, lies on one side of 0."
    )


def legend(comparison: Comparison) -> str:
    """What the numbers are."""
    seeds = f"{count(len(comparison.seeds), 'seed')}: {', '.join(map(str, comparison.seeds))}"
    return (
        "Shares in percent, every excess in points: the number beyond its control, more is worse. Lines of a row: "
        f"value, 95 % interval, paired difference Δ to no defence, its interval ({seeds}).{_edits(comparison)}"
    )


def _edits(comparison: Comparison) -> str:
    """Whose edits the rows were tried with: the comparison's own number shares them, that of a probe does not."""
    edited = [line for arm in comparison.arms for line in arm.headlines if line.family == "robustness"]
    is_shared, are_own = any(not line.probe for line in edited), any(line.probe for line in edited)
    shared = " Robust accuracy is after the worst edits found on any row." if is_shared else ""
    own = f" {'Other edits' if is_shared else 'Edits'} are each row's own." if are_own else ""
    return shared + own


def standing(comparison: Comparison) -> str:
    """What holds for every guarantee here; empty where no arm has one."""
    given = any(arm.guarantee is not None for arm in comparison.arms)
    return f"Every guarantee: {'; '.join(STANDING)}." if given else ""


def guarantee(arm: Arm) -> str:
    """The guarantee's line with its own caveats, or that there is none."""
    if arm.guarantee is None:
        return "no formal guarantee"
    return "; ".join((arm.guarantee.headline(), *arm.guarantee.own_caveats))


def missing(arm: Arm) -> str:
    """Says that it could not be fitted, at all or at some seed; empty where it could."""
    if not arm.reason:
        return ""
    return "not fitted at every seed" if arm.headlines else "could not be fitted"


def elsewhere(audit: Audit) -> str:
    """How many numbers were judged on which arms, and where they are."""
    arms = () if audit.comparison is None else tuple(arm.arm for arm in audit.comparison.arms)
    judged = [result for result in audit.judged if result.judgement is not None]
    failing = [result for result in judged if result.judgement is not None and result.judgement.status == "fail"]
    text = f"{count(len(judged), 'judged number')} of {count(len(arms), 'arm')}"
    if failing:
        named = dict.fromkeys(r.arm for r in failing)
        where = listed(sorted(named, key=lambda arm: arms.index(arm) if arm in arms else len(arms)))
        text += f", {digits(len(failing))} of them over the limit (on {where})"
    return f"{text}: audit.html, audit.json"


def seconds(value: float | None) -> str:
    """Seconds of one fit: one decimal, none from 100 on; a dash where nothing was fitted."""
    return digits(value, 1 if value is not None and value < 99.95 else 0)


def _scaled(headline: Headline, value: float) -> str:
    if headline.unit not in ("share", "auc", "errors"):
        return value_cell(value, headline.unit)
    text = digits(abs(100 * value), 1 if abs(100 * value) < 99.95 else 0)
    return f"{text} below 0" if value < 0 and text != "0.0" else text


def _range(headline: Headline, estimate: Estimate) -> str:
    lo, hi = estimate.lo, estimate.hi
    if lo is None or hi is None:
        return ends(estimate, lambda end: _scaled(headline, end))
    return f"{_scaled(headline, lo)} to {_scaled(headline, hi)}"
