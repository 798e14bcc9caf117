"""Sentences about edits, with their numbers."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.document import Result
from auditor.document.facts import (
    BudgetCurve,
    Certified,
    EditedData,
    Poisoned,
    Robust,
    SingleNodes,
)
from reports.sentences.briefs import (
    BEST_OF_RANDOM,
    any_edits,
    at_each,
    chosen,
    each,
    edited_by,
    found_by,
    spread,
    voted,
)
from reports.sentences.numbers import (
    Shares,
    count,
    decimals,
    digits,
    shortest,
    value_cell,
)
from reports.sentences.pictures.general import plain, sides

INSIDER = "an insider who edits edges and knows model and data"


# ---- edits ----------------------------------------------------------------------------------------------------------


def robust(result: Result, item: str) -> str:
    """Right answers before and after edits, beside random edits and a model without edges."""
    facts = result.facts
    if not isinstance(facts, Robust):
        return plain(result)
    clean, attacked = facts.clean.value, facts.attacked.value
    random, edge_free = (None if part is None else part.value for part in (facts.random, facts.edge_free))
    share = Shares.comparing(clean, attacked, random, edge_free, n=facts.attacked_items)
    right = f"{share.are(clean, item)} right"
    if facts.no_edge_free == "edges-unused":
        return f"{right}; {_UNUSED}"
    made = f"{count(facts.edits, 'edit')} {found_by(facts)}{each(facts.edits, facts, item)}"
    left = [f"at most {share.bare(attacked)} after {made}"]
    if clean is not None and attacked is not None and attacked >= clean:
        left = [f"and no {count(facts.budget, 'edit')}{each(facts.budget, facts, item)} were found that break one"]
    if random is not None:
        tried = f"{_as_many(facts)} random ones" if facts.queries is None else BEST_OF_RANDOM
        left.append(f"{share.bare(random)} after {tried}")
    if edge_free is not None:
        left.append(f"{share.bare(edge_free)} without using any link")
    return f"{right}, {', '.join(left)}"


_UNUSED = (
    "no edge can change an answer: outputs are equal, bit for bit, on the graph, without edges and on random edges"
)


_NO_EDGE_FREE: Mapping[str, str] = {
    "no-recipe": "the model cannot be trained again to see what it would do without edges",
    "failed": "training the model without edges failed",
    "not-better": "trained without edges the model is no better than that on the validation items",
}


"""Why the commonest class stands in for a model without edges."""


def below_edge_free(result: Result, item: str) -> str:
    """Right answers after edits beside those of a model without edges, or of the commonest class."""
    facts = result.facts
    if not isinstance(facts, Robust):
        return plain(result)
    attacked, beside = sides(result)
    share = Shares.comparing(attacked, beside, n=facts.attacked_items)
    edited = f"after {count(facts.edits, 'edit')}{each(facts.edits, facts, item)}" if facts.edits else "unedited"
    text = f"{edited} it is right on {share(attacked, item)}"
    if facts.edge_free is not None:
        return f"{text}; trained without any edge it would be right on {share.bare(beside)}"
    why = _NO_EDGE_FREE.get(facts.no_edge_free, "")
    text += f"; always naming the commonest class would be right on {share.bare(beside)}"
    return f"{text} ({why})" if why else text


def worse_without(result: Result, item: str) -> str:
    """S of a model that edits make worse than one without edges."""
    facts = result.facts
    constant = isinstance(facts, Robust) and facts.edge_free is None
    beside = "always naming the commonest class" if constant else "one trained without any edge"
    return f"{INSIDER} can make the model worse than {beside}"


def _as_many(facts: Robust) -> str:
    return "as many" if facts.budget == facts.edits else digits(facts.budget)


def budget_curve(result: Result, facts: BudgetCurve, item: str) -> str:
    """What sums up accuracy against budget: shown, never judged."""
    if result.metric == "success_rate":
        own = result.estimate.value
        share = Shares.comparing(own, n=result.estimate.n)
        text = f"{share(own, item)} that {share.verb(own, 'was', 'were')} right {share.verb(own, 'breaks', 'break')}"
        if facts.median_edits is not None:
            text += f", half of them within {count(facts.median_edits, 'edit')}"
        return text
    if result.metric == "eps50":
        text = "half of what it has over the commonest class is gone "
        if result.estimate.value is None:
            return text + f"nowhere up to {value_cell(facts.largest_budget, 'share')} of the edges"
        return text + f"after edits of {value_cell(result.estimate.value, 'share')} of the edges"
    return plain(result)


def single_nodes(result: Result, item: str) -> str:
    """Nodes that edits of their own break, beside the best of as many random tries."""
    facts = result.facts
    if not isinstance(facts, SingleNodes):
        return plain(result)
    own, beside = sides(result)
    share = Shares.comparing(own, beside, n=facts.attacked)
    text = f"{share(own, item)} {chosen(facts)} {share.verb(own, 'breaks', 'break')} with {at_each(facts)}"
    if beside is not None:
        text += f"; the best of {count(facts.tries, 'random try')} at each breaks {share.bare(beside)}"
    if facts.median_flips is not None:
        text += f"; half of them break within {count(facts.median_flips, 'edit')}"
    return text


def edited(result: Result, item: str) -> str:
    """Right answers before and after features are edited or nodes added, beside random edits like them."""
    facts = result.facts
    if isinstance(facts, SingleNodes):
        return single_nodes(result, item)
    if not isinstance(facts, EditedData):
        return plain(result)
    clean, attacked = facts.clean.value, facts.attacked.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(clean, attacked, random, n=facts.attacked_items)
    right = f"{share.are(clean, item)} right"
    if clean is not None and attacked is not None and attacked >= clean:
        per = spread(facts, item, allowed=True)
        tried = edited_by(facts, allowed=True) + (f", {per}" if per else "")
        left = [f"and no edit was found that breaks one ({tried})"]
    else:
        per = spread(facts, item)
        made = f"{edited_by(facts)} on purpose{f' ({per})' if per else ''}"
        left = [f"at most {share.bare(attacked)} after {made}"]
    if random is not None:
        left.append(f"{share.bare(random)} after the same at random")
    return f"{right}, {', '.join(left)}"


def poisoned(result: Result, item: str) -> str:
    """Right answers of models trained on an edited graph, beside random edits and the clean graph."""
    facts = result.facts
    if not isinstance(facts, Poisoned):
        return plain(result)
    own, clean = facts.poisoned.value, facts.clean.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(own, clean, random)
    text = f"trained on the clean graph it is right on {share(clean, item)}"
    left = [f"on {share.bare(own)} with {count(facts.edits, 'edit')} on purpose in that graph"]
    left += [] if random is None else [f"on {share.bare(random)} with as many random ones"]
    return f"{text}, {', '.join(left)} (means of {count(facts.trainings, 'training')})"


def certified(result: Result, item: str) -> str:
    """Answers of a vote that surely stand so many edits, beside the vote unedited, the model, and edits that were made.

    First what the vote itself is worth: a certificate of a vote that is seldom right says little.
    """
    facts = result.facts
    if not isinstance(facts, Certified):
        return plain(result)
    clean, target = facts.clean.value, facts.target.value
    random, found = (None if part is None else part.value for part in (facts.random, facts.found))
    share = Shares.comparing(result.estimate.value, clean, target, random, found, n=facts.items)
    text = f"{voted(facts)} is right on {share(clean, item)}, the model itself on {share.bare(target)}"
    if facts.abstained:
        text += f"; on {digits(facts.abstained)} no class surely has the majority"
    if not facts.count:
        return text
    text += f"; after any {any_edits(facts)} it surely stays right on {share.bare(result.estimate.value)}"
    seen = [] if random is None else [f"after as many random ones it is right on {share.bare(random)}"]
    if found is not None:
        seen.append(f"after the worst of {'all' if facts.exact else 'those that were tried'} on {share.bare(found)}")
    return f"{text}; {', '.join(seen)}" if seen else text


def prototype_edit(result: Result, item: str) -> str:
    """Right answers that an edge at a cluster costs, beside a random edge."""
    own, beside = sides(result)
    if own is None:
        return plain(result)
    places = decimals([own, beside], least=2)
    text = f"an edge there {_costs(own, places)} right answers"
    return text if beside is None else f"{text}, a random one {_costs(beside, places)}"


def _costs(value: float, places: int) -> str:
    return f"{'saves' if value < 0 else 'costs'} {digits(abs(value), places)}"


def jump(result: Result, item: str) -> str:
    """Nodes moved to another cluster, and what that costs."""
    own, beside = sides(result)
    value, n = result.estimate.value, result.estimate.n
    if result.metric == "median_edges":
        return (
            f"half of the moved nodes needed at most {shortest(value, most=1)} edges" if value else "no node was moved"
        )
    share = Shares.comparing(own, beside, n=n)
    if result.metric == "flips_given_jump":
        return f"{share(own, item)} that {share.verb(own, 'was', 'were')} moved {share.verb(own)} then wrong"
    if result.metric == "one_edge_moves":
        return f"one random edge anywhere moves {share(own, item)} to another cluster"
    if result.metric == "one_edge_loss" and value is not None:
        return f"one random edge anywhere {_costs(100 * value, 1)} points of accuracy"
    moved = f"{share(own, item)} tried {share.verb(own, 'was', 'were')} moved by edges at them"
    return f"{moved}; edges elsewhere move {share.bare(beside)}"
