"""What a target can do: tried on a small slice of its graph, never believed."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import CapabilityError
from auditor.targets.relaxation import Relaxation
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Capability, ModelHandle
from auditor.tasks import output_kind

SLICE_NODES = 16
TRIAL_ERRORS = (
    *(RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(AssertionError, ArithmeticError, CapabilityError),
)
"""A user's forward may fail in any of these ways when it is asked for what it cannot do."""


def try_capabilities(
    handle: ModelHandle, graph: Graph, *, has_recipe: bool, has_split: bool, fixed_nodes: bool = False
) -> frozenset[Capability]:
    """The capabilities that a trial on at most about 16 nodes confirms; on all, of a model that knows no others.

    Args:
        handle: the model; a private copy of it is used up by the edge trial.
        graph: where the slice is taken from.
        has_recipe: whether a fresh model can be built and `[target.train]` is there.
        has_split: whether anybody said what it was trained on.
        fixed_nodes: whether it has a row per node.
    """
    part = graph if fixed_nodes else small_slice(graph)
    with torch.no_grad():
        clean = handle.logits(part.x, part.edge_index, part.edge_weight, part.batch, part.fields)
    found = {Capability.LABELS, Capability.PROBS}
    if output_kind(clean) != "probs":
        found.add(Capability.LOGITS)
    if any(True for _ in handle.model.parameters()):
        found.add(Capability.PARAMS)
    if _has_feature_gradient(handle, part):
        found.add(Capability.GRAD_X)
    if _has_embeddings(handle, part):
        found.add(Capability.EMBEDDINGS)
    soft = Relaxation.choose(
        ModelHandle(handle.model), num_features=graph.num_features, level=graph.task.level, graph=part
    )
    if soft.kind != "none":
        found.add(Capability.GRAD_EDGE)
    if has_split:
        found.add(Capability.SPLIT)
    if not graph.fields:
        found.add(Capability.BARE)
    if not fixed_nodes:
        found.add(Capability.ANY_NODES)
    if has_recipe:
        found.add(Capability.RETRAIN)
    return frozenset(found)


def small_slice(graph: Graph, size: int = SLICE_NODES) -> Graph:
    """The subgraph on about `size` nodes that lie along the first edges (node task), or two graphs.

    All of a graph with a field that names nodes, which a part would lack. Labels come along because a Graph has them;
    nothing here reads them.
    """
    if graph.batch is not None:
        return GraphSlices(graph).take(_telling(graph)[:2].sort().values)
    if graph.fields.held:
        return graph
    ends = graph.edge_index.T.reshape(-1)[: 64 * size]
    order = torch.cat([ends, torch.arange(min(size, graph.num_nodes))]).tolist()
    nodes = torch.tensor(sorted(list(dict.fromkeys(order))[:size]))
    position = torch.full((graph.num_nodes,), -1)
    position[nodes] = torch.arange(nodes.shape[0])
    edges = position[graph.edge_index]
    inside = (edges >= 0).all(dim=0)
    return graph.taking(nodes, nodes, torch.nonzero(inside).flatten())


def _telling(graph: Graph) -> Tensor:
    """Graphs in their order, those first that have joined nodes and features: others show no gradient of any model."""
    assert graph.batch is not None
    u, v = graph.edge_index
    joined = torch.bincount(graph.batch[u[u != v]], minlength=graph.num_items) > 0
    shows = torch.bincount(graph.batch[graph.x.ne(0).any(dim=1)], minlength=graph.num_items) > 0
    return torch.argsort(2 * joined.int() + shows.int(), descending=True, stable=True)


def _has_feature_gradient(handle: ModelHandle, part: Graph) -> bool:
    x = part.x.clone().requires_grad_(True)
    try:
        out = handle.logits(x, part.edge_index, part.edge_weight, part.batch, part.fields)
        gradient: Tensor | None = torch.autograd.grad(out.square().sum(), x, allow_unused=True)[0]
    except TRIAL_ERRORS:
        return False
    return gradient is not None and bool(torch.isfinite(gradient).all() and gradient.any())


def _has_embeddings(handle: ModelHandle, part: Graph) -> bool:
    try:
        with torch.no_grad():
            h = handle.embeddings(part.x, part.edge_index, part.edge_weight, part.batch, part.fields)
    except TRIAL_ERRORS:
        return False
    return h.dim() == 2 and h.shape[0] == part.num_nodes and bool(torch.isfinite(h).all())
