"""What the search in cells costs GraphMI (`python -m benchmarks.privacy.neighbours [--nodes N…] [--seeds S…]`).

Generated graphs (`benchmarks/runs/graphs.py`) of sizes on which all pairs can be compared; the search of larger graphs
is forced upon them. Told are the AUC of the attack alone on all edges against 200,000 non-edges, the paired difference
to all pairs with its interval over nodes, CPU seconds of the attack, and the share of all pairs' findings in the cells.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch_geometric.nn.models import GCN

import auditor
from attacks.privacy import graphmi, neighbours, soft_graphs
from auditor.evaluate.links.pairs import Truth, prior_pairs
from auditor.evaluate.links.scoring import AUC
from auditor.statistics.node_bootstrap import node_bootstrap
from auditor.targets.target import Target
from benchmarks.privacy.graphmi import attacked, registered
from benchmarks.runs.graphs import graph
from benchmarks.runs.growth import HIDDEN, RECIPE

NEGATIVES, REPLICATES = 200_000, 200
CUT = 1_000
"""Nodes above which cells are looked into, where they are forced."""


def trained(nodes: int, seed: int) -> Target:
    """The target that growth is measured on."""
    data = graph(nodes, seed)
    build = functools.partial(GCN, data.num_features, HIDDEN, 2, int(data.y.max()) + 1, dropout=0.5)
    target = auditor.load_target(build(), data, build=build, recipe=RECIPE)
    return target.retrained(target.graph, seed=seed)


def compared(nodes: int, seed: int, found_in: list[int]) -> Iterator[str]:
    """Rows of a table: all pairs, then each number of cells looked into."""
    target = trained(nodes, seed)
    pairs = prior_pairs(Truth.of(target.graph), NEGATIVES, np.random.default_rng(1))
    scores, seconds = [], []
    for cells in (0, *found_in):
        with _search(cells):
            outcome, spent = attacked(registered("graphmi"), target)
        scores.append(outcome.score(pairs.tensor).numpy())
        seconds.append(spent)
    found = node_bootstrap(
        pairs.pairs,
        pairs.is_edge,
        pairs.inclusion,
        scores,
        [AUC.of],
        num_nodes=nodes,
        rng=np.random.default_rng(0),
        node_replicates=REPLICATES,
        pair_replicates=REPLICATES,
    )
    one = np.eye(len(scores))
    shares = [[1.0], *(_shares(target, cells) for cells in found_in)]
    for k, (cells, spent, share) in enumerate(zip(("all pairs", *found_in), seconds, shares, strict=True)):
        area, lo, hi = found.interval(0, one[k], logit=True)
        told = "–" if not k else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*found.difference(0, one[k] - one[0]))
        held = " / ".join(f"{each:.2f}" for each in share)
        yield f"| {nodes:,} | {seed} | {cells} | {area:.4f} [{lo:.4f}, {hi:.4f}] | {told} | {spent:.1f} | {held} |"


def _search(cells: int) -> ExitStack:
    """Inside: that many cells are looked into; all pairs at 0."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(neighbours, "ALL_PAIRS", CUT if cells else 10**9))
    stack.enter_context(mock.patch.object(neighbours, "FOUND_IN", cells))
    return stack


def _shares(target: Target, cells: int) -> list[float]:
    """Of every search of a descent with all pairs, the share of its findings that cells hold."""
    found = []

    def beside(search: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def both(*given: Tensor | int) -> Tensor:
            with _search(0):
                exact = search(*given)
            with _search(cells):
                found.append(float(torch.isin(exact, search(*given)).double().mean()))
            return exact

        return both

    with (
        mock.patch.object(graphmi, "nearest", beside(neighbours.nearest)),
        mock.patch.object(soft_graphs, "largest_products", beside(neighbours.largest_products)),
    ):
        attacked(registered("graphmi"), target)
    return found


def main() -> None:
    """Prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", nargs="+", type=int, default=[10_000, 20_000, 40_000], metavar="N")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="S")
    parser.add_argument("--found-in", nargs="+", type=int, default=[neighbours.FOUND_IN], metavar="C")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| nodes | seed | cells looked into | AUC | beside all pairs | CPU s | found: embeddings / features / refills |"
    )
    print("|---|---|---|---|---|---|---|")
    for nodes in options.nodes:
        for seed in options.seeds:
            for row in compared(nodes, seed, options.found_in):
                print(row, flush=True)


if __name__ == "__main__":
    main()
