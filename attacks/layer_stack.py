"""Any model whose layers add up or average their neighbours, run on an adjacency given as a linear operator.

The user's own forward runs, activations, norms and residuals included; only its message-passing layers are replaced, by

- D^-1/2 (A + I) D^-1/2 (X W) for GCN layers,
- A (X W), or the mean max(1, D)^-1 A (X W), for GraphConv and SAGE layers, beside what they make of the node itself,
- A (X W) + (1 + eps) X W for GIN layers, W being the first linear map of their network,

with A behind a `multiply`. The gradient with respect to *every* pair of nodes then has low rank and is returned as two
thin factors, so that a dense attack updates A with one matrix product, and a sparse one reads off the pairs it holds.
Nothing here allocates N × N.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize
from torch_geometric.nn import GCNConv, GINConv, GraphConv, MessagePassing, SAGEConv
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation
from torch_geometric.nn.dense.linear import Linear as PyGLinear

from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.device import CPU
from auditor.targets.target import ModelHandle

Multiply = Callable[[Tensor], Tensor]
KINDS: tuple[type[MessagePassing], ...] = (GCNConv, SAGEConv, GraphConv, GINConv)
MAX_GAP = 1e-4
GATHERED_PAIRS = 1_000_000


@dataclass(slots=True, eq=False)
class _Ledger:
    """What one forward and backward leave behind: per layer, P and Q such that dL/dA_vu = <P_v, Q_u>, degrees apart.

    Of a GCN layer P = D^-1/2 dL/dout and Q = D^-1/2 X W, or with X alone; of others P = dL/dout, for a mean divided by
    the degree, and Q = X W or X.
    """

    multiply: Multiply
    factors: list[tuple[Tensor, Tensor]]


class _Aggregate(torch.autograd.Function):
    """S · (A (S H) + S H) with S = diag(scale) and A symmetric, given by a product.

    The gradient with respect to A is not materialised: its factors are written to the ledger.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: Tensor, ledger: _Ledger) -> Tensor:
        scaled = scale[:, None] * h  # [N, H]
        inner = ledger.multiply(scaled) + scaled
        ctx.save_for_backward(h, scale, scaled, inner)
        ctx.ledger = ledger
        return scale[:, None] * inner

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        h, scale, scaled, inner = ctx.saved_tensors
        p = scale[:, None] * grad  # dL/d(A (S H))
        ctx.ledger.factors.append((p, scaled))
        back = ctx.ledger.multiply(p) + p  # A is symmetric
        grad_scale = (grad * inner).sum(dim=1) + (back * h).sum(dim=1)
        return scale[:, None] * back, grad_scale, None


class _Sum(torch.autograd.Function):
    """diag(share) · A H; the gradient with respect to A is left in the ledger, see `_Aggregate`."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, share: Tensor, ledger: _Ledger) -> Tensor:
        inner = ledger.multiply(h)
        ctx.save_for_backward(h, share, inner)
        ctx.ledger = ledger
        return share[:, None] * inner

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        h, share, inner = ctx.saved_tensors
        p = share[:, None] * grad  # dL/d(A H)
        ctx.ledger.factors.append((p, h.detach()))  # with its history it would hold this ledger, and a step never end
        back = ctx.ledger.multiply(p) if ctx.needs_input_grad[0] else None  # A is symmetric
        return back, (grad * inner).sum(dim=1), None


class LayerStack:
    """A private copy of a model that runs on `multiply` and the degrees of A."""

    def __init__(self, handle: ModelHandle, x: Tensor) -> None:
        self._handle = copy.deepcopy(handle)
        self._x = self._read = x
        self._nodes: Tensor | None = None
        self._projected: dict[int, Tensor] = {}  # x W of each layer that reads x: the same in every step
        self._inputs: list[Tensor] = []
        self._scale = self._share = self._once = self._divides = torch.empty(0)
        self._ledger = _Ledger(lambda h: h, [])
        ways = {GCNConv: self._gcn, SAGEConv: self._sage, GraphConv: self._graph_conv, GINConv: self._gin}
        for layer in _layers(self._handle.model):
            layer.forward = partial(ways[type(layer)], layer)

    @classmethod
    def of(cls, handle: ModelHandle, x: Tensor, *, kinds: Sequence[type[MessagePassing]] = KINDS) -> LayerStack | None:
        """The stack, or None when a layer is not a plain one of these or the copy does not answer as the model does."""
        layers = _layers(handle.model)
        if not layers or not all(type(layer) in kinds and _is_plain(layer) for layer in layers):
            return None
        stack = cls(handle, x)
        return stack if stack._agrees_with(handle) else None

    def logits(self, multiply: Multiply, degrees: Tensor, nodes: Tensor | None = None) -> Tensor:
        """Logits on A, [N, C], ready for `pair_factors`; `degrees` [N] are the row sums of A, without loops.

        With `nodes`, int64, these alone are run: rows of everything are theirs, and what they are told by others is for
        `multiply` to add.
        """
        self._inputs.clear()
        self._nodes, self._read = nodes, self._x if nodes is None else self._x[nodes]
        self._ledger = _Ledger(multiply, [])
        degrees = degrees.detach()
        self._scale = (degrees + 1).rsqrt().requires_grad_(True)
        self._divides = degrees >= 1  # at 1 too: the slope is that of an edge that comes in
        self._share = degrees.clamp_min(1).reciprocal().requires_grad_(True)
        self._once = torch.ones_like(degrees).requires_grad_(True)
        return self._handle.logits(self._read, torch.empty(2, 0, dtype=torch.int64))

    def pair_factors(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """(L, R), [N, K] each: dL/da_uv of an undirected pair is (L R^T)_uv, for edges and non-edges alike."""
        if not loss.requires_grad:  # the model never looked at its edges
            empty = self._read.new_zeros(self._read.shape[0], 1)
            return empty, empty
        p, q, node = self.sides(loss)
        ones = torch.ones_like(node)
        left = torch.cat([*p, *q, node[:, None], ones[:, None]], dim=1)
        right = torch.cat([*q, *p, ones[:, None], node[:, None]], dim=1)
        return left.detach(), right.detach()

    def sides(self, loss: Tensor, *, again: bool = False) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """(P, Q, d): dL/da_uv is the sum over the layers of <P_u, Q_v> + <P_v, Q_u>, and d_u + d_v for the degrees.

        P and Q are [N, H] of each layer, the last one first; d is [N]. `again`: another loss of these logits follows.
        """
        self._ledger.factors.clear()
        through = (self._scale, self._share, self._once)
        of_scale, of_share, _ = torch.autograd.grad(loss, through, allow_unused=True, retain_graph=again)
        node = self._read.new_zeros(self._read.shape[0])
        if of_scale is not None:  # through the degree: d (d + 1)^-1/2 / dd
            node = -0.5 * of_scale * self._scale.detach() ** 3
        if of_share is not None:  # d max(1, d)^-1 / dd; a sum below 1 is divided by nothing
            node = node - torch.where(self._divides, of_share * self._share.detach() ** 2, 0)
        p, q = ([part[side].detach() for part in self._ledger.factors] for side in (0, 1))
        return p, q, node.detach()

    def embeddings(self, multiply: Multiply, degrees: Tensor, *, first: bool = False) -> Tensor:
        """Input of the last layer, [N, d]; `first`: output of the first layer as the second one sees it."""
        with torch.no_grad():
            self.logits(multiply, degrees)
        return self._inputs[1 if first and len(self._inputs) > 1 else -1].detach()

    def _gcn(self, layer: GCNConv, x: Tensor, *_edges: object, **_more: object) -> Tensor:
        self._remember(x)
        narrow = not self._is_given(x) and layer.in_channels < layer.out_channels  # S (X W) = (S X) W: the thinner one
        h: Tensor = _Aggregate.apply(x if narrow else self._project(layer.lin, x), self._scale, self._ledger)  # type: ignore[no-untyped-call]
        out: Tensor = layer.lin(h) if narrow else h
        return out if layer.bias is None else out + layer.bias

    def _sage(self, layer: SAGEConv, x: Tensor, *_edges: object, **_more: object) -> Tensor:
        self._remember(x)
        out = self._gathered(layer, layer.lin_l, x)
        if layer.root_weight:
            out = out + self._project(layer.lin_r, x)
        return normalize(out, dim=-1) if layer.normalize else out

    def _graph_conv(self, layer: GraphConv, x: Tensor, *_edges: object, **_more: object) -> Tensor:
        self._remember(x)
        return self._gathered(layer, layer.lin_rel, x) + self._project(layer.lin_root, x)

    def _gin(self, layer: GINConv, x: Tensor, *_edges: object, **_more: object) -> Tensor:
        """nn(A X + (1 + eps) X), in which the first linear map of nn is done already: it commutes with the sum."""
        self._remember(x)
        first = _first_linear(layer.nn)
        assert first is not None
        z = self._project(first, x, bare=True)
        out = _Sum.apply(z, self._once, self._ledger) + (1 + layer.eps) * z  # type: ignore[no-untyped-call]
        first.forward = partial(_with_bias, first)
        try:
            return layer.nn(out)  # type: ignore[no-any-return]
        finally:
            del first.forward

    def _gathered(self, layer: MessagePassing, linear: Any, x: Tensor) -> Tensor:
        """Sum or mean over the neighbours, and a linear map; whichever of the two comes first is the thinner one."""
        share = self._share if isinstance(layer.aggr_module, MeanAggregation) else self._once
        if not self._is_given(x) and linear.in_channels < linear.out_channels:
            return linear(_Sum.apply(x, share, self._ledger))  # type: ignore[no-any-return, no-untyped-call]
        h: Tensor = _Sum.apply(self._project(linear, x, bare=True), share, self._ledger)  # type: ignore[no-untyped-call]
        return _with_bias(linear, h)

    def _remember(self, x: Tensor) -> None:
        self._inputs.append(x if self._is_given(x) else x.clone())  # forward may go on to write on its own

    def _project(self, linear: Any, x: Tensor, *, bare: bool = False) -> Tensor:
        """linear(x), remembered for the given x; `bare`: without its bias."""

        def product(of: Tensor) -> Tensor:
            return of @ linear.weight.T if bare else linear(of)  # type: ignore[no-any-return]

        if not self._is_given(x):
            return product(x)
        if id(linear) not in self._projected:
            self._projected[id(linear)] = product(self._x)
        known = self._projected[id(linear)]
        return known if self._nodes is None else known[self._nodes]

    def _is_given(self, x: Tensor) -> bool:
        return x.data_ptr() == self._read.data_ptr() and x.shape == self._read.shape

    def _agrees_with(self, handle: ModelHandle) -> bool:
        """Whether both answer alike on a random graph over the nodes of x (drawn here; it holds no private edge)."""
        n = self._x.shape[0]
        rng = torch.Generator().manual_seed(0)
        pairs = torch.randint(n, (2, 3 * n), generator=rng)
        keys = torch.unique(pairs.min(dim=0).values * n + pairs.max(dim=0).values)
        u, v = keys // n, keys % n
        u, v = u[u != v], v[u != v]
        arcs = torch.stack([torch.cat([u, v]), torch.cat([v, u])]).to(self._x.device)
        degrees = torch.bincount(arcs[1], minlength=n).to(self._x.dtype)

        def multiply(h: Tensor) -> Tensor:
            return torch.zeros_like(h).index_add_(0, arcs[1], h[arcs[0]])

        with torch.no_grad():
            expected = handle.logits(self._x, arcs)
            try:
                found = self.logits(multiply, degrees)
            except TRIAL_ERRORS:
                return False  # the forward hands a layer what its way takes not, or needs the edges themselves
        if found.shape != expected.shape:
            return False
        return float((found - expected).abs().max()) <= MAX_GAP * max(1.0, float(expected.abs().max()))


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, MessagePassing)]


def _is_plain(layer: Any) -> bool:
    """Whether a layer of one of `KINDS` does what its way here does."""
    if isinstance(layer, GCNConv):
        return bool(layer.normalize and layer.add_self_loops and not layer.improved)
    if isinstance(layer, GINConv):
        return isinstance(layer.aggr_module, SumAggregation) and _first_linear(layer.nn) is not None
    gathers = isinstance(layer.aggr_module, SumAggregation | MeanAggregation)
    return gathers and not getattr(layer, "project", False)


def _first_linear(network: nn.Module) -> Any:
    """The linear layer that is registered first, None without any; whether it is called first shows in the answers."""
    return next((part for part in network.modules() if isinstance(part, nn.Linear | PyGLinear)), None)


def _with_bias(linear: Any, h: Tensor) -> Tensor:
    return h if linear.bias is None else h + linear.bias


def at_pairs(left: Tensor, right: Tensor, pairs: Tensor) -> Tensor:
    """(L R^T)_uv at the pairs, [M]; `pairs` int64 [2, M] in ascending order of u. L and R may differ in rows.

    On the CPU a row of L stays where it is while its partners pass by, and no row is copied: some thirty times faster
    than gathering both sides of each pair.
    """
    if left.device.type != CPU:
        parts = [(left[u] * right[v]).sum(dim=1) for u, v in torch.split(pairs, GATHERED_PAIRS, dim=1)]
        return torch.cat(parts)
    n = left.shape[0]
    starts = torch.zeros(n + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(pairs[0], minlength=n), dim=0, out=starts[1:])
    with warnings.catch_warnings():  # torch calls every use of such a matrix a beta
        warnings.simplefilter("ignore", UserWarning)
        at = torch.sparse_csr_tensor(
            starts, pairs[1], left.new_zeros(pairs.shape[1]), (n, right.shape[0]), check_invariants=False
        )
    found: Tensor = torch.sparse.sampled_addmm(at, left, right.T, beta=0.0).values()
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A sparse matrix [N, N] in compressed rows: `starts` int32 [N], `columns` int32 [E], `weights` [E]."""

    starts: Tensor
    columns: Tensor
    weights: Tensor

    def without_zeros(self) -> Rows:
        """The same without the entries that are 0, most of them where few candidates have a weight."""
        there = torch.nonzero(self.weights).flatten()
        before = torch.zeros(self.weights.numel() + 1, dtype=torch.int32)  # how many are left before each entry
        torch.cumsum(self.weights != 0, dim=0, dtype=torch.int32, out=before[1:])
        starts = before.index_select(0, self.starts)
        return Rows(starts, self.columns.index_select(0, there), self.weights.index_select(0, there))

    def times(self, h: Tensor) -> Tensor:
        """The product with H [N, d], which has no gradient; three times as fast as SciPy's on two million entries."""
        given = h.detach().contiguous()
        return embedding_bag(self.columns, given, self.starts, mode="sum", per_sample_weights=self.weights)
