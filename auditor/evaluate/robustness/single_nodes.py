"""One added node with one edge against each of some nodes: how many break, beside random features joined alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.document import Control, Measured, Metric, measured
from auditor.document.facts import SingleNodes
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.probe import Cell
from auditor.statistics.shares import paired, share

if TYPE_CHECKING:
    from auditor.evaluate.robustness.injection import InjectionVerifier

ONE_NODE = Metric("one_node_rate", "share", "higher", "robustness")
SUBSET, GROUP, MODE = "single", "uniform", "added-node"


def one_node_each(cell: Cell, verifier: InjectionVerifier, run: FlipClaims, count: int) -> Measured | None:
    """Share of nodes drawn at random that one added node, joined to it alone, breaks; each on the clean graph.

    The control breaks a node if any of its draws does: random features, joined to the same node. A node against which
    one of them cannot run (no other node is as like it as an added one must be) is left out of both.

    Args:
        cell: its target, attacks and random streams.
        verifier: of added nodes against all attacked nodes.
        run: keeps which rules were broken; the attacks that did not run there do not run here.
        count: nodes to be drawn, from those that are right.

    Returns:
        A number that is shown and not judged; None where no node is right, or none is left.
    """
    right = verifier.items[torch.from_numpy(np.flatnonzero(verifier.clean().correct))]
    nodes = torch.sort(right[torch.from_numpy(cell.rng("single").permutation(right.numel())[:count])]).values
    if not nodes.numel():
        return None
    own, beside, asked = (np.full(nodes.numel(), value) for value in (False, False, True))
    tries: dict[str, int] = {}
    single = FlipClaims()
    for place, node in enumerate(nodes.tolist()):
        cell.tick(place / nodes.numel(), f"one added node against node {node}")
        one = replace(verifier, items=nodes[place : place + 1], edges=1)
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
        return None
    own, beside = own[asked], beside[asked]
    run.checked += single.checked
    for id_, broken in single.violations.items():
        run.violations.setdefault(id_, []).extend(broken)
    name = next((attack.id for attack in cell.attacks if attack.entry.role == "control" and tries.get(attack.id)), "")
    return measured(
        ONE_NODE,
        share(own),
        finding=cell.probe.findings[0],
        subset=SUBSET,
        controls=[Control(name=name, estimate=share(beside), contrast=paired(own, beside))] if name else [],
        facts=SingleNodes(group=GROUP, mode=MODE, flips="one", attacked=len(own), tries=tries.get(name, 0), largest=1),
    )


def _verify(one: InjectionVerifier, broke: list[bool], claim: AddedNodes, _variant: str) -> None:
    """Notes whether the claim breaks the one node that it may be joined to.

    Raises:
        EvaluationError: it is joined to others, or breaks a rule of added nodes.
    """
    if bool((claim.edges[1] != one.items).any()):
        raise EvaluationError(f"an added node joins others than node {int(one.items)}")
    broke.append(not one.check(claim).correct[0])
