"""Can this attack be trusted? The rows of adversarial spec 4 that are known only after it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from auditor.audit import ValidityRow
from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph
from auditor.evaluate.robustness.envelope import Arm, Bools, Floats, Point
from auditor.evaluate.robustness.feature_reference import FeatureReference
from auditor.statistics.intervals import paired_bootstrap, wilson

CLAIM_FAIL, CLAIM_WARN = 0.02, 0.005
CANONICAL = 0.005
WINS = 0.01
FRAGILE = 0.03
FEW = 30


def canonical_row(given: Graph, space: EdgeSpace, as_given: Bools, clean: Bools, probe: str) -> ValidityRow:
    """Whether the edges that are edited are the edges that the model was tried on."""
    difference = abs(float(as_given.mean()) - float(clean.mean()))
    duplicates = given.num_edges - space.graph.num_edges
    keys = space.graph.arc_keys(include_loops=False)
    n = given.num_nodes
    one_way = int((~np.isin((keys % n) * n + keys // n, keys)).sum()) if space.directed else 0
    evidence = (
        f"clean accuracy {as_given.mean():.1%} on the graph as given, {clean.mean():.1%} on the canonical one "
        f"({duplicates} duplicate arcs dropped, {'directed' if space.directed else 'undirected'})"
    )
    status = "fail" if difference > max(CANONICAL, 1.001 / len(clean)) else "pass"  # one item is no pattern
    if status == "pass" and (duplicates or 0 < one_way < 0.05 * keys.numel()):
        status = "warn"
        evidence += f"; {one_way} of {keys.numel()} arcs have no reverse" if one_way else ""
    return _row("canonical", "integrity", status, evidence, probe)


def budget_row(violations: Mapping[str, Sequence[str]], checked: int, probe: str) -> ValidityRow:
    """Whether every claim kept to the rules; violating sets were dropped."""
    if not violations:
        return _row("budget", "integrity", "pass", f"{checked} flip sets checked, none breaks a rule", probe)
    first = "; ".join(f"{attack}: {reasons[0]} ({len(reasons)} sets dropped)" for attack, reasons in violations.items())
    return _row("budget", "integrity", "fail", first, probe)


def finite_row(arms: Iterable[Arm], probe: str) -> ValidityRow:
    """Whether the logits stayed finite under attack; a row that is not counts as wrong."""
    broken = sorted({arm.name for arm in arms if not arm.verified.finite})
    evidence = f"non-finite logits under {', '.join(broken)}" if broken else "every logit under attack is finite"
    return _row("finite-under-attack", "integrity", "fail" if broken else "pass", evidence, probe)


def claim_row(arms: Iterable[Arm], probe: str) -> ValidityRow:
    """Whether attacks and verification agree on the accuracy that is left."""
    gaps = [(abs(arm.claimed - arm.verified.accuracy), arm) for arm in arms if arm.claimed is not None]
    if not gaps:
        return _row("claim", "strength", "not_checked", "no attack claimed an accuracy", probe)
    gap, arm = max(gaps, key=lambda pair: pair[0])
    status = "fail" if gap > CLAIM_FAIL else "warn" if gap > CLAIM_WARN else "pass"
    evidence = (
        f"largest difference {100 * gap:.2f} points ({arm.name} claimed {arm.claimed:.1%}, verified "
        f"{arm.verified.accuracy:.1%})"
    )
    return _row("claim", "strength", status, evidence, probe)


def random_wins_row(
    random: Sequence[Floats | None], gradient: Sequence[Sequence[Arm]], rng: np.random.Generator, probe: str
) -> ValidityRow:
    """Whether uniform flips are more than a point stronger than every gradient attack at an equal budget."""
    if not any(gradient) or all(mean is None for mean in random):
        return _row("random-wins", "strength", "not_checked", "no gradient attack and control at one budget", probe)
    worst = -1.0
    for mean, arms in zip(random, gradient, strict=True):
        if mean is None or not arms:
            continue
        best = min(arms, key=lambda arm: arm.verified.accuracy).verified.correct.astype(np.float64)
        difference = best - mean
        worst = max(worst, float(difference.mean()))
        if difference.mean() > WINS:
            lo, hi = paired_bootstrap(lambda w, d=difference: float(w @ d / w.sum()), len(difference), rng=rng)  # type: ignore[misc]
            if lo > 0:
                evidence = (
                    f"random flips leave {100 * difference.mean():.1f} points less than every gradient attack "
                    f"[{100 * lo:.1f}, {100 * hi:.1f}]"
                )
                return _row("random-wins", "strength", "fail", evidence, probe)
    evidence = f"gradient attacks against random flips at equal budget: {-100 * worst:+.1f} points at least"
    return _row("random-wins", "strength", "pass", evidence, probe)


def relaxation_row(notes: Mapping[str, Any], probe: str) -> ValidityRow | None:
    """Which rung of the victim adaptor the gradient went through; None when the attack has none."""
    if "rung" not in notes:
        return None
    rung, gap = notes["rung"], notes.get("gap", 0.0)
    tried = ", ".join(f"{name} {value:.1e}" for name, value in notes.get("gaps", ())) or f"{gap:.1e}"
    rejected = rung != "native" and any(name == "native" for name, _ in notes.get("gaps", ()))
    evidence = f"edge weights enter by {rung}; gap to really edited graphs: {tried}"
    if rejected:
        evidence += "; the model's own edge_weight was rejected (ignored or not the same as a removed edge)"
    if rung == "ranking":
        evidence += "; the gradient only orders candidates, every decision is taken on real edges"
    return _row("relaxation-rung", "strength", "warn" if rejected or rung == "ranking" else "pass", evidence, probe)


def loss_moves_row(notes: Mapping[str, Any], drop: float, probe: str) -> ValidityRow | None:
    """Whether a loss that rose also broke predictions."""
    gains = {name: end - start for name, (start, end) in notes.get("loss", {}).items()}
    if not gains:
        return None
    name = max(gains, key=lambda key: gains[key])
    stuck = gains[name] > 0 and drop <= 0
    evidence = f"loss {gains[name]:+.3f} ({name}), accuracy {-100 * drop:+.1f} points"
    return _row("loss-moves", "warning", "warn" if stuck else "pass", evidence, probe)


def fragile_row(gradient: Sequence[Sequence[Arm]], points: Sequence[Point], probe: str) -> ValidityRow | None:
    """Whether the envelope hangs on one arm alone: the second best more than 3 points weaker at every budget."""
    gaps = []
    for arms, point in zip(gradient, points, strict=True):
        values = sorted(arm.verified.accuracy for arm in arms)
        if len(values) < 2:
            return None
        gaps.append(values[1] - float(point.correct.mean()))
    if not gaps:
        return None
    status = "warn" if min(gaps) > FRAGILE else "pass"
    evidence = f"second-best gradient arm {100 * min(gaps):.1f} points above the envelope at the closest budget"
    return _row("fragile-envelope", "warning", status, evidence, probe)


def nothing_to_lose_row(clean: Bools, reference: FeatureReference, probe: str) -> ValidityRow:
    """Whether there is anything above the majority class that edits could take away."""
    lo, hi = wilson(int(clean.sum()), len(clean))
    evidence = f"clean accuracy {clean.mean():.1%} [{lo:.1%}, {hi:.1%}], majority class {reference.majority:.1%}"
    return _row("nothing-to-lose", "integrity", "fail" if lo <= reference.majority else "pass", evidence, probe)


def underpowered_row(n: int, probe: str) -> ValidityRow | None:
    """Too few targets for an interval that means anything."""
    if n >= FEW:
        return None
    return _row("underpowered", "strength", "fail", f"{n} targets; at least {FEW} are needed", probe)


def not_checked_rows(probe: str) -> list[ValidityRow]:
    """Checks of the specification that this version does not run, named so that nobody takes them for passed."""
    reasons = {
        "unbounded": "no run with the whole edge set as budget",
        "convergence": "no run with twice the steps",
        "black-box-wins": "no black-box attack ran",
    }
    return [_row(id_, "warning", "not_checked", reason, probe) for id_, reason in reasons.items()]


def _row(id_: str, kind: Any, status: Any, evidence: str, probe: str) -> ValidityRow:
    return ValidityRow(id=id_, kind=kind, status=status, evidence=evidence, touches=(probe,))
