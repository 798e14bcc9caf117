"""A result for somebody with ten seconds: its name, one counted figure beside its comparison, and who is behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from auditor.document import Result
from auditor.document.facts import (
    Attribute,
    Certified,
    Confidence,
    Copy,
    Damage,
    Detection,
    Domain,
    EditedData,
    Group,
    LinkFacts,
    LinkList,
    LowFpr,
    MemberFacts,
    Poisoned,
    Rival,
    Robust,
    Shipped,
    SingleNodes,
    Unlike,
    Worth,
)
from reports.sentences import names
from reports.sentences.guesses import few_alarms, likeliest
from reports.sentences.numbers import MISSING, Shares, count, digits, plural, rate, shortest, value_cell


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that people can picture.

    Attributes:
        large: the number itself, a few signs: `135 of 905`, `92 → 72 of 100`.
        text: what it counts, and what it is compared with; continues `large`.
        line: both as a clause without a capital and a full stop.
    """

    large: str
    text: str
    line: str


Drawn = Callable[[Result, str], Figure]
Words = Callable[[Result, str], str]


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to do that is a command.

    Attributes:
        defense: what `--defense` is given.
        cost: what it takes and what it changes, a sentence.
        needs: further options that only the user can fill in (`--group COLUMN`).
        compares: whether it is to be compared first, since it costs accuracy or may not help.
        of: the access that it makes worth less; empty where it helps whatever an adversary holds.
    """

    defense: str
    cost: str
    needs: str = ""
    compares: bool = False
    of: str = ""


def _label(result: Result, item: str) -> str:
    text = names.asked(result)
    return f"{text[:1].upper()}{text[1:]}" + (f" ({names.subset(result.subset)})" if result.subset else "")


def _beside(result: Result, item: str) -> Figure:
    """Any number beside its control."""
    control = result.control
    value = value_cell(result.own.value, result.unit)
    what = names.metric(result.metric)
    if control is None:
        return Figure(value, what, f"{what} is {value}")
    other = f"{value_cell(control.estimate.value, result.unit)} with {names.control(control.name)}"
    return Figure(value, f"{what}; {other}", f"{what} is {value}, {other}")


@dataclass(frozen=True, slots=True)
class Brief:
    """How a finding is put in a few words; every part has a general form.

    Attributes:
        who: who can do it, `anyone who receives the answers`; empty where nobody has to attack.
        exposure: while this holds, a result over its limit matters: `links are confidential`.
        label: its name in a list of results.
        figure: see `Figure`; without one the picture of the finding stands in.
        remedies: what to do that is a command, the cheapest first.
        is_asked_often: several results of one question are ways of asking it: where space is short the one nearest to
            its limit stands for those that end alike.
    """

    who: str = ""
    exposure: str = "anyone relies on it"
    label: Words = _label
    figure: Drawn | None = None
    remedies: tuple[Remedy, ...] = field(default=())
    is_asked_often: bool = False


GENERAL: Final = Brief()


def said(text: str) -> Words:
    """Words that are the same for every result, but for what its adversary holds."""
    return lambda result, item: names.filled(text, result.access)


def budget_label(text: str) -> Words:
    """A label with the budget of edits."""
    return lambda result, item: f"{text} ({names.subset(result.subset)})" if result.subset else text


def defended_label(result: Result, item: str) -> str:
    """What a defence costs, with its name."""
    return f"{_label(result, item)}, {names.arm(result.arm)}"


# ---- links ----------------------------------------------------------------------------------------------------------


def links_label(text: str) -> Words:
    """A label of links, which says where several scores are added up, and where few false alarms are allowed."""
    plain = said(text)

    def label(result: Result, item: str) -> str:
        added = " (all views added up)" if isinstance(result.facts, LinkFacts) and result.facts.views else ""
        return f"{plain(result, item)}{added}" + (", few false alarms" if result.question == "low-fpr" else "")

    return label


def links(using: str) -> Drawn:
    """Links among the likeliest pairs, or at few false alarms; `using` says what the guesser has: `its answers`."""

    def figure(result: Result, item: str) -> Figure:
        facts, held = result.facts, names.filled(using, result.access)
        if isinstance(facts, LinkFacts) and facts.low_fpr is not None:
            return _few_alarms(facts.low_fpr, held)
        if isinstance(facts, LinkFacts) and facts.links is not None:
            return _list(facts.links, held)
        return ranked("link")(result, item)

    return figure


def _list(pairs: LinkList, using: str) -> Figure:
    guesses = likeliest(pairs)
    large, compared = f"{guesses.found} of {guesses.among}", guesses.compared("without it")
    return Figure(
        large,
        f"guesses at links are right with {using}; {compared}",
        f"with {using} {large} guesses at links are right; {compared}",
    )


def _few_alarms(low: LowFpr, using: str) -> Figure:
    guesses = few_alarms(low)
    text, compared = f"links are found with {using}", guesses.compared("without it")
    return Figure(
        guesses.found,
        f"{text} {guesses.among}; {compared}",
        f"{guesses.among}, {guesses.found} {text}; {compared}",
    )


def ranked(found: str, other: str = "a random pair") -> Drawn:
    """How often the right one of two is picked."""

    def figure(result: Result, item: str) -> Figure:
        control = result.control
        if result.unit == "errors" and (result.own.value or 0.0) >= 0:
            spared = Shares.comparing(result.own.value)(result.own.value)
            text = f"errors of a guess avoided in telling the {found} from {other}"
            return Figure(spared, text, f"{spared} {text}")
        if result.unit != "auc" or control is None:
            return _beside(result, item)
        own, beside = result.own.value, control.estimate.value
        share = Shares.comparing(own, beside)
        than = "by chance" if control.name == "chance" else "without it"
        times = f"{share.bare(own)} of {digits(share.of)}"
        return Figure(
            times,
            f"times the {found} is told from {other}; {than} {share.bare(beside)}",
            f"the {found} is told from {other} {times} times; {than} {share.bare(beside)}",
        )

    return figure


# ---- members --------------------------------------------------------------------------------------------------------


def member_label(item: str) -> Words:
    """`Training nodes told from others (about nodes without links), few false accusations`."""

    def label(result: Result, _item: str) -> str:
        how = asked(result)
        few = ", few false accusations" if result.question == "low-fpr" else ""
        return f"Training {plural(item)} told from others{f' ({how})' if how else ''}{few}"

    return label


_SIMILAR: Final = "beside models of the same recipe"
_ASKED: Final = {"0-hop": "answers about nodes without links", "full": "served answers"}


def asked(result: Result) -> str:
    """What is looked at, and beside what: `answers about nodes without links, beside models of the same recipe`."""
    facts = result.facts
    if not isinstance(facts, MemberFacts):
        return ""
    beside = _SIMILAR if "references" in result.access else ""
    return ", ".join(filter(None, (_ASKED.get(facts.query, _ASKED["full"]), beside)))


def members(item: str) -> Drawn:
    """Members found at few false accusations, or how often one is told from another."""

    def figure(result: Result, _item: str) -> Figure:
        facts, how = result.facts, asked(result)
        by = f"by {how}: " if how else ""
        if isinstance(facts, MemberFacts) and facts.rivals:
            return _told(facts.rivals[0], item, by)
        if not isinstance(facts, MemberFacts) or facts.low_fpr is None:
            return ranked(f"training {item}", f"another {item}")(result, item)
        low = facts.low_fpr
        share, compared = beside_outsiders(low)
        alarm = f"if {share(low.fpr)} outsiders is falsely accused"
        found = share(low.attack.value)
        return Figure(
            found,
            f"{by}training {plural(item)} are found {alarm}; {compared}",
            f"{by}{alarm}, {found} training {plural(item)} are found; {compared}",
        )

    return figure


def _told(rival: Rival, item: str, by: str) -> Figure:
    own, beside = rival.with_model.value, rival.without_model.value
    share = Shares.comparing(own, beside)
    times = f"{share.bare(own)} of {digits(share.of)}"
    than = f"{'blindly' if rival.control == 'chance' else 'without the model'} {share.bare(beside)}"
    return Figure(
        times,
        f"times {by}the training {item} is told from another; {than}",
        f"{by}the training {item} is told from another {times} times; {than}",
    )


def beside_outsiders(low: LowFpr) -> tuple[Shares, str]:
    """One denominator, and what is found without the model and blindly."""
    beside = None if low.control is None else low.control.value
    share = Shares.comparing(low.attack.value, beside, low.fpr)
    others = "" if beside is None else f"without the model {share.bare(beside)}, "
    return share, f"{others}blindly {share.bare(low.chance)}"


# ---- copies ---------------------------------------------------------------------------------------------------------


def copied(result: Result, item: str) -> Figure:
    """Answers on which a copy agrees with the model, beside what is trained without any."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Copy) or control is None:
        return _beside(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside, n=result.estimate.n)
    made = f"a copy made from {count(facts.answers, 'answer')}"
    other = f"{names.control(control.name)} {share.bare(beside)}"
    return Figure(
        share(own),
        f"answers are the same from {made}; {other}",
        f"{made} agrees with the model on {share(own, 'answer')}; {other}",
    )


# ---- sensitive columns ----------------------------------------------------------------------------------------------


def attribute(result: Result, item: str) -> Figure:
    """How well a column is guessed with the answers, and without them."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Attribute) or control is None:
        return _beside(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside, n=result.estimate.n if facts.about == "classes" else 0)
    column, of, without = f"column {facts.column}", share(own), f"without them {share.bare(beside)}"
    if facts.about == "binary":
        pair = f"a {item} with the higher value of {column} is told from one with the lower"
        times = f"{share.bare(own)} times in {digits(share.of)}"
        return Figure(of, f"times {pair} with the answers; {without}", f"with the answers {pair} {times}; {without}")
    what = f"values of {column} are guessed right"
    if facts.about == "number":
        what = f"of the variance of {column} is explained"
    return Figure(of, f"{what} with the answers; {without}", f"with the answers {of} {what}; {without}")


# ---- edits ----------------------------------------------------------------------------------------------------------


def robust(result: Result, item: str) -> Figure:
    """Right answers before and after edits, beside random edits and a model without edges."""
    facts = result.facts
    if not isinstance(facts, Robust):
        return _beside(result, item)
    clean, attacked = facts.clean.value, facts.attacked.value
    random, edge_free = (None if part is None else part.value for part in (facts.random, facts.edge_free))
    share = Shares.comparing(clean, attacked, random, edge_free, n=facts.attacked_items)
    if facts.no_edge_free == "edges-unused":
        right = share(clean, item)
        return Figure(
            share(clean),
            f"{plural(item)} right; no edge can change an answer",
            f"{right} are right; no edge can change an answer",
        )
    edits = f"{count(facts.edits, 'edit')} {found_by(facts)}{each(facts.edits, facts, item)}"
    tried = "as many random ones" if facts.queries is None else BEST_OF_RANDOM
    others = [] if random is None else [f"{share.bare(random)} after {tried}"]
    others += [] if edge_free is None else [f"{share.bare(edge_free)} without using any link"]
    compared = "".join(f"{'; ' if not k else ', '}{text}" for k, text in enumerate(others))
    return Figure(
        _fall(share, clean, attacked),
        f"{plural(item)} right after {edits}{compared}",
        f"{share(clean, item)} are right, {share.bare(attacked)} after {edits}{compared}",
    )


def poisoned(result: Result, item: str) -> Figure:
    """Right answers of models trained on a clean graph and on an edited one, beside random edits."""
    facts = result.facts
    if not isinstance(facts, Poisoned):
        return _beside(result, item)
    own, clean = facts.poisoned.value, facts.clean.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(own, clean, random)
    edits = f"{count(facts.edits, 'edit')} on purpose"
    other = "" if random is None else f"; {share.bare(random)} with as many random ones"
    return Figure(
        _fall(share, clean, own),
        f"{plural(item)} right when trained with {edits}{other}",
        f"trained on the clean graph {share(clean, item)} are right, {share.bare(own)} with {edits}{other}",
    )


BEST_OF_RANDOM: Final = "the best of as many random tries"


def found_by(facts: Robust) -> str:
    """How edits were found: `on purpose`, or `found by 2,000 queries`."""
    return "on purpose" if facts.queries is None else f"found by {count(facts.queries, 'query')}"


def voted(facts: Certified) -> str:
    """What votes: `a vote of 11 parts of the edges`, `a vote of 100,000 noisy copies`."""
    return f"a vote of {count(facts.voters, 'part of the edges' if facts.votes == 'parts' else 'noisy copy')}"


def any_edits(facts: Certified) -> str:
    """`single edit`, `3 edits`, `single removed edge`."""
    noun = {"flips": "edit", "additions": "added edge", "deletions": "removed edge"}[facts.edits]
    return f"single {noun}" if facts.count == 1 else count(facts.count, noun)


def certified_label(result: Result, item: str) -> str:
    """`Proven for a vote, any single edit`."""
    facts = result.facts
    if not isinstance(facts, Certified):
        return _label(result, item)
    return f"Proven for a vote, any {any_edits(facts)}" if facts.count else "A vote that can be proven, unedited"


def certified(result: Result, item: str) -> Figure:
    """Answers of a vote that surely stand edits, beside those it gets right unedited."""
    facts = result.facts
    if not isinstance(facts, Certified):
        return _beside(result, item)
    own, clean, target = result.estimate.value, facts.clean.value, facts.target.value
    share = Shares.comparing(own, clean, target, n=facts.items)
    if not facts.count:
        text = f"right by {voted(facts)}; {share.bare(target)} by the model itself"
        return Figure(share(own), f"{plural(item)} {text}", f"{share(own, item)} are {text}")
    text = f"surely stay right by {voted(facts)} after any {any_edits(facts)}; {share.bare(clean)} are right unedited"
    return Figure(share(own), f"{plural(item)} {text}", f"{share(own, item)} {text}")


def below_edge_free(result: Result, item: str) -> Figure:
    """Right answers after edits beside those of a model without edges."""
    facts = result.facts
    control = result.control
    if not isinstance(facts, Robust) or control is None:
        return _beside(result, item)
    attacked, beside = result.own.value, control.estimate.value
    share = Shares.comparing(attacked, beside, n=facts.attacked_items)
    other = "trained without any edge" if facts.edge_free is not None else "always naming the commonest class"
    edits = f"after {count(facts.edits, 'edit')}{each(facts.edits, facts, item)}" if facts.edits else "unedited"
    compared = f"{other} {share.bare(beside)}"
    return Figure(
        share(attacked),
        f"{plural(item)} right {edits}; {compared}",
        f"{share(attacked, item)} are right {edits}; {compared}",
    )


def single_nodes(result: Result, item: str) -> Figure:
    """Nodes that edits of their own break, beside the best of as many random tries."""
    facts, control = result.facts, result.control
    if not isinstance(facts, SingleNodes) or control is None:
        return _beside(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside, n=facts.attacked)
    compared = f"the best of {count(facts.tries, 'random try')} at each breaks {share.bare(beside)}"
    return Figure(
        share(own),
        f"{plural(item)} {chosen(facts)} break with {at_each(facts)}; {compared}",
        f"{share(own, item)} {chosen(facts)} break with {at_each(facts)}; {compared}",
    )


_CHOSEN: Final = {"uniform": "drawn at random", "margin40": "of highest, lowest and random margin"}
_EDITS: Final = {
    "direct": ("edit", "at"),
    "influencer": ("edit", "near"),
    "additions": ("new edge", "at"),
    "deletions": ("removed edge", "at"),
}
"""What is done, and where, by mode."""


def chosen(facts: SingleNodes) -> str:
    """How attacked nodes were chosen: `drawn at random`, `with degree 8–10`."""
    cut, sign, name = facts.group.partition("=")
    return f"with {names.group(cut, name.replace('-', '–'))}" if sign else _CHOSEN.get(facts.group, facts.group)


def at_each(facts: SingleNodes) -> str:
    """`one edit at each`, `as many new edges at each as it has edges`."""
    what, where = _EDITS.get(facts.mode, ("edit", "at"))
    return f"one {what} {where} each" if facts.flips == "one" else f"as many {what}s {where} each as it has edges"


def edited(result: Result, item: str) -> Figure:
    """Right answers before and after features are edited or nodes added, beside random edits like them."""
    facts = result.facts
    if not isinstance(facts, EditedData):
        return _beside(result, item)
    clean, attacked = facts.clean.value, facts.attacked.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(clean, attacked, random, n=facts.attacked_items)
    compared = "" if random is None else f"; {share.bare(random)} after the same at random"
    made = f"{edited_by(facts, allowed=facts.edits == 0)} on purpose"
    return Figure(
        _fall(share, clean, attacked),
        f"{plural(item)} right after {made}{compared}",
        f"{share(clean, item)} are right, {share.bare(attacked)} after {made}{compared}",
    )


def edited_by(facts: EditedData, *, allowed: bool = False) -> str:
    """`492 feature bits toggled`, `27 nodes with 5 edges each added`: what was done, or how much was allowed."""
    if facts.what == "values":
        return f"every feature moved by up to {shortest(facts.radius or 0.0)} standard deviations"
    made = facts.budget if allowed else facts.edits
    if facts.what == "bits":
        return f"{count(made, 'feature bit')} toggled"
    return f"{count(made, 'node')} with {count(facts.edges or 0, 'edge')} each added"


def _fall(share: Shares, before: float | None, after: float | None) -> str:
    """`808 → 611 of 1,000`."""
    return f"{share.bare(before)} → {share.bare(after)} {'of' if share.counted else 'in'} {digits(share.of)}"


def each(made: int, facts: Robust, item: str) -> str:
    """` (0.3 per node)`."""
    return f" ({rate(made, facts.attacked_items, item)})" if made and facts.attacked_items else ""


# ---- shift ----------------------------------------------------------------------------------------------------------


def gap(result: Result, item: str) -> Figure:
    """Right answers before and after damage."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Damage) or control is None:
        return _beside(result, item)
    clean, shifted = control.estimate.value, result.own.value
    share = Shares.comparing(clean, shifted, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    return Figure(
        _fall(share, clean, shifted),
        f"{plural(item)} right with {what}",
        f"{share(clean, item)} are right, {share.bare(shifted)} with {what}",
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
        return _beside(result, item)
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
        return _beside(result, item)
    if facts.by == "structure":
        return structural(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside)
    of = f"{of_domain(facts, item)} are right"
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
        return _beside(result, item)
    share = Shares.comparing(facts.outside.value, facts.inside.value)
    own, inside = share(facts.outside.value), share.bare(facts.inside.value)
    near = f"{plural(item)} {names.ends(facts.domain)[0]}"
    of = f"{of_domain(facts, item)} are right when the recipe is trained on {near}; {inside} of these"
    return Figure(own, of, f"{own} {of}")


def domain_label(text: str) -> Words:
    """`Larger graphs (held out)`: what was held out, behind the words."""
    return lambda result, item: (
        f"{text} ({result.facts.domain})" if isinstance(result.facts, Domain) else _label(result, item)
    )


def damage_label(result: Result, item: str) -> str:
    """`1 in 10 edges gone`."""
    facts = result.facts
    text = names.damage(facts.damage, facts.severity) if isinstance(facts, Damage) else _label(result, item)
    return f"{text[:1].upper()}{text[1:]}"


def worst_group(result: Result, item: str) -> Figure:
    """Right answers in the weakest group beside the worst random one."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Group) or control is None:
        return _beside(result, item)
    own, beside = result.own.value, control.estimate.value
    share = Shares.comparing(own, beside, n=facts.members)
    who = f"{count(facts.members, item)} with {names.group(facts.cut_by, facts.group)}"
    other = f"{'the worst random group' if facts.groups > 1 else 'the others'} {share.bare(beside)}"
    right = f"{share.bare(own)} of the {who} are right" if share.counted else f"{share(own)} right of the {who}"
    return Figure(share(own), f"right of {who}; {other}", f"weakest group: {right}; {other}")


def miscalibrated(result: Result, item: str) -> Figure:
    """Confidence beside accuracy."""
    facts = result.facts
    if not isinstance(facts, Confidence) or facts.bins:
        return _beside(result, item)
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
        return _beside(result, item)
    told = Shares.comparing(result.estimate.value)
    right = Shares.comparing(facts.clean.value, facts.shifted.value, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    how, one = ("with", "damaged") if facts.paired else ("of", "held-out")
    fall = f"{right(facts.clean.value, item)} are right, {right.bare(facts.shifted.value)} {how} {what}"
    pairs = f"{told.bare(result.estimate.value)} of {digits(told.of)}"
    chance = f"by chance {told.bare(0.5)}"
    return Figure(
        pairs,
        f"times the {one} one is the less sure, {chance}; {fall}",
        f"{fall}; the {one} one is the less sure {pairs} times, {chance}",
    )


def unlike(result: Result, item: str) -> Figure:
    """How often an item of made-up data is told from a test item."""
    facts = result.facts
    if not isinstance(facts, Unlike):
        return _beside(result, item)
    told = Shares.comparing(result.estimate.value, facts.inputs)
    times = f"{told.bare(result.estimate.value)} of {digits(told.of)}"
    what = f"{plural(item)} with {names.made(facts.made)} are told from test {plural(item)}"
    beside = f"by chance {told.bare(0.5)}, by their inputs {told.bare(facts.inputs)}"
    return Figure(times, f"times {what}; {beside}", f"{what} {times} times; {beside}")


def unlike_label(result: Result, item: str) -> str:
    """`Random edges of equal degrees`."""
    facts = result.facts
    text = names.made(facts.made) if isinstance(facts, Unlike) else _label(result, item)
    return f"{text[:1].upper()}{text[1:]}"


def detection_label(result: Result, item: str) -> str:
    """`Confidence with noise of 1 standard deviation on the features`."""
    facts = result.facts
    if not isinstance(facts, Detection):
        return _label(result, item)
    return f"{names.detector(facts.detector)} with {names.damage(facts.damage, facts.severity)}"


# ---- what lies in a file --------------------------------------------------------------------------------------------


def shipped(stored: str, how: str) -> Drawn:
    """How many of what is stored: `3 of 20`, `stored averages of under 5 nodes`."""

    def figure(result: Result, item: str) -> Figure:
        facts = result.facts
        if not isinstance(facts, Shipped):
            return _beside(result, item)
        large = f"{digits(facts.count)} of {digits(facts.of)}"
        text = f"{plural(stored)} {how}"
        return Figure(large, text, f"{large} {text}")

    return figure
