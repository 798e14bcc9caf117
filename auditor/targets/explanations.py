"""What a service publishes to explain its answers: one row of numbers a node, from gradients or from a file.

Two forms of gradients are computed, z the logits on the graph that the model is served on, ŷ the classes it names:

- `batch`: e_v = row v of ∂(Σ_w z_w,ŷw) / ∂X, what a single backward pass over all nodes returns. Each row sums over the
  neighbours' logits too, so that this convenience leaks more than the explanation that it stands for.
- `own`: e_v = ∂ z_v,ŷv / ∂x_v, a backward pass for each node, of which row v is kept.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auditor.data.npz import read_arrays
from auditor.errors import DataError, SkippedError
from auditor.registry import Capability, lack_of
from auditor.side_knowledge import SideKnowledge
from auditor.targets.target import Target

ARRAY = "explanations"
MOST_OWN = 3_000  # nodes that a backward pass each is affordable for


def explanations(target: Target, side: SideKnowledge) -> Tensor:
    """Explanations of the answers on the target's own graph, [N, F], no gradient.

    Answers that go out coarser are explained by the model that computes them (`Target.beneath`).

    Raises:
        SkippedError: the model offers no gradient to its features, or has too many nodes for a pass each.
        DataError: a file that does not hold one finite row of F numbers a node.
    """
    graph = target.graph
    if side.explanations_file:
        return read_explanations(Path(side.explanations_file), graph.num_nodes, graph.num_features)
    if Capability.GRAD_X not in target.capabilities:
        raise SkippedError(f"needs {lack_of(Capability.GRAD_X)}", lacks=(Capability.GRAD_X,))
    is_own = side.explanations == "own"
    if is_own and graph.num_nodes > MOST_OWN:
        raise SkippedError(
            f'[access] explanations = "own" takes a backward pass for each of {graph.num_nodes} nodes; expected at '
            f'most {MOST_OWN}. Choose "batch", or name a file.'
        )
    handle, x = target.beneath().handle(), graph.x.clone().requires_grad_(True)
    named = handle.logits(x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields).max(dim=1).values  # [N]
    if not is_own:
        found: Tensor = torch.autograd.grad(named.sum(), x)[0]
        return found
    rows = torch.empty_like(x, requires_grad=False)
    for v in range(graph.num_nodes):
        rows[v] = torch.autograd.grad(named[v], x, retain_graph=True)[0][v]
    return rows


def read_explanations(path: Path, num_nodes: int, num_features: int) -> Tensor:
    """`explanations` of an .npz file, float [N, F].

    Raises:
        DataError: no such file, no such array, another shape, or a number that is not finite.
    """
    expected = f"[{num_nodes}, {num_features}]: a row for each node of the graph, a column for each feature"
    arrays = read_arrays(path, (ARRAY,))
    if ARRAY not in arrays:
        raise DataError(f"{path.name} lacks {ARRAY}; expected it, {expected}. Save it with numpy.savez.")
    values = arrays[ARRAY]
    if values.dtype.kind not in "biuf" or values.shape != (num_nodes, num_features):
        raise DataError(
            f"{path.name}: {ARRAY} is {list(values.shape)} of {values.dtype}; expected numbers {expected}. Save those "
            "of this model on this graph."
        )
    if not np.isfinite(values).all():
        raise DataError(
            f"{path.name}: {int((~np.isfinite(values)).sum())} values of {ARRAY} are not finite; expected numbers. "
            "Blank what the explainer left open with 0."
        )
    return torch.from_numpy(np.asarray(values, dtype=np.float64 if values.dtype.itemsize > 4 else np.float32))
