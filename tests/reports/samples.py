"""Hand-made audits: a realistic one with every status and chart kind, a clean one, an empty one, a hostile one.

They are joined, judged and sealed by the code that does it for real audits.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from auditor.document import (
    NONE,
    Audit,
    CellRow,
    Comparison,
    Control,
    Estimate,
    Limit,
    Measured,
    Metric,
    Result,
    Series,
    TargetRow,
    TaskRow,
    ValidityRow,
    check,
    measured,
    sealed,
)
from auditor.document.exposed import Exposed, ExposedItem
from auditor.document.facts import (
    Confidence,
    Damage,
    Detection,
    Facts,
    Group,
    LinkFacts,
    LinkList,
    LowFpr,
    MemberFacts,
    Rival,
    Robust,
)
from auditor.guarantee import Guarantee
from auditor.policy import Policy, coverage_of, judge, verdict_of
from auditor.policy.baseline import Accepted, Baseline
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of
from tests.reports.sample_charts import budget, reliability, roc, severity, strata

HOSTILE = (
    '<script>alert(1)</script> ]]> --> | $x$ `tick` "quote" \x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07'
    " \u202egnp.exe\u2066 \x00\x08 [bold]markup[/bold] =HYPERLINK(1) ${{ secrets }} {{ 7*7 }} " + "A" * 10_000
)
TODAY = datetime.date(2026, 11, 20)

AUC = Metric("auc", "auc", "higher", "ranking")
TPR = Metric("tpr@0.001", "share", "higher", "low-fpr")
PRECISION = Metric("precision@edges", "share", "higher")
ROBUST = Metric("robust_accuracy", "share", "lower", "robustness")
WORST = Metric("worst_group_accuracy", "share", "lower", "worst-group")
OVER = Metric("over_confidence", "share", "higher", "over-confidence")
UNDER = Metric("under_confidence", "share", "higher", "under-confidence")
ACCURACY = Metric("accuracy", "share", "lower", "damage")
AUROC = Metric("msp_auroc", "auc", "lower", "silent-failure")


def around(value: float, half: float, n: int = 1000) -> Estimate:
    """A number in the middle of its interval."""
    return Estimate(value=value, lo=round(value - half, 9), hi=round(value + half, 9), n=n)


def beside(name: str, value: float, own: float, half: float, **more: Any) -> Control:
    """A control and the paired difference to it."""
    return Control(name=name, estimate=around(value, 0.01), contrast=around(round(own - value, 9), half), **more)


def number(
    metric: Metric,
    finding: str,
    value: float,
    control: tuple[str, float] | None,
    *,
    half: float = 0.012,
    subset: str = "",
    n: int = 10_556,
    twins: Sequence[tuple[str, float]] = (),
    judged: bool = False,
    limit: Limit | None = None,
    p_adjusted: float | None = None,
    p_for: float | None = None,
    facts: Facts | None = None,
) -> Measured:
    """One measured number, its interval and that of its difference `half` to each side."""
    controls = [] if control is None else [beside(*control, value, half)]
    controls += [beside(*twin, value, half, twin=True) for twin in twins]
    return measured(
        metric,
        around(value, half, n),
        finding=finding,
        subset=subset,
        controls=controls,
        judged=judged,
        limit=limit,
        p_adjusted=p_adjusted,
        p_for=p_for,
        facts=facts,
    )


def links(k: float | None, m: float | None = None, *, low: LowFpr | None = None, sampled: bool = False) -> LinkFacts:
    """Facts of a link metric on 905 links."""
    found = None
    if k is not None:
        without = None if m is None else Estimate(value=m, n=905)
        found = LinkList(
            n_links=905, k=Estimate(value=k, n=905), m=without, r=Estimate(value=1.3, n=905), sampled=sampled
        )
    return LinkFacts(positives=905, negatives=9_651, knowledge=("features", "labels"), links=found, low_fpr=low)


def robust(attacked: float, random: float | None, *, edge_free: float | None = 0.583, edits: int = 263) -> Robust:
    """Facts of a model that is right on .815 of 1,000 nodes."""
    return Robust(
        clean=around(0.815, 0.024),
        attacked=around(attacked, 0.031),
        random=None if random is None else around(random, 0.02),
        edge_free=None if edge_free is None else around(edge_free, 0.03),
        no_edge_free="no-recipe" if edge_free is None else "",
        majority=0.319,
        edits=edits,
        budget=263,
        additions=200,
        deletions=63,
        attacked_items=1000,
        winner="active-set",
    )


def damage(kind: str, severity: str) -> Damage:
    """Facts of a corruption."""
    return Damage(damage=kind, severity=severity, draws=3, labels="kept")


def cell(
    probe: str,
    family: str,
    numbers: Sequence[Measured] = (),
    *,
    seed: int = 0,
    arm: str = NONE,
    status: Any = "ok",
    reason: str = "",
    access: tuple[str, ...] = (),
    series: Sequence[Series] = (),
    seconds: float = 0.0,
    validity: Sequence[ValidityRow] = (),
    params: dict[str, Any] | None = None,
    tries: bool = False,
) -> Finished:
    """One finished cell."""
    row = CellRow(
        key=hashlib.sha256(f"{probe}{seed}{arm}".encode()).hexdigest(),
        probe=probe,
        family=family,
        arm=arm,
        seed=seed,
        status=status,
        reason=reason,
        seconds=seconds,
        series=tuple(series),
        validity=tuple(validity),
        params=params or {},
    )
    return Finished(row, access, tuple(numbers), tries=tries)


def target(**more: Any) -> TargetRow:
    """A GCN on Cora."""
    known: dict[str, Any] = {
        "name": "cora-gcn",
        "task": TaskRow(level="node"),
        "kind": "GCN",
        "digest": hashlib.sha256(b"cora").hexdigest(),
        "capabilities": ("GRAD_EDGE", "PARAMS", "PROBS"),
        "nodes": 2708,
        "edges": 5278,
        "graphs": 1,
        "features": 1433,
        "classes": 7,
        "split": {"spec": "public", "seed": 0, "train": 140, "val": 500, "test": 1000},
        "clean": Estimate(value=0.815, lo=0.79, hi=0.838, n=1000),
        "constant_predictor": 0.319,
        "provenance": {"data": "cora", "arch": "gcn", "hidden": 16},
    }
    return TargetRow(**{**known, **more})


def assembled(
    finished: Sequence[Finished],
    *,
    validity: Sequence[ValidityRow] = (),
    planned: int | None = None,
    seeds: tuple[int, ...] = (0,),
    policy: Policy | None = None,
    accepted: Callable[[Result], bool] = lambda result: False,
    compare: Callable[[Sequence[Result]], Comparison] | None = None,
    row: TargetRow | None = None,
    **more: Any,
) -> Audit:
    """The document of these cells: joined, judged, sealed. Results that `accepted` names are in the baseline."""
    own, policy = row or target(), policy or Policy.named("standard")
    cells = tuple(each.row for each in finished)
    results = results_of(finished, own.name)
    baseline = Baseline(
        policy=policy.name,
        fail_on=policy.fail_on,
        accepted=tuple(
            Accepted(
                fingerprint=result.fingerprint,
                id=result.finding,
                severity="critical",
                hi=None,
                reason="ticket 12, fixed in the next release",
                by="the privacy team",
                created=TODAY,
                expires=datetime.date(2027, 6, 30),
            )
            for result in results
            if accepted(result)
        ),
        cells=(),
    )
    results = judge(results, cells, validity, own.name, policy, as_of=TODAY, baseline=baseline)
    coverage = coverage_of(cells, len(cells) if planned is None else planned)
    known: dict[str, Any] = {
        "tool": {"name": "gnn-auditor", "version": "0.1.0"},
        "environment": {"python": "3.12.4", "torch": "2.10.0", "torch_geometric": "2.7.0", "threads": 1},
        "seeds": seeds,
        "profile": "standard",
        "config": {"profile": "standard", "policy": "standard", "gate": {"fail_on": "high"}},
        "config_file": "out/cora-gcn/target.toml",
        "argv": ("run", "out/cora-gcn", "-o", "out/cora"),
        "started": "2026-11-20T12:00:00+00:00",
        "seconds": 143.2,
        "target": own,
        "validity": tuple(validity),
        "cells": cells,
        "results": results,
        "comparison": None if compare is None else compare(results),
        "coverage": coverage,
        "verdict": verdict_of(results, cells, coverage, policy, baseline=baseline, target_name=own.name, as_of=TODAY),
    }
    return sealed(Audit(**{**known, **more}))


# ---- audits ---------------------------------------------------------------------------------------------------------

KNOWN = ("features+labels", 0.902)


def stealing(seed: int = 0, arm: str = NONE) -> Finished:
    """Link stealing: a small excess that passes, a large one at few false alarms that fails."""
    low = LowFpr(fpr=0.001, attack=around(0.3521, 0.02), control=around(0.0483, 0.01), chance=0.001)
    finding = "privacy-link-stealing"
    return cell(
        "posterior-similarity",
        "privacy",
        [
            number(AUC, finding, 0.956, KNOWN, subset="prior", judged=True, facts=links(135, 78)),
            number(
                TPR,
                finding,
                0.3521,
                ("features+labels", 0.0483),
                half=0.02,
                subset="prior",
                judged=True,
                facts=links(None, low=low),
            ),
            number(AUC, finding, 0.881, ("features+labels", 0.803), subset="prior/intra-class", facts=links(None)),
            number(PRECISION, finding, 0.00031, None, half=0.0001, subset="prior", facts=links(None)),
        ],
        seed=seed,
        arm=arm,
        access=("posteriors", "features", "labels"),
        series=[roc()],
        seconds=8.2,
    )


def _inversion() -> Finished:
    finding = "privacy-link-inversion"
    numbers = [
        number(AUC, finding, 0.831, KNOWN, subset="full", judged=True, facts=links(51, 78)),
        number(PRECISION, finding, 0.842, ("features+labels", 0.911), subset="full", facts=links(None)),
    ]
    access = ("weights", "features", "labels")
    return cell("graphmi", "privacy", numbers, access=access, params={"protocol": "full"}, seconds=21.4)


def _evasion() -> Finished:
    numbers = [
        number(
            ROBUST,
            "robustness-structure",
            value,
            ("random", control),
            half=0.031,
            subset=f"eps={eps}",
            n=1000,
            judged=eps == 0.05,
            facts=robust(value, control),
        )
        for eps, value, control in ((0.01, 0.74, 0.812), (0.025, 0.67, 0.808), (0.05, 0.412, 0.801))
    ]
    access = ("weights", "features", "graph")
    return cell("structure-evasion", "robustness", numbers, access=access, series=[budget()], seconds=64.0, tries=True)


def _strata() -> Finished:
    numbers = [
        number(
            WORST,
            "shift-worst-group",
            0.71,
            ("worst of random groups of the same sizes", 0.79),
            half=0.05,
            subset="all properties",
            n=59,
            judged=True,
            p_adjusted=0.004,
            facts=Group(cut_by="degree", group="≤1", members=59, groups=15, permutation_p=0.004),
        ),
        number(
            OVER,
            "shift-miscalibrated",
            0.021,
            ("confidence equal to accuracy", 0.0),
            n=1000,
            judged=True,
            facts=Confidence(confidence=Estimate(value=0.836), accuracy=Estimate(value=0.815)),
        ),
        number(
            UNDER,
            "shift-miscalibrated",
            -0.021,
            ("confidence equal to accuracy", 0.0),
            n=1000,
            judged=True,
            facts=Confidence(confidence=Estimate(value=0.836), accuracy=Estimate(value=0.815)),
        ),
    ]
    return cell("strata", "shift", numbers, access=("graph",), series=[strata(), reliability()])


def _corruption() -> Finished:
    kinds = ("edge-drop", "edge-add", "feature-mask", "feature-noise", "node-drop")
    numbers = [
        number(
            ACCURACY,
            "shift-gap",
            round(0.79 - level / 10, 6),
            ("clean data, same items", 0.815),
            half=0.012,
            subset=f"{kind}={level}",
            n=1000,
            judged=level == 0.1,
            p_adjusted=0.9 if level == 0.1 else None,
            p_for=0.05 if level == 0.1 else None,
            facts=damage(kind, str(level)),
        )
        for kind in kinds
        for level in (0.1, 0.3, 0.5)
    ]
    numbers.append(
        number(
            AUROC,
            "shift-silent-failure",
            0.62,
            ("chance", 0.5),
            half=0.03,
            subset="edge-drop=0.5",
            n=1000,
            facts=Detection(
                damage="edge-drop",
                severity="0.5",
                detector="msp",
                clean=Estimate(value=0.815),
                shifted=Estimate(value=0.74),
            ),
        )
    )
    return cell("corruption", "shift", numbers, access=("graph",), series=[severity()])


def _unfinished() -> list[Finished]:
    return [
        cell("features-evasion", "robustness", status="error", reason="RuntimeError: mat1 and mat2 do not fit"),
        cell("membership", "privacy", status="skipped", reason="needs REFERENCES: none were given"),
        cell("injection", "robustness", status="timeout", reason="no result after 600 s"),
    ]


def checks() -> list[ValidityRow]:
    """A check of every status."""
    gap = "edge gradient differs from finite differences by 3.1e-3"
    return [
        check("weights-match", "integrity", True, "digest as recorded"),
        check("repeatable", "integrity", True, "two forward passes agree"),
        check("relaxation-gap", "strength", "warn", gap).model_copy(update={"touches": ("structure-evasion",)}),
        check("leaky-split", "warning", None, "no duplicate ids given"),
    ]


def finished_cells() -> list[Finished]:
    """The cells of the realistic audit."""
    return [_inversion(), stealing(), _evasion(), _strata(), _corruption(), *_unfinished()]


def is_evasion(result: Result) -> bool:
    """What the realistic audit's baseline accepts."""
    return result.judged and result.finding == "robustness-structure" and result.arm == NONE


def realistic() -> Audit:
    """Cora-like numbers: every status, every chart kind, a crash, a skip and a timeout."""
    return assembled(finished_cells(), validity=checks(), accepted=is_evasion)


def clean() -> Audit:
    """Everything ran and nothing was found."""
    return assembled([_inversion()], validity=checks()[:2])


def empty() -> Audit:
    """No cell gave a result."""
    return assembled([], planned=3)


def guarantee(**more: Any) -> Guarantee:
    """Edge-level DP of an aggregation."""
    known: dict[str, Any] = {
        "level": "edge",
        "relation": "flip-pair",
        "epsilon": 4.0,
        "delta": 1e-5,
        "accountant": "gaussian-exact",
        "mechanism": {"name": "GAP", "sigma": 2.162},
        "units": 5278,
        "covers": ("training", "inference"),
        "not_protected": ("features", "labels"),
        "noise_seed": "secret",
    }
    return Guarantee(**{**known, **more})


def several_seeds() -> Audit:
    """Link stealing at three seeds, and once on another arm; the target was defended with a guarantee."""
    cells = [*finished_cells(), stealing(1), stealing(2), stealing(0, "dp-edge")]
    row = target(defense="gap:epsilon=4", guarantee=guarantee())
    return assembled(cells, validity=checks(), accepted=is_evasion, seeds=(0, 1, 2), row=row)


def _members() -> Finished:
    """Membership by answers about nodes without links: over its limit."""
    rival = Rival(
        control="chance",
        with_model=around(0.66, 0.02),
        without_model=Estimate(value=0.5),
        positives=140,
        negatives=1000,
    )
    facts = MemberFacts(members=140, others=1000, query="0-hop", rivals=(rival,))
    metric = Metric("headroom", "errors", "higher", "ranking")
    numbers = [
        number(metric, "privacy-membership-node", 0.32, ("chance", 0.0), subset="0-hop", judged=True, facts=facts)
    ]
    return cell("membership-threshold", "privacy", numbers, access=("posteriors", "labels", "own-queries"))


def asked_often() -> Audit:
    """Membership in four ways: how members rank is not settled in any, and two rates are over their limits."""
    room, rate = Metric("headroom", "errors", "higher", "ranking"), Metric("tpr@0.01", "share", "higher", "low-fpr")
    low = LowFpr(fpr=0.01, attack=around(0.3, 0.02), control=None, chance=0.01)
    finding, cells = "privacy-membership-node", []
    for probe in ("membership-threshold", "membership-lira"):
        numbers = []
        for query in ("full", "0-hop"):
            facts = MemberFacts(members=140, others=1000, query=query)
            how = {"subset": query, "judged": True}
            numbers.append(number(room, finding, 0.2, ("chance", 0.0), half=0.1, facts=facts, **how))  # type: ignore[arg-type]
        facts = MemberFacts(members=140, others=1000, query="full", low_fpr=low)
        numbers.append(number(rate, finding, 0.3, ("chance", 0.01), subset="full", judged=True, facts=facts))
        cells.append(cell(probe, "privacy", numbers, access=("posteriors", "labels")))
    return assembled(cells)


LINKS_NAMED = Exposed(
    finding="privacy-link-stealing",
    subset="prior",
    of=905,
    control="features+labels",
    items=(
        ExposedItem(ids=(1701, 2607), with_model=0.0, without_model=0.412),
        ExposedItem(ids=(88, 1203), with_model=0.0001, without_model=0.0312),
    ),
)
MEMBERS_NAMED = Exposed(
    finding="privacy-membership-node",
    subset="0-hop",
    of=140,
    control="chance",
    items=(ExposedItem(ids=(2468,), with_model=0.0, without_model=0.5, label=3, size=17),),
)


def exposed() -> Audit:
    """Links and members by name, at two seeds."""
    cells = [
        replace(done, row=done.row.model_copy(update={"exposed": (named,)}))
        for done, named in (
            (stealing(), LINKS_NAMED),
            (stealing(1), LINKS_NAMED.model_copy(update={"items": LINKS_NAMED.items[1:]})),
            (_members(), MEMBERS_NAMED),
        )
    ]
    return assembled(cells, seeds=(0, 1), config={"profile": "standard", "exposed": 2})


def untrusted() -> Audit:
    """A failed check spoils what rests on it."""
    failed = check("edge-dependence", "integrity", False, "answers do not depend on edges")
    touching = failed.model_copy(update={"touches": ("structure-evasion", "graphmi")})
    return assembled(finished_cells()[:3], validity=[touching], policy=Policy.named("strict"))


def hostile() -> Audit:
    """Every free string of the realistic audit is an attack on its reader."""
    audit = realistic()
    document = audit.model_dump(mode="python")
    _poison(document)
    for name in ("environment", "config"):
        document[name][f"key{HOSTILE}"] = HOSTILE
    return sealed(Audit.model_validate(document))


FIXED = {
    "schema_version", "status", "severity", "severity_upper", "confidence", "against", "role", "level", "mode", "key",
    "cell", "family", "fingerprint", "unit", "worse_when", "question", "set_by", "seeds", "joined_by", "code", "source",
    "why", "policy", "fail_on", "inconclusive", "labels", "started", "plan", "digest", "kind", "relation", "accountant",
    "noise_seed", "shown", "about", "mark", "until", "of", "covers",
}  # fmt: skip
"""Fields that take certain words only, or that must stay what they are."""


def _poison(value: Any) -> None:
    """Adds the hostile text to every free string below; ids that must agree keep agreeing."""
    for name, item in value.items() if isinstance(value, dict) else ():
        is_target_kind = name == "kind" and "nodes" in value
        if name in FIXED and not is_target_kind:
            if name == "labels" and isinstance(item, tuple):
                value[name] = tuple(word + HOSTILE for word in item)
            continue
        if isinstance(item, str) and item:
            value[name] = item if name == "arm" and item == NONE else item + HOSTILE
        elif isinstance(item, tuple) and item and all(isinstance(part, str) for part in item):
            value[name] = tuple(part + HOSTILE for part in item)
        elif isinstance(item, list | tuple):
            for part in item:
                _poison(part)
        else:
            _poison(item)
