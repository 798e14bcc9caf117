"""The picture of each finding, P: what was measured, in full, beside what it is compared with.

Each is a function of a result, its typed facts and the word for one item; a clause has no capital and no full stop.
"""

from __future__ import annotations

from collections.abc import Mapping

from auditor.document import Control, Estimate, Result
from auditor.document.facts import (
    Attribute,
    BudgetCurve,
    Certified,
    Confidence,
    Copy,
    Damage,
    Decorrelation,
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
from reports.sentences.briefs import (
    BEST_OF_RANDOM,
    any_edits,
    asked,
    at_each,
    beside_outsiders,
    chosen,
    each,
    edited_by,
    found_by,
    of_domain,
    voted,
)
from reports.sentences.guesses import few_alarms, likeliest
from reports.sentences.numbers import (
    MISSING,
    Differences,
    Shares,
    count,
    decimals,
    digits,
    plural,
    shortest,
    value_cell,
)

INSIDER = "an insider who edits edges and knows model and data"


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
    text = f"shown a link and a random pair, {guess} errs {_times(share, errors[0])}, with it {share.bare(errors[1])}"
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
    own, beside = _sides(result)
    if result.unit != "auc" or control is None:
        return plain(result)
    share = Shares.comparing(own, beside)
    text = f"shown a {found} and {other}, it picks the {found} {_times(share, own)}"
    if control.name == "chance":
        return f"{text}; by chance {share.bare(beside)}"
    return f"{text}; without the model {share.bare(beside)}"


def _times(share: Shares, value: float | None) -> str:
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
        accused = f"if {share(facts.low_fpr.fpr)} outsiders is falsely accused"
        return f"{how}{accused}, {share(facts.low_fpr.attack.value)} training {plural(item)} are found; {compared}"
    if facts.rivals:
        return how + _picks(facts.rivals[0], item)
    return how + _ranked(result, f"training {item}", f"another {item}")


def _picks(rival: Rival, item: str) -> str:
    """`shown a training node and another, a blind guess picks the training node 50 times in 100, with the model 84`."""
    own, beside = rival.with_model.value, rival.without_model.value
    share = Shares.comparing(own, beside)
    guess = "a blind guess" if rival.control == "chance" else "the best guess without the model"
    picked = f"{guess} picks the training {item} {_times(share, beside)}, with the model {share.bare(own)}"
    return f"shown a training {item} and another {item}, {picked}"


def _exposed(result: Result, facts: MemberFacts, item: str) -> str:
    own, beside = _sides(result)
    share = Shares.comparing(own, beside)
    cut, _, name = facts.group.partition("=")
    where = names.group(cut, name.replace("-", "–"))
    return (
        f"of the {count(facts.members, f'training {item}')} with {where} {share(own)} are found; "
        f"of its {digits(facts.others)} outsiders {share.bare(beside)} are falsely accused"
    )


# ---- copies ---------------------------------------------------------------------------------------------------------


def copied(result: Result, item: str) -> str:
    """Answers on which a copy agrees with the model, beside what is trained without any."""
    facts = result.facts
    if not isinstance(facts, Copy) or result.control is None:
        return plain(result)
    own, beside = _sides(result)
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
    own, beside = _sides(result)
    share = Shares.comparing(own, beside, n=result.estimate.n if facts.about == "classes" else 0)
    known = Shares.comparing(facts.known)(facts.known, item)
    if facts.about == "binary":
        text = (
            f"shown a {item} with the higher value and one with the lower, it tells which is which {_times(share, own)}"
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


# ---- edits ----------------------------------------------------------------------------------------------------------


def robust(result: Result, item: str) -> str:
    """Right answers before and after edits, beside random edits and a model without edges."""
    facts = result.facts
    if not isinstance(facts, Robust):
        return plain(result)
    clean, attacked = facts.clean.value, facts.attacked.value
    random, edge_free = (None if part is None else part.value for part in (facts.random, facts.edge_free))
    share = Shares.comparing(clean, attacked, random, edge_free, n=facts.attacked_items)
    right = f"{share(clean, item)} are right"
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
    attacked, beside = _sides(result)
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
        share = Shares.comparing(result.estimate.value, n=result.estimate.n)
        text = f"{share(result.estimate.value, item)} that were right break"
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
    own, beside = _sides(result)
    share = Shares.comparing(own, beside, n=facts.attacked)
    text = f"{share(own, item)} {chosen(facts)} break with {at_each(facts)}"
    if beside is not None:
        text += f"; the best of {count(facts.tries, 'random try')} at each breaks {share.bare(beside)}"
    if facts.median_flips is not None:
        text += f"; half of them break within {count(facts.median_flips, 'edit')}"
    return text


def edited(result: Result, item: str) -> str:
    """Right answers before and after features are edited or nodes added, beside random edits like them."""
    facts = result.facts
    if not isinstance(facts, EditedData):
        return plain(result)
    clean, attacked = facts.clean.value, facts.attacked.value
    random = None if facts.random is None else facts.random.value
    share = Shares.comparing(clean, attacked, random, n=facts.attacked_items)
    right = f"{share(clean, item)} are right"
    if clean is not None and attacked is not None and attacked >= clean:
        left = [f"and no edit was found that breaks one ({edited_by(facts, allowed=True)})"]
    else:
        left = [f"at most {share.bare(attacked)} after {edited_by(facts)} on purpose"]
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
    own, beside = _sides(result)
    if own is None:
        return plain(result)
    places = decimals([own, beside], least=2)
    text = f"an edge there {_costs(own, places)} right answers"
    return text if beside is None else f"{text}, a random one {_costs(beside, places)}"


def _costs(value: float, places: int) -> str:
    return f"{'saves' if value < 0 else 'costs'} {digits(abs(value), places)}"


def jump(result: Result, item: str) -> str:
    """Nodes moved to another cluster, and what that costs."""
    own, beside = _sides(result)
    value, n = result.estimate.value, result.estimate.n
    if result.metric == "median_edges":
        return (
            f"half of the moved nodes needed at most {shortest(value, most=1)} edges" if value else "no node was moved"
        )
    share = Shares.comparing(own, beside, n=n)
    if result.metric == "flips_given_jump":
        return f"{share(own, item)} that were moved are then wrong"
    if result.metric == "one_edge_moves":
        return f"one random edge anywhere moves {share(own, item)} to another cluster"
    if result.metric == "one_edge_loss" and value is not None:
        return f"one random edge anywhere {_costs(100 * value, 1)} points of accuracy"
    return f"{share(own, item)} tried were moved by edges at them; edges elsewhere move {share.bare(beside)}"


# ---- shift ----------------------------------------------------------------------------------------------------------


def gap(result: Result, item: str) -> str:
    """Right answers under damage and before."""
    facts = result.facts
    if not isinstance(facts, Damage):
        return plain(result)
    shifted, clean = _sides(result)
    share = Shares.comparing(clean, shifted, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    return f"{share(shifted, item)} are right with {what}, {share.bare(clean)} before"


def worth(result: Result, item: str) -> str:
    """Right answers with the graph beside the best without it, what that is worth, and what of it would vanish."""
    facts = result.facts
    if not isinstance(facts, Worth) or result.control is None:
        return plain(result)
    own, beside = _sides(result)
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
    own, beside = _sides(result)
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
    outside, inside = _sides(result)
    mix = f"{of_domain(facts, item)} are right at the class mix of the others, {{}} of these"
    if result.metric == "accuracy_at_equal_mix":
        share = Shares.comparing(outside, inside)
        return f"{share(outside)} {mix.format(share.bare(inside))}"
    by_class = " (mean of classes)" if facts.balanced and result.metric != "accuracy" else ""
    share = Shares.comparing(outside, inside)
    text = f"{share(outside)} {of_domain(facts, item)} are right{by_class}, {share.bare(inside)} of the other test ones"
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
    own, beside = _sides(result)
    share = Shares.comparing(own, beside, n=facts.items)
    return f"{share(own)} {of_domain(facts, item)} are right; always naming their commonest class {share.bare(beside)}"


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
    own, beside = _sides(result)
    share = Shares.comparing(own, beside, n=facts.members)
    who = f"the {count(facts.members, item)} with {names.group(facts.cut_by, facts.group)}"
    text = f"{share.bare(own)} of {who} are right" if share.counted else f"{share(own)} right of {who}"
    other = f"the worst of {digits(facts.groups)} random groups" if facts.groups > 1 else "the rest"
    seen = "" if facts.detectable is None else f"; a group up to {_points(facts.detectable)} points worse may go unseen"
    return text if beside is None else f"{text}; {other} {share.bare(beside)}{seen}"


def miscalibrated(result: Result, item: str) -> str:
    """Mean confidence beside accuracy, or how far they lie apart in bins."""
    facts = result.facts
    if not isinstance(facts, Confidence):
        return plain(result)
    if facts.bins:
        error, floor = _sides(result)
        apart = f"confidence and accuracy lie {_points(error)} points apart in bins of confidence ({facts.bins})"
        return apart if floor is None else f"{apart}; {_points(floor)} would show without any error"
    sure, right = facts.confidence.value, facts.accuracy.value
    share = Shares.comparing(sure, right)
    said = MISSING if sure is None else digits(100 * sure, share.places)
    return f"it says {said} % on average and is right {_times(share, right)}"


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
        fall = f"{right(clean, f'test {item}')} are right, {right.bare(shifted)} of {what}"
        return f"{fall}; the held-out one is the less sure in {pairs}"
    fall = f"{right(clean, item)} are right before, {right.bare(shifted)} with {what}"
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


def _one(item: str) -> str:
    return f"a{'n' if item[:1] in 'aeiou' else ''} {item}"


def non_finite(result: Result, item: str) -> str:
    """Answers that are not numbers, of all under damage."""
    share = Shares.comparing(result.estimate.value, n=result.estimate.n)
    kind, _, severity = result.subset.partition("=")
    return f"for {share(result.estimate.value, item)} with {names.damage(kind, severity)} the answer is not a number"


# ---- what lies in a file --------------------------------------------------------------------------------------------


def small(result: Result, item: str) -> str:
    """Stored averages of few nodes."""
    facts = result.facts
    if not isinstance(facts, Shipped):
        return member(result, item)
    text = f"{digits(facts.count)} of {count(facts.of, 'stored average')} are of under 5 nodes"
    if facts.alone:
        return f"{text}, {digits(facts.alone)} of one"
    return text if facts.smallest is None else f"{text}, the smallest of {count(facts.smallest, 'node')}"


def live(result: Result, item: str) -> str:
    """Training nodes named in the file."""
    facts = result.facts
    if not isinstance(facts, Shipped):
        return plain(result)
    stored = result.control.estimate.value if result.control is not None else None
    text = f"the file holds the ids of {digits(facts.count)} of {count(facts.of, 'training node')}"
    needs = "none" if stored == 0 else digits(stored)
    return text if stored is None else f"{text}; stored averages need {needs}"


def member(result: Result, item: str) -> str:
    """How often a training node is told from another of its cluster."""
    own, beside = _sides(result)
    if result.unit != "auc" or result.control is None:
        return plain(result)
    share = Shares.comparing(own, beside)
    other = "by chance" if result.control.name == "chance" else "with averages of other nodes"
    text = f"shown a training node and another of its cluster, it picks the training node {_times(share, own)}"
    return f"{text}; {other} {share.bare(beside)}"


# ---- defences -------------------------------------------------------------------------------------------------------


def costs_answers(result: Result, item: str) -> str:
    """S of a defence that costs right answers."""
    where = {"worst_case_accuracy": " under edits", "poisoned_accuracy": " on the poisoned graph"}
    return f"the defence {result.arm} costs right answers{where.get(result.metric, '')}"


def gain(result: Result, item: str) -> str:
    """Right answers with a defence beside its control."""
    own, beside = _sides(result)
    by_class = "balanced" in result.metric
    share = Shares.comparing(own, beside, n=0 if by_class else result.estimate.n)
    after = f" after edits of {names.subset(result.subset)}" if result.subset.startswith("eps=") else ""
    right = f"{share(own, item)} right{after}{' (mean of classes)' if by_class else ''}"
    if beside is None:
        return right
    if result.metric == "worst_case_accuracy":
        return f"{right}; {share.bare(beside)} unedited"
    other = names.control(result.control.name) if result.control is not None else "the control"
    return f"{right}; {other} {share.bare(beside)}"


def effect(result: Result, item: str) -> str:
    """Right answers with learned weights beside their control."""
    own, beside = _sides(result)
    share = Shares.comparing(own, beside)
    where = f" of {result.subset}" if result.subset else ""
    return f"{share(own, item)}{where} right (mean of classes); the control {share.bare(beside)}"


def nothing(result: Result, item: str) -> str:
    """Dependence that shuffled columns have too."""
    facts = result.facts
    if not isinstance(facts, Decorrelation):
        return plain(result)
    share = Shares.comparing(facts.permuted_share)
    return f"shuffled columns depend {share(facts.permuted_share)} as much as the real ones"


# ---- everything else ------------------------------------------------------------------------------------------------


def plain(result: Result, item: str = "") -> str:
    """A number beside its control: `robust accuracy is 61.2 %, 80.1 % with random edits`."""
    value = value_cell(result.estimate.value, result.unit)
    if result.metric == "precision@edges":
        return f"of as many likeliest pairs as there are links {value} are links"
    what = {"rauc": "the area under accuracy against edits"}.get(result.metric, names.metric(result.metric))
    text = f"{what} is {value}"
    control = result.control
    if control is None:
        return text
    return f"{text}, {value_cell(control.estimate.value, result.unit)} with {names.control(control.name)}"


def other(result: Result, item: str) -> str:
    """S of a finding without words of its own."""
    beside = "its control" if result.control is None else names.control(result.control.name)
    return f"the model does worse than {beside} in {names.metric(result.metric)}"


def _sides(result: Result) -> tuple[float | None, float | None]:
    """Own number and that of the control, on the items that the two were compared on: they subtract to the contrast."""
    control: Control | None = result.control
    return result.own.value, None if control is None else control.estimate.value


def _points(value: float | None) -> str:
    return MISSING if value is None else digits(abs(100 * value), 1)
