"""Can this attack be trusted? The checks that can be made only after it ran, see docs/methods/robustness.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from auditor.data.edits import SYMMETRIC, EdgeSpace
from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.evaluate.robustness.envelope import Bools, Floats, Point, Tried
from auditor.split_report import verb
from auditor.statistics.intervals import paired_bootstrap, wilson
from auditor.statistics.shares import paired
from auditor.targets.edge_use import EdgeUse
from auditor.targets.relaxation import NO_ANSWER

CLAIM_FAIL, CLAIM_WARN = 0.02, 0.005
CANONICAL = 0.005
WINS = 0.01
FRAGILE = 0.03
BY_TRYING = 0.05
FEW = 30
AGREEMENT = 0.95


def canonical_row(given: Graph, space: EdgeSpace, as_given: Bools, clean: Bools, *, asked: bool = False) -> ValidityRow:
    """Whether the edges that are edited are the edges that the model was tried on, and what one edit toggles.

    Args:
        given: the graph as it came.
        space: its edges, repeated arcs dropped.
        as_given: which items are right on the former, bool [n].
        clean: and on the latter.
        asked: whether the user said what an edit toggles.
    """
    difference = abs(float(as_given.mean()) - float(clean.mean()))
    duplicates, one_way = given.num_edges - space.graph.num_edges, space.graph.num_one_way
    arcs = space.graph.arc_keys(include_loops=False).numel()
    evidence = (
        f"clean accuracy {as_given.mean():.1%} on the graph as given, {clean.mean():.1%} on the canonical one "
        f"({duplicates} duplicate arcs dropped, {'directed' if space.directed else 'undirected'})"
    )
    if difference > max(CANONICAL, 1.001 / len(clean)):  # one item is no pattern
        return check("canonical", "integrity", "fail", evidence)
    few = 0 < one_way < 0.05 * arcs
    if few or asked:
        why = "as was asked" if asked else f"{'less' if one_way <= (1 - SYMMETRIC) * arcs else 'more'} than 1 %"
        reading = "one edit toggles one arc" if space.directed else "one edit toggles both arcs of a pair"
        evidence += f"; {one_way} of {arcs} arcs {verb(one_way, arcs, 'has', 'have')} no reverse ({why}): {reading}"
    return check("canonical", "integrity", "warn" if duplicates or few else "pass", evidence)


def finite_row(tried: Iterable[Tried]) -> ValidityRow:
    """Whether the logits stayed finite under attack; a row that is not counts as wrong."""
    broken = sorted({each.name for each in tried if not each.verified.finite})
    evidence = f"non-finite logits under {', '.join(broken)}" if broken else "every logit under attack is finite"
    return check("finite-under-attack", "integrity", not broken, evidence)


def claim_row(tried: Iterable[Tried]) -> ValidityRow:
    """Whether attacks and verification agree on the accuracy that is left."""
    gaps = [(abs(each.claimed - each.verified.accuracy), each) for each in tried if each.claimed is not None]
    if not gaps:
        return check("claim", "strength", None, "no attack claimed an accuracy")
    gap, worst = max(gaps, key=lambda pair: pair[0])
    evidence = (
        f"largest difference {100 * gap:.2f} points ({worst.name} claimed {worst.claimed:.1%}, verified "
        f"{worst.verified.accuracy:.1%})"
    )
    return check("claim", "strength", "fail" if gap > CLAIM_FAIL else "warn" if gap > CLAIM_WARN else "pass", evidence)


def random_wins_row(
    control: Sequence[Floats | None], searched: Sequence[Sequence[Tried]], rng: np.random.Generator
) -> ValidityRow:
    """Whether the control is more than a point stronger than every search at an equal budget.

    Args:
        control: at each budget, the share of its draws in which each item is right, [n]; None where it did not run.
        searched: at each budget, what the searches found.
        rng: of the bootstrap.
    """
    return _wins_row("random-wins", "random edits", control, searched, rng)


def black_box_wins_row(found: Tried, queries: int, searched: Sequence[Tried], rng: np.random.Generator) -> ValidityRow:
    """Whether what answers alone lead to is more than a point stronger than every search that holds the weights.

    Args:
        found: by answers, at the budget of the searches.
        queries: edited graphs that were asked about.
        searched: what the searches found.
        rng: of the bootstrap.
    """
    words = f"edits found by {queries} queries without a gradient"
    return _wins_row("black-box-wins", words, [found.verified.correct.astype(np.float64)], [searched], rng)


def _wins_row(
    id_: str,
    words: str,
    others: Sequence[Floats | None],
    searched: Sequence[Sequence[Tried]],
    rng: np.random.Generator,
) -> ValidityRow:
    """Whether other edits are more than a point stronger than every search at an equal budget."""
    if not any(searched) or all(mean is None for mean in others):
        return check(id_, "strength", None, "no search and control at one budget")
    worst = -1.0
    for mean, found in zip(others, searched, strict=True):
        if mean is None or not found:
            continue
        best = min(found, key=lambda each: each.verified.accuracy).verified.correct.astype(np.float64)
        difference = best - mean
        worst = max(worst, float(difference.mean()))
        if difference.mean() > WINS:
            lo, hi = paired_bootstrap(lambda w, d=difference: float(w @ d / w.sum()), len(difference), rng=rng)  # type: ignore[misc]
            if lo > 0:
                evidence = (
                    f"{words} leave {100 * difference.mean():.1f} points less than every search "
                    f"[{100 * lo:.1f}, {100 * hi:.1f}]"
                )
                return check(id_, "strength", "fail", evidence)
    return check(id_, "strength", "pass", f"searches against {words} at equal budget: {_points(-worst)} at least")


def oracle_row(n: int, possible: int, found: int, searched: str) -> ValidityRow:
    """Whether a search breaks nearly all of what trying every single flip breaks.

    Args:
        n: items at which every flip was tried.
        possible: of them, those that some single flip breaks.
        found: of them, those that the search breaks with as much.
        searched: what the search was given, for people.
    """
    evidence = f"every single flip was tried at {n} items, some breaks {possible} of them; {searched} broke {found}"
    return check("oracle", "warning", found >= AGREEMENT * possible if possible else None, evidence)


def _points(share: float) -> str:
    """A signed difference of shares in points; one that rounds to nothing has no minus."""
    return f"{round(100 * share, 1) + 0.0:+.1f} points"


def beyond_chance_row(clean: Bools, beside: Bools, own: Bools) -> ValidityRow | None:
    """Fails where keeping the best of some random tries, an attack as well, takes more than the search adds to it.

    The excess over such a control is then near 0 for a model that falls however it is edited: no pass can rest on it.

    Args:
        clean: which items are right with nothing edited, bool [n].
        beside: under the best of as many random tries.
        own: under what the search found.
    """
    taken, more = paired(clean, beside), paired(beside, own)
    if taken.value is None or more.value is None or (taken.lo or 0.0) <= BY_TRYING or more.value >= taken.value:
        return None
    evidence = (
        f"the best of as many random tries takes {100 * taken.value:.1f} points, surely {100 * (taken.lo or 0.0):.1f}, "
        f"the search {_points(more.value)} beyond that: little to add is no sign that little is lost"
    )
    return check("beyond-chance", "strength", False, evidence)


def relaxation_row(notes: Mapping[str, Any]) -> ValidityRow | None:
    """How edges were given the weight that the gradient went through; None for an attack that follows none."""
    if "relaxation" not in notes:
        return None
    kind, gaps = notes["relaxation"], notes.get("gaps", ())
    words = [f"{name} {value:.1e}" if math.isfinite(value) else f"{name} gives {NO_ANSWER}" for name, value in gaps]
    tried = ", ".join(words) or f"{notes.get('gap', 0.0):.1e}"
    rejected = kind != "native" and any(name == "native" for name, _ in gaps)
    evidence = f"edge weights enter by {kind}; gap to really edited graphs: {tried}"
    if rejected:
        evidence += "; the model's own edge_weight was rejected (ignored or not the same as a removed edge)"
    if kind == "ranking":
        evidence += "; the gradient only orders candidates, every decision is taken on real edges"
    return check("relaxation", "strength", "warn" if rejected or kind == "ranking" else "pass", evidence)


def weak_attack_row(notes: Mapping[str, Any]) -> ValidityRow | None:
    """Fails where no weight on edges means the same as an edit, so that the gradient is that of another model."""
    if notes.get("relaxation") != "ranking":
        return None
    evidence = (
        f"the gradient is up to {notes.get('gap', math.inf):.1e} of the scale off real edits: it orders candidates"
    )
    return check("weak-attack", "strength", False, evidence)


def loss_moves_row(notes: Mapping[str, Any], drop: float) -> ValidityRow | None:
    """Whether a loss that rose also broke predictions."""
    gains = {name: end - start for name, (start, end) in notes.get("loss", {}).items()}
    if not gains:
        return None
    name = max(gains, key=lambda key: gains[key])
    stuck = gains[name] > 0 and drop <= 0
    evidence = f"loss {gains[name]:+.3f} ({name}), accuracy {_points(-drop)}"
    return check("loss-moves", "warning", not stuck, evidence)


def fragile_row(searched: Sequence[Sequence[Tried]], points: Sequence[Point]) -> ValidityRow | None:
    """Whether the envelope hangs on one set of edits alone: the second best over 3 points weaker at every budget."""
    gaps = []
    for found, point in zip(searched, points, strict=True):
        values = sorted(each.verified.accuracy for each in found)
        if len(values) < 2:
            return None
        gaps.append(values[1] - point.accuracy)
    if not gaps:
        return None
    evidence = (
        f"second-best set of edits of a search {100 * min(gaps):.1f} points above the envelope at the closest budget"
    )
    return check("fragile-envelope", "warning", min(gaps) <= FRAGILE, evidence)


def nothing_to_lose_row(clean: Bools, constant: float) -> ValidityRow:
    """Whether there is anything above the constant predictor that edits could take away, on all test items."""
    lo, hi = wilson(int(clean.sum()), len(clean))
    evidence = f"clean accuracy {clean.mean():.1%} [{lo:.1%}, {hi:.1%}], majority class {constant:.1%}"
    return check("nothing-to-lose", "strength", lo > constant, evidence)


def edge_use_row(use: EdgeUse) -> ValidityRow | None:
    """Whether edges that change nothing can be believed to; None where they change answers."""
    return None if use.kind == "used" else check("edge-dependence", "integrity", use.kind == "unused", use.evidence)


def underpowered_row(n: int) -> ValidityRow | None:
    """Too few targets for an interval that means anything."""
    return None if n >= FEW else check("underpowered", "strength", False, f"{n} targets; at least {FEW} are needed")
