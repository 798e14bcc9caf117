"""Every sentence that the reports can say: each finding in each stem, each code, decision, claim and verdict.

`python -m tests.reports.voices` writes them to `golden/sentences.txt`, to be read before it is kept.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auditor.document import (
    NONE,
    AtSeed,
    Contrast,
    Control,
    Decision,
    Estimate,
    Judgement,
    Metric,
    Result,
    measured,
)
from auditor.document import codes as why
from auditor.document.facts import (
    Accounted,
    Attribute,
    Bound,
    BudgetCurve,
    Certified,
    ClaimFacts,
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
    RepairedNode,
    RepairFacts,
    RepairRun,
    Rival,
    Robust,
    Shipped,
    SingleNodes,
    Unlike,
    Worth,
)
from reports.sentences import claim, comparison, repair, verdict
from reports.sentences.codes import holes
from reports.sentences.compose import brief, said, word
from reports.sentences.numbers import closed
from reports.sentences.templates import TEMPLATES
from tests.reports import samples
from tests.reports.samples import around, damage, links, robust

GOLDEN = Path(__file__).parent / "golden" / "sentences.txt"
FINDINGS = (*TEMPLATES, "dp-claim", "plug-in-finding")
UNTIL = datetime.date(2027, 6, 30)

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


def _confidence(confidence: float, bins: str = "") -> Confidence:
    return Confidence(confidence=Estimate(value=confidence), accuracy=Estimate(value=0.815), bins=bins)


def _detection(shifted: float) -> Detection:
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


def _worth(worth: float, vanishes: float) -> Worth:
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


def _ends(inside: float, outside: float, left: float) -> Domain:
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


def _unlike(made: str = "rewired", detector: str = "msp") -> Unlike:
    return Unlike(made=made, detector=detector, draws=3, isolated="keep", inputs=0.61, statistic="degree")


def _new_class(detector: str = "msp", classes: tuple[int, ...] = (3,)) -> NewClass:
    return NewClass(classes=classes, detector=detector, isolated="keep", accuracy=0.86, inputs=0.61, statistic="degree")


def _prototypical(space: Literal["input", "embedding"] = "input") -> Prototypical:
    return Prototypical(made="rewired", how="made", space=space, prototypes=8, aupr=0.52, aupr_chance=0.5)


def _group(groups: int = 15) -> Group:
    return Group(cut_by="degree", group="2–3", members=59, groups=groups, permutation_p=0.005, detectable=0.172)


HELD = ("labels", "posteriors", "references")


def _certified(votes: Literal["parts", "noise"], count: int, **more: Any) -> Certified:
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
            (_certified("parts", 1, exact=True), _certified("parts", 1, exact=True)),
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
            (_worth(-0.0209, -0.012), _worth(0.0, 0.051)),
        ),
    ),
    "split-transductive-gap": (
        Case(
            Metric("accuracy_hidden_edges", "share", "lower", "held-out"),
            0.6112,
            ("edges of test items in training", 0.815),
            (_worth(0.234, 0.2038), _worth(0.234, 0.001)),
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
            (_ends(0.871, 0.576, 0.264), _ends(0.83, 0.818, 0.011)),
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
            (_confidence(0.938), _confidence(0.816)),
            n=1000,
            set_by="policy",
        ),
        Case(samples.UNDER, 0.401, ("confidence equal to accuracy", 0.0), (_confidence(0.414), _confidence(0.814))),
    ),
    "shift-silent-failure": (
        Case(samples.AUROC, 0.38, ("chance", 0.5), (_detection(0.61), _detection(0.61)), subset="edge-drop=0.5"),
    ),
    "shift-ood-unnoticed": (Case(samples.AUROC, 0.38, ("chance", 0.5), (_unlike(), _unlike()), subset="rewired"),),
    "shift-prototypes-no-benefit": (
        Case(TYPICAL, 0.44, ("sizes-and-averages", 0.56), (_prototypical(), _prototypical()), subset="rewired"),
    ),
    "shift-new-class-unnoticed": (
        Case(NEW_CLASS, 0.38, ("chance", 0.5), (_new_class(), _new_class()), subset="class=3"),
    ),
    "shift-inverted-confidence": (
        Case(INVERSION, 0.38, ("chance", 0.5), (_detection(0.61), _detection(0.61)), subset="edge-drop=0.5"),
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

STEMS = ("over", "accepted", "within", "not found", "not settled", "cannot tell", "does not count", "not measured")
_ACCEPTED = why.Accepted(source="baseline", reason="ticket 12", by="the privacy team", until=UNTIL)


def result(finding: str, case: Case, stem: str) -> Result:
    """A result of that kind which is judged so."""
    found = stem in ("over", "accepted", "within", "not settled", "does not count")
    is_fact = case.metric.question == "artifact"
    own = (
        case.own
        if found
        else (0.0 if is_fact else case.control[1] + (0.001 if case.metric.worse_when != "lower" else -0.001))
    )
    half = {"not settled": 0.9, "cannot tell": 1.5}.get(stem, 0.1) * abs(case.own - case.control[1])
    name, beside = case.control
    control = Control(name=name, estimate=Estimate(value=beside, n=case.n))
    estimate = Estimate(value=None if stem == "not measured" else own, n=case.n)
    if not is_fact and stem != "not measured":
        control = control.model_copy(update={"contrast": around(round(own - beside, 9), half, case.n)})
        estimate = around(own, half, case.n)
    number = measured(
        case.metric,
        estimate,
        finding=finding,
        subset=case.subset,
        controls=[control],
        judged=True,
        facts=None if stem == "not measured" else case.facts[0 if found else 1],
    )
    number = number.model_copy(update={"access": case.access})
    return _result(number.model_dump(), case.arm, _judgement(stem, case.threshold, case.set_by))


def _result(number: dict[str, Any], arm: str, judgement: Judgement | None) -> Result:
    by_seed = {name: number[name] for name in ("estimate", "controls", "contrast")}
    return Result(
        **{**number, "access": number["access"] or ()},
        fingerprint="0" * 64,
        family="f",
        probe="a-probe",
        arm=arm,
        seeds=(0,),
        by_seed=(AtSeed(cell="c", seed=0, **by_seed),),
        judgement=judgement,
    )


def _judgement(stem: str, threshold: float, set_by: Literal["level", "policy", "limit"] = "level") -> Judgement:
    settle: dict[str, tuple[why.JudgementCode, ...]] = {
        "over": (why.OneSeed(),),
        "accepted": (_ACCEPTED,),
        "not settled": (why.Settle(items=38, there=59), why.OneSeed()),
        "cannot tell": (why.Settle(items=18_000, there=59),),
        "does not count": (why.Untrusted(checks=("edge-dependence", "gradient")),),
        "not measured": (why.NotMeasured(),),
    }
    status: dict[str, Any] = {"over": "fail", "accepted": "accepted", "within": "pass", "not found": "pass"}
    return Judgement(
        status=status.get(stem, "inconclusive"),
        severity="high",
        severity_upper="critical",
        confidence="low" if stem == "over" else "medium",
        threshold=threshold,
        against={"level": "high", "policy": "standard", "limit": "max_flips"}[set_by],
        set_by=set_by,
        untrusted=stem in ("does not count", "not measured"),
        codes=settle.get(stem, ()),
    )


def findings() -> Iterator[tuple[str, Result]]:
    """Every finding in every stem, with a label."""
    for finding, cases in CASES.items():
        for case in cases:
            for stem in STEMS:
                if case.metric.question != "artifact" or stem not in ("not settled", "cannot tell"):
                    yield f"{finding} · {case.metric.name} · {stem}", result(finding, case, stem)


def variants() -> Iterator[tuple[str, Result]]:
    """What else may be said of a result: other facts, other codes, numbers that are only shown."""
    stealing, evasion = CASES["privacy-link-stealing"][0], CASES["robustness-structure"][0]
    gap, edit = CASES["shift-gap"][0], CASES["prototype-edit"][0]
    over = result("privacy-link-stealing", stealing, "over")
    twin = Control(
        name="counterfactual/degree+class", estimate=around(0.93, 0.01), contrast=around(0.026, 0.01), twin=True
    )
    both = measured(
        samples.AUC, around(0.956, 0.01), finding=over.finding, controls=[*over.controls, twin], facts=links(135, 120)
    )
    explained = _result(both.model_dump(), NONE, _judgement("within", 0.25))
    yield "links · mostly explained by a twin", explained
    yield "links · list and ranking disagree", _with(over, facts=links(51, 78))
    yield "links · no list", _with(over, facts=links(None))
    few_pairs = LinkFacts(positives=905, negatives=9_651, needed=50_000)
    small = measured(samples.TPR, Estimate(value=None, n=10_556), finding="privacy-link-stealing", facts=few_pairs)
    yield "links · too few pairs", _result(small.model_dump(), NONE, None)
    chance = Control(name="chance", estimate=Estimate(value=0.5), contrast=around(0.456, 0.01))
    yield (
        "links · beside chance",
        _with(over, controls=(chance,), contrast=over.contrast, facts=links(None), to="chance"),
    )
    few_others = MemberFacts(members=140, others=90, needed=100, query="full")
    few = measured(MEMBERS, Estimate(value=None, n=230), finding="privacy-membership-node", facts=few_others)
    yield "members · too few outsiders", _result(few.model_dump(), NONE, None)
    part = MemberFacts(members=31, others=120, query="0-hop", group="degree=1-2")
    others = Control(name="others of the group", estimate=around(0.02, 0.01), contrast=around(0.3, 0.05))
    found_there = Metric("found@0.01", "share", "higher")
    group = measured(found_there, around(0.32, 0.1), finding="privacy-membership-node", controls=[others], facts=part)
    yield "members · a group", _result(group.model_dump(), NONE, None)
    broken = result("robustness-structure", evasion, "over")
    yield "edits · worse than no edges", _with(broken, facts=robust(0.412, 0.801))
    yield "edits · worse than the commonest class", _with(broken, facts=robust(0.212, 0.801, edge_free=None))
    yield "edits · no control", _with(broken, facts=robust(0.612, None))
    for lack in ("no-recipe", "failed", "not-better"):
        below = result("robustness-below-edge-free", CASES["robustness-below-edge-free"][0], "over")
        lacking = robust(0.212, 0.801, edge_free=None).model_copy(update={"no_edge_free": lack})
        yield f"edits · commonest class, {lack}", _with(below, facts=lacking)
    unmoved = robust(0.815, 0.815, edge_free=None, edits=0).model_copy(update={"no_edge_free": "edges-unused"})
    yield (
        "edits · none can change an answer",
        _with(result("robustness-structure", evasion, "not found"), facts=unmoved),
    )
    yield "edits · few", _with(broken, facts=robust(0.812, 0.8149, edits=45))
    yield (
        "edits · floor under the number",
        _with(
            result("shift-silent-failure", CASES["shift-silent-failure"][0], "over"),
            judgement=_judgement("over", -0.1, "limit").model_copy(update={"floor": 0.6}),
        ),
    )
    for kind, severity in (
        ("edge-add", "0.1"), ("edge-add", "0.3"), ("feature-mask", "0.5"), ("feature-noise", "0.1"),
        ("node-drop", "0.3"), ("crop", "0.75"), ("sensor-drift", "2"),
    ):  # fmt: skip
        yield (
            f"damage · {kind} {severity}",
            _with(result("shift-gap", gap, "within"), facts=damage(kind, severity)),
        )
    for name, group in (
        ("hops-to-train", "3"), ("pagerank", "0.15–0.6"), ("nodes", "12–40"), ("homophily", "<0.5"), ("age", "1–2"),
    ):  # fmt: skip
        worst = result("shift-worst-group", CASES["shift-worst-group"][0], "over")
        yield f"group · {name}", _with(worst, facts=Group(cut_by=name, group=group, members=59, groups=1))
    yield (
        "group · counted",
        _with(
            result("shift-worst-group", CASES["shift-worst-group"][0], "over"),
            estimate=around(36 / 59, 0.1, 59),
            controls=(Control(name="the rest", estimate=around(45 / 59, 0.1, 59), contrast=around(-9 / 59, 0.05)),),
        ),
    )
    apart = result("shift-silent-failure", CASES["shift-silent-failure"][0], "over")
    moved = _detection(0.61).model_copy(update={"paired": False, "damage": "domain", "severity": "twitch_ru"})
    yield "detection · other items", _with(apart, facts=moved)
    for made in ("sbm", "sbm-matched", "feature-interpolation", "feature-permutation", "er", "sensor-drift"):
        yield (
            f"unlike · {made}",
            _with(
                result("shift-ood-unnoticed", CASES["shift-ood-unnoticed"][0], "over"),
                facts=_unlike(made, "energy-prop"),
            ),
        )
    new = result("shift-new-class-unnoticed", CASES["shift-new-class-unnoticed"][0], "over")
    yield "new class · several, another score", _with(new, facts=_new_class("energy-prop", (4, 5, 6)))
    typical = result("shift-prototypes-no-benefit", CASES["shift-prototypes-no-benefit"][0], "not found")
    larger = _prototypical("embedding").model_copy(update={"made": "more than 24 nodes", "how": "held-out"})
    for name, facts in (("shown", _prototypical()), ("of a domain, by embeddings", larger)):
        yield f"typical · {name}", _with(typical, judgement=None, facts=facts)
    mixed = result("shift-class-mix", CASES["shift-class-mix"][0], "not found")
    random = Control(name="random-split", estimate=around(0.002, 0.02), contrast=around(0.057, 0.05))
    yield (
        "class mix · of a recipe",
        _with(
            mixed,
            estimate=around(0.059, 0.03),
            controls=(random,),
            contrast_like=random.contrast,
            facts=_ends(0.871, 0.576, 0.059),
        ),
    )
    useless = result("graph-no-benefit", CASES["graph-no-benefit"][0], "not found")
    trees = Control(name="features-alone", estimate=around(0.581, 0.02), contrast=around(0.234, 0.03))
    for name, facts in {
        "and part of it vanishes": _worth(0.234, 0.051),
        "and none of it vanishes": _worth(0.234, -0.002),
        "nobody could hide edges": _worth(0.234, 0.0).model_copy(update={"vanishes": None, "hidden": None}),
    }.items():
        worth = _with(
            useless, estimate=around(0.815, 0.02), controls=(trees,), contrast_like=trees.contrast, facts=facts
        )
        yield f"worth of the graph · {name}", worth
    unsure = result("shift-miscalibrated", CASES["shift-miscalibrated"][1], "within")
    lets_pass = unsure.judgement and unsure.judgement.model_copy(update={"threshold": None})
    yield "calibration · no limit for too little", _with(unsure, judgement=lets_pass)
    saving = result("prototype-edit", edit, "over")
    control = Control(name="random", estimate=Estimate(value=-0.1), contrast=around(1.92, 0.2))
    yield "prototype · random edits help", _with(saving, controls=(control,))
    few = result("prototype-membership", CASES["prototype-membership"][0], "over")
    yield "prototype · few of them", _with(few, finding="joint-small-prototype")
    yield from _codes()
    yield from _only_shown()


def _codes() -> Iterator[tuple[str, Result]]:
    base = result("shift-gap", CASES["shift-gap"][0], "not settled")
    for name, code in {
        "settled by items": why.Settle(items=38, there=1000),
        "settled by items or seeds": why.Settle(items=38, there=1000, seeds=5),
        "settled by seeds": why.Settle(items=18_000, there=1000, seeds=5),
        "settled by nothing": why.Settle(items=None, there=1000),
        "too blunt": why.TooBlunt(detectable=0.172),
        "open interval": why.OpenInterval(),
        "no threshold": why.NoThreshold(),
        "not significant": why.NotSignificant(p=0.043, alpha=0.025),
        "too uncertain": why.TooUncertain(confidence="low", needed="medium"),
        "widened": why.Widened(together=12, lo=-0.02, hi=0.31),
    }.items():
        yield (
            f"code · {name}",
            _with(base, judgement=base.judgement and base.judgement.model_copy(update={"codes": (code,)})),
        )
    over = result("shift-gap", CASES["shift-gap"][0], "over")
    for name, more in {
        "stands anyway": why.StandsAnyway(checks=("gradient",)),
        "acceptance expired": why.AcceptanceExpired(until=datetime.date(2026, 1, 31)),
        "worse than accepted": why.WorseThanAccepted(hi=0.12, severity="medium"),
        "worse than accepted, open": why.WorseThanAccepted(hi=None, severity="low"),
        "suppressed": why.Accepted(source="suppress", rule="shift-*", reason="known", until=UNTIL),
    }.items():
        yield (
            f"code · {name}",
            _with(over, judgement=over.judgement and over.judgement.model_copy(update={"codes": (more,)})),
        )
    no_limit = over.judgement and over.judgement.model_copy(update={"threshold": None})
    yield "code · no limit", _with(over, judgement=no_limit)
    open_end = around(0.2, 0.05).model_copy(update={"hi": None})
    yield "range · open above", _with(base, contrast_like=open_end.negated())


def _only_shown() -> Iterator[tuple[str, Result]]:
    def shown(
        finding: str, metric: Metric, value: float | None, facts: Facts | None, *controls: Control, n: int = 83
    ) -> Result:
        number = measured(metric, Estimate(value=value, n=n), finding=finding, controls=controls, facts=facts)
        return _result(number.model_dump(), NONE, None)

    random = Control(name="random", estimate=Estimate(value=0.62))
    rauc, eps50 = Metric("rauc", "ratio", "lower"), Metric("eps50", "share", "lower")
    rate = Metric("success_rate", "share", "higher")
    broken = BudgetCurve(median_edits=4)
    yield "shown · area", shown("robustness-structure", rauc, 0.41, BudgetCurve(reference="mlp"), random)
    yield "shown · half", shown("robustness-structure", eps50, 0.032, BudgetCurve(largest_budget=0.25))
    yield "shown · never half", shown("robustness-structure", eps50, None, BudgetCurve(largest_budget=0.25))
    yield "shown · broken graphs", shown("robustness-structure", rate, 1.0, broken)
    yield (
        "shown · calibration error",
        shown(
            "shift-miscalibrated",
            Metric("ece", "share", "higher"),
            0.123,
            _confidence(0.938, "15 of equal width"),
            Control(name="calibrated model", estimate=Estimate(value=0.018)),
        ),
    )
    jump = "joint-cluster-jump"
    yield "shown · edges needed", shown(jump, Metric("median_edges", "count", "lower"), 2.5, None)
    yield "shown · wrong once moved", shown(jump, Metric("flips_given_jump", "share", "higher"), 0.25, None, n=32)
    yield "shown · one edge moves", shown(jump, Metric("one_edge_moves", "share", "higher"), 0.031, None)
    yield "shown · one edge costs", shown(jump, Metric("one_edge_loss", "share", "higher"), 0.0042, None)
    yield "shown · one edge helps", shown(jump, Metric("one_edge_loss", "share", "higher"), -0.0042, None)
    proof = "robustness-certificate"
    yield "shown · a vote", shown(proof, VOTED, 0.71, _certified("parts", 0), n=100)
    yield "shown · any edits of graphs", shown(proof, CERTIFIED, 0.2, _certified("parts", 3), n=100)
    noisy = _certified("noise", 2, edits="deletions", random=None, abstained=3)
    yield "shown · any removed edges", shown(proof, CERTIFIED, 0.33, noisy, n=100)
    yield "shown · any single edit", shown(proof, CERTIFIED, 0.4, _certified("noise", 1, abstained=3), n=100)
    yield "shown · precision", shown("privacy-link-stealing", samples.PRECISION, 0.00031, links(None))
    yield "shown · epsilon", shown("dp-claim", Metric("epsilon_prv", "epsilon", "higher"), 3.5, None)


def _with(base: Result, *, to: str = "", contrast_like: Estimate | None = None, **changed: Any) -> Result:
    """The same result with some of it changed; its contrast follows its first control."""
    controls: Sequence[Control] = changed.get("controls", base.controls)
    if base.contrast is not None and controls and controls[0].contrast is not None:
        like = contrast_like or controls[0].contrast
        changed["contrast"] = base.contrast.model_copy(
            update={"value": like.value, "lo": like.lo, "hi": like.hi, "to": to or controls[0].name}
        )
    return base.model_copy(update=changed)


def claims() -> Iterator[tuple[str, ClaimFacts]]:
    """A claim with every verdict and reason."""
    claimed: dict[str, Any] = {"epsilon": 4.0, "delta": 1e-5, "level": "edge", "relation": "flip-pair"}
    stated = Accounted(
        epsilon=10.2, delta=1e-5, accountant="prv+pld", parameters={"q": 0.0719, "sigma": 1, "steps": 700}
    )
    low = stated.model_copy(update={"epsilon": 3.98, "prv": 3.98, "pld": 3.99, "ordinary": 1.2})
    bound = Bound(
        test="one-run", guesses=1000, right=986, rejected=False, lower=2.1, lower_95=2.9, needed=994, twin_lower_95=4.6
    )
    run: dict[str, Any] = {**claimed, "access": "mechanism", "alpha": 0.0005, "size": 1000, "unit": "canaries"}
    refuting = bound.model_copy(update={"right": 998, "rejected": True, "lower": 4.3})
    blunt = bound.model_copy(update={"twin_lower_95": 3.1})
    yield (
        "accounting",
        ClaimFacts(verdict="VIOLATED", reason="accounting", access="parameters", account=stated, **claimed),
    )
    endless = stated.model_copy(update={"epsilon": None, "parameters": {}})
    yield (
        "accounting, no bound",
        ClaimFacts(verdict="VIOLATED", reason="accounting", access="parameters", account=endless, **claimed),
    )
    yield "not-run", ClaimFacts(verdict="UNDERPOWERED", reason="not-run", access="parameters", account=low, **claimed)
    yield "audit", ClaimFacts(verdict="VIOLATED", reason="audit", bounds=(bound, refuting), **run)
    yield "ceiling", ClaimFacts(verdict="UNDERPOWERED", reason="ceiling", ceiling=2.4, enough=1420, **run)
    trainings = {**run, "unit": "trainings", "enough": 64}
    yield "ceiling, trainings", ClaimFacts(verdict="UNDERPOWERED", reason="ceiling", ceiling=2.4, **trainings)
    yield "ceiling, nothing", ClaimFacts(verdict="UNDERPOWERED", reason="ceiling", ceiling=2.4, **run)
    blind = {**run, "delta": 0.001}
    yield "alpha-below-delta", ClaimFacts(verdict="UNDERPOWERED", reason="alpha-below-delta", **blind)
    yield "reach-unknown", ClaimFacts(verdict="UNDERPOWERED", reason="reach-unknown", bounds=(bound,), **run)
    yield "reach", ClaimFacts(verdict="UNDERPOWERED", reason="reach", bounds=(blunt,), **run)
    yield "consistent", ClaimFacts(verdict="CONSISTENT", bounds=(bound,), **run)


def decisions() -> Iterator[tuple[str, Decision]]:
    """A decision of every kind, and every code of one."""
    gained, lost = around(0.048, 0.007), around(-0.024, 0.006)
    ce, eps = "joint-cluster:arm=ce", "eps=0.05"
    tried = why.TriedEdits(edits="every")
    few = why.FewSeeds(seeds=1, needed=5)

    def decision(about: Any, status: Any, estimate: Estimate | None, *codes: why.DecisionCode, **more: str) -> Decision:
        return Decision(about=about, status=status, estimate=estimate, codes=codes, **{"to": ce, **more})

    yield "helps", decision("robustness", "helps", gained, tried, subset=eps)
    yield "helps, own edits", decision("robustness", "helps", gained, why.TriedEdits(edits="own"), subset=eps)
    modes = why.LeastOfModes(arms=("joint-cluster", "joint-cluster:prototypes=live"))
    yield "least of modes", decision("robustness", "helps", gained, tried, modes, subset=eps)
    other = why.NotTheIdea(arms=("joint-cluster:arm=joint_random",))
    yield "not the idea", decision("robustness", "not-shown", gained, other, tried, subset=eps)
    yield "hurts", decision("robustness", "hurts", lost, tried, subset=eps)
    yield "not shown", decision("robustness", "not-shown", around(0.004, 0.01), tried, subset=eps)
    yield "few seeds", decision("robustness", "not-settled", Estimate(value=0.06), few, subset=eps)
    many = why.FewSeeds(seeds=5, needed=23)
    yield "more seeds", decision("robustness", "not-settled", around(0.02, 0.06), many, subset=eps)
    yield "no spread", decision("robustness", "not-settled", Estimate(value=0.06), why.NoSpread(seeds=5), subset=eps)
    blunt = (why.Blunt(half_width=0.031), why.OverItems())
    yield "blunt", decision("robustness", "not-settled", around(0.02, 0.031), *blunt, subset=eps)
    foreign = why.ForeignEdits(edits="transferred")
    yield "foreign edits", decision("robustness", "not-settled", gained, foreign, subset=eps)
    poisoned = why.ForeignEdits(edits="poisoned")
    yield "poisoned", decision("poisoned-accuracy", "not-settled", gained, poisoned, subset="metattack, 5 % of edges")
    yield "not compared", decision("robustness", "not-compared", None, why.NotMeasured(), subset=eps)
    spoiled = (tried, why.UntrustedArm(checks=("gradient",)))
    yield "untrusted", decision("robustness", "helps", gained, *spoiled, subset=eps)
    indicative = (why.Indicative(seeds=5, wanted=10), why.Corrected(together=3, level=0.017))
    yield "balanced", decision("balanced-accuracy", "hurts", lost, *indicative, subset="ood", to="uniform-refit")
    yield "balanced, one seed", decision("balanced-accuracy", "not-shown", Estimate(value=0.01), why.OneSeed())
    yield "equal", decision("balanced-accuracy", "not-shown", Estimate(value=0.0, lo=-0.01, hi=0.01))
    yield "accuracy", decision("accuracy", "helps", gained, to="gap:edges=false")
    yield "links", decision("links", "hurts", gained, probe="posterior-similarity", to="gap:edges=false")
    yield "links, none", decision("links", "not-shown", around(-0.004, 0.01), to="gap:edges=false")
    yield "utility", decision("utility", "helps", Estimate(value=0.31), to="")
    yield "no utility", decision("utility", "hurts", Estimate(value=0.012), why.NoUtility(beyond=0.012), to="")
    recovered = why.Recovery(share=0.6, of=0.08, by="group-balanced")
    yield "recovery", decision("recovery", "helps", gained, recovered, to="uniform-refit")


def repairs() -> Iterator[tuple[str, RepairFacts]]:
    """A repair as it may end, beside its control and alone."""

    def run(method: str, outcomes: str, lost: float, broken: int) -> RepairRun:
        ends: dict[str, Any] = {"r": "repaired", "a": "already-right", "f": "fell-again", "c": "costs-too-much",
                                "s": "spent", "u": "steps-used", "n": "no-gradient"}  # fmt: skip
        nodes = tuple(
            RepairedNode(node=3 * i + 2, label=1, outcome=ends[end], steps=2, inactive_anchors=end == "n")
            for i, end in enumerate(outcomes)
        )
        return RepairRun(
            method=method,
            nodes=nodes,
            budget=0.01,
            validation=Contrast(to="before", **around(-lost / 10, 0.01, 500).model_dump()),
            test=Contrast(to="before", **around(-lost, 0.02, 809).model_dump()),
            before=Estimate(value=0.808, n=1000),
            after=Estimate(value=0.796, n=1000),
            broken=tuple(range(broken)),
            seconds=12.4,
        )

    def gained(value: float) -> Contrast:
        return Contrast(to="finetune", **around(value, 0.05, 26).model_dump())

    own, control = run("gre-plus", "rrrrrrrrrrrraffccsun", 0.079, 64), run("finetune", "rrrrrrrrruuuaffccsun", 0.081, 1)
    for label, value in (("better", 0.115), ("worse", -0.115), ("no better", 0.0)):
        yield label, RepairFacts(own=own, control=control, gained=gained(value))
    yield "fine-tuning alone", RepairFacts(own=run("finetune", "r", 0.001, 1))
    nothing = Contrast(to="before", value=None)
    right = run("gre-plus", "a", 0.0, 0).model_copy(update={"test": nothing})
    yield "nothing to repair", RepairFacts(own=right, control=right, gained=Contrast(to="finetune", value=None))


def verdicts() -> Iterator[tuple[str, str]]:
    """The last line of every ending, and every code of a verdict."""
    audit = samples.realistic()
    yield "failed", _last(audit)
    yield "failed, exit zero", _last(audit.model_copy(update={"verdict": _changed(audit, exit_code=0)}))
    demo = {"verdict": _changed(audit, exit_code=0), "argv": ("demo",)}
    yield "failed, demonstration", _last(audit.model_copy(update=demo))
    yield "passed", _last(samples.clean())
    yield "incomplete", _last(samples.empty())
    yield "spoiled", _last(samples.untrusted())
    stopped = _changed(audit, status="INCOMPLETE", exit_code=130, codes=(why.Interrupted(finished=9, planned=15),))
    yield "stopped", _last(audit.model_copy(update={"verdict": stopped}))
    for possible, code in ((True, 0), (False, 3)):
        only = _changed(audit, status="INCOMPLETE", exit_code=code, codes=(why.PowerOnly(possible=possible),))
        yield f"power only, {'enough' if possible else 'too little'}", _last(audit.model_copy(update={"verdict": only}))
    yield "policy", verdict.policy(audit)
    mine = audit.results[0].fingerprint
    for code in (
        why.BrokeOff(probe="graphmi", arm="mlp", seed=1, status="error", reason="RuntimeError: no"),
        why.NeverFinished(cells=2, planned=15),
        why.NamedAndSkipped(probe="graphmi", arm=NONE, seed=0, reason="needs PARAMS"),
        why.CoverageLost(probe="graphmi", arm=NONE),
        why.NothingMeasured(),
        why.NothingJudged(probe="graphmi"),
        why.ResultUntrusted(fingerprint=mine),
        why.ResultUntrusted(fingerprint="ab" * 32),
        why.ClaimUnsettled(fingerprint=mine),
        why.PowerOnly(possible=True),
        why.OpenAndMustNot(fingerprint=mine),
        why.Interrupted(finished=9, planned=15),
        why.StaleAcceptance(source="baseline", finding="shift-gap", why="absent"),
        why.StaleAcceptance(source="baseline", finding="shift-gap", why="passes"),
        why.StaleAcceptance(source="suppress", finding="shift-*", target="cora", why="expired", until=UNTIL),
    ):
        yield code.code, closed(holes([code], audit)[0])


def _changed(audit: Any, **changed: Any) -> Any:
    return audit.verdict.model_copy(update=changed)


def _last(audit: Any) -> str:
    return "  ".join(verdict.last_line(audit))


def lines() -> list[str]:
    """Every sentence with its label."""
    found = [
        f"{label} [{word(result)}]\n    {said(result)}\n    Briefly: {brief(result)}"
        for label, result in (*findings(), *variants())
    ]
    found += [f"dp-claim · {label}\n    {closed(claim.verdict(facts))}" for label, facts in claims()]
    found += [f"decision · {label}\n    {comparison.decided(decision)}" for label, decision in decisions()]
    found += [f"repair · {label}\n    " + "\n    ".join(repair.lines(facts)) for label, facts in repairs()]
    found += [f"verdict · {label}\n    {text}" for label, text in verdicts()]
    return found


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(lines()) + "\n", encoding="utf-8")
