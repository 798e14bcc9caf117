"""What each finding can be about: the numbers and facts that its sentences are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from auditor.document import (
    NONE,
    Estimate,
    Metric,
)
from auditor.document.facts import (
    Attribute,
    Certified,
    Confidence,
    Copy,
    Decorrelation,
    Detection,
    Domain,
    EditedData,
    Facts,
    Group,
    LinkFacts,
    LowFpr,
    MemberFacts,
    NewClass,
    Poisoned,
    Prototypical,
    Rival,
    Robust,
    Shipped,
    SingleNodes,
    Unlike,
    Worth,
)
from tests.reports import samples
from tests.reports.samples import around, damage, links, robust

ONE_FLIP = Metric("one_flip_rate", "share", "higher", "robustness")
FIDELITY = Metric("fidelity", "share", "higher", "accuracy")
JUMPS = Metric("jump_rate", "share", "higher", "robustness")
FLIPS = Metric("prototype_flips_per_edge", "ratio", "higher", "other")
NON_FINITE = Metric("non_finite_rate", "share", "higher", "non-finite")
SMALL = Metric("small_prototypes", "count", "higher", "artifact")
IDS = Metric("training_ids", "count", "higher", "artifact")
PERMUTED = Metric("permuted_dependence_above_half", "ratio", "higher", "artifact")
CLEAN = Metric("clean_accuracy", "share", "lower", "defense-cost")
CERTIFIED = Metric("certified_accuracy", "share", "lower")
RETRAINED = Metric("poisoned_accuracy", "share", "lower", "robustness")
VOTED = Metric("vote_accuracy", "share", "lower")
BALANCED = Metric("balanced_accuracy", "share", "lower", "harm")
POISONED = Metric("poisoned_accuracy", "share", "lower", "defense-cost")
AFTER_EDITS = Metric("worst_case_accuracy", "share", "lower", "worst-case-loss")
NEW_CLASS = Metric("new_class_auroc", "auc", "lower", "silent-failure")
TYPICAL = Metric("prototype_auroc", "auc", "lower")
INVERSION = Metric("msp_inversion", "auc", "lower", "inverted-confidence")


@dataclass(frozen=True, slots=True)
class Case:
    """A finding as it may be measured.

    Attributes:
        own, control: the numbers where something is found; without an effect the own number is that of the control.
        facts: of the two, where the numbers in them follow.
        arm: which one it is about.
        access: what its adversary holds.
    """

    metric: Metric
    own: float
    control: tuple[str, float]
    facts: tuple[Facts | None, Facts | None]
    n: int = 1000
    subset: str = ""
    arm: str = NONE
    access: tuple[str, ...] = ()
    threshold: float = 0.1
    set_by: Literal["level", "policy", "limit"] = "level"


ATTACKED = Metric("attacked_accuracy", "share", "lower", "edge-free")
LOW = LowFpr(fpr=0.001, attack=around(0.3521, 0.02), control=around(0.0483, 0.01), chance=0.001)
LOW_NOT = LowFpr(fpr=0.001, attack=around(0.0483, 0.02), control=around(0.0483, 0.01), chance=0.001)


def confidence(confidence: float, bins: str = "") -> Confidence:
    return Confidence(confidence=Estimate(value=confidence), accuracy=Estimate(value=0.815), bins=bins)


def detection(shifted: float) -> Detection:
    clean, damaged = Estimate(value=0.815), Estimate(value=shifted)
    return Detection(damage="edge-drop", severity="0.5", detector="msp", clean=clean, shifted=damaged)


def _copy(structure: str) -> Copy:
    return Copy(structure=structure, learned="posteriors", budget=0.25, answers=258, accuracy=0.8, copy_accuracy=0.79)


def _nodes(
    flips: Literal["one", "degree"], group: str = "uniform", mode: str = "direct", median: float | None = None
) -> SingleNodes:
    return SingleNodes(group=group, mode=mode, flips=flips, attacked=40, tries=6, median_flips=median, largest=9)


def _edited(
    what: Literal["bits", "categories", "values", "nodes"], attacked: float, random: float, **more: Any
) -> EditedData:
    clean, left, beside = (Estimate(value=value) for value in (0.815, attacked, random))
    shown: dict[str, Any] = {"clean": clean, "attacked": left, "random": beside, "attacked_items": 1000, "winner": "w"}
    return EditedData(what=what, **shown, **more)


def _column(about: Literal["binary", "classes", "number"]) -> Attribute:
    return Attribute(column="7", about=about, known=0.5, knowledge=("features", "labels"))


def worth(worth: float, vanishes: float) -> Worth:
    return Worth(
        with_graph=around(0.815, 0.02),
        hidden=around(0.815 - vanishes, 0.02),
        worth=around(worth, 0.02),
        vanishes=around(vanishes, 0.01),
        hidden_edges=0.42,
    )


def _domain(outside: float, left: float, *, by: Literal["graph", "size"] = "graph") -> Domain:
    return Domain(
        domain="twitch_ru" if by == "graph" else "more than 25 nodes",
        by=by,
        items=4385,
        inside=around(0.815, 0.02),
        outside=around(outside, 0.02),
        gap=around(0.815 - outside, 0.03),
        adjusted=around(left, 0.03),
        balanced=by == "size",
        constant=0.743,
        prior_distance=0.36,
    )


def ends(inside: float, outside: float, left: float) -> Domain:
    return Domain(
        domain="locality",
        by="structure",
        items=1083,
        inside=around(inside, 0.02),
        outside=around(outside, 0.02),
        gap=around(inside - outside, 0.03),
        adjusted=around(left, 0.03),
        constant=0.34,
        prior_distance=0.42,
        rare_classes=(5,),
        tied=0.01,
    )


def unlike(made: str = "rewired", detector: str = "msp") -> Unlike:
    return Unlike(made=made, detector=detector, draws=3, isolated="keep", inputs=0.61, statistic="degree")


def new_class(detector: str = "msp", classes: tuple[int, ...] = (3,)) -> NewClass:
    return NewClass(classes=classes, detector=detector, isolated="keep", accuracy=0.86, inputs=0.61, statistic="degree")


def prototypical(space: Literal["input", "embedding"] = "input") -> Prototypical:
    return Prototypical(made="rewired", how="made", space=space, prototypes=8, aupr=0.52, aupr_chance=0.5)


def _group(groups: int = 15) -> Group:
    return Group(cut_by="degree", group="2–3", members=59, groups=groups, permutation_p=0.005, detectable=0.172)


HELD = ("labels", "posteriors", "references")


def certified(votes: Literal["parts", "noise"], count: int, **more: Any) -> Certified:
    found = around(0.5, 0.1) if votes == "parts" else None
    given: dict[str, Any] = {
        "votes": votes,
        "voters": 11 if votes == "parts" else 100_000,
        "clean": around(0.71, 0.1),
        "target": around(0.82, 0.1),
        "count": count,
        "random": around(0.69, 0.1) if count else None,
        "found": found if count else None,
        "items": 100,
    }
    return Certified(**{**given, **more})


def _poisoned(accuracy: float) -> Poisoned:
    return Poisoned(
        clean=around(0.815, 0.01),
        poisoned=around(accuracy, 0.02),
        random=around(0.79, 0.02),
        fixed=0.58,
        edits=263,
        budget=263,
        trainings=5,
        items=1000,
    )


HEADROOM = Metric("headroom", "errors", "higher", "ranking")
MEMBERS = Metric("combined_tpr@0.01", "share", "higher", "low-fpr")


def _members(query: str, area: float) -> MemberFacts:
    chance, own = Estimate(value=0.5), around(area, 0.02)
    rival = Rival(control="chance", with_model=own, without_model=chance, positives=140, negatives=1000)
    attack = "" if query else "lira"
    return MemberFacts(members=140, others=1000, query=query, attack=attack, rivals=(rival,))


def _found(query: str, share: float) -> MemberFacts:
    low = LowFpr(fpr=0.01, attack=around(share, 0.01), control=around(0.012, 0.01), chance=0.01)
    return MemberFacts(members=140, others=1000, query=query, low_fpr=low)


def asked(facts: LinkFacts) -> LinkFacts:
    """The same after 2,708 queries."""
    return facts.model_copy(update={"queries": 2_708})


def made_up(facts: LinkFacts) -> LinkFacts:
    """The same after 4,961 queries."""
    return facts.model_copy(update={"queries": 4_961})


def asked_about(facts: Robust) -> Robust:
    """The same edits found by 2,000 queries; no model without edges was trained for it."""
    return facts.model_copy(update={"queries": 2_000, "edge_free": None})


KNOWN = ("features+labels", 0.702)
CASES: dict[str, tuple[Case, ...]] = {
    "privacy-link-stealing": (
        Case(samples.AUC, 0.956, KNOWN, (links(135, 78), links(79, 78)), n=10_556),
        Case(samples.TPR, 0.3521, ("features+labels", 0.0483), (links(None, low=LOW), links(None, low=LOW_NOT))),
    ),
    "privacy-explanation": (Case(samples.AUC, 0.956, KNOWN, (links(135, 78), links(79, 78)), n=10_556),),
    "privacy-link-inversion": (
        Case(samples.AUC, 0.956, KNOWN, (links(135, 78, sampled=True), links(79, 78, sampled=True)), n=10_556),
    ),
    "privacy-membership-node": (
        Case(HEADROOM, 0.312, ("chance", 0.0), (_members("0-hop", 0.656), _members("0-hop", 0.5)), n=1140),
        Case(MEMBERS, 0.214, ("chance", 0.01), (_found("0-hop", 0.214), _found("0-hop", 0.01)), n=1140, subset="0-hop"),
    ),
    "privacy-membership-graph": (
        Case(HEADROOM, 0.312, ("chance", 0.0), (_members("", 0.656), _members("", 0.5)), 150, "lira", access=HELD),
    ),
    "privacy-link-influence": (
        Case(samples.AUC, 0.956, KNOWN, (asked(links(135, 78)), asked(links(79, 78))), n=10_556),
        Case(
            samples.TPR,
            0.3521,
            ("features+labels", 0.0483),
            (asked(links(None, low=LOW)), asked(links(None, low=LOW_NOT))),
        ),
    ),
    "privacy-link-made-up-graphs": (
        Case(samples.AUC, 0.956, KNOWN, (made_up(links(135, 78)), made_up(links(79, 78))), n=10_556),
    ),
    "privacy-extraction": (
        Case(
            FIDELITY,
            0.941,
            ("label-trained", 0.612),
            (_copy("own"), _copy("own")),
            subset="answers=25%",
            threshold=0.25,
        ),
        Case(FIDELITY, 0.902, ("constant", 0.302), (_copy("none"), _copy("knn")), threshold=0.25),
    ),
    "privacy-attribute": (
        Case(
            Metric("attribute", "auc", "higher", "ranking"),
            0.912,
            ("without-answers/linear", 0.604),
            (_column("binary"), _column("binary")),
            n=2708,
            threshold=0.25,
        ),
        *(
            Case(
                Metric("attribute", "share", "higher", "accuracy"),
                0.832,
                ("without-answers/both", 0.401),
                (_column(about), _column(about)),
                threshold=0.25,
            )
            for about in ("classes", "number")
        ),
    ),
    "robustness-structure": (
        Case(samples.ROBUST, 0.612, ("random", 0.801), (robust(0.612, 0.801), robust(0.815, 0.801)), subset="eps=0.05"),
    ),
    "robustness-below-edge-free": (
        Case(ATTACKED, 0.412, ("edge-free", 0.583), (robust(0.412, 0.801), robust(0.583, 0.801)), subset="eps=0.05"),
    ),
    "robustness-node": (
        Case(
            ONE_FLIP, 0.525, ("local-random", 0.075), (_nodes("one", median=1), _nodes("one")), n=40, subset="uniform"
        ),
        Case(
            Metric("degree_flip_rate", "share", "higher", "robustness"),
            0.75,
            ("local-random", 0.2),
            (_nodes("degree", "degree=8-10", "influencer", 2), _nodes("degree", "margin40", "deletions")),
            n=40,
            subset="degree=8-10, influencer",
        ),
    ),
    "robustness-features": (
        Case(
            samples.ROBUST,
            0.612,
            ("feature-random", 0.801),
            (
                _edited("bits", 0.612, 0.801, edits=492, budget=492),
                _edited("bits", 0.815, 0.801, edits=0, budget=492),
            ),
            subset="ones=0.01",
        ),
        Case(
            samples.ROBUST,
            0.612,
            ("feature-random", 0.801),
            (_edited("values", 0.612, 0.801, radius=0.25), _edited("values", 0.815, 0.801, radius=0.1)),
            subset="radius=0.25",
        ),
        Case(
            samples.ROBUST,
            0.612,
            ("feature-random", 0.801),
            (
                _edited("categories", 0.612, 0.801, edits=940, budget=1_000, per_graph=True),
                _edited("categories", 0.815, 0.801, edits=0, budget=1_000, per_graph=True),
            ),
            subset="ones=0.01",
        ),
    ),
    "robustness-black-box": (
        Case(
            samples.ROBUST,
            0.712,
            ("random-queries", 0.79),
            (asked_about(robust(0.712, 0.79)), asked_about(robust(0.791, 0.79))),
            subset="eps=0.05",
        ),
    ),
    "robustness-poisoning": (
        Case(
            RETRAINED,
            0.612,
            ("poison-random", 0.79),
            (_poisoned(0.612), _poisoned(0.789)),
            n=5,
            subset="eps=0.05",
        ),
    ),
    "robustness-certificate": (
        Case(
            CERTIFIED,
            0.41,
            ("random edits", 0.69),
            (certified("parts", 1, exact=True), certified("parts", 1, exact=True)),
            n=100,
            subset="flips=1",
        ),
    ),
    "robustness-injection": (
        Case(
            samples.ROBUST,
            0.612,
            ("injection-random", 0.801),
            (
                _edited("nodes", 0.612, 0.801, edits=27, budget=27, edges=5),
                _edited("nodes", 0.815, 0.801, edits=0, budget=27, edges=5),
            ),
            subset="nodes=0.01",
        ),
        Case(
            samples.ROBUST,
            0.655,
            ("injection-random", 0.801),
            (
                _edited("nodes", 0.655, 0.801, edits=27, budget=27, edges=5, alike=True),
                _edited("nodes", 0.815, 0.801, edits=0, budget=27, edges=5, alike=True),
            ),
            subset="nodes=0.01",
        ),
    ),
    "shift-gap": (
        Case(
            samples.ACCURACY,
            0.6112,
            ("clean data, same items", 0.815),
            (damage("edge-drop", "0.1"), damage("edge-drop", "0.1")),
            subset="edge-drop=0.1",
            threshold=0.05,
            set_by="policy",
        ),
    ),
    "graph-no-benefit": (
        Case(
            Metric("accuracy_with_graph", "share", "lower", "edge-free"),
            0.5611,
            ("features-alone", 0.582),
            (worth(-0.0209, -0.012), worth(0.0, 0.051)),
        ),
    ),
    "split-transductive-gap": (
        Case(
            Metric("accuracy_hidden_edges", "share", "lower", "held-out"),
            0.6112,
            ("edges of test items in training", 0.815),
            (worth(0.234, 0.2038), worth(0.234, 0.001)),
            set_by="policy",
        ),
    ),
    "shift-heldout-gap": (
        Case(
            Metric("heldout_quality", "share", "lower", "held-out"),
            0.6112,
            ("test items", 0.815),
            (_domain(0.6112, 0.172), _domain(0.815, 0.001)),
            subset="domain=twitch_ru",
            set_by="policy",
        ),
        Case(
            Metric("heldout_quality", "share", "lower", "held-out"),
            0.5631,
            ("test items", 0.781),
            (_domain(0.529, 0.172, by="size"), _domain(0.529, 0.172, by="size")),
            subset="domain=more than 25 nodes",
            set_by="policy",
        ),
    ),
    "shift-below-constant": (
        Case(
            Metric("heldout_accuracy", "share", "lower", "held-out"),
            0.529,
            ("constant", 0.743),
            (_domain(0.529, 0.172), _domain(0.743, 0.172)),
            subset="domain=more than 25 nodes",
            set_by="policy",
        ),
    ),
    "shift-structural-gap": (
        Case(
            Metric("structural_gap", "share", "higher", "held-out"),
            0.295,
            ("random-split", 0.012),
            (ends(0.871, 0.576, 0.264), ends(0.83, 0.818, 0.011)),
            subset="split=locality",
            set_by="policy",
        ),
    ),
    "shift-class-mix": (
        Case(
            Metric("accuracy_at_equal_mix", "share", "lower"),
            0.756,
            ("test items", 0.815),
            (_domain(0.52, 0.059), _domain(0.52, 0.0)),
            subset="domain=twitch_ru",
        ),
    ),
    "shift-worst-group": (
        Case(
            samples.WORST,
            0.61,
            ("worst of random groups of the same sizes", 0.8),
            (_group(), _group()),
            n=59,
            subset="all properties",
            set_by="policy",
        ),
    ),
    "shift-miscalibrated": (
        Case(
            samples.OVER,
            0.123,
            ("confidence equal to accuracy", 0.0),
            (confidence(0.938), confidence(0.816)),
            n=1000,
            set_by="policy",
        ),
        Case(samples.UNDER, 0.401, ("confidence equal to accuracy", 0.0), (confidence(0.414), confidence(0.814))),
    ),
    "shift-silent-failure": (
        Case(samples.AUROC, 0.38, ("chance", 0.5), (detection(0.61), detection(0.61)), subset="edge-drop=0.5"),
    ),
    "shift-ood-unnoticed": (Case(samples.AUROC, 0.38, ("chance", 0.5), (unlike(), unlike()), subset="rewired"),),
    "shift-prototypes-no-benefit": (
        Case(TYPICAL, 0.44, ("sizes-and-averages", 0.56), (prototypical(), prototypical()), subset="rewired"),
    ),
    "shift-new-class-unnoticed": (
        Case(NEW_CLASS, 0.38, ("chance", 0.5), (new_class(), new_class()), subset="class=3"),
    ),
    "shift-inverted-confidence": (
        Case(INVERSION, 0.38, ("chance", 0.5), (detection(0.61), detection(0.61)), subset="edge-drop=0.5"),
    ),
    "shift-non-finite": (
        Case(NON_FINITE, 0.312, ("clean data, same items", 0.0), (None, None), subset="feature-mask=0.5"),
    ),
    "joint-table-leaks-edges": (Case(samples.AUC, 0.956, KNOWN, (links(135, 78), links(79, 78)), n=10_556),),
    "joint-small-prototype": (
        Case(
            SMALL,
            3,
            ("at least 5 nodes each", 0.0),
            (
                Shipped(severity="high", count=3, of=20, smallest=1, alone=2),
                Shipped(severity="none", count=0, of=20, smallest=6, alone=0),
            ),
            n=20,
        ),
    ),
    "joint-live-needs-training-graph": (
        Case(
            IDS,
            140,
            ("the same fit with stored prototypes", 0.0),
            (
                Shipped(severity="medium", count=140, of=140, mode="live"),
                Shipped(severity="none", count=0, of=140, mode="frozen"),
            ),
            n=140,
        ),
    ),
    "joint-cluster-jump": (Case(JUMPS, 0.8, ("as many random edges elsewhere", 0.3), (None, None), n=40),),
    "prototype-membership": (
        Case(samples.AUC, 0.84, ("prototypes of random non-members", 0.52), (None, None), subset="distance"),
    ),
    "prototype-edit": (
        Case(FLIPS, 1.82, ("random edges at the prototype nodes", 0.1), (None, None), n=16, threshold=1.0),
    ),
    "defense-gain": (
        Case(CLEAN, 0.79, ("joint-cluster:arm=ce", 0.92), (None, None), arm="joint-cluster", threshold=0.01),
        Case(AFTER_EDITS, 0.61, ("the graph unedited", 0.79), (None, None), arm="joint-cluster", subset="eps=0.05"),
        Case(POISONED, 0.61, ("joint-cluster:arm=ce", 0.79), (None, None), arm="joint-cluster", threshold=0.01),
    ),
    "l2r-effect": (Case(BALANCED, 0.61, ("uniform-refit", 0.79), (None, None), arm="l2r:mode=head", threshold=0.01),),
    "l2r-nothing-to-decorrelate": (
        Case(
            PERMUTED,
            0.32,
            ("half of it", 0.0),
            (
                Decorrelation(permuted_share=0.82, ratio=0.9, ratio_permuted=0.95, ess=0.8),
                Decorrelation(permuted_share=0.18, ratio=0.5, ratio_permuted=0.9, ess=0.8),
            ),
            n=1,
        ),
    ),
    "plug-in-finding": (
        Case(Metric("copied_answers", "share", "higher"), 0.9, ("a model of its own", 0.6), (None, None)),
    ),
}
"""Every finding that a probe, a defence or a verb can raise, `dp-claim` aside, and one of a plug-in."""
