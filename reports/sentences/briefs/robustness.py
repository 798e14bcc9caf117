"""Labels and figures of edits."""

from __future__ import annotations

from typing import Final

from auditor.document import Result
from auditor.document.facts import (
    Certified,
    EditedData,
    Poisoned,
    Robust,
    SingleNodes,
)
from reports.sentences import names
from reports.sentences.briefs.brief import Figure, own_and_control, plain_label
from reports.sentences.numbers import Shares, count, digits, plural, rate, shortest

# ---- edits ----------------------------------------------------------------------------------------------------------


def robust(result: Result, item: str) -> Figure:
    """Right answers before and after edits, beside random edits and a model without edges."""
    facts = result.facts
    if not isinstance(facts, Robust):
        return own_and_control(result, item)
    clean, attacked = facts.clean.value, facts.attacked.value
    random, edge_free = (None if part is None else part.value for part in (facts.random, facts.edge_free))
    share = Shares.comparing(clean, attacked, random, edge_free, n=facts.attacked_items)
    if facts.no_edge_free == "edges-unused":
        return Figure(
            share(clean),
            f"{plural(item)} right; no edge can change an answer",
            f"{share.are(clean, item)} right; no edge can change an answer",
        )
    edits = f"{count(facts.edits, 'edit')} {found_by(facts)}{each(facts.edits, facts, item)}"
    tried = "as many random ones" if facts.queries is None else BEST_OF_RANDOM
    others = [] if random is None else [f"{share.bare(random)} after {tried}"]
    others += [] if edge_free is None else [f"{share.bare(edge_free)} without using any link"]
    compared = "".join(f"{'; ' if not k else ', '}{text}" for k, text in enumerate(others))
    return Figure(
        fall(share, clean, attacked),
        f"{plural(item)} right after {edits}{compared}",
        f"{share.are(clean, item)} right, {share.bare(attacked)} after {edits}{compared}",
    )


def poisoned(result: Result, item: str) -> Figure:
    """Right answers of models trained on a clean graph and on an edited one, beside random edits."""
    facts = result.facts
    if not isinstance(facts, Poisoned):
        return own_and_control(result, item)
    own, clean = facts.poisoned.value, facts.clean.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(own, clean, random)
    edits = f"{count(facts.edits, 'edit')} on purpose"
    other = "" if random is None else f"; {share.bare(random)} with as many random ones"
    return Figure(
        fall(share, clean, own),
        f"{plural(item)} right when trained with {edits}{other}",
        f"trained on the clean graph {share.are(clean, item)} right, {share.bare(own)} with {edits}{other}",
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
        return plain_label(result, item)
    return f"Proven for a vote, any {any_edits(facts)}" if facts.count else "A vote that can be proven, unedited"


def certified(result: Result, item: str) -> Figure:
    """Answers of a vote that surely stand edits, beside those it gets right unedited."""
    facts = result.facts
    if not isinstance(facts, Certified):
        return own_and_control(result, item)
    own, clean, target = result.estimate.value, facts.clean.value, facts.target.value
    share = Shares.comparing(own, clean, target, n=facts.items)
    if not facts.count:
        text = f"right by {voted(facts)}; {share.bare(target)} by the model itself"
        return Figure(share(own), f"{plural(item)} {text}", f"{share.are(own, item)} {text}")
    unedited = f"{share.bare(clean)} {share.verb(clean)} right unedited"
    text = f"surely stay right by {voted(facts)} after any {any_edits(facts)}; {unedited}"
    return Figure(share(own), f"{plural(item)} {text}", f"{share(own, item)} {text}")


def below_edge_free(result: Result, item: str) -> Figure:
    """Right answers after edits beside those of a model without edges."""
    facts = result.facts
    control = result.control
    if not isinstance(facts, Robust) or control is None:
        return own_and_control(result, item)
    attacked, beside = result.own.value, control.estimate.value
    share = Shares.comparing(attacked, beside, n=facts.attacked_items)
    other = "trained without any edge" if facts.edge_free is not None else "always naming the commonest class"
    edits = f"after {count(facts.edits, 'edit')}{each(facts.edits, facts, item)}" if facts.edits else "unedited"
    compared = f"{other} {share.bare(beside)}"
    return Figure(
        share(attacked),
        f"{plural(item)} right {edits}; {compared}",
        f"{share.are(attacked, item)} right {edits}; {compared}",
    )


def single_nodes(result: Result, item: str) -> Figure:
    """Nodes that edits of their own break, beside the best of as many random tries."""
    facts, control = result.facts, result.control
    if not isinstance(facts, SingleNodes) or control is None:
        return own_and_control(result, item)
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
    "added-node": ("added node", "joined to"),
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
    if isinstance(facts, SingleNodes):
        return single_nodes(result, item)
    if not isinstance(facts, EditedData):
        return own_and_control(result, item)
    clean, attacked = facts.clean.value, facts.attacked.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(clean, attacked, random, n=facts.attacked_items)
    compared = "" if random is None else f"; {share.bare(random)} after the same at random"
    nothing = facts.edits == 0
    per = spread(facts, item, allowed=nothing)
    made = f"{edited_by(facts, allowed=nothing)} on purpose{f' ({per})' if per else ''}"
    return Figure(
        fall(share, clean, attacked),
        f"{plural(item)} right after {made}{compared}",
        f"{share.are(clean, item)} right, {share.bare(attacked)} after {made}{compared}",
    )


def edited_by(facts: EditedData, *, allowed: bool = False) -> str:
    """`492 feature bits toggled`, `27 nodes with 5 edges each added`: what was done, or how much was allowed."""
    if facts.what == "values":
        return f"every feature moved by up to {shortest(facts.radius or 0.0)} standard deviations"
    made = facts.budget if allowed else facts.edits
    if facts.what == "bits":
        return f"{count(made, 'feature bit')} toggled"
    if facts.what == "categories":
        return f"{count(made, 'node')} given another category"
    most = "up to " if facts.per_graph or facts.alike else ""
    like = ", like their neighbours," if facts.alike else ""
    return f"{count(made, 'node')} with {most}{count(facts.edges or 0, 'edge')} each{like} added"


def spread(facts: EditedData, item: str, *, allowed: bool = False) -> str:
    """`0.9 per graph`: how much that is in each, where each has a budget of its own; nothing elsewhere."""
    made = facts.budget if allowed else facts.edits
    return rate(made, facts.attacked_items, item) if facts.per_graph and made and facts.attacked_items else ""


def fall(share: Shares, before: float | None, after: float | None) -> str:
    """`808 → 611 of 1,000`."""
    return f"{share.bare(before)} → {share.bare(after)} {'of' if share.counted else 'in'} {digits(share.of)}"


def each(made: int, facts: Robust, item: str) -> str:
    """` (0.3 per node)`."""
    return f" ({rate(made, facts.attacked_items, item)})" if made and facts.attacked_items else ""
