"""Labels and figures of links, members, copies and attributes."""

from __future__ import annotations

from typing import Final

from auditor.document import Result
from auditor.document.facts import (
    Attribute,
    Copy,
    LinkFacts,
    LinkList,
    LowFpr,
    MemberFacts,
    Rival,
)
from reports.sentences import names
from reports.sentences.briefs.brief import Drawn, Figure, Words, own_and_control, said
from reports.sentences.guesses import few_alarms, likeliest
from reports.sentences.numbers import Shares, count, digits, plural

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
            return own_and_control(result, item)
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
        alarm = accused(share, low)
        found = share(low.attack.value)
        return Figure(
            found,
            f"{by}training {plural(item)} are found {alarm}; {compared}",
            f"{by}{alarm}, {found} training {plural(item)} {share.verb(low.attack.value)} found; {compared}",
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
    return share, f"{others}blindly {share.at(low.fpr).bare(low.chance)}"


def accused(share: Shares, low: LowFpr) -> str:
    """`if 10 in 100 outsiders are falsely accused`: the level that was set."""
    level = share.at(low.fpr)
    return f"if {level(low.fpr)} outsiders {level.verb(low.fpr)} falsely accused"


# ---- copies ---------------------------------------------------------------------------------------------------------


def copied(result: Result, item: str) -> Figure:
    """Answers on which a copy agrees with the model, beside what is trained without any."""
    facts, control = result.facts, result.control
    if not isinstance(facts, Copy) or control is None:
        return own_and_control(result, item)
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
        return own_and_control(result, item)
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
