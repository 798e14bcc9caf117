"""What may be said of each finding: who can do what (S), what that looks like (P), and what to do first.

Both are functions of a result and its typed facts. A finding of a plug-in has the template that its table brings
(`Table.templates`), or the general one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from auditor import registry
from auditor.document import RECIPE, Result
from auditor.document.facts import BudgetCurve
from auditor.document.results import Question
from reports.sentences import briefs, names, pictures
from reports.sentences.briefs import Brief, Figure, Remedy, Words
from reports.sentences.numbers import FOUND, OWNER, Sides, difference_cell
from reports.sentences.pictures import INSIDER

ANYONE = "anyone who receives the {answers}"
OWN_ASKER = "anyone who may ask about nodes of their own"
EDIT_ASKER = "anyone who may ask about edited graphs"
HOLDER = "whoever holds the model file"
ASKER = "anyone who may ask again with changed features"
FEATURE_EDITOR = "an insider who edits features and knows model and data"
NODE_ADDER = "an insider who adds nodes and knows model and data"
INFORMED = "whoever holds the {file}, features and labels"
MAKER = "anyone with features and labels who may ask about graphs that they make up"


_EDITING = "people you do not trust can edit edges"
_UNNOTICED = Brief(
    exposure="data arrives incomplete and its confidence is the alarm",
    label=briefs.detection_label,
    figure=briefs.detection,
)
_DEFENDED = Brief(exposure="the defence is used", label=briefs.defended_label)

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
        brief: the same for somebody with ten seconds.
    """

    claim: Words
    picture: Words
    first: str
    sides: Sides = OWNER
    items: str = ""
    sought: str = ""
    is_simple: bool = False
    brief: Brief = briefs.GENERAL

    def counted(self, item: str) -> str:
        """One of what more would make its interval shorter: `test node`, `cluster`."""
        return (self.items or "test {item}").replace("{item}", item)


def template(finding: str) -> Template:
    """The template of a finding id: ours, or one that the table of a plug-in names."""
    return TEMPLATES.get(finding) or registry.templates().get(finding, OTHER)


def who(result: Result) -> str:
    """Who can do what a result is about; empty where nobody has to attack."""
    return names.filled(template(result.finding).brief.who, result.access)


def first(result: Result) -> str:
    """What to do first, a sentence."""
    return names.filled(template(result.finding).first, result.access)


def remedies(result: Result) -> tuple[Remedy, ...]:
    """What to do that is a command, and that lowers what this adversary holds."""
    return tuple(each for each in template(result.finding).brief.remedies if not each.of or each.of in result.access)


def sides(result: Result) -> Sides:
    """Words for an excess below and above 0: those of the question, or of the finding."""
    return _SIDES.get(result.question) or template(result.finding).sides


def excess_cell(result: Result) -> tuple[str, str]:
    """The excess of a result and its range in a table: better or worse, or what its question calls the two sides."""
    return difference_cell(result.excess, result.unit, _SIDES.get(result.question, OWNER))


def basis(result: Result, control: str) -> str:
    """What the judged difference to a control is of, where it is not one of what the picture shows: its errors."""
    return f"of the errors of {names.control(control)}" if result.unit == "errors" else ""


def figure(result: Result, item: str) -> Figure:
    """The one figure of a result for somebody with ten seconds."""
    drawn = template(result.finding).brief.figure
    text = "" if drawn is not None else picture(result, item)
    found = drawn(result, item) if drawn is not None else Figure("", text, text)
    if result.arm != RECIPE:
        return found
    return Figure(found.large, found.text, f"of models that its recipe trained anew, {found.line}")


def picture(result: Result, item: str) -> str:
    """P of a result, whatever of it is measured: the finding's own, or that of the kind of number."""
    facts = result.facts
    if isinstance(facts, BudgetCurve):
        return pictures.budget_curve(result, facts, item)
    return template(result.finding).picture(result, item)


_said, _links_label = briefs.said, briefs.links_label

OTHER: Final = Template(pictures.other, pictures.plain, "Find out what is behind it before the model is used.")

_TEMPERATURE = Remedy("temperature", "Minutes; no class changes.")
_COARSE = Remedy("coarse-outputs:digits=1", "Seconds; no class changes, and the answers say less.", of="posteriors")
_LABELS = Remedy("coarse-outputs:labels-only=true", "Seconds; no class changes, and the answers are classes alone.")
_LABELS_PERHAPS = replace(_LABELS, compares=True)
_JOINT = Remedy("joint-cluster", "Trains the model anew; it may not help.", compares=True)


def _membership(item: str) -> Template:
    """Whoever has answers asks who was trained on."""
    return Template(
        _said(f"{ANYONE} can tell which {item}s the model was trained on"),
        pictures.members,
        "Serve labels or fewer digits and stop training earlier; differential privacy does more.",
        FOUND,
        item,
        brief=Brief(
            ANYONE,
            "taking part is confidential",
            briefs.member_label(item),
            briefs.members(item),
            (_COARSE,),
            is_asked_often=True,
        ),
    )


TEMPLATES: Final[Mapping[str, Template]] = {
    "privacy-link-stealing": Template(
        _said(f"{ANYONE} can find links better than without the model"),
        pictures.links,
        "Serve {less} and audit again; edge-level differential privacy does more.",
        FOUND,
        "node",
        brief=Brief(
            ANYONE,
            "links are confidential",
            _links_label("Links read from the {answers}"),
            briefs.links("its {answers}"),
            (_COARSE,),
        ),
    ),
    "privacy-explanation": Template(
        _said("anyone who receives explanations of the answers can find links better than without the model"),
        pictures.links,
        "Explain each answer by itself, not all in one pass, and to few people; then audit again.",
        FOUND,
        "node",
        brief=Brief(
            "anyone who receives explanations of the answers",
            "links are confidential and answers are explained",
            _links_label("Links read from explanations"),
            briefs.links("explanations of its answers"),
        ),
    ),
    "privacy-link-inversion": Template(
        _said(f"{INFORMED} can rebuild links better than without it"),
        pictures.links,
        "Keep the file and serve answers.",
        FOUND,
        "node",
        brief=Brief(
            INFORMED,
            "links are confidential and the file is handed out",
            _links_label("Links rebuilt from the file{and_answers}"),
            briefs.links("its file"),
        ),
    ),
    "privacy-membership-node": _membership("node"),
    "privacy-membership-graph": _membership("graph"),
    "privacy-link-influence": Template(
        _said(f"{ASKER} can find links better than without the model"),
        pictures.links,
        "Serve labels alone and audit again, or answer from stored predictions, so that no query is computed.",
        FOUND,
        "node",
        brief=Brief(
            ASKER,
            "links are confidential and nodes may be asked about again",
            _links_label("Links read from what queries change"),
            briefs.links("queries"),
            (_LABELS,),
        ),
    ),
    "privacy-link-made-up-graphs": Template(
        _said(f"{MAKER} can rebuild links better than without the model"),
        pictures.links,
        "Take graphs of nobody's own making, or limit and log how many one client asks about.",
        FOUND,
        "node",
        brief=Brief(
            MAKER,
            "links are confidential and the model answers about any graph",
            _links_label("Links rebuilt by asking about made-up graphs"),
            briefs.links("queries"),
        ),
    ),
    "privacy-extraction": Template(
        _said(f"{OWN_ASKER} can copy the model more closely than true labels of the same nodes allow"),
        pictures.copied,
        "Limit and log how many answers one client gets, and serve labels.",
        FOUND,
        "node of its own",
        brief=Brief(
            OWN_ASKER,
            "the model is not to be copied",
            _said("A copy made from the answers"),
            briefs.copied,
            (_LABELS_PERHAPS,),
        ),
    ),
    "privacy-attribute": Template(
        pictures.tells,
        pictures.attribute,
        "Serve labels or fewer digits and audit again; train without that column where it is not needed.",
        FOUND,
        "node",
        brief=Brief(
            ANYONE,
            "that column is confidential",
            _said("A sensitive column guessed from the answers"),
            briefs.attribute,
            (_COARSE,),
        ),
    ),
    "robustness-structure": Template(
        _said(f"{INSIDER} can break more answers than chance"),
        pictures.robust,
        "Limit and log who creates edges; harden the model.",
        brief=Brief(INSIDER, _EDITING, briefs.budget_label("Edges edited on purpose"), briefs.robust, (_JOINT,)),
    ),
    "robustness-below-edge-free": Template(
        pictures.worse_without,
        pictures.below_edge_free,
        "Limit and log who creates edges; harden the model, or serve one that does without them.",
        brief=Brief(
            INSIDER,
            _EDITING,
            briefs.budget_label("Worse than without edges"),
            briefs.below_edge_free,
            (_JOINT,),
        ),
    ),
    "robustness-node": Template(
        _said(f"{INSIDER} can break the answer about a node of their choice more often than chance"),
        pictures.single_nodes,
        "Limit and log who creates edges; let a person judge nodes that one edge decides.",
        items="node",
        brief=Brief(INSIDER, _EDITING, briefs.said("Single nodes edited on purpose"), briefs.single_nodes, (_JOINT,)),
    ),
    "robustness-features": Template(
        _said(f"{FEATURE_EDITOR} can break more answers than chance"),
        pictures.edited,
        "Check features where they come in, against ranges and against what a node had before.",
        brief=Brief(
            FEATURE_EDITOR,
            "people you do not trust can edit features",
            briefs.budget_label("Features edited on purpose"),
            briefs.edited,
        ),
    ),
    "robustness-black-box": Template(
        _said(f"{EDIT_ASKER} can break more answers than as many random tries"),
        pictures.robust,
        "Limit and log who may ask about edited graphs, and how often; harden the model.",
        brief=Brief(EDIT_ASKER, _EDITING, briefs.budget_label("Edges edited by asking"), briefs.robust, (_JOINT,)),
    ),
    "robustness-poisoning": Template(
        _said("whoever edits edges before the training can break more answers than chance"),
        pictures.poisoned,
        "Check where edges of training data come from before every training, and harden the recipe.",
        items="training",
        brief=Brief(
            "whoever edits edges before the training",
            "people you do not trust can edit the data that it is trained on",
            briefs.budget_label("Trained on edited edges"),
            briefs.poisoned,
            (_JOINT,),
        ),
    ),
    "robustness-certificate": Template(
        _said("edits can change answers of a vote about which nothing is proven"),
        pictures.certified,
        "Serve the vote where a guarantee is worth the answers that it costs.",
        brief=Brief(exposure="a guarantee is asked for", label=briefs.certified_label, figure=briefs.certified),
    ),
    "robustness-injection": Template(
        _said(f"{NODE_ADDER} can break more answers than chance"),
        pictures.edited,
        "Let new nodes wait, or count for less, before the model reads them beside old ones.",
        brief=Brief(
            NODE_ADDER,
            "people you do not trust can add nodes",
            briefs.budget_label("Nodes added on purpose"),
            briefs.edited,
        ),
    ),
    "shift-gap": Template(
        _said("the model loses right answers under mild damage"),
        pictures.gap,
        "Train with that damage.",
        brief=Brief(exposure="data arrives incomplete", label=briefs.damage_label, figure=briefs.gap),
    ),
    "graph-no-benefit": Template(
        _said("the model does as well without the graph"),
        pictures.worth,
        "Serve what does without the graph: it is right as often, and no edge can mislead it or be read off it.",
        brief=Brief(
            exposure="the graph costs anything to keep",
            label=_said("Worth of the graph"),
            figure=briefs.worth,
        ),
    ),
    "split-transductive-gap": Template(
        _said("right answers hang on edges of test items that were there in training"),
        pictures.hidden_edges,
        "Hide those edges in training and report what is left, if new items are to be answered about.",
        brief=Brief(
            exposure="items come that were not there in training",
            label=_said("Edges of test items hidden in training"),
            figure=briefs.hidden_edges,
        ),
    ),
    "shift-heldout-gap": Template(
        _said("the model loses right answers on data that was held out"),
        pictures.heldout,
        "Collect labels there and train with them, or let a person judge such data.",
        brief=Brief(exposure="such data is served", label=briefs.domain_label("Held-out data"), figure=briefs.heldout),
    ),
    "shift-below-constant": Template(
        _said("the model is worse on held-out data than always naming one class"),
        pictures.below_constant,
        "Do not use it there.",
        brief=Brief(
            exposure="such data is served", label=briefs.domain_label("Worse than one class"), figure=briefs.heldout
        ),
    ),
    "shift-structural-gap": Template(
        _said("the recipe loses right answers on nodes with another place in the graph"),
        pictures.structural,
        "Label nodes of that kind and train with them, if the model is to be asked about such.",
        brief=Brief(
            exposure="nodes come with another place in the graph",
            label=briefs.domain_label("Another place in the graph"),
            figure=briefs.structural,
        ),
    ),
    "shift-class-mix": Template(
        pictures.class_mix_claim,
        pictures.class_mix,
        "Weigh the answers by the class mix that is expected there.",
        brief=Brief(
            exposure="such data is served", label=briefs.domain_label("Another class mix"), figure=briefs.heldout
        ),
    ),
    "shift-worst-group": Template(
        _said("the model serves one group worse than chance explains"),
        pictures.worst_group,
        "Collect labels for that group, or let a person judge it.",
        brief=Brief(
            exposure="that group is served",
            label=briefs.said("Weakest group"),
            figure=briefs.worst_group,
        ),
    ),
    "shift-miscalibrated": Template(
        pictures.more_or_less_sure,
        pictures.miscalibrated,
        "Fit a temperature on validation items, and audit again.",
        is_simple=True,
        brief=Brief(
            exposure="anyone relies on its confidence",
            label=briefs.confidence_label,
            figure=briefs.miscalibrated,
            remedies=(_TEMPERATURE,),
        ),
    ),
    "shift-silent-failure": Template(
        _said("the model stays sure while it fails"),
        pictures.detection,
        "Watch the inputs, not the confidence.",
        brief=_UNNOTICED,
    ),
    "shift-ood-unnoticed": Template(
        _said("the model is surer of data that is unlike its own"),
        pictures.unlike,
        "Watch the inputs, or use a score that tells them; the others are in the tables.",
        brief=Brief(
            exposure="data may come that is unlike its own and confidence is the alarm",
            label=briefs.unlike_label,
            figure=briefs.unlike,
        ),
    ),
    "shift-prototypes-no-benefit": Template(
        _said("distances to typical training graphs tell strange graphs worse than their sizes do"),
        pictures.prototypical,
        "Watch sizes and averages instead: they cost next to nothing.",
        brief=Brief(
            exposure="strange graphs may come",
            label=briefs.prototypical_label,
            figure=briefs.prototypical,
        ),
    ),
    "shift-new-class-unnoticed": Template(
        _said("the recipe is surer of a class that it never saw"),
        pictures.new_class,
        "Do not take confidence for an alarm where new classes may come; the other scores are in the tables.",
        brief=Brief(
            exposure="new classes may come and confidence is the alarm",
            label=briefs.new_class_label,
            figure=briefs.new_class,
        ),
    ),
    "shift-inverted-confidence": Template(
        _said("the model gets surer as it fails"),
        pictures.detection,
        "Do not use this score as an alarm.",
        brief=_UNNOTICED,
    ),
    "shift-non-finite": Template(
        _said("the model gives answers that are not numbers"),
        pictures.non_finite,
        "Guard the division that makes them.",
        brief=Brief(exposure="data arrives incomplete", label=briefs.said("Answers that are not numbers")),
    ),
    "joint-table-leaks-edges": Template(
        _said(f"{HOLDER} can find links by its table of clusters"),
        pictures.links,
        "Find clusters by the nearest average (assignment=nearest), or keep the file.",
        FOUND,
        "node",
        brief=Brief(
            HOLDER,
            "links are confidential and the file is handed out",
            _links_label("Links read from the table of clusters"),
            briefs.links("its table"),
        ),
    ),
    "joint-small-prototype": Template(
        _said("the model stores averages of next to nobody"),
        pictures.small,
        "Ask for at least 5 nodes behind every average (min-occupancy).",
        FOUND,
        sought="averages of too few nodes",
        brief=Brief(
            HOLDER,
            "the file is handed out",
            briefs.said("Averages of next to nobody"),
            briefs.shipped("stored average", "of under 5 nodes"),
        ),
    ),
    "joint-live-needs-training-graph": Template(
        _said("the model ships its training nodes"),
        pictures.live,
        "Store the averages (prototypes=frozen).",
        sought="ids of training nodes in the file",
        brief=Brief(
            HOLDER,
            "the file is handed out",
            briefs.said("Training nodes in the file"),
            briefs.shipped("training node", "named in the file"),
        ),
    ),
    "joint-cluster-jump": Template(
        _said("whoever adds edges can move a node to another cluster"),
        pictures.jump,
        "Store the averages (prototypes=frozen).",
        brief=Brief("whoever adds edges", _EDITING, briefs.said("Nodes moved to another cluster")),
    ),
    "prototype-membership": Template(
        _said(f"{HOLDER} can tell who is in an average"),
        pictures.member,
        "Use fewer, larger clusters.",
        FOUND,
        "node",
        brief=Brief(
            HOLDER,
            "taking part is confidential and the file is handed out",
            briefs.said("Members read from averages"),
            briefs.ranked("training node", "another of its cluster"),
        ),
    ),
    "prototype-edit": Template(
        _said(f"{INSIDER} can break a cluster through few nodes"),
        pictures.prototype_edit,
        "Store the averages (prototypes=frozen).",
        items="cluster",
        brief=Brief(INSIDER, _EDITING, briefs.said("Edits at a cluster")),
    ),
    "defense-gain": Template(
        pictures.costs_answers, pictures.gain, "Leave the defence out, unless for its guarantee.", brief=_DEFENDED
    ),
    "l2r-effect": Template(
        _said("learned weights do harm"),
        pictures.effect,
        "Name the groups, or leave the weights out.",
        brief=_DEFENDED,
    ),
    "l2r-nothing-to-decorrelate": Template(
        _said("the learned weights have nothing to remove"),
        pictures.nothing,
        "Leave the weights out.",
        sought="dependence that is there without them",
        brief=_DEFENDED,
    ),
}


def called(results: Iterable[Result]) -> list[str]:
    """What results are called in a list, each once: what is given away by its finding, all else by its question.

    A finding that was judged by how it ranks and at few false alarms is named by the first.
    """
    found: dict[str, str] = {}
    for result in sorted(results, key=lambda result: result.question != "ranking"):
        is_leak = result.family == "privacy"
        key = result.finding if is_leak else names.asked(result)
        found.setdefault(key, template(result.finding).brief.label(result, "") if is_leak else key)
    return list(found.values())
