"""Re-measures what an attack claims to have done to a graph, before the model sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.errors import EvaluationError
from auditor.evaluate.shift.reference import Reference, inference_graph
from auditor.outcomes import ShiftedSet
from auditor.statistics.estimate import ROUNDING


def item_rows(reference: Reference, shifted: ShiftedSet) -> Tensor:
    """Where the evaluated items are in the model's output on the shifted graph, int64 [n].

    Raises:
        EvaluationError: the items are not the ID items, or one of them is gone.
    """
    if not torch.equal(shifted.items, reference.items):
        raise EvaluationError(_says(shifted, "has items that are not the test items in their order"))
    original = reference.target.graph
    held = torch.arange(original.num_nodes) if shifted.node_ids is None else shifted.node_ids
    if original.batch is not None:
        held = torch.unique(original.batch[held])
    rows = torch.searchsorted(held, shifted.items)
    found = (rows < len(held)) & (held[rows.clamp_max(len(held) - 1)] == shifted.items)
    if not found.all():
        raise EvaluationError(_says(shifted, f"lost {int((~found).sum())} evaluated items"))
    return rows


def check_claim(reference: Reference, shifted: ShiftedSet) -> float | None:
    """The share really edited, or None where the set claims none.

    Who edits edges leaves features and nodes alone, who edits features edges and nodes; who edits nodes leaves the
    induced subgraph of the nodes it names.

    Raises:
        EvaluationError: something else changed, an edge was doubled or made a loop or lost its reverse, or the claimed
            rate is not the measured one.
    """
    graph = shifted.graph
    if graph is None:
        raise EvaluationError(_says(shifted, "has no graph"))
    base = inference_graph(reference.target.graph, reference.items)
    before = base if shifted.node_ids is None else _induced(reference.target.graph, shifted)
    if graph.x.shape != before.x.shape or not _same(graph.batch, before.batch):
        raise EvaluationError(
            _says(shifted, f"has x {list(graph.x.shape)}, the nodes it names have {list(before.x.shape)}")
        )
    same_x = torch.equal(graph.x, before.x)
    same_edges = torch.equal(graph.edge_index, before.edge_index) and _same(graph.edge_weight, before.edge_weight)
    same_nodes = before.num_nodes == base.num_nodes
    measured: float | None
    match shifted.edits:
        case "edges":
            if not same_x or not same_nodes:
                raise EvaluationError(_says(shifted, "changed features or nodes"))
            measured = _edge_rate(before, graph, shifted)
        case "features":
            if not same_edges or not same_nodes:
                raise EvaluationError(_says(shifted, "changed edges or nodes"))
            measured = _zeroed_rate(before.x, graph.x)
        case "nodes":
            if not same_x or not same_edges:
                raise EvaluationError(_says(shifted, "is not the induced subgraph of the nodes it names"))
            measured = 1 - graph.num_nodes / base.num_nodes
        case "none":
            raise EvaluationError(_says(shifted, "does not say what it edits"))
    if shifted.claimed_rate is None:
        return None
    if measured is None or abs(measured - shifted.claimed_rate) > ROUNDING:
        raise EvaluationError(_says(shifted, f"claims a rate of {shifted.claimed_rate}, measured {measured}"))
    return measured


def check_made(reference: Reference, shifted: ShiftedSet) -> None:
    """Whether a made-up set is what it claims: one thing was made anew, and kept is what it says it keeps.

    Raises:
        EvaluationError: it is not.
    """
    graph, base = shifted.graph, inference_graph(reference.target.graph, reference.items)
    if graph is None or graph.x.shape != base.x.shape or not _same(graph.batch, base.batch):
        raise EvaluationError(_says(shifted, "has no graph, or one of other nodes"))
    if shifted.edits == "features":
        if not torch.equal(graph.edge_index, base.edge_index) or not _same(graph.edge_weight, base.edge_weight):
            raise EvaluationError(_says(shifted, "changed edges"))
        return
    if shifted.edits != "edges" or not torch.equal(graph.x, base.x):
        raise EvaluationError(_says(shifted, "changed features, or does not say what it made anew"))
    if base.is_undirected and not graph.is_undirected:
        raise EvaluationError(_says(shifted, "left an edge of an undirected graph without its reverse"))
    if _loops(graph) != _loops(base):
        raise EvaluationError(_says(shifted, f"has {_loops(graph)} loops, the graph {_loops(base)}"))
    if graph.num_edges > len(graph.arc_keys()):
        raise EvaluationError(_says(shifted, "stores an edge twice"))
    before, after = (each.arc_keys(include_loops=False) for each in (base, graph))
    n = base.num_nodes
    if shifted.keeps == "degrees":
        for old, new in ((before // n, after // n), (before % n, after % n)):
            if not torch.equal(torch.bincount(old, minlength=n), torch.bincount(new, minlength=n)):
                raise EvaluationError(_says(shifted, "changed degrees"))
    if shifted.keeps == "edges":
        of = torch.zeros(n, dtype=torch.int64) if base.batch is None else base.batch
        if not torch.equal(torch.bincount(of[before // n]), torch.bincount(of[after // n])):
            raise EvaluationError(_says(shifted, f"has {len(after)} edges, the graph {len(before)}"))
        if base.batch is not None and not torch.equal(of[after // n], of[after % n]):
            raise EvaluationError(_says(shifted, "joins two graphs"))


def claims_row(checked: int) -> ValidityRow:
    """That every made-up set was checked by `check_made`, which raises where one is not what it claims."""
    evidence = f"{checked} made-up graphs re-measured: degrees and numbers of edges as claimed, nothing else touched."
    return check("shift-claims", "integrity", True, evidence)


def _induced(original: Graph, shifted: ShiftedSet) -> Graph:
    ids = shifted.node_ids
    assert ids is not None
    fine = ids.dtype == torch.int64 and ids.dim() == 1 and bool((ids[1:] > ids[:-1]).all())
    if not fine or int(ids[0]) < 0 or int(ids[-1]) >= original.num_nodes:
        raise EvaluationError(_says(shifted, "names nodes that are not distinct ascending ids of the graph"))
    return original.induced(ids)


def _edge_rate(before: Graph, after: Graph, shifted: ShiftedSet) -> float:
    """(edges gone + edges new) / edges before, undirected where the graph is."""
    undirected = before.is_undirected
    if undirected and not after.is_undirected:
        raise EvaluationError(_says(shifted, "left an edge of an undirected graph without its reverse"))
    loops = _loops(after)
    if loops != _loops(before):
        raise EvaluationError(_says(shifted, f"has {loops} loops, the graph {_loops(before)}"))
    old, new = (g.pair_keys() if undirected else g.arc_keys(include_loops=False) for g in (before, after))
    if after.num_edges - len(after.arc_keys()) > before.num_edges - len(before.arc_keys()):
        raise EvaluationError(_says(shifted, "stores an edge twice"))
    gone, fresh = int((~torch.isin(old, new)).sum()), int((~torch.isin(new, old)).sum())
    if gone and fresh:
        raise EvaluationError(_says(shifted, f"removed {gone} edges and added {fresh}"))
    return (gone + fresh) / max(len(old), 1)


def _zeroed_rate(before: Tensor, after: Tensor) -> float | None:
    """Share of non-zero entries that became zero; None where other entries changed as well."""
    filled = before != 0
    if bool(((after != before) & (after != 0)).any()):
        return None
    return int((filled & (after == 0)).sum()) / max(int(filled.sum()), 1)


def _loops(graph: Graph) -> int:
    return int((graph.edge_index[0] == graph.edge_index[1]).sum())


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def _says(shifted: ShiftedSet, what: str) -> str:
    return f"the shifted set {shifted.name}={shifted.severity}, draw {shifted.draw}, {what}."
