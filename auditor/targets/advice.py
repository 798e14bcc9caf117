"""What could explain an accuracy that is not the claimed one: preparations of the graph, tried as advice alone.

Nothing here is ever applied: a preparation that meets the claim may do so by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_self_loops, to_undirected

from auditor.data.graph import Graph
from auditor.data.sources import normalise_rows
from auditor.errors import AuditorError
from auditor.targets.call import Call
from auditor.targets.call_rules import NAMES

ADJACENCY_NAMES = NAMES["adj"]


def preparations(call: Call, graph: Graph) -> Iterator[tuple[str, Call, Graph]]:
    """(what the user would write or do, the call, the graph) of each preparation that makes a difference."""
    for form in ("csr", "gcn-norm", "dense"):
        changed = tuple((name, form if name in ADJACENCY_NAMES else slot) for name, slot in call.arguments)
        if changed != call.arguments:
            yield f'[call] adj = "{form}"', replace(call, arguments=changed), graph
    for words, prepare in _GRAPHS.items():
        try:
            made = prepare(graph)
        except (AuditorError, RuntimeError, ValueError):
            continue
        yield words, call, made


def _weighted(graph: Graph) -> Graph:
    edge_index, weight = gcn_norm(graph.edge_index, graph.edge_weight, graph.num_nodes)
    return graph.with_edges(edge_index, weight)


def _undirected(graph: Graph) -> Graph:
    return graph.with_edges(to_undirected(graph.edge_index, num_nodes=graph.num_nodes))


def _looped(graph: Graph) -> Graph:
    return graph.with_edges(add_self_loops(graph.edge_index, num_nodes=graph.num_nodes)[0])


def _standardised(graph: Graph) -> Graph:
    spread = graph.x.std(dim=0, correction=0)
    return replace(graph, x=(graph.x - graph.x.mean(dim=0)) / torch.where(spread > 0, spread, 1.0))


_GRAPHS: dict[str, Callable[[Graph], Graph]] = {
    '[data] transform = "row-normalize"': lambda graph: replace(graph, x=normalise_rows(graph.x)),
    "standardised features": _standardised,
    "self-loops added": _looped,
    "edges in both directions": _undirected,
    "edge weights of gcn-norm": _weighted,
}


def what_meets(claim: float, allowed: float, call: Call, graph: Graph, accuracy: Callable[[Call, Graph], float]) -> str:
    """Preparations under which the claim is met, in words; empty for none."""
    found = []
    for words, other, prepared in preparations(call, graph):
        try:
            measured = accuracy(other, prepared)
        except Exception:
            continue
        if abs(measured - claim) <= allowed:
            found.append(f"with {words} it is {measured:.4f}")
    return "; ".join(found)
