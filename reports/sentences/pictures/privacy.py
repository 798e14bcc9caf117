"""Sentences about links, members, copies and attributes, with their numbers."""

from __future__ import annotations

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
from reports.sentences.briefs import (
    accused,
    asked,
    beside_outsiders,
)
from reports.sentences.guesses import few_alarms, likeliest
from reports.sentences.numbers import (
    Shares,
    count,
    digits,
    plural,
)
from reports.sentences.pictures.general import plain, sides

# ---- links ----------------------------------------------------------------------------------------------------------


def links(result: Result, item: str) -> str:
    """Links among the likeliest pairs, or found at few false alarms, beside a guess without the model."""
    facts = result.facts
    if not isinstance(facts, LinkFacts):
        return _ranked(result, "link")
    asked = "" if facts.queries is None else f"after {count(facts.queries, 'query')}, "
    return f"{asked}{_found(result, facts)}"


def _found(result: Result, facts: LinkFacts) -> str:
    if result.estimate.value is None and facts.needed is not None:
        return f"{count(facts.negatives, 'unlinked pair')} are too few, {digits(facts.needed)} are needed"
    if facts.low_fpr is not None:
        return _few_alarms(result, facts.low_fpr)
    if not facts.rivals:
        return _ranked(result, "link")
    ranked = _errs(facts.rivals[0])
    return ranked if facts.links is None else f"{_list(facts.links)}; {ranked}"


def _errs(rival: Rival) -> str:
    """`shown a link and a random pair, the best guess without the model errs 16 times in 100, with it 9`."""
    errors = [None if area.value is None else 1 - area.value for area in (rival.without_model, rival.with_model)]
    share = Shares.comparing(*errors)
    guess = "a blind guess" if rival.control == "chance" else "the best guess without the model"
    text = f"shown a link and a random pair, {guess} errs {times(share, errors[0])}, with it {share.bare(errors[1])}"
    return f"{text} (links join the unlike)" if rival.in_reverse else text


def _list(pairs: LinkList) -> str:
    guesses = likeliest(pairs)
    found = f"of the {guesses.among} likeliest pairs {guesses.found} are links"
    return f"{found}; {guesses.compared('without the model')}"


def _few_alarms(result: Result, low: LowFpr) -> str:
    guesses = few_alarms(low)
    found = f"{guesses.among}, {guesses.found} links are found{_explained(result)}"
    return f"{found}; {guesses.compared('without the model')}"


def _explained(result: Result) -> str:
    """Says so where a twin on a rewired graph explains more than half of what is found beyond a guess."""
    control = result.control
    if control is None or not control.twin or control.contrast is None or control.contrast.value is None:
        return ""
    plain = [c.contrast.value for c in result.controls if not c.twin and c.contrast is not None]
    beyond = min((value for value in plain if value is not None), default=None)
    return ", mostly by classes and degrees" if beyond is not None and control.contrast.value < beyond / 2 else ""


def _ranked(result: Result, found: str, other: str = "a random pair") -> str:
    """An AUC as people read it, on the pairs that its control was compared on."""
    control = result.control
    own, beside = sides(result)
    if result.unit != "auc" or control is None:
        return plain(result)
    share = Shares.comparing(own, beside)
    text = f"shown a {found} and {other}, it picks the {found} {times(share, own)}"
    if control.name == "chance":
        return f"{text}; by chance {share.bare(beside)}"
    return f"{text}; without the model {share.bare(beside)}"


def times(share: Shares, value: float | None) -> str:
    """`84 times in 100`."""
    return f"{share.bare(value)} times in {digits(share.of)}"


# ---- members --------------------------------------------------------------------------------------------------------


def members(result: Result, item: str) -> str:
    """Members found at few false accusations, or told from others, beside a guess without the model."""
    facts = result.facts
    if not isinstance(facts, MemberFacts):
        return _ranked(result, f"training {item}", f"another {item}")
    if result.estimate.value is None and facts.needed is not None:
        return f"{count(facts.others, f'outside {item}')} are too few, {digits(facts.needed)} are needed"
    how = f"by {asked(result)}, "
    if facts.group and result.unit == "share":
        return f"{how}{_exposed(result, facts, item)}"
    if facts.low_fpr is not None:
        share, compared = beside_outsiders(facts.low_fpr)
        own, alarm = facts.low_fpr.attack.value, accused(share, facts.low_fpr)
        return f"{how}{alarm}, {share(own)} training {plural(item)} {share.verb(own)} found; {compared}"
    if facts.rivals:
        return how + _picks(facts.rivals[0], item)
    return how + _ranked(result, f"training {item}", f"another {item}")


def _picks(rival: Rival, item: str) -> str:
    """`shown a training node and another, a blind guess picks the training node 50 times in 100, with the model 84`."""
    own, beside = rival.with_model.value, rival.without_model.value
    share = Shares.comparing(own, beside)
    guess = "a blind guess" if rival.control == "chance" else "the best guess without the model"
    picked = f"{guess} picks the training {item} {times(share, beside)}, with the model {share.bare(own)}"
    return f"shown a training {item} and another {item}, {picked}"


def _exposed(result: Result, facts: MemberFacts, item: str) -> str:
    own, beside = sides(result)
    share = Shares.comparing(own, beside)
    cut, _, name = facts.group.partition("=")
    where = names.group(cut, name.replace("-", "–"))
    return (
        f"of the {count(facts.members, f'training {item}')} with {where} {share(own)} {share.verb(own)} found; "
        f"of its {digits(facts.others)} outsiders {share.bare(beside)} {share.verb(beside)} falsely accused"
    )


# ---- copies ---------------------------------------------------------------------------------------------------------


def copied(result: Result, item: str) -> str:
    """Answers on which a copy agrees with the model, beside what is trained without any."""
    facts = result.facts
    if not isinstance(facts, Copy) or result.control is None:
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside, n=result.estimate.n)
    edges = {"knn": f" and edges made up between like {item}s", "none": " and no edge"}
    text = (
        f"made from {count(facts.answers, 'answer')}{edges.get(facts.structure, '')}, a copy agrees with the model on "
    )
    return f"{text}{share(own, f'other {item}')}; {names.control(result.control.name)} on {share.bare(beside)}"


# ---- sensitive columns ----------------------------------------------------------------------------------------------


def attribute(result: Result, item: str) -> str:
    """How well a column is told with the answers, and by the best guess without them."""
    facts = result.facts
    if not isinstance(facts, Attribute) or result.control is None:
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside, n=result.estimate.n if facts.about == "classes" else 0)
    known = Shares.comparing(facts.known)(facts.known, item)
    if facts.about == "binary":
        text = (
            f"shown a {item} with the higher value and one with the lower, it tells which is which {times(share, own)}"
        )
    elif facts.about == "classes":
        text = f"it guesses the value of {share(own, item)} right"
    else:
        text = f"it explains {share(own)} of the variance"
    return f"{text}; the best guess without the answers {share.bare(beside)} (where the value of {known} is known)"


def tells(result: Result, item: str) -> str:
    """S of a sensitive column."""
    facts = result.facts
    column = f"column {facts.column}" if isinstance(facts, Attribute) else "a sensitive column"
    return f"anyone who receives the answers can guess {column} of other {item}s better than without them"
