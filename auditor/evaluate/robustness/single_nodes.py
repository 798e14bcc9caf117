"""One added node with one edge against each of some nodes: how many break, beside random features joined alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.document import Control, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import SingleNodes
from auditor.errors import AuditorError, EvaluationError
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.node_answers import is_close
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.probe import Cell
from auditor.split_report import verb
from auditor.statistics.shares import paired, share
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relabelling import TOLERANCE, apart, scale_of
from auditor.targets.surroundings import Surroundings

if TYPE_CHECKING:
    from auditor.evaluate.robustness.injection import InjectionVerifier

MOST_ARCS = 10_000_000
"""Arcs that all attacked nodes' surroundings may have together; a node is asked about a hundred times."""
ONE_NODE = Metric("one_node_rate", "share", "higher", "robustness")
SUBSET, GROUP, MODE = "single", "uniform", "added-node"


def one_node_each(
    cell: Cell, verifier: InjectionVerifier, run: FlipClaims, count: int
) -> tuple[tuple[Measured, ...], tuple[ValidityRow, ...]]:
    """Share of nodes drawn at random that one added node, joined to it alone, breaks; each on the clean graph.

    The control breaks a node if any of its draws does: random features, joined to the same node. A node against which
    one of them cannot run (no other node is as like it as an added one must be) is left out of both. A node is asked
    about on its surroundings, where the model answers as on the whole graph; where that costs too much all the same,
    fewer nodes are attacked, and a row says so.

    Args:
        cell: its target, attacks and random streams.
        verifier: of added nodes against all attacked nodes.
        run: keeps which rules were broken; the attacks that did not run there do not run here.
        count: nodes to be drawn, from those that are right.

    Returns:
        A number that is shown and not judged, none where no node is right or none is left; and what limited it.
    """
    none = torch.empty(2, 0, dtype=torch.int64)
    clean = verifier.answers(verifier.space.raw[:0], none, none[0])
    right = torch.nonzero(cell.target.task.correct(clean, cell.target.graph.y[verifier.items])).flatten()
    drawn = right[torch.from_numpy(cell.rng("single").permutation(right.numel())[:count])]
    if not drawn.numel():
        return (), ()
    near = {place: _near(verifier, place, clean) for place in drawn.tolist()}
    most, row = _affordable(verifier, list(near.values()))
    kept = torch.sort(drawn[:most]).values  # places ascend as their nodes do
    nodes = verifier.items[kept]
    own, beside, asked = (np.full(nodes.numel(), value) for value in (False, False, True))
    tries: dict[str, int] = {}
    single = FlipClaims()
    for place, node in enumerate(nodes.tolist()):
        cell.tick(place / nodes.numel(), f"one added node against node {node}")
        one = near[int(kept[place])]
        for attack in cell.attacks:
            if attack.id in run.skipped:
                continue
            broke: list[bool] = []
            attempt = cell.attempt(attack, SUBSET, str(node), budgets=(1,))
            attempt = replace(attempt, edges=1, joins_items=True, likeness=verifier.likeness)
            verify = partial(_verify, one, broke)
            single.run(attack, cell.target, one.items, attempt, verify, kind=InjectionOutcome)
            asked[place] &= single.skipped.pop(attack.id, None) is None
            found = beside if attack.entry.role == "control" else own
            found[place] |= any(broke)
            tries[attack.id] = max(tries.get(attack.id, 0), len(broke))
    if not asked.any():
        return (), row
    own, beside = own[asked], beside[asked]
    run.checked += single.checked
    for id_, broken in single.violations.items():
        run.violations.setdefault(id_, []).extend(broken)
    name = next((attack.id for attack in cell.attacks if attack.entry.role == "control" and tries.get(attack.id)), "")
    number = measured(
        ONE_NODE,
        share(own),
        finding=cell.probe.findings[0],
        subset=SUBSET,
        controls=[Control(name=name, estimate=share(beside), contrast=paired(own, beside))] if name else [],
        facts=SingleNodes(group=GROUP, mode=MODE, flips="one", attacked=len(own), tries=tries.get(name, 0), largest=1),
    )
    return (number,), row


def _near(verifier: InjectionVerifier, place: int, clean: Tensor) -> InjectionVerifier:
    """Of the attacked node at `place` alone: on its surroundings where these answer as the whole graph."""
    one = replace(verifier, items=verifier.items[place : place + 1], edges=1)
    part = Surroundings.of(verifier.target.graph, one.items, verifier.target.model)
    if part is None:
        return one
    near, none = replace(one, part=part), torch.empty(2, 0, dtype=torch.int64)
    try:
        apart_by = apart(near.answers(verifier.space.raw[:0], none, none[0]), clean[place : place + 1])
    except (*TRIAL_ERRORS, AuditorError):  # a user's model may know whole graphs only
        return one
    return near if float(apart_by.max()) <= TOLERANCE * scale_of(clean[place]) else one


def _affordable(verifier: InjectionVerifier, near: Sequence[InjectionVerifier]) -> tuple[int, tuple[ValidityRow, ...]]:
    """How many of some nodes are attacked, and the row that says why fewer: their arcs together are within a bound.

    In the order in which they were drawn: so nobody is left out for what lies around them.
    """
    graph = verifier.target.graph
    arcs = [(graph if each.part is None else each.part.graph).num_edges for each in near]
    most = affordable(arcs, MOST_ARCS)
    return most, limited(most, arcs, graph.num_edges, MOST_ARCS)


def affordable(arcs: Sequence[int], bound: int) -> int:
    """How many of some nodes are attacked where the model reads so many arcs for each.

    As large a share of them as the bound is of their arcs.
    """
    return max(1, int(len(arcs) * min(1.0, bound / max(1, sum(arcs)))))


def limited(most: int, arcs: Sequence[int], whole: int, bound: int) -> tuple[ValidityRow, ...]:
    """Says why fewer nodes were attacked than drawn; nothing where all of them were.

    Args:
        most: attacked nodes.
        arcs: read for each node that was drawn.
        whole: arcs of the whole graph; a node that is not read from less takes all of them.
        bound: on the arcs of all nodes together.
    """
    if most == len(arcs):
        return ()
    all_of_it = sum(each >= whole for each in arcs)
    said = (
        f"{most} of {len(arcs)} nodes {verb(most, len(arcs), 'was', 'were')} attacked: what the model reads to answer "
        f"about all of them has {sum(arcs):,} arcs, and {bound:,} are the most that are gone through ({all_of_it} "
        f"{verb(all_of_it, 0, 'takes', 'take')} the whole graph, of {whole:,} arcs)"
    )
    return (check("single-nodes", "warning", None, said),)


def _verify(one: InjectionVerifier, broke: list[bool], claim: AddedNodes, _variant: str) -> None:
    """Notes whether the claim breaks the one node that it may be joined to.

    Raises:
        EvaluationError: it is joined to others, or breaks a rule of added nodes.
    """
    if bool((claim.edges[1] != one.items).any()):
        raise EvaluationError(f"an added node joins others than node {int(one.items)}")
    right = bool(one.check(claim).correct[0])
    if one.part is not None and is_close(one.asked(claim)):  # rounding could decide, and orders of sums differ
        right = bool(replace(one, part=None).check(claim).correct[0])
    broke.append(not right)
