"""Labels and figures of data that moved."""

from __future__ import annotations

from auditor.document import Result
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
from reports.sentences.briefs.brief import Figure, Words, own_and_control, plain_label
from reports.sentences.briefs.robustness import fall
from reports.sentences.numbers import MISSING, Shares, count, digits, plural

# ---- shift ----------------------------------------------------------------------------------------------------------


_BY_CLASS = ("heldout_quality", "balanced_accuracy")


def gap(result: Result, item: str) -> Figure:
    """Right answers before and after damage."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Damage) or control is None:
        return own_and_control(result, item)
    clean, shifted = control.estimate.value, result.own.value
    share = Shares.comparing(clean, shifted, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    return Figure(
        fall(share, clean, shifted),
        f"{plural(item)} right with {what}",
        f"{share.are(clean, item)} right, {share.bare(shifted)} with {what}",
    )


def worth(result: Result, item: str) -> Figure:
    """Right answers with the graph, and with the best that does without it."""
    return _of_recipe(result, item, "with the graph")


def hidden_edges(result: Result, item: str) -> Figure:
    """Right answers with the edges of test items hidden in training, and seen."""
    return _of_recipe(result, item, f"with the edges of test {plural(item)} hidden in training")


def _of_recipe(result: Result, item: str, how: str) -> Figure:
    control = result.control
    if not isinstance(result.facts, Worth) or control is None:
        return own_and_control(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside)
    other = f"{names.control(control.name)} {share.bare(beside)}"
    return Figure(
        share(own),
        f"{plural(item)} right {how}, by its recipe trained anew; {other}",
        f"trained anew {how}, its recipe is right on {share(own, item)}; {other}",
    )


def heldout(result: Result, item: str) -> Figure:
    """Right answers on held-out items, and on the other test items or by a constant answer."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Domain) or control is None or result.unit != "share":
        return own_and_control(result, item)
    if facts.by == "structure":
        return structural(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside)
    by_class = " (mean of classes)" if facts.balanced and result.metric in _BY_CLASS else ""
    of = f"{of_domain(facts, item)} are right{by_class}"
    other = f"{names.control(control.name)} {share.bare(beside)}"
    return Figure(share(own), f"{of}; {other}", f"{share(own)} {of}; {other}")


def of_domain(facts: Domain, item: str) -> str:
    """`nodes of low PageRank`, `nodes of the held-out domain “twitch_ru”`."""
    if facts.by == "structure":
        return f"{plural(item)} {names.ends(facts.domain)[1]}"
    return f"{plural(item)} of {names.damage('domain', facts.domain)}"


def structural(result: Result, item: str) -> Figure:
    """Right answers at the far end of a property, and at the end that the recipe was trained on."""
    facts = result.facts
    if not isinstance(facts, Domain):
        return own_and_control(result, item)
    share = Shares.comparing(facts.outside.value, facts.inside.value)
    own, inside = share(facts.outside.value), share.bare(facts.inside.value)
    near = f"{plural(item)} {names.ends(facts.domain)[0]}"
    of = f"{of_domain(facts, item)} are right when the recipe is trained on {near}; {inside} of these"
    return Figure(own, of, f"{own} {of}")


def domain_label(text: str) -> Words:
    """`Larger graphs (held out)`: what was held out, behind the words."""
    return lambda result, item: (
        f"{text} ({result.facts.domain})" if isinstance(result.facts, Domain) else plain_label(result, item)
    )


def damage_label(result: Result, item: str) -> str:
    """`1 in 10 edges gone`."""
    facts = result.facts
    text = names.damage(facts.damage, facts.severity) if isinstance(facts, Damage) else plain_label(result, item)
    return f"{text[:1].upper()}{text[1:]}"


def worst_group(result: Result, item: str) -> Figure:
    """Right answers in the weakest group beside the worst random one."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Group) or control is None:
        return own_and_control(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside, n=facts.members)
    who = f"{count(facts.members, item)} with {names.group(facts.cut_by, facts.group)}"
    other = f"{'the worst random group' if facts.groups > 1 else 'the others'} {share.bare(beside)}"
    right = (
        f"{share.bare(own)} of the {who} {share.verb(own)} right"
        if share.counted
        else f"{share(own)} right of the {who}"
    )
    return Figure(share(own), f"right of {who}; {other}", f"weakest group: {right}; {other}")


def miscalibrated(result: Result, item: str) -> Figure:
    """Confidence beside accuracy."""
    facts = result.facts
    if not isinstance(facts, Confidence) or facts.bins:
        return own_and_control(result, item)
    sure, right = facts.confidence.value, facts.accuracy.value
    share = Shares.comparing(sure, right)
    of, percent = digits(share.of), MISSING if sure is None else digits(100 * sure, share.places)
    return Figure(
        f"says {share.bare(sure)}, right {share.bare(right)}",
        f"of {of}: its mean confidence beside its accuracy",
        f"it says {percent} % sure and is right {share.bare(right)} times in {of}",
    )


def confidence_label(result: Result, item: str) -> str:
    """Which way it is off."""
    return f"Confidence {'below' if result.question == 'under-confidence' else 'above'} accuracy"


def detection(result: Result, item: str) -> Figure:
    """Whether confidence falls where accuracy does."""
    facts = result.facts
    if not isinstance(facts, Detection):
        return own_and_control(result, item)
    told = Shares.comparing(result.estimate.value)
    right = Shares.comparing(facts.clean.value, facts.shifted.value, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    how, one = ("with", "damaged") if facts.paired else ("of", "held-out")
    fall = f"{right.are(facts.clean.value, item)} right, {right.bare(facts.shifted.value)} {how} {what}"
    pairs = f"{told.bare(result.estimate.value)} of {digits(told.of)}"
    chance = f"by chance {told.bare(0.5)}"
    return Figure(
        pairs,
        f"times the {one} one is the less sure, {chance}; {fall}",
        f"{fall}; the {one} one is the less sure {pairs} times, {chance}",
    )


def _told(result: Result, inputs: float, what: str) -> Figure:
    """How often `what` happens, beside chance and what the inputs alone tell."""
    told = Shares.comparing(result.estimate.value, inputs)
    times = f"{told.bare(result.estimate.value)} of {digits(told.of)}"
    beside = f"by chance {told.bare(0.5)}, by their inputs {told.bare(inputs)}"
    return Figure(times, f"times {what}; {beside}", f"{what} {times} times; {beside}")


def unlike(result: Result, item: str) -> Figure:
    """How often an item of made-up data is told from a test item."""
    facts = result.facts
    if not isinstance(facts, Unlike):
        return own_and_control(result, item)
    what = f"{plural(item)} with {names.made(facts.made)} are told from test {plural(item)}"
    return _told(result, facts.inputs, what)


def unlike_label(result: Result, item: str) -> str:
    """`Random edges of equal degrees`."""
    facts = result.facts
    text = names.made(facts.made) if isinstance(facts, Unlike) else plain_label(result, item)
    return f"{text[:1].upper()}{text[1:]}"


def prototypical(result: Result, item: str) -> Figure:
    """How often a strange graph is farther from the typical ones than a test graph."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Prototypical) or control is None:
        return own_and_control(result, item)
    told = Shares.comparing(result.own.value, control.estimate.value)
    times = f"{told.bare(result.own.value)} of {digits(told.of)}"
    of = f"with {names.made(facts.made)}" if facts.how == "made" else f"of {names.damage('domain', facts.made)}"
    what = f"{plural(item)} {of} are told from test {plural(item)} by typical ones"
    beside = f"by chance {told.bare(0.5)}, by sizes and averages {told.bare(control.estimate.value)}"
    return Figure(times, f"times {what}; {beside}", f"{what} {times} times; {beside}")


def prototypical_label(result: Result, item: str) -> str:
    """`Told by typical graphs: random edges of equal degrees`."""
    facts = result.facts
    if not isinstance(facts, Prototypical):
        return plain_label(result, item)
    what = names.made(facts.made) if facts.how == "made" else names.damage("domain", facts.made)
    return f"Told by typical {plural(item)}: {what}"


def new_class(result: Result, item: str) -> Figure:
    """How often an item of a class that was left out is told from a test item."""
    facts = result.facts
    if not isinstance(facts, NewClass):
        return own_and_control(result, item)
    what = f"{plural(item)} of {names.classes(facts.classes)} are told from others by a recipe that never saw any"
    return _told(result, facts.inputs, what)


def new_class_label(result: Result, item: str) -> str:
    """`Trained without class 3`."""
    facts = result.facts
    return (
        f"Trained without {names.classes(facts.classes)}" if isinstance(facts, NewClass) else plain_label(result, item)
    )


def detection_label(result: Result, item: str) -> str:
    """`Confidence with noise of 1 standard deviation on the features`."""
    facts = result.facts
    if not isinstance(facts, Detection):
        return plain_label(result, item)
    return f"{names.detector(facts.detector)} with {names.damage(facts.damage, facts.severity)}"
