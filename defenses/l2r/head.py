"""The last linear layer of a trained model: found by what it puts out, read, refitted and written back."""

from __future__ import annotations

import copy
import inspect
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, MessagePassing, SAGEConv
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.dense.linear import Linear as PyGLinear

from auditor.data.graph import Graph
from auditor.errors import SkippedError
from auditor.targets.forward import ForwardAdapter
from defenses.l2r.dependence import SMALLEST_SD

TOLERANCE = 1e-4
MAX_ITERATIONS = 500


@dataclass(frozen=True, slots=True)
class Head:
    """Where the head is: module name and how its output comes from its input.

    `linear`: Z W^T + b. `gcn`: Z = A^ h. `sage`: Z = [mean h, h], W split over `lin_l` and `lin_r`.
    """

    name: str
    kind: Literal["linear", "gcn", "sage"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """W [C, d] and b [C] (None where the layer has no bias); C = 1 for a model with a single logit."""

    weight: Tensor
    bias: Tensor | None


def find_head(model: nn.Module, graph: Graph) -> Head:
    """The last linear layer, or last convolution that is linear in its weight, whose output is the logits.

    Raises:
        SkippedError: no layer puts out the logits (within 1e-4 of their scale): attention, a norm behind, ensembles.
    """
    found: Head | None = None
    for name, module in model.named_modules():
        kind = _kind(model, name, module)
        if kind is None:
            continue
        head = Head(name, kind)
        try:
            z, logits = head_inputs(model, head, graph)
        except SkippedError:
            continue
        if agrees(read_head(model, head), z, logits):
            found = head
    if found is None:
        raise SkippedError(
            f"{type(model).__name__} has no last layer that is linear in its weight and puts out the logits; expected "
            "a Linear, GCNConv or mean-SAGE at the end. Use an end-to-end mode (l2r:mode=l2r) instead."
        )
    return found


def head_inputs(model: nn.Module, head: Head, graph: Graph, *, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The input of the head and the logits, [N, d] and [N, C] ([B, d] and [B, C] for many graphs), no gradient.

    Args:
        model: as it is; put it into eval mode before.
        head: of `find_head`.
        graph: what is forwarded.
        batch: read in place of `graph.batch`. `arange(N)` pools every node alone and so gives the node embeddings in
            the head's own dimensions, also behind an MLP readout.

    Raises:
        SkippedError: the layer did not run, or not on one row per item.
    """
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def remember(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args, kwargs))

    module = model.get_submodule(head.name)
    hook = module.register_forward_pre_hook(remember, with_kwargs=True)
    try:
        with torch.no_grad():
            batch = graph.batch if batch is None else batch
            logits = ForwardAdapter(model).logits(graph.x, graph.edge_index, graph.edge_weight, batch)
            if not seen:
                raise SkippedError(f"{head.name} does not run in the forward pass of {type(model).__name__}.")
            z = _input(module, head, *seen[-1])
    finally:
        hook.remove()
    if z.dim() != 2 or z.shape[0] != logits.shape[0]:
        raise SkippedError(f"{head.name} reads {list(z.shape)}; expected one row for each of {logits.shape[0]} items.")
    return z, logits


def read_head(model: nn.Module, head: Head) -> LinearMap:
    """W and b of the head, copies."""
    module: Any = model.get_submodule(head.name)
    if head.kind == "gcn":
        weight, bias = module.lin.weight, module.bias
    elif head.kind == "sage":
        weight = module.lin_l.weight
        if module.root_weight:
            weight = torch.cat([weight, module.lin_r.weight], dim=1)
        bias = module.lin_l.bias
    else:
        weight, bias = module.weight, module.bias
    return LinearMap(weight.detach().clone(), None if bias is None else bias.detach().clone())


def with_head(model: nn.Module, head: Head, new: LinearMap) -> nn.Module:
    """A copy of the model with another last layer; every other byte is the same. In eval mode, frozen."""
    copied = copy.deepcopy(model)
    module: Any = copied.get_submodule(head.name)
    with torch.no_grad():
        if head.kind == "gcn":
            module.lin.weight.copy_(new.weight)
            bias = module.bias
        elif head.kind == "sage":
            width = module.lin_l.weight.shape[1]
            module.lin_l.weight.copy_(new.weight[:, :width])
            if module.root_weight:
                module.lin_r.weight.copy_(new.weight[:, width:])
            bias = module.lin_l.bias
        else:
            module.weight.copy_(new.weight)
            bias = module.bias
        if bias is not None and new.bias is not None:
            bias.copy_(new.bias)
    return copied.eval().requires_grad_(False)


def agrees(layer: LinearMap, z: Tensor, logits: Tensor) -> bool:
    """Whether Z W^T + b is the logits, within 1e-4 of max(1, max |logit|)."""
    if layer.weight.shape != (logits.shape[1], z.shape[1]):
        return False
    out = z @ layer.weight.T
    out = out if layer.bias is None else out + layer.bias
    scale = max(1.0, float(logits.abs().max()))
    return bool((out - logits).abs().nan_to_num(torch.inf).max() <= TOLERANCE * scale)


def refit(z: Tensor, y: Tensor, w: Tensor | None, like: LinearMap) -> tuple[LinearMap, bool]:
    """Weighted multinomial logistic regression on standardised Z, folded back to raw Z; and whether it converged.

    W' = W / sigma, b' = b - W mu / sigma, zero for dimensions with a deviation below 1e-5. scikit-learn's lbfgs with
    C = 1 and 500 iterations. A layer without bias is refitted without one, on Z that is scaled but not centred.

    Args:
        z: raw inputs of the head [n, d].
        y: classes, int64 [n], every class present.
        w: weights [n] with mean 1, or None.
        like: the old layer: C logits or one, bias or none.
    """
    sd, mean = torch.std_mean(z.double(), dim=0, correction=0)
    live = sd >= SMALLEST_SD
    if like.bias is None:
        mean = torch.zeros_like(mean)
    scaled = (z.double()[:, live] - mean[live]) / sd[live]
    model = LogisticRegression(C=1.0, max_iter=MAX_ITERATIONS, fit_intercept=like.bias is not None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(scaled.numpy(), y.numpy(), sample_weight=None if w is None else w.double().numpy())
    coef = torch.from_numpy(model.coef_)
    intercept = torch.from_numpy(model.intercept_) if like.bias is not None else torch.zeros(coef.shape[0])
    if coef.shape[0] == 1 and like.weight.shape[0] == 2:  # two classes: scikit-learn keeps the difference alone
        coef, intercept = torch.cat([-coef, coef]) / 2, torch.cat([-intercept, intercept]) / 2
    weight = torch.zeros(coef.shape[0], z.shape[1], dtype=torch.float64)
    weight[:, live] = coef / sd[live]
    bias = intercept - weight @ mean
    dtype = like.weight.dtype
    folded = LinearMap(weight.to(dtype), None if like.bias is None else bias.to(dtype))
    return folded, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _kind(model: nn.Module, name: str, module: nn.Module) -> Literal["linear", "gcn", "sage"] | None:
    """What kind of head a module could be; None for none."""
    if isinstance(module, GCNConv):
        return "gcn"
    if isinstance(module, SAGEConv):
        plain = module.aggr in ("mean", "sum", "add") and not module.normalize and not module.project
        return "sage" if plain else None
    if isinstance(module, nn.Linear | PyGLinear):
        # The `lin` inside a convolution runs before the messages: on a graph without edges it would pass for a head.
        owner = model.get_submodule(name.rpartition(".")[0])
        return None if isinstance(owner, MessagePassing) else "linear"
    return None


def _input(module: nn.Module, head: Head, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Z of one call of the head."""
    called = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    if head.kind == "linear":
        z: Tensor = next(iter(called.values()))
        return z
    conv: Any = module
    h, edge_index = called["x"], called["edge_index"]
    if head.kind == "gcn":
        edge_weight = called.get("edge_weight")
        if conv.normalize:
            edge_index, edge_weight = gcn_norm(
                edge_index, edge_weight, h.size(0), conv.improved, conv.add_self_loops, conv.flow, h.dtype
            )
        propagated: Tensor = conv.propagate(edge_index, x=h, edge_weight=edge_weight)
        return propagated
    pair = h if isinstance(h, tuple) else (h, h)
    mean = conv.propagate(edge_index, x=pair, size=None)
    return torch.cat([mean, pair[1]], dim=1) if conv.root_weight else mean
