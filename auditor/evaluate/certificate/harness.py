"""The harness of certificates: what a vote gets right, and how much of it no edit of so many edges can change.

It needs no attack: a proof holds against every adversary. It is of the vote, not of the model that is served.
See docs/methods/certificate.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from auditor.data.edits import EdgeSpace, settled
from auditor.document import check
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.certificate import graphs, nodes
from auditor.evaluate.certificate.measure import numbers, series
from auditor.evaluate.certificate.settings import Settings as Settings
from auditor.evaluate.robustness.attacked import attacked_items
from auditor.parameters import build
from auditor.probe import Cell, CellResult
from auditor.registry import LACKING
from auditor.statistics.intervals import wilson
from auditor.targets.target import Capability, Target

ACCESS = ("features", "graph", "labels", "weights")
"""Whatever an adversary holds, nothing more helps: the proof names no more than it is about."""
FEW = 30


def check_edits(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether so many edits can be made at all, before anything runs.

    Raises:
        ConfigError: more flips than there are pairs of nodes, or more deletions than there are edges.
    """
    if not {"flips", "deletions"} & set(params):
        return
    settings, graph = build(Settings, params, owner=owner), target.graph
    try:
        space = EdgeSpace.of(settled(graph))
    except SkippedError:
        return  # the row of the cell says why
    pairs, edges = space.num_pairs, space.m
    if graph.batch is not None:  # each graph is edited by itself
        largest = int(torch.bincount(graph.batch).max())
        pairs = largest * (largest - 1) // (1 if space.directed else 2)
    for name, counts, most, what in (
        ("flips", settings.flips, pairs, "pairs of nodes"),
        ("deletions", settings.deletions if graph.batch is None else (), edges, "edges"),
    ):
        if name in params and max(counts, default=0) > most:
            of = graph.name if graph.batch is None else f"the largest of {graph.name}"
            raise ConfigError(
                f"{owner}: {name}={max(counts)} are more than the {most:,} {what} of {of}; expected at most those."
            )


def evaluate(cell: Cell) -> CellResult:
    """Votes, proves, makes edits and votes again, and measures.

    Raises:
        SkippedError: nobody named the split, or there is nothing to prove (see `graphs.prove` and `nodes.prove`).
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target = cell.target
    if Capability.SPLIT not in target.capabilities:
        raise SkippedError(f"needs {LACKING[Capability.SPLIT]}", lacks=(Capability.SPLIT,))
    items = attacked_items(cell, settings.graphs)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        prove = graphs.prove if target.task.level == "graph" else nodes.prove
        proof = prove(cell, settings, items)
    finding = cell.probe.findings[0]
    n = proof.items.numel()
    y = target.graph.y[proof.items]
    constant, (lo, _hi) = target.task.constant_quality(y), wilson(float(proof.right.sum()), n)
    worth = check(
        "vote-beats-constant",
        "strength",
        lo > constant,
        f"the vote is right on {proof.right.mean():.1%}, at least {lo:.1%}; the commonest class is {constant:.1%}",
    )
    few = check("underpowered", "strength", n >= FEW, f"{n} targets; at least {FEW} are needed")
    return CellResult(
        access=ACCESS,
        measured=numbers(proof, finding, cell.rng("bootstrap")),
        series=(series(proof, f"{cell.probe.id}-edits"),),
        validity=(*proof.rows, worth, few),
        params={"targets": n, "abstained": proof.abstained, **proof.params},
    )
