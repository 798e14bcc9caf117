"""The protocol of papers: draws of 10 % of the nodes, every pair inside; the mean over draws, never one draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, measured
from auditor.document.facts import Draws, LinkFacts, Rival
from auditor.errors import SkippedError
from auditor.evaluate.links.controls import Knowledge, Scorer
from auditor.evaluate.links.measure import CHANCE, HEADROOM
from auditor.evaluate.links.pairs import PairSet, Truth, is_enough, pairs_inside
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.scoring import AUC, AVERAGE_PRECISION, SIGNS, pair_scores
from auditor.evaluate.links.twins import run_attack
from auditor.outcomes import LinkOutcome
from auditor.probe import Cell, Registered
from auditor.statistics.intervals import student_t
from auditor.statistics.pair_scores import normal_scores
from auditor.statistics.ranking import Ranking, auc, average_precision

SUBSET = "paper"
STREAM = "t10"
"""Name of the random streams of its draws; fixed for ever."""
SHARE = 0.1
BALANCED_SAMPLES = 20  # an average over these is what one balanced sample estimates, with less noise
Floats = NDArray[np.float64]


def paper_numbers(
    cell: Cell,
    attack: Registered,
    truth: Truth,
    controls: Sequence[Scorer],
    *,
    draws: int,
    judged: bool,
    knowledge: Knowledge,
) -> tuple[list[Measured], ValidityRow, LinkOutcome]:
    """Headroom, AUC and average precision, attack and controls on the same pairs of every draw; scorers are checked.

    The outcome of the last draw comes along, for what it notes.

    The attack runs once per draw with the ids in its View (and `protocol = paper` where it has such a parameter).
    Intervals are t intervals over draws of nodes, for this trained model.

    Raises:
        SkippedError: fewer than two draws hold ten edges.
        EvaluationError: the scorer of a draw is asymmetric, depends on the other pairs, or is not finite.
    """
    paper = _paper_form(attack)
    found: list[Floats] = []
    added: list[Floats] = []
    reference = knowledge.reference_pairs
    ranks = [np.sort(pair_scores(control.scores[0], reference, owner=control.name)) for control in controls]
    positives = negatives = 0
    size = max(2, round(SHARE * truth.num_nodes))
    for draw in range(draws):
        rng = cell.rng(STREAM, str(draw))
        nodes = np.sort(rng.choice(truth.num_nodes, size, replace=False))
        pairs = pairs_inside(nodes, truth, SUBSET)
        if not is_enough(pairs):
            continue
        cell.tick(draw / draws, f"paper protocol, draw {draw + 1}/{draws}")
        outcome = run_attack(cell, paper, cell.target, f"{STREAM}-{draw}", attacked=torch.from_numpy(nodes))
        checked = check_scorer(outcome.score, truth.num_nodes, cell.rng("scorer", str(draw)), probe=cell.probe.id)
        columns = [pair_scores(outcome.score, pairs.tensor, owner=attack.id)]
        columns += [pair_scores(control.scores[0], pairs.tensor, owner=control.name) for control in controls]
        found.append(np.array([balanced_metrics(column, pairs, rng) for column in columns]))
        own = np.sort(pair_scores(outcome.score, reference, owner=attack.id))
        normal = [normal_scores(column, rank) for column, rank in zip(columns, [own, *ranks], strict=True)]
        added.append(np.array([_areas_both_ways(normal, pairs)]))
        positives, negatives = positives + pairs.positives, negatives + pairs.negatives
    if len(found) < 2:
        raise SkippedError(
            f"the paper protocol attacks 10 % of the nodes ({size} here); fewer than two of {draws} draws held ten "
            "edges. Use the full-graph protocol."
        )
    values = np.stack(found)  # [draws, 1 + controls, 2]
    names = [control.name for control in controls]
    rows = []
    for place, metric in enumerate((AUC.metric, AVERAGE_PRECISION.metric)):
        spread = Draws(
            draws=len(found),
            edges_per_draw=positives / len(found),
            nodes_per_draw=size,
            sd_over_draws=float(values[:, 0, place].std(ddof=1)),
        )
        facts = LinkFacts(positives=positives, negatives=negatives, knowledge=knowledge.words, draws=spread)
        rows.append(_number(cell, metric, values[:, :, place], names, facts))
        if metric is AUC.metric:
            rows.insert(0, _headroom(cell, values[:, :, 0], np.concatenate(added), names, facts, judged=judged))
    every = f"{checked.evidence}, in each of {len(found)} draws"
    return rows, checked.model_copy(update={"evidence": every}), outcome


def balanced_metrics(scores: Floats, pairs: PairSet, rng: np.random.Generator) -> tuple[float, float]:
    """(AUC, average precision) against as many non-edges as edges.

    The AUC is over all non-edges, which estimates the same quantity with less noise; the average precision, which
    depends on the balance, is the mean over 20 balanced samples.
    """
    ranking = Ranking(scores, pairs.is_edge)
    area = float(auc(ranking.curve()))
    precisions = []
    for _ in range(BALANCED_SAMPLES):
        chosen = np.zeros(pairs.negatives)
        chosen[rng.choice(pairs.negatives, min(pairs.positives, pairs.negatives), replace=False)] = 1.0
        precisions.append(average_precision(ranking.curve_of(None, chosen)))
    return area, float(np.mean(precisions))


def _paper_form(attack: Registered) -> Registered:
    """The attack with `protocol = paper`, where it declares that parameter."""
    method: Any = attack.attack
    if "protocol" not in {f.name for f in fields(method)}:
        return attack
    return replace(attack, attack=replace(method, protocol="paper"))


def _areas_both_ways(normal: Sequence[Floats], pairs: PairSet) -> Floats:
    """AUC of the attack added to each control, [controls, 2, 2]: by the sign of the attack and of the control."""
    own, *others = normal
    return np.array(
        [
            [[auc(Ranking(a * own + c * other, pairs.is_edge).curve()) for c in (1, -1)] for a in (1, -1)]
            for other in others
        ]
    ).reshape(len(others), 2, 2)


def _headroom(
    cell: Cell, alone: Floats, added: Floats, names: Sequence[str], facts: LinkFacts, *, judged: bool
) -> Measured:
    """Errors avoided by attack and control together, over draws; signs are the better ones of the mean over draws.

    Args:
        cell: of the probe.
        alone: AUC of the attack and of every control, [draws, 1 + controls].
        added: AUC of both together, [draws, controls, 2, 2], see `_areas_both_ways`.
        names: of the controls.
        facts: of the pairs.
        judged: whether the policy judges it.
    """
    compared: list[tuple[str, Floats, Floats, bool]] = []
    for place, name in enumerate(names):
        turned = int(alone[:, 1 + place].mean() < 0.5)
        theirs = 1 - alone[:, 1 + place] if turned else alone[:, 1 + place]
        both = added[:, place, :, turned]
        sign = int(both.mean(axis=0).argmax())
        compared.append((name, both[:, sign], theirs, sign == 1))
    compared.sort(key=lambda each: -float(each[2].mean()))
    turned = bool(alone[:, 0].mean() < 0.5)
    mine, in_reverse = (compared[0][1], compared[0][3]) if compared else (np.abs(alone[:, 0] - turned), turned)
    compared.append((CHANCE, mine, np.full(len(alone), 0.5), in_reverse))
    least = 0.5 * len(alone) / max(facts.positives * facts.negatives / len(alone), 1.0)
    controls, rivals = [], []
    for name, own, other, in_reverse in compared:
        avoided = 1 - np.maximum(1 - own, least) / np.maximum(1 - other, least)
        h = _over_draws(avoided, -math.inf, 1.0, choices=SIGNS)
        controls.append(Control(name=name, estimate=Estimate(value=0.0), contrast=h, own=h))
        rivals.append(
            Rival(
                control=name,
                with_model=_over_draws(own, 0.0, 1.0, choices=SIGNS),
                without_model=_over_draws(other, 0.0, 1.0),
                in_reverse=in_reverse,
                positives=facts.positives,
                negatives=facts.negatives,
            )
        )
    first = controls[0].own
    assert first is not None
    return measured(
        HEADROOM,
        first,
        finding=cell.probe.findings[0],
        subset=SUBSET,
        controls=controls,
        strongest=compared[0][0],
        judged=judged,
        at_most="medium",
        facts=facts.model_copy(update={"rivals": tuple(rivals)}),
    )


def _number(cell: Cell, metric: Metric, values: Floats, names: Sequence[str], facts: LinkFacts) -> Measured:
    """One metric over draws; `values` [draws, 1 + controls], the attack first, then the controls `names`."""
    attack = values[:, 0]
    controls = [
        Control(
            name=name,
            estimate=Estimate(value=float(other.mean()), n=other.size),
            contrast=_over_draws(attack - other, -math.inf, math.inf),
        )
        for name, other in zip(names, values.T[1:], strict=True)
    ]
    return measured(
        metric,
        _over_draws(attack, 0.0, 1.0),
        finding=cell.probe.findings[0],
        subset=SUBSET,
        controls=controls,
        facts=facts,
    )


def _over_draws(values: Floats, least: float, most: float, *, choices: int = 1) -> Estimate:
    """Mean over draws with its t interval, cut at `least` and `most`; `n` counts draws."""
    lo, hi = student_t(values.tolist(), choices=choices)
    return Estimate(value=float(values.mean()), lo=max(least, lo), hi=min(most, hi), n=values.size)
