"""Sentences about data that moved, with their numbers."""

from __future__ import annotations

from auditor.document import Estimate, Result
from auditor.document.facts import (
    Confidence,
    Damage,
    Detection,
    Domain,
    Group,
    NewClass,
    Prototypical,
    Unlike,
    Worth,
)
from reports.sentences import names
from reports.sentences.briefs import (
    of_domain,
)
from reports.sentences.numbers import (
    MISSING,
    Differences,
    Shares,
    count,
    digits,
    plural,
)
from reports.sentences.pictures.general import plain, points, sides
from reports.sentences.pictures.privacy import times

# ---- shift ----------------------------------------------------------------------------------------------------------


def gap(result: Result, item: str) -> str:
    """Right answers under damage and before."""
    facts = result.facts
    if not isinstance(facts, Damage):
        return plain(result)
    shifted, clean = sides(result)
    share = Shares.comparing(clean, shifted, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    return f"{share.are(shifted, item)} right with {what}, {share.bare(clean)} before"


def worth(result: Result, item: str) -> str:
    """Right answers with the graph beside the best without it, what that is worth, and what of it would vanish."""
    facts = result.facts
    if not isinstance(facts, Worth) or result.control is None:
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside)
    rival = names.control(result.control.name)
    right = f"trained anew, the recipe is right on {share(own, item)} with the graph, {rival} on {share.bare(beside)}"
    value = facts.worth.value or 0.0
    if value <= 0:
        return f"{right}; the graph {'costs' if value else 'is worth'} {_points_between(facts.worth)}"
    text = f"{right}; the graph is worth {_points_between(facts.worth)}"
    if facts.vanishes is None or facts.vanishes.value is None:
        return text
    when = f"when edges of test {plural(item)} are hidden in training"
    if facts.vanishes.value <= 0:
        return f"{text}, and none of it vanishes {when}"
    return f"{text}; {_points_between(facts.vanishes, noun=' of them')} vanish {when}"


def hidden_edges(result: Result, item: str) -> str:
    """Right answers where edges of test items were hidden in training, and where they were not."""
    facts = result.facts
    if not isinstance(facts, Worth):
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside)
    return (
        f"trained anew without the edges of test {plural(item)}, the recipe is right on {share(own, item)}, with them "
        f"on {share.bare(beside)}"
    )


def _points_between(estimate: Estimate, noun: str = " points") -> str:
    """`23.4 points (between 20.1 and 26.7)`, across 0 `1.2 points (between 0.8 less and 3.2 more)`."""
    write = Differences.of("share", estimate, sides=("less", "more"))
    between = write.between(estimate)
    text = f"{write.bare(estimate.value or 0.0)}{noun}"
    return f"{text} ({between})" if between else text


def heldout(result: Result, item: str) -> str:
    """Right answers on held-out items and on test items, and what is left of the gap at equal class mix."""
    facts = result.facts
    if not isinstance(facts, Domain) or result.control is None or result.unit != "share":
        return plain(result)
    outside, inside = sides(result)
    mix = f"{of_domain(facts, item)} are right at the class mix of the others, {{}} of these"
    if result.metric == "accuracy_at_equal_mix":
        share = Shares.comparing(outside, inside)
        return f"{share(outside)} {mix.format(share.bare(inside))}"
    by_class = " (mean of classes)" if facts.balanced and result.metric != "accuracy" else ""
    share = Shares.comparing(outside, inside)
    text = f"{share(outside)} {of_domain(facts, item)} {share.verb(outside)} right{by_class}"
    text += f", {share.bare(inside)} of the other test ones"
    left = facts.adjusted
    if left is None or left.value is None or facts.balanced:
        return text
    kept = Differences.of("share", left, sides=("less", "more"))
    return f"{text}; at equal class mix {kept.plain(left.value)} are left ({kept.between(left)})"


def below_constant(result: Result, item: str) -> str:
    """Right answers on held-out items beside the commonest class among them."""
    facts = result.facts
    if not isinstance(facts, Domain):
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside, n=facts.items)
    right = f"{share(own)} {of_domain(facts, item)} {share.verb(own)} right"
    return f"{right}; always naming their commonest class {share.bare(beside)}"


def class_mix_claim(result: Result, _item: str) -> str:
    """Whose loss the class mix explains: the model's, or that of its recipe where that was trained anew."""
    anew = isinstance(result.facts, Domain) and result.facts.by == "structure"
    whose = "the recipe loses on nodes with another place in the graph" if anew else "the model loses on held-out data"
    return f"the class mix explains part of what {whose}"


def class_mix(result: Result, item: str) -> str:
    """How much of a gap on held-out items is left at equal class mix."""
    facts = result.facts
    if not isinstance(facts, Domain) or facts.adjusted is None or facts.adjusted.value is None:
        return plain(result)
    gap, left = facts.gap, facts.adjusted
    write = Differences.of("share", gap, left, sides=("less", "more"))
    lost = f"{write.plain(gap.value or 0.0)} are lost on {of_domain(facts, item)}"
    return f"{lost}; at equal class mix {write.bare(left.value or 0.0)} are left ({write.between(left)})"


def structural(result: Result, item: str) -> str:
    """What the recipe loses from one end of a property to the other, and on a random split."""
    facts = result.facts
    if not isinstance(facts, Domain) or result.control is None:
        return plain(result)
    share = Shares.comparing(facts.outside.value, facts.inside.value)
    own, beside = result.own, result.control.estimate
    write = Differences.of("share", own, beside, sides=("gained", "lost"))
    control = f"{write.sided(beside.value or 0.0)} {names.control(result.control.name)}"
    lost = f"{write.sided(own.value or 0.0, ' points')}, {control}"
    return (
        f"trained anew on {plural(item)} {names.ends(facts.domain)[0]}, the recipe is right on "
        f"{share(facts.inside.value)} of these and on {share(facts.outside.value)} {of_domain(facts, item)}; "
        f"{'at equal class mix ' if result.metric == 'structural_gap_at_equal_mix' else ''}{lost}"
    )


def worst_group(result: Result, item: str) -> str:
    """Right answers in the weakest group beside the worst random group."""
    facts = result.facts
    if not isinstance(facts, Group):
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside, n=facts.members)
    who = f"the {count(facts.members, item)} with {names.group(facts.cut_by, facts.group)}"
    text = f"{share.bare(own)} of {who} {share.verb(own)} right" if share.counted else f"{share(own)} right of {who}"
    other = f"the worst of {digits(facts.groups)} random groups" if facts.groups > 1 else "the rest"
    seen = "" if facts.detectable is None else f"; a group up to {points(facts.detectable)} points worse may go unseen"
    return text if beside is None else f"{text}; {other} {share.bare(beside)}{seen}"


def miscalibrated(result: Result, item: str) -> str:
    """Mean confidence beside accuracy, or how far they lie apart in bins."""
    facts = result.facts
    if not isinstance(facts, Confidence):
        return plain(result)
    if facts.bins:
        error, floor = sides(result)
        apart = f"confidence and accuracy lie {points(error)} points apart in bins of confidence ({facts.bins})"
        return apart if floor is None else f"{apart}; {points(floor)} would show without any error"
    sure, right = facts.confidence.value, facts.accuracy.value
    share = Shares.comparing(sure, right)
    said = MISSING if sure is None else digits(100 * sure, share.places)
    return f"it says {said} % on average and is right {times(share, right)}"


def more_or_less_sure(result: Result, item: str) -> str:
    """S of a confidence that is off in one direction."""
    return f"the model is {'less' if result.question == 'under-confidence' else 'more'} sure than it should be"


def detection(result: Result, item: str) -> str:
    """Accuracy before and after damage, and how often the damaged item is the less sure."""
    facts = result.facts
    if not isinstance(facts, Detection):
        return plain(result)
    clean, shifted = facts.clean.value, facts.shifted.value
    right = Shares.comparing(clean, shifted, n=result.estimate.n)
    told = Shares.comparing(result.estimate.value)
    what = names.damage(facts.damage, facts.severity)
    pairs = f"{told.bare(result.estimate.value)} of {digits(told.of)} pairs, by chance {told.bare(0.5)}"
    if not facts.paired:
        right = Shares.comparing(clean, shifted)
        fall = f"{right.are(clean, f'test {item}')} right, {right.bare(shifted)} of {what}"
        return f"{fall}; the held-out one is the less sure in {pairs}"
    fall = f"{right.are(clean, item)} right before, {right.bare(shifted)} with {what}"
    return f"{fall}; the damaged one is the less sure in {pairs}"


def unlike(result: Result, item: str) -> str:
    """How often an item of made-up data is told from a test item, by the model and by its inputs alone."""
    facts = result.facts
    if not isinstance(facts, Unlike):
        return plain(result)
    told = Shares.comparing(result.estimate.value, facts.inputs)
    score = "" if facts.detector == "msp" else f" by {names.detector(facts.detector.replace('-', '_')).lower()}"
    return (
        f"{_one(item)} with {names.made(facts.made)} is less like what the model knows{score} than a test {item} in "
        f"{told.bare(result.estimate.value)} of {digits(told.of)} pairs, by chance {told.bare(0.5)}; its inputs alone "
        f"tell it in {told.bare(facts.inputs)}"
    )


def prototypical(result: Result, item: str) -> str:
    """How often a strange graph is farther from the typical ones than a test graph, and what its size alone tells."""
    facts = result.facts
    if not isinstance(facts, Prototypical):
        return plain(result)
    own, beside = sides(result)
    told = Shares.comparing(own, beside)
    what = f"with {names.made(facts.made)}" if facts.how == "made" else f"of {names.damage('domain', facts.made)}"
    by = ", by the model's embeddings of nodes," if facts.space == "embedding" else ""
    return (
        f"{_one(item)} {what} is{by} farther from the nearest typical training {item} than a test {item} in "
        f"{told.bare(own)} of {digits(told.of)} pairs, by chance {told.bare(0.5)}; sizes and averages alone tell it in "
        f"{told.bare(beside)}"
    )


def new_class(result: Result, item: str) -> str:
    """How often an item of a class that was left out is told from a test item, by the recipe and by its inputs."""
    facts = result.facts
    if not isinstance(facts, NewClass):
        return plain(result)
    told = Shares.comparing(result.estimate.value, facts.inputs)
    score = "" if facts.detector == "msp" else f" by {names.detector(facts.detector.replace('-', '_')).lower()}"
    it = "it" if len(facts.classes) == 1 else "them"
    return (
        f"trained without {names.classes(facts.classes)}, the recipe finds {_one(item)} of {it} less like what it "
        f"knows{score} than a test {item} of another class in {told.bare(result.estimate.value)} of {digits(told.of)} "
        f"pairs, by chance {told.bare(0.5)}; its inputs alone tell it in {told.bare(facts.inputs)}"
    )


def _one(item: str) -> str:
    return f"a{'n' if item[:1] in 'aeiou' else ''} {item}"


def non_finite(result: Result, item: str) -> str:
    """Answers that are not numbers, of all under damage."""
    share = Shares.comparing(result.estimate.value, n=result.estimate.n)
    kind, _, severity = result.subset.partition("=")
    return f"for {share(result.estimate.value, item)} with {names.damage(kind, severity)} the answer is not a number"
