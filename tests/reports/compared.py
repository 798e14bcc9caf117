"""Hand-made comparisons: five seeds with a guarantee and a defence that was not fitted; hostile; one seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from auditor.document import NONE, Arm, Audit, Comparison, Decision, Difference, Estimate, Headline, sealed
from auditor.document.codes import Blunt, DecisionCode, FewSeeds, Indicative, TriedEdits
from auditor.document.results import Unit, WorseWhen
from auditor.runner.finished import Finished
from tests.reports import sample_claims, samples
from tests.reports.samples import HOSTILE

SEEDS = (0, 1, 2, 3, 4)
GUARANTEE: dict[str, Any] = {
    "mechanism": {"name": "gaussian noise on aggregates", "sigma": 2.162},
    "caveats": ("edges between test nodes are not covered",),
    "noise_seed": "recorded",
}
Column = tuple[str, str, str, str, Unit, Literal["value", "excess"], WorseWhen]
# Means by arm in the order of COLUMNS; a control names its defence.
COLUMNS: tuple[Column, ...] = (
    ("utility", "", "clean_accuracy", "", "share", "value", "lower"),
    ("utility", "", "balanced_accuracy", "", "share", "value", "lower"),
    ("privacy", "posterior-similarity", "auc", "prior", "auc", "excess", "higher"),
    ("robustness", "", "robust_accuracy", "eps=0.05", "share", "value", "lower"),
    ("shift", "corruption", "accuracy", "", "share", "excess", "higher"),
)
ARMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "none": ("", (0.815, 0.806, 0.054, 0.612, 0.054)),
    "joint-cluster": ("", (0.79, 0.78, 0.051, 0.668, 0.048)),
    "dp-edge:eps=4": ("", (0.68, 0.66, 0.004, 0.613, 0.0395)),
    "l2r:mode=all": ("", ()),
    "joint-cluster:arm=ce": ("joint-cluster", (0.812, 0.804, 0.053, 0.62, 0.055)),
    "joint-cluster:arm=joint_random": ("joint-cluster", (0.81, 0.8, 0.055, 0.619, 0.05)),
    "mlp": ("dp-edge:eps=4", (0.57, 0.56, 0.0, 0.57, 0.01)),
    "l2r:mode=erm": ("l2r:mode=all", ()),
}
REASON = "RuntimeError: the loss is not finite"
LEFT_OUT = (
    "probe graphmi (GraphMI: rebuilds training edges from the weights by gradient inversion)",
    "edge budgets other than 5 %, corruption above severity 1, retrained twins as controls (quick) " + "x" * 20,
)


def _values(arm: int, column: int, mean: float, seeds: Sequence[int]) -> list[float]:
    return [round(mean + 0.004 * math.sin(1.7 * seed + 2.3 * arm + column), 6) for seed in seeds]


def comparison_of(seeds: Sequence[int]) -> Comparison:
    """Every arm with its headlines, paired differences and decisions."""
    table = {
        name: [_values(a, c, mean, seeds) for c, mean in enumerate(means)]
        for a, (name, (_, means)) in enumerate(ARMS.items())
    }
    arms = []
    for name, (control_of, _) in ARMS.items():
        others = [other for other, (owner, _) in ARMS.items() if owner == name] + [NONE] * (name != NONE)
        headlines = [
            _headline(column, own, [(other, table[other][c]) for other in others if table[other]])
            for c, (column, own) in enumerate(zip(COLUMNS, table[name], strict=False))
        ]
        arms.append(
            Arm(
                arm=name,
                control_of=control_of,
                headlines=tuple(headlines),
                decisions=_decisions(name, len(seeds)) if headlines else (),
                seconds=None if not headlines else 0.0 if name == NONE else 12.34,
                pareto=name in (NONE, "joint-cluster", "mlp"),
                guarantee=samples.guarantee(**GUARANTEE) if name == "dp-edge:eps=4" else None,
                notes={"purity": 0.664, "partition": "metis"} if name == "joint-cluster" else {},
                reason="" if headlines else REASON,
            )
        )
    return Comparison(arms=tuple(arms), seeds=tuple(seeds), left_out=LEFT_OUT)


def _headline(column: Column, own: list[float], others: list[tuple[str, list[float]]]) -> Headline:
    family, probe, metric, subset, unit, shown, worse_when = column
    return Headline(
        family=family,
        probe=probe,
        metric=metric,
        subset=subset,
        unit=unit,
        shown=shown,
        worse_when=worse_when,
        estimate=samples.around(float(np.mean(own)), 0.02),
        by_seed=tuple(own),
        differences=tuple(_difference(other, own, values, worse_when) for other, values in others),
    )


def _difference(to: str, own: list[float], other: list[float], worse_when: WorseWhen) -> Difference:
    paired = np.subtract(own, other)
    mean = float(paired.mean())
    if len(paired) < 2:
        return Difference(to=to, estimate=Estimate(value=mean, n=1), by_seed=tuple(paired.tolist()))
    half = 2.776 * float(paired.std(ddof=1)) / math.sqrt(len(paired))
    mark: Literal["better", "worse", ""] = ""
    if abs(mean) > half:
        mark = "worse" if (mean > 0) == (worse_when == "higher") else "better"
    estimate = Estimate(value=mean, lo=mean - half, hi=mean + half, n=len(paired))
    return Difference(to=to, estimate=estimate, by_seed=tuple(paired.tolist()), mark=mark)


def _decisions(name: str, seeds: int) -> tuple[Decision, ...]:
    few: tuple[DecisionCode, ...] = (FewSeeds(seeds=seeds, needed=5),)
    if name == "joint-cluster":
        ce = "joint-cluster:arm=ce"
        if seeds < 5:
            only = Estimate(value=0.048)
            return (
                Decision(about="robustness", subset="eps=0.05", to=ce, estimate=only, status="not-settled", codes=few),
            )
        gained, lost = samples.around(0.048, 0.007), samples.around(-0.024, 0.006)
        tried = (TriedEdits(edits="every"),)
        indicative = (Indicative(seeds=5, wanted=10),)
        return (
            Decision(about="robustness", subset="eps=0.05", to=ce, estimate=gained, status="helps", codes=tried),
            Decision(about="balanced-accuracy", to=ce, estimate=lost, status="hurts", codes=indicative),
        )
    if name == "dp-edge:eps=4":
        gained = samples.around(0.003, 0.005)
        return (
            Decision(about="robustness", subset="eps=0.05", to="mlp", estimate=gained, status="not-shown"),
            Decision(about="links", probe="posterior-similarity", to="mlp", estimate=gained, status="not-settled",
                     codes=(Blunt(half_width=0.03),)),
        )  # fmt: skip
    return ()


def _cells() -> list[Finished]:
    """The realistic cells again under `joint-cluster`, and one that was not fitted."""
    joint = [_on(each, "joint-cluster") for each in samples.finished_cells() if each.row.status == "ok"]
    why = f"l2r:mode=all was not fitted: {REASON}"
    blocked = samples.cell("graphmi", "privacy", arm="l2r:mode=all", status="error", reason=why)
    return [*samples.finished_cells(), *joint, blocked]


def _on(finished: Finished, arm: str) -> Finished:
    row = samples.cell(finished.row.probe, finished.row.family, arm=arm).row
    row = row.model_copy(update={"series": finished.row.series, "seconds": finished.row.seconds})
    return Finished(row, finished.access, finished.measured)


def _with(compared: Comparison) -> Audit:
    return samples.assembled(
        _cells(),
        validity=samples.checks(),
        accepted=samples.is_evasion,
        seeds=compared.seeds,
        compare=lambda results: compared,
    )


def comparison() -> Audit:
    """Five seeds, three defences asked for."""
    return _with(comparison_of(SEEDS))


def one_seed() -> Audit:
    """No interval of any difference."""
    return _with(comparison_of((0,)))


def hostile_comparison() -> Audit:
    """Names of defences, reasons and guarantees are attacks on the reader."""
    compared = comparison_of(SEEDS).model_dump()
    for arm in compared["arms"]:
        for name in ("arm", "control_of", "reason"):
            arm[name] += HOSTILE if arm[name] not in ("", NONE) else ""
        for headline in arm["headlines"]:
            headline["subset"] += HOSTILE
            for difference in headline["differences"]:
                difference["to"] += HOSTILE if difference["to"] != NONE else ""
        for decision in arm["decisions"]:
            for name in ("subset", "to", "probe"):
                decision[name] += HOSTILE
        arm["notes"] = {f"note{HOSTILE}": HOSTILE}
        if arm["guarantee"]:
            arm["guarantee"] |= {
                "mechanism": {f"name{HOSTILE}": HOSTILE, "name": HOSTILE},
                "not_protected": (HOSTILE,),
                "caveats": (HOSTILE,),
            }
    compared["left_out"] = (HOSTILE,)
    return sealed(_with(Comparison.model_validate(compared)))


AUDITS = {
    "realistic": samples.realistic,
    "clean": samples.clean,
    "empty": samples.empty,
    "several seeds": samples.several_seeds,
    "untrusted": samples.untrusted,
    "exposed": samples.exposed,
    "asked often": samples.asked_often,
    "claim": sample_claims.claimed,
    "planned claim": sample_claims.planned_claim,
    "hostile": samples.hostile,
    "comparison": comparison,
    "one seed": one_seed,
    "hostile comparison": hostile_comparison,
}
"""Every hand-made audit."""
