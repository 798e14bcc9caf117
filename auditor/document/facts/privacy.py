"""Facts about links, members, copies and attributes that a model gives away."""

from __future__ import annotations

from typing import Literal

from auditor.records import Model, Number
from auditor.statistics.estimate import Count, MaybeCount, MaybeShare, Share


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
    k: Count
    m: MaybeCount
    r: Count
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
    attack: Share
    control: MaybeShare
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
    with_model: Share
    without_model: Share
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
