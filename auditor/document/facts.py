"""What a sentence about a result needs beyond its own numbers: one typed record for each kind of harness.

A record holds counts and Estimates, never prose.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from auditor.guarantee import Guarantee
from auditor.records import Model, Number
from auditor.statistics.estimate import Contrast, Estimate

Severity = Literal["none", "low", "medium", "high", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From nothing to the worst."""


class LinkList(Model):
    """The N likeliest pairs, N being the number of links.

    Attributes:
        n_links: N.
        k: links among the pairs that attack and side knowledge together name.
        m: among those that the strongest guess without the model names; None without one.
        r: among as many pairs drawn blindly, N × density.
        sampled: whether non-edges are a sample, so that counts are estimates.
    """

    n_links: int
    k: Estimate
    m: Estimate | None
    r: Estimate
    sampled: bool


class LowFpr(Model):
    """Positives found where few negatives are accused.

    Attributes:
        fpr: share of negatives that are accused.
        attack, control: share of positives found by attack and side knowledge together, and by the strongest guess
            without the model; None without one.
        chance: what guessing finds, equal to `fpr`.
    """

    fpr: float
    attack: Estimate
    control: Estimate | None
    chance: float


class Twin(Model):
    """How close a model retrained on a rewired graph is to the target; `accuracy` None where it could not be made."""

    scheme: str
    overlap: Number = None
    homophily: Number = None
    homophily_real: Number = None
    accuracy: Number = None


class Rival(Model):
    """An adversary with the model beside one control, on the pairs of that comparison; AUCs.

    Attributes:
        control: its name.
        twin: whether the control attacks a model on a rewired graph.
        with_model: attack and control together, A.
        without_model: the control alone, c; of a twin, its own attack together with the same control.
        in_reverse: the attack's score counts in reverse: linked nodes are the unlike ones.
        positives, negatives: edges and non-edges of these pairs.
    """

    control: str
    twin: bool = False
    with_model: Estimate
    without_model: Estimate
    in_reverse: bool = False
    positives: int
    negatives: int


class Draws(Model):
    """Draws of attacked nodes under the protocol of papers."""

    draws: int
    edges_per_draw: float
    nodes_per_draw: int
    sd_over_draws: float


class LinkFacts(Model):
    """Pairs behind a link metric.

    Attributes:
        positives, negatives: edges and non-edges scored.
        needed: non-edges that the metric wants, where there are fewer: then it has no number.
        knowledge: what the adversary knows besides the model (`features`, `labels`).
        in_reverse: the attack's score counts in reverse, see `Rival`.
        rivals: every comparison behind the headroom, the strongest guess without the model first.
        links: the likeliest pairs as a list.
        low_fpr: for metrics at few false alarms.
        twin: for a row about a rewired graph.
        draws: for the protocol of papers.
        queries: that were asked; None for an attack that asks none.
        views: scores that the attack adds up; none where it is one score.
    """

    kind: Literal["links"] = "links"
    positives: int
    negatives: int
    needed: int | None = None
    knowledge: tuple[str, ...] = ()
    in_reverse: bool = False
    rivals: tuple[Rival, ...] = ()
    links: LinkList | None = None
    low_fpr: LowFpr | None = None
    twin: Twin | None = None
    draws: Draws | None = None
    queries: int | None = None
    views: tuple[str, ...] = ()


class MemberFacts(Model):
    """Members and others behind a number about membership.

    Attributes:
        members, others: items that the model was trained on, and test items.
        needed: others that the metric wants, where there are fewer: then it has no number.
        query: how the model was asked: `full`, its served answers; `0-hop`, a node without its edges.
        attack: which attack scored them, where a probe has several.
        group: the part of the items that it is about, `class=3`; empty for all of them.
        rivals: every comparison behind the headroom, the strongest guess without the model first.
        low_fpr: for metrics at few false accusations.
    """

    kind: Literal["members"] = "members"
    members: int
    others: int
    needed: int | None = None
    query: str = ""
    attack: str = ""
    group: str = ""
    rivals: tuple[Rival, ...] = ()
    low_fpr: LowFpr | None = None


class Copy(Model):
    """A copy of the model, made from its answers.

    Attributes:
        structure: edges that the adversary has among its nodes: `own`, `knn` or `none`.
        learned: what it learns from: `posteriors` or `labels`.
        budget: nodes asked about, as a share of those that may be.
        answers: nodes asked about.
        accuracy, copy_accuracy: share of the judged nodes with a label that the model and the copy answer right.
    """

    kind: Literal["copy"] = "copy"
    structure: str
    learned: str
    budget: float
    answers: int
    accuracy: Number = None
    copy_accuracy: Number = None


class Attribute(Model):
    """A sensitive column told from answers.

    Attributes:
        column: as the user named it.
        about: `binary`, `classes` or `number`.
        known: share of the nodes whose value the adversary knows.
        knowledge: what else it holds besides the answers (`features`, `labels`, `neighbours`).
    """

    kind: Literal["attribute"] = "attribute"
    column: str
    about: Literal["binary", "classes", "number"]
    known: float
    knowledge: tuple[str, ...] = ()


NoEdgeFree = Literal["", "no-recipe", "failed", "not-better", "edges-unused"]
"""Why there is no model trained without edges: no recipe to train it by; its training failed; it was no better than
always naming the commonest class, on the validation items; or the model itself is one, since no edge can change an
answer of it."""


class Robust(Model):
    """Accuracy under edits at one budget.

    Attributes:
        clean: nothing edited.
        attacked: the worst verified set of edits.
        random: random edits of the same budget; None where that control did not run.
        edge_free: the same recipe trained without edges; None where there is no such model.
        no_edge_free: why there is none; empty where there is one.
        majority: share of the commonest class.
        edits: edits that the worst set makes.
        budget: edits it was allowed.
        additions, deletions: of the worst set.
        attacked_items: how many items were attacked.
        winner: which attack was the worst.
        attempts: accuracy left by each attack that was tried, by name.
        queries: that the worst one asked; None for an attack that asks none.
    """

    kind: Literal["robust"] = "robust"
    clean: Estimate
    attacked: Estimate
    random: Estimate | None
    edge_free: Estimate | None
    no_edge_free: NoEdgeFree = ""
    majority: float
    edits: int
    budget: int
    additions: int
    deletions: int
    attacked_items: int
    winner: str
    attempts: dict[str, float] = Field(default_factory=dict)
    queries: int | None = None


class SingleNodes(Model):
    """Nodes that were attacked one by one.

    Attributes:
        group: how they were chosen: `uniform`, `margin40`, `degree=8-10`.
        mode: which edges were edited: `direct`, at the node itself; `influencer`, near it; `additions`, `deletions`.
        flips: edits allowed at each: `one`, or as many as the node has edges (`degree`).
        attacked: nodes.
        tries: random sets of as many edits at each node, the best of which is the control; 0 where it did not run.
        median_flips: edits that half of the nodes break within; None where fewer than half break.
        largest: most edits allowed at one node.
    """

    kind: Literal["single-nodes"] = "single-nodes"
    group: str
    mode: str
    flips: Literal["one", "degree"]
    attacked: int
    tries: int
    median_flips: Number = None
    largest: int


class EditedData(Model):
    """Accuracy after features were edited, or nodes added, at one budget.

    Attributes:
        what: `bits` toggled, `values` moved, or `nodes` added.
        clean: nothing edited.
        attacked: the worst verified edit.
        random: random edits of the same budget; None where that control did not run.
        edits: bits toggled or nodes added by the worst edit; 0 for values.
        budget: how many were allowed; 0 for values.
        radius: largest change of a value, in standard deviations; None for the others.
        edges: edges of each added node; None for the others.
        attacked_items: how many items were attacked.
        winner: which attack was the worst.
        attempts: accuracy left by each attack that was tried, by name.
    """

    kind: Literal["edited-data"] = "edited-data"
    what: Literal["bits", "values", "nodes"]
    clean: Estimate
    attacked: Estimate
    random: Estimate | None
    edits: int = 0
    budget: int = 0
    radius: Number = None
    edges: int | None = None
    attacked_items: int
    winner: str
    attempts: dict[str, float] = Field(default_factory=dict)


class Poisoned(Model):
    """Accuracy of a recipe trained anew on an edited graph, as a mean over trainings.

    Attributes:
        clean, poisoned: trained on the clean graph, and on the edited one.
        random: trained on one with as many random edits; None where that control did not run.
        fixed: what the target itself, not trained anew, keeps on the edited graph.
        edits, budget: edits that were made, and how many were allowed.
        trainings: of every arm, from the same seeds.
        by_seed: accuracy of each poisoned training.
        items: test items.
    """

    kind: Literal["poisoned"] = "poisoned"
    clean: Estimate
    poisoned: Estimate
    random: Estimate | None
    fixed: Number = None
    edits: int
    budget: int
    trainings: int
    by_seed: tuple[float, ...] = ()
    items: int


class BudgetCurve(Model):
    """What sums up a curve of accuracy against budget.

    Attributes:
        reference: the model without edges that the area is relative to; empty where it is not.
        reference_error: its share of wrong answers.
        majority: share of the commonest class.
        largest_budget: where the curve ends, as a share of the edges.
        median_edits: edits that half of the broken items need.
    """

    kind: Literal["budget-curve"] = "budget-curve"
    reference: str = ""
    reference_error: Number = None
    majority: Number = None
    largest_budget: Number = None
    median_edits: Number = None


class Certified(Model):
    """Answers of a vote that are proven to stand so many edits.

    Attributes:
        votes: what votes: `parts` of the edges, or copies with `noise` on them.
        voters: how many answers make a vote.
        clean: the vote, unedited.
        target: the model itself, unedited.
        edits: which ones: `flips` of any kind, `additions` or `deletions`.
        count: how many; 0 for the vote as it is.
        random: the vote after as many random edits; None where none were made.
        found: after the worst of all edits that were made; likewise.
        exact: whether every set of so many edits was made.
        abstained: items on which no class surely has the majority, so that nothing can be certified.
        items: how many items were asked about.
    """

    kind: Literal["certified"] = "certified"
    votes: Literal["parts", "noise"]
    voters: int
    clean: Estimate
    target: Estimate
    edits: Literal["flips", "additions", "deletions"] = "flips"
    count: int = 0
    random: Estimate | None = None
    found: Estimate | None = None
    exact: bool = False
    abstained: int = 0
    items: int


class Group(Model):
    """One group of test items.

    Attributes:
        cut_by: the property (`degree`, `class`).
        group: its range (`2–3`).
        members: items in it.
        support: share of the training items in the range; None where the property is measured from them.
        diagnostic: cut with the true label, hence never judged.
        prior_adjusted_gap: gap to the rest at equal class mix; None where they share no class.
        groups: how many groups were compared, where this is the worst of them; 1 otherwise.
        permutation_p: share of random partitions with a worst group at most as good.
        confidence_level: of the interval, corrected for the number of groups.
        detectable: where this is the worst of them, the least difference that would be proven in each of the groups:
            what is less may go unseen.
    """

    kind: Literal["group"] = "group"
    cut_by: str
    group: str
    members: int
    support: Number = None
    diagnostic: bool = False
    prior_adjusted_gap: Number = None
    groups: int = 1
    permutation_p: Number = None
    confidence_level: Number = None
    detectable: Number = None


class Confidence(Model):
    """Mean confidence beside accuracy on the same items; `bins` names how items were binned, where they were."""

    kind: Literal["confidence"] = "confidence"
    confidence: Estimate
    accuracy: Estimate
    bins: str = ""


class Damage(Model):
    """One blind corruption at one severity.

    Attributes:
        damage: kind (`edge-drop`).
        severity: as it is written (`0.1`).
        draws: random draws.
        labels: `kept`, `doubtful` or `undefined`.
        by_draw: accuracy of each draw.
        measured_rate: share of edges, entries or nodes really edited.
        design_effect: of the gap.
        leaves_domain: whether the edited features are ones that real data could not hold.
        metrics: further metrics on the damaged data, mean over draws.
        remarks: what was done to the data on the way.
    """

    kind: Literal["damage"] = "damage"
    damage: str
    severity: str
    draws: int
    labels: str
    by_draw: tuple[float, ...] = ()
    measured_rate: Number = None
    design_effect: Number = None
    leaves_domain: bool = False
    metrics: dict[str, float] = Field(default_factory=dict)
    remarks: dict[str, str | float | bool] = Field(default_factory=dict)


class Worth(Model):
    """What a graph is worth to a recipe: accuracy of models trained anew, all with the same seed.

    Attributes:
        with_graph: trained on the graph as it is.
        hidden: trained without any edge at a test item, and asked on the whole graph; None where it could not be.
        worth: with the graph − the best of what does without it.
        vanishes: with the graph − hidden; None likewise.
        hidden_edges: share of the edges that were hidden.
    """

    kind: Literal["worth"] = "worth"
    with_graph: Estimate
    hidden: Estimate | None = None
    worth: Estimate
    vanishes: Estimate | None = None
    hidden_edges: float


class Domain(Model):
    """Items of a domain that was held out, beside test items that are none of them.

    Attributes:
        domain: its name.
        by: another `graph`, a `column` that names it, the `size` of graphs, or the `structure`: the recipe was trained
            anew by a split of it, and `domain` is the property that it was split by.
        items: held-out items.
        inside, outside: accuracy on test items and on held-out ones.
        gap: inside − outside.
        adjusted: what is left of the gap at the class mix of the test items; None where they share no class.
        balanced: whether mean recall is judged in the place of accuracy, since size and class go together.
        constant: share of the commonest class among the held-out items.
        prior_distance: total variation between the two class mixes.
        absent_classes: classes of the test items that no held-out item has.
        rare_classes: classes with fewer than five training items, where the recipe was trained anew.
        tied: share of the nodes whose value is the one where two parts of such a split meet; None without one.
        metrics: further metrics on the held-out items.
    """

    kind: Literal["domain"] = "domain"
    domain: str
    by: Literal["graph", "column", "size", "structure"]
    items: int
    inside: Estimate
    outside: Estimate
    gap: Estimate
    adjusted: Estimate | None = None
    balanced: bool = False
    constant: float
    prior_distance: float
    absent_classes: tuple[int, ...] = ()
    rare_classes: tuple[int, ...] = ()
    tied: Number = None
    metrics: dict[str, float] = Field(default_factory=dict)


class Detection(Model):
    """Whether confidence tells damaged items from the same items undamaged.

    Attributes:
        damage, severity: which corruption.
        detector: the score (`msp`).
        clean, shifted: accuracy before and after.
        paired: whether the items are the same; else the shifted ones are others.
        silent: a proven fall that the score does not tell.
        aupr, aupr_chance, fpr95: further measures of the same score.
        auroc: of every score.
    """

    kind: Literal["detection"] = "detection"
    damage: str
    severity: str
    detector: str
    clean: Estimate
    shifted: Estimate
    paired: bool = True
    silent: bool = False
    aupr: Number = None
    aupr_chance: Number = None
    fpr95: Number = None
    auroc: dict[str, float] = Field(default_factory=dict)


class Unlike(Model):
    """Whether a score tells made-up data from test items.

    Attributes:
        made: how the data was made (`rewired`).
        detector: the score (`msp`).
        draws: random draws.
        isolated: what propagation does to a node without neighbours: `keep` or `decay`.
        inputs: AUROC that the best statistic of the inputs reaches, without the model.
        statistic: which one.
        aupr, aupr_chance, fpr95: further measures of the same score.
        auroc: of every score.
    """

    kind: Literal["unlike"] = "unlike"
    made: str
    detector: str
    draws: int
    isolated: str
    inputs: float
    statistic: str
    aupr: Number = None
    aupr_chance: Number = None
    fpr95: Number = None
    auroc: dict[str, float] = Field(default_factory=dict)


class Shipped(Model):
    """Something that lies in the file itself: a fact without an interval.

    Attributes:
        severity: of this fact.
        count: how many.
        of: out of how many.
        smallest: nodes behind the smallest of them; None where that is not the question.
        alone: how many stand for one node; None likewise.
        mode: how the artefact serves; empty where that is not the question.
    """

    kind: Literal["shipped"] = "shipped"
    severity: Severity
    count: int
    of: int
    smallest: int | None = None
    alone: int | None = None
    mode: str = ""


class Decorrelation(Model):
    """What learned weights had to remove, and what they removed.

    Attributes:
        permuted_share: dependence of column-shuffled embeddings as a share of that of the real ones.
        ratio, ratio_permuted: dependence that is left, of real and of shuffled embeddings.
        ess: effective share of the items.
        minority_weight: mean weight of the minority groups, where groups were named.
        severity: where there was nothing to remove.
    """

    kind: Literal["decorrelation"] = "decorrelation"
    permuted_share: float
    ratio: float
    ratio_permuted: float
    ess: float
    minority_weight: Number = None
    severity: Severity = "low"


class Named(Model):
    """Numbers and words of a harness that has no record of its own here: what a plug-in uses."""

    kind: Literal["named"] = "named"
    numbers: dict[str, Number] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)


class Bound(Model):
    """What one test of a claim at one number of guesses says.

    Attributes:
        test, guesses, right: which test, how many guesses, how many of them right.
        rejected: whether the claim is rejected at the test's share of alpha.
        lower, lower_95: lower bounds on epsilon, at the share of alpha and at that of 5 %.
        needed: fewest right guesses that reject the claim; None where not even all would.
        twin_lower_95: the same bound with less noise; None without a reach twin.
        judged: registered before scores were seen; the others stand beside them.
        seed: of the run that it is about.
    """

    test: str
    guesses: int
    right: int
    rejected: bool
    lower: Number
    lower_95: Number
    needed: int | None = None
    twin_lower_95: Number = None
    judged: bool = True
    seed: int = 0


class Accounted(Model):
    """Epsilon recomputed from what a mechanism says of itself.

    Attributes:
        epsilon: None where it cannot be bounded.
        delta: what it holds at.
        accountant: which one gave it.
        parameters: what it follows from, named as in a Guarantee's mechanism.
        prv, pld: of the two accountants, where both ran.
        ordinary: what the accountant of records that share nothing says, where one unit lies in many records.
    """

    epsilon: Number
    delta: float
    accountant: str
    parameters: dict[str, float] = Field(default_factory=dict)
    prv: Number = None
    pld: Number = None
    ordinary: Number = None


class ClaimFacts(Model):
    """A claimed (epsilon, delta) and what speaks for or against it.

    Attributes:
        verdict: the word.
        reason: why: `accounting`, `audit`, `not-run`, `ceiling`, `alpha-below-delta`, `reach-unknown`, `reach`; empty.
        epsilon, delta, level, relation, access: the claim.
        account: epsilon recomputed from parameters; None where none determine it.
        audited: what the audited run promised, where its canaries change the mechanism's own numbers.
        alpha: level of one test.
        size: canaries of one run, or trainings with the canary (and as many without).
        unit: what `size` counts.
        enough: fewest that could reject the claim; None where no number looked at would.
        ceiling: the highest bound if every guess were right.
        bounds: every test of every run; none where nothing was run.
    """

    kind: Literal["claim"] = "claim"
    verdict: Literal["VIOLATED", "UNDERPOWERED", "CONSISTENT"]
    reason: str = ""
    epsilon: float
    delta: float
    level: str
    relation: str
    access: str
    account: Accounted | None = None
    audited: Guarantee | None = None
    alpha: Number = None
    size: int | None = None
    unit: Literal["canaries", "trainings", ""] = ""
    enough: int | None = None
    ceiling: Number = None
    bounds: tuple[Bound, ...] = ()


Facts = Annotated[
    LinkFacts
    | MemberFacts
    | Copy
    | Attribute
    | Robust
    | SingleNodes
    | EditedData
    | BudgetCurve
    | Certified
    | Poisoned
    | Group
    | Confidence
    | Damage
    | Worth
    | Domain
    | Detection
    | Unlike
    | Shipped
    | Decorrelation
    | Named
    | ClaimFacts,
    Field(discriminator="kind"),
]


class RepairedNode(Model):
    """One node of a list of wrong ones.

    Attributes:
        node, label: which one, and the class that it should have.
        outcome: `repaired`; `already-right`, and not edited; or why it is neither: a later edit made it wrong
            (`fell-again`), its edit `costs-too-much`, no direction is left that hurts no training node (`spent`), it
            was still wrong after the last step (`steps-used`), or its loss has `no-gradient`.
        steps: of its edit; those of one edit of several nodes stand at the first.
        inactive_anchors: parts of the training nodes that had no gradient to be kept from rising.
    """

    node: int
    label: int
    outcome: Literal["repaired", "already-right", "fell-again", "costs-too-much", "spent", "steps-used", "no-gradient"]
    steps: int = 0
    inactive_anchors: int = 0


class RepairRun(Model):
    """One repair of a list of nodes; every accuracy is a share.

    Attributes:
        method: how its steps are made.
        nodes: every node that was named, in the order given.
        budget: accuracy that may be lost on validation nodes outside the list.
        validation, test: accuracy after − before on the nodes outside the list, paired.
        before, after: accuracy on all test nodes, the list included.
        broken: test nodes outside the list that were right and are wrong now.
        seconds: wall time.
    """

    method: str
    nodes: tuple[RepairedNode, ...]
    budget: float
    validation: Contrast
    test: Contrast
    before: Estimate
    after: Estimate
    broken: tuple[int, ...]
    seconds: float

    def ids(self, *outcomes: str) -> tuple[int, ...]:
        """Nodes that ended so."""
        return tuple(row.node for row in self.nodes if row.outcome in outcomes)

    @property
    def asked(self) -> tuple[int, ...]:
        """Nodes that were wrong."""
        return tuple(row.node for row in self.nodes if row.outcome != "already-right")

    @property
    def steps(self) -> int:
        """Steps of every edit."""
        return sum(row.steps for row in self.nodes)


class RepairFacts(Model):
    """A repair beside its control.

    Attributes:
        own: what is saved.
        control: the same list without the idea; None where that is what was asked for.
        gained: share of the list repaired, own − control, paired by node.
    """

    own: RepairRun
    control: RepairRun | None = None
    gained: Contrast | None = None
