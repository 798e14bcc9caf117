"""Facts about data that moved: groups, damage, held-out domains, detection, and what the graph is worth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.records import Model, Number
from auditor.statistics.estimate import MaybeShare, MaybeSharesApart, Share, SharesApart


class Group(Model):
    """One group of test items.

    Attributes:
        cut_by: the property (`degree`, `class`).
        group: its range (`2–3`).
        members: items in it.
        support: share of the training items in the range; None where the property is measured from them.
        diagnostic: cut with the true label, hence never judged.
        prior_adjusted_gap: gap to the rest at equal class mix; None where they share no class.
        constant: share of its commonest class: what always naming that one is right on.
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
    constant: Number = None
    groups: int = 1
    permutation_p: Number = None
    confidence_level: Number = None
    detectable: Number = None


class Confidence(Model):
    """Mean confidence beside accuracy on the same items; `bins` names how items were binned, where they were."""

    kind: Literal["confidence"] = "confidence"
    confidence: Share
    accuracy: Share
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
    with_graph: Share
    hidden: MaybeShare = None
    worth: SharesApart
    vanishes: MaybeSharesApart = None
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
    inside: Share
    outside: Share
    gap: SharesApart
    adjusted: MaybeSharesApart = None
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
    clean: Share
    shifted: Share
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


class Prototypical(Model):
    """Whether the distance to typical training graphs tells other graphs from test graphs.

    Attributes:
        made: how they were made (`rewired`), or the domain that was held out.
        how: which of both.
        space: nodes are compared by their features (`input`) or by the model's `embedding` of them.
        prototypes: typical graphs, of all classes.
        aupr, aupr_chance, fpr95: further measures of the same score.
    """

    kind: Literal["prototypical"] = "prototypical"
    made: str
    how: Literal["made", "held-out"]
    space: Literal["input", "embedding"]
    prototypes: int
    aupr: Number = None
    aupr_chance: Number = None
    fpr95: Number = None


class NewClass(Model):
    """Whether a score tells items of classes that the recipe was trained without from test items of the others.

    Attributes:
        classes: which were left out.
        detector: the score (`msp`).
        isolated: what propagation does to a node without neighbours: `keep` or `decay`.
        accuracy: of the recipe trained without them, on test items of the others.
        inputs: AUROC that the best statistic of the inputs reaches, without the model.
        statistic: which one.
        aupr, aupr_chance, fpr95: further measures of the same score.
        auroc: of every score.
    """

    kind: Literal["new-class"] = "new-class"
    classes: tuple[int, ...]
    detector: str
    isolated: str
    accuracy: float
    inputs: float
    statistic: str
    aupr: Number = None
    aupr_chance: Number = None
    fpr95: Number = None
    auroc: dict[str, float] = Field(default_factory=dict)
