"""What may be said of each finding: who can do what (S), what that looks like (P), and what to do first.

Both are functions of a result and its typed facts. A finding of a plug-in has the template that its table brings
(`Table.templates`), or the general one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from auditor import registry
from auditor.document import Control, Result
from auditor.document.facts import (
    BudgetCurve,
    Confidence,
    Damage,
    Decorrelation,
    Detection,
    Group,
    LinkFacts,
    LinkList,
    LowFpr,
    Rival,
    Robust,
    Shipped,
)
from auditor.document.results import Question
from reports.sentences import names
from reports.sentences.numbers import (
    FOUND,
    MISSING,
    OWNER,
    Shares,
    Sides,
    count,
    decimals,
    difference_cell,
    digits,
    rate,
    shortest,
    value_cell,
)

ANYONE = "anyone who receives the answers"
HOLDER = "whoever holds the model file"
INFORMED = "whoever holds the model file, features and labels"
INSIDER = "an insider who edits edges and knows model and data"

Words = Callable[[Result, str], str]

_SIDES: Final[Mapping[Question, Sides]] = {
    "over-confidence": ("too low", "too high"),
    "under-confidence": ("too high", "too low"),
}
"""Of questions about one number in two directions."""


@dataclass(frozen=True, slots=True)
class Template:
    """One finding in words; a clause has no capital and no full stop.

    Attributes:
        claim: S, from the result and the word for one item (`node`, `graph`).
        picture: P, likewise.
        first: what to do first, a sentence.
        sides: words for an excess below and above 0.
        items: what more of would make its interval shorter, where that is not the test items of the task; `{item}` is
            their word.
        sought: what was looked for, where the finding is a fact that has no interval.
        is_simple: what to do first is so little that it is said of whatever is found, also within its limit.
    """

    claim: Words
    picture: Words
    first: str
    sides: Sides = OWNER
    items: str = ""
    sought: str = ""
    is_simple: bool = False

    def counted(self, item: str) -> str:
        """One of what more would make its interval shorter: `test node`, `cluster`."""
        return (self.items or "test {item}").replace("{item}", item)


def template(finding: str) -> Template:
    """The template of a finding id: ours, or one that the table of a plug-in names."""
    return TEMPLATES.get(finding) or registry.templates().get(finding, OTHER)


def sides(result: Result) -> Sides:
    """Words for an excess below and above 0: those of the question, or of the finding."""
    return _SIDES.get(result.question) or template(result.finding).sides


def excess_cell(result: Result) -> tuple[str, str]:
    """The excess of a result and its range in a table: better or worse, or what its question calls the two sides."""
    return difference_cell(result.excess, result.unit, _SIDES.get(result.question, OWNER))


def basis(result: Result, control: str) -> str:
    """What the judged difference to a control is of, where it is not one of what the picture shows: its errors."""
    return f"of the errors of {names.control(control)}" if result.unit == "errors" else ""


def picture(result: Result, item: str) -> str:
    """P of a result, whatever of it is measured: the finding's own, or that of the kind of number."""
    facts = result.facts
    if isinstance(facts, BudgetCurve):
        return _budget_curve(result, facts, item)
    return template(result.finding).picture(result, item)


# ---- links ----------------------------------------------------------------------------------------------------------


def _links(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, LinkFacts):
        return _ranked(result, "link")
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


def _list(links: LinkList) -> str:
    about = "about " if links.sampled else ""
    found = f"{about}{digits(links.k.value)} are links"
    beside = "" if links.m is None else f"without the model {digits(links.m.value)}, "
    by_chance = links.r.value
    blind = "fewer than 1" if by_chance is not None and 0 < by_chance < 0.5 else digits(by_chance)
    return f"of the {digits(links.n_links)} likeliest pairs {found}; {beside}blindly {blind}"


def _few_alarms(result: Result, low: LowFpr) -> str:
    beside = None if low.control is None else low.control.value
    share = Shares.comparing(low.attack.value, beside, low.fpr)
    found = f"{share(low.attack.value)} links are found{_explained(result)}"
    text = f"if {share(low.fpr)} unlinked pairs is falsely named, {found}"
    if low.control is None:
        return f"{text}; blindly {share.bare(low.chance)}"
    return f"{text}; without the model {share.bare(beside)}, blindly {share.bare(low.chance)}"


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
        return _plain(result)
    share = Shares.comparing(own, beside)
    text = f"shown a {found} and {other}, it picks the {found} {_times(share, own)}"
    if control.name == "chance":
        return f"{text}; by chance {share.bare(beside)}"
    return f"{text}; without the model {share.bare(beside)}"


def _times(share: Shares, value: float | None) -> str:
    """`84 times in 100`."""
    return f"{share.bare(value)} times in {digits(share.of)}"


# ---- edits ----------------------------------------------------------------------------------------------------------


def _robust(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Robust):
        return _plain(result)
    clean, attacked = facts.clean.value, facts.attacked.value
    random, edge_free = (None if part is None else part.value for part in (facts.random, facts.edge_free))
    share = Shares.comparing(clean, attacked, random, edge_free, n=facts.attacked_items)
    right = f"{share(clean, item)} are right"
    if facts.no_edge_free == "edges-unused":
        return f"{right}; {_UNUSED}"
    made = f"{count(facts.edits, 'edit')} on purpose{_each(facts.edits, facts, item)}"
    left = [f"at most {share.bare(attacked)} after {made}"]
    if clean is not None and attacked is not None and attacked >= clean:
        left = [f"and no {count(facts.budget, 'edit')}{_each(facts.budget, facts, item)} were found that break one"]
    if random is not None:
        left.append(f"{share.bare(random)} after {_as_many(facts)} random ones")
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


def _below_edge_free(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Robust):
        return _plain(result)
    attacked, beside = _sides(result)
    share = Shares.comparing(attacked, beside, n=facts.attacked_items)
    edited = f"after {count(facts.edits, 'edit')}{_each(facts.edits, facts, item)}" if facts.edits else "unedited"
    text = f"{edited} it is right on {share(attacked, item)}"
    if facts.edge_free is not None:
        return f"{text}; trained without any edge it would be right on {share.bare(beside)}"
    why = _NO_EDGE_FREE.get(facts.no_edge_free, "")
    text += f"; always naming the commonest class would be right on {share.bare(beside)}"
    return f"{text} ({why})" if why else text


def _worse_without(result: Result, item: str) -> str:
    facts = result.facts
    constant = isinstance(facts, Robust) and facts.edge_free is None
    beside = "always naming the commonest class" if constant else "one trained without any edge"
    return f"{INSIDER} can make the model worse than {beside}"


def _each(made: int, facts: Robust, item: str) -> str:
    """` (0.3 per node)`."""
    return f" ({rate(made, facts.attacked_items, item)})" if made and facts.attacked_items else ""


def _as_many(facts: Robust) -> str:
    return "as many" if facts.budget == facts.edits else digits(facts.budget)


def _budget_curve(result: Result, facts: BudgetCurve, item: str) -> str:
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
    return _plain(result)


def _prototype_edit(result: Result, item: str) -> str:
    own, beside = _sides(result)
    if own is None:
        return _plain(result)
    places = decimals([own, beside], least=2)
    text = f"an edge there {_costs(own, places)} right answers"
    return text if beside is None else f"{text}, a random one {_costs(beside, places)}"


def _costs(value: float, places: int) -> str:
    return f"{'saves' if value < 0 else 'costs'} {digits(abs(value), places)}"


def _jump(result: Result, item: str) -> str:
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


def _gap(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Damage):
        return _plain(result)
    shifted, clean = _sides(result)
    share = Shares.comparing(clean, shifted, n=result.estimate.n)
    what = names.damage(facts.damage, facts.severity)
    return f"{share(shifted, item)} are right with {what}, {share.bare(clean)} before"


def _worst_group(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Group):
        return _plain(result)
    own, beside = _sides(result)
    share = Shares.comparing(own, beside, n=facts.members)
    who = f"the {count(facts.members, item)} with {names.group(facts.cut_by, facts.group)}"
    text = f"{share.bare(own)} of {who} are right" if share.counted else f"{share(own)} right of {who}"
    other = f"the worst of {digits(facts.groups)} random groups" if facts.groups > 1 else "the rest"
    seen = "" if facts.detectable is None else f"; a group up to {_points(facts.detectable)} points worse may go unseen"
    return text if beside is None else f"{text}; {other} {share.bare(beside)}{seen}"


def _miscalibrated(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Confidence):
        return _plain(result)
    if facts.bins:
        error, floor = _sides(result)
        apart = f"confidence and accuracy lie {_points(error)} points apart in bins of confidence ({facts.bins})"
        return apart if floor is None else f"{apart}; {_points(floor)} would show without any error"
    sure, right = facts.confidence.value, facts.accuracy.value
    share = Shares.comparing(sure, right)
    said = MISSING if sure is None else digits(100 * sure, share.places)
    return f"it says {said} % on average and is right {_times(share, right)}"


def _more_or_less_sure(result: Result, item: str) -> str:
    return f"the model is {'less' if result.question == 'under-confidence' else 'more'} sure than it should be"


def _detection(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Detection):
        return _plain(result)
    clean, shifted = facts.clean.value, facts.shifted.value
    right = Shares.comparing(clean, shifted, n=result.estimate.n)
    told = Shares.comparing(result.estimate.value)
    fall = (
        f"{right(clean, item)} are right before, {right.bare(shifted)} with "
        f"{names.damage(facts.damage, facts.severity)}"
    )
    pairs = f"{told.bare(result.estimate.value)} of {digits(told.of)} pairs, by chance {told.bare(0.5)}"
    return f"{fall}; the damaged one is the less sure in {pairs}"


def _non_finite(result: Result, item: str) -> str:
    share = Shares.comparing(result.estimate.value, n=result.estimate.n)
    kind, _, severity = result.subset.partition("=")
    return f"for {share(result.estimate.value, item)} with {names.damage(kind, severity)} the answer is not a number"


# ---- what lies in a file --------------------------------------------------------------------------------------------


def _small(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Shipped):
        return _member(result, item)
    text = f"{digits(facts.count)} of {count(facts.of, 'stored average')} are of under 5 nodes"
    if facts.alone:
        return f"{text}, {digits(facts.alone)} of one"
    return text if facts.smallest is None else f"{text}, the smallest of {count(facts.smallest, 'node')}"


def _live(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Shipped):
        return _plain(result)
    stored = result.control.estimate.value if result.control is not None else None
    text = f"the file holds the ids of {digits(facts.count)} of {count(facts.of, 'training node')}"
    needs = "none" if stored == 0 else digits(stored)
    return text if stored is None else f"{text}; stored averages need {needs}"


def _member(result: Result, item: str) -> str:
    own, beside = _sides(result)
    if result.unit != "auc" or result.control is None:
        return _plain(result)
    share = Shares.comparing(own, beside)
    other = "by chance" if result.control.name == "chance" else "with averages of other nodes"
    text = f"shown a training node and another of its cluster, it picks the training node {_times(share, own)}"
    return f"{text}; {other} {share.bare(beside)}"


# ---- defences -------------------------------------------------------------------------------------------------------


def _costs_answers(result: Result, item: str) -> str:
    where = {"worst_case_accuracy": " under edits", "poisoned_accuracy": " on the poisoned graph"}
    return f"the defence {result.arm} costs right answers{where.get(result.metric, '')}"


def _gain(result: Result, item: str) -> str:
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


def _effect(result: Result, item: str) -> str:
    own, beside = _sides(result)
    share = Shares.comparing(own, beside)
    where = f" of {result.subset}" if result.subset else ""
    return f"{share(own, item)}{where} right (mean of classes); the control {share.bare(beside)}"


def _nothing(result: Result, item: str) -> str:
    facts = result.facts
    if not isinstance(facts, Decorrelation):
        return _plain(result)
    share = Shares.comparing(facts.permuted_share)
    return f"shuffled columns depend {share(facts.permuted_share)} as much as the real ones"


# ---- everything else ------------------------------------------------------------------------------------------------


def _plain(result: Result, item: str = "") -> str:
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


def _other(result: Result, item: str) -> str:
    beside = "its control" if result.control is None else names.control(result.control.name)
    return f"the model does worse than {beside} in {names.metric(result.metric)}"


def _sides(result: Result) -> tuple[float | None, float | None]:
    """Own number and that of the control, on the items that the two were compared on: they subtract to the contrast."""
    control: Control | None = result.control
    return result.own.value, None if control is None else control.estimate.value


def _points(value: float | None) -> str:
    return MISSING if value is None else digits(abs(100 * value), 1)


def _said(text: str) -> Words:
    """A clause that is the same for every result."""
    return lambda result, item: text


OTHER: Final = Template(_other, _plain, "Find out what is behind it before the model is used.")

TEMPLATES: Final[Mapping[str, Template]] = {
    "privacy-link-stealing": Template(
        _said(f"{ANYONE} can find links better than without the model"),
        _links,
        "Serve labels or fewer digits and audit again; edge-level differential privacy does more.",
        FOUND,
        "node",
    ),
    "privacy-link-inversion": Template(
        _said(f"{INFORMED} can rebuild links better than without it"),
        _links,
        "Keep the file and serve answers.",
        FOUND,
        "node",
    ),
    "robustness-structure": Template(
        _said(f"{INSIDER} can break more answers than chance"),
        _robust,
        "Limit and log who creates edges; harden the model.",
    ),
    "robustness-below-edge-free": Template(
        _worse_without,
        _below_edge_free,
        "Limit and log who creates edges; harden the model, or serve one that does without them.",
    ),
    "shift-gap": Template(_said("the model loses right answers under mild damage"), _gap, "Train with that damage."),
    "shift-worst-group": Template(
        _said("the model serves one group worse than chance explains"),
        _worst_group,
        "Collect labels for that group, or let a person judge it.",
    ),
    "shift-miscalibrated": Template(
        _more_or_less_sure,
        _miscalibrated,
        "Fit a temperature on validation items (auditor defend TARGET --defense temperature -o DIR), and audit again.",
        is_simple=True,
    ),
    "shift-silent-failure": Template(
        _said("the model stays sure while it fails"), _detection, "Watch the inputs, not the confidence."
    ),
    "shift-inverted-confidence": Template(
        _said("the model gets surer as it fails"), _detection, "Do not use this score as an alarm."
    ),
    "shift-non-finite": Template(
        _said("the model gives answers that are not numbers"), _non_finite, "Guard the division that makes them."
    ),
    "joint-table-leaks-edges": Template(
        _said(f"{HOLDER} can find links by its table of clusters"),
        _links,
        "Find clusters by the nearest average (assignment=nearest), or keep the file.",
        FOUND,
        "node",
    ),
    "joint-small-prototype": Template(
        _said("the model stores averages of next to nobody"),
        _small,
        "Ask for at least 5 nodes behind every average (min-occupancy).",
        FOUND,
        sought="averages of too few nodes",
    ),
    "joint-live-needs-training-graph": Template(
        _said("the model ships its training nodes"),
        _live,
        "Store the averages (prototypes=frozen).",
        sought="ids of training nodes in the file",
    ),
    "joint-cluster-jump": Template(
        _said("whoever adds edges can move a node to another cluster"),
        _jump,
        "Store the averages (prototypes=frozen).",
    ),
    "prototype-membership": Template(
        _said(f"{HOLDER} can tell who is in an average"), _member, "Use fewer, larger clusters.", FOUND, "node"
    ),
    "prototype-edit": Template(
        _said(f"{INSIDER} can break a cluster through few nodes"),
        _prototype_edit,
        "Store the averages (prototypes=frozen).",
        items="cluster",
    ),
    "defense-gain": Template(_costs_answers, _gain, "Leave the defence out, unless for its guarantee."),
    "l2r-effect": Template(_said("learned weights do harm"), _effect, "Name the groups, or leave the weights out."),
    "l2r-nothing-to-decorrelate": Template(
        _said("the learned weights have nothing to remove"),
        _nothing,
        "Leave the weights out.",
        sought="dependence that is there without them",
    ),
}
