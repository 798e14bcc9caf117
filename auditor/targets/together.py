"""Trains several models of one recipe at once: side by side in one graph, with every linear layer a stack of layers.

Model i runs on its own copy of its graph, copies lie side by side without an edge between them, and a step of the
optimiser is one step of each model: losses add up, so that no model's gradient reads another's. What is saved is the
overhead of many small steps. A model whose stack does not give the loss and the gradients of the models one by one
is trained alone.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.sparse import block_diag, csr_array
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch_geometric.nn.conv.gcn_conv import GCNConv, gcn_norm
from torch_geometric.nn.dense.linear import Linear

from auditor.data.graph import Graph, Split
from auditor.statistics.pair_scores import is_sparse
from auditor.targets.forward import ForwardAdapter
from auditor.targets.rng import forked_rng
from auditor.targets.sparse_product import sparse_product

ROOM = 2**26
"""Features of one chunk, in numbers: 256 MB."""
SAME = 1e-4
"""Difference of gradients, relative to the largest, below which a stack is the same as its models."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One model to train: its graph, the items of each part, and the seed of its weights."""

    graph: Graph
    split: Split
    seed: int


def fit_together(
    jobs: Sequence[Job],
    build: Callable[[], nn.Module],
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    epochs: int,
) -> list[nn.Module] | None:
    """Models trained on one graph each, in eval mode; None where they cannot be stacked.

    Weights start as one by one; masks of dropout are drawn for all of them at once. As with one model, the checkpoint
    with the best validation accuracy is kept, ties going to the lower loss; without validation items the last one.

    Args:
        jobs: of graphs with equally many nodes, one graph each, without fields.
        build: makes a fresh model, drawing from torch's global generator.
        optimizer: of parameters; must treat each number by itself, as Adam and SGD do.
        epochs: steps, each on all training items of each model.
    """
    nodes = {job.graph.num_nodes for job in jobs}
    if (
        len(jobs) < 2
        or len(nodes) != 1
        or any(job.graph.batch is not None or len(list(job.graph.fields)) for job in jobs)
    ):
        return None
    size = max(1, ROOM // max(1, jobs[0].graph.num_nodes * jobs[0].graph.num_features))
    models: list[nn.Module] = []
    for start in range(0, len(jobs), size):
        chunk = jobs[start : start + size]
        made = [_built(build, job.seed) for job in chunk]
        stack = _Stack.of(made, _SideBySide.of(chunk))  # a last chunk of one is a stack as well
        if stack is None or not stack.is_same_as(made[:2]):
            return None
        with forked_rng(chunk[0].seed), _Dropout(np.random.default_rng(chunk[0].seed)):
            stack.train(optimizer(list(stack.parameters.values())), epochs)
        models += stack.taken_apart(made)
    return models


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with forked_rng(seed):
        return build().requires_grad_(True)


@dataclass(frozen=True, slots=True, eq=False)
class _SideBySide:
    """Graphs of n nodes each as one graph.

    Attributes:
        x: [K n, F]; `rows` the same where it is sparse, one block a graph, [K n, K F], and its transpose.
        edge_index, edge_weight, y: of all graphs, renumbered.
        train, val: places of the items, int64; `share` what each training item weighs in the loss of its model.
        count: K.
    """

    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor | None
    y: Tensor
    train: Tensor
    share: Tensor
    val: Tensor
    count: int
    rows: tuple[csr_array, csr_array] | None

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> _SideBySide:
        """The graphs of `jobs`, in this order."""
        n, graphs = jobs[0].graph.num_nodes, [job.graph for job in jobs]
        x = torch.cat([graph.x for graph in graphs])
        weights = [graph.edge_weight for graph in graphs if graph.edge_weight is not None]
        train = torch.cat([job.split.train for job in jobs])
        sizes = train.view(len(jobs), n).sum(dim=1)
        rows = None
        if is_sparse(graphs[0].x):
            block = block_diag([csr_array(graph.x.numpy()) for graph in graphs], format="csr")
            rows = block, block.T.tocsr()
        return cls(
            x=x,
            edge_index=torch.cat([graph.edge_index + k * n for k, graph in enumerate(graphs)], dim=1),
            edge_weight=torch.cat(weights) if weights else None,
            y=torch.cat([graph.y for graph in graphs]),
            train=torch.nonzero(train).flatten(),
            share=(1 / sizes.repeat_interleave(n)[train]),
            val=torch.nonzero(torch.cat([job.split.val for job in jobs])).flatten(),
            count=len(jobs),
            rows=rows,
        )

    @property
    def size(self) -> int:
        """Nodes of one graph."""
        return self.x.shape[0] // self.count

    def loss(self, out: Tensor) -> Tensor:
        """Sum over the models of their mean cross-entropy on their training items."""
        losses = functional.cross_entropy(out[self.train], self.y[self.train], reduction="none")
        return (losses * self.share).sum()


class _StackedLinear(nn.Module):
    """K linear layers as one: weight [K, H, F], bias [K, H]; layer i reads the i-th of K equal parts of the rows."""

    def __init__(self, layers: Sequence[nn.Module], side: _SideBySide) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.get_parameter("weight").detach() for layer in layers]))
        has_bias = any(name == "bias" for name, _ in layers[0].named_parameters())
        biases = [layer.get_parameter("bias").detach() for layer in layers] if has_bias else []
        self.bias = nn.Parameter(torch.stack(biases)) if has_bias else None
        self._side = side

    def forward(self, x: Tensor) -> Tensor:
        """[K n, F] -> [K n, H]."""
        count, width, features = self.weight.shape
        if x is self._side.x and self._side.rows is not None:
            table = self.weight.transpose(1, 2).reshape(count * features, width)
            out = sparse_product(*self._side.rows, table)
        else:
            parts = x.view(count, -1, features)
            out = torch.bmm(parts, self.weight.transpose(1, 2)).view(x.shape[0], width)
        if self.bias is None:
            return out
        return (out.view(count, -1, width) + self.bias[:, None]).view(x.shape[0], width)


@dataclass(slots=True, eq=False)
class _Convolution:
    """The forward of a GCN layer on the stack's own edges, as one sparse product: they never change."""

    layer: GCNConv
    side: _SideBySide
    known: dict[tuple[bool, ...], tuple[csr_array, csr_array]]
    """What `_rows` answered, by the settings of the layer: layers with the same ones read one matrix."""

    def __call__(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[K n, F] -> [K n, H]; on any other edges what the layer itself does."""
        layer, side = self.layer, self.side
        if not (_same(edge_index, side.edge_index) and _same(edge_weight, side.edge_weight)):
            return GCNConv.forward(layer, x, edge_index, edge_weight)  # type: ignore[no-any-return]
        settings = (layer.normalize, layer.improved, layer.add_self_loops)
        if settings not in self.known:
            self.known[settings] = self._rows(x)
        out = sparse_product(*self.known[settings], layer.lin(x))
        return out if layer.bias is None else out + layer.bias

    def _rows(self, x: Tensor) -> tuple[csr_array, csr_array]:
        """The normalised adjacency, [K n, K n], and its transpose."""
        layer, n = self.layer, x.shape[0]
        edges, weights = self.side.edge_index, self.side.edge_weight
        if layer.normalize:
            edges, weights = gcn_norm(edges, weights, n, layer.improved, layer.add_self_loops, layer.flow, x.dtype)
        values = torch.ones(edges.shape[1], dtype=x.dtype) if weights is None else weights
        places = edges.flip(0).numpy()
        matrix = csr_array((values.numpy(), (places[0], places[1])), shape=(n, n))
        return matrix, matrix.T.tocsr()


@dataclass(frozen=True, slots=True, eq=False)
class _Stack:
    """K models as one.

    Attributes:
        model: one of them, its linear layers replaced by stacks.
        parameters: of all models by name, [K, ...].
        free: names of those that belong to no linear layer; each node gets its own model's.
    """

    side: _SideBySide
    model: nn.Module
    parameters: dict[str, nn.Parameter]
    free: tuple[str, ...]
    forward: ForwardAdapter = field(repr=False)

    @classmethod
    def of(cls, models: Sequence[nn.Module], side: _SideBySide) -> _Stack | None:
        """None where a parameter has a shape that no node can have its own of, or a layer keeps running means."""
        if any(is_lazy(value) for value in models[0].parameters()):
            return None
        if any(isinstance(part, nn.modules.batchnorm._NormBase) for part in models[0].modules()):
            return None
        stacked = copy.deepcopy(models[0])
        linear = [name for name, part in models[0].named_modules() if type(part) in (nn.Linear, Linear)]
        for name in linear:
            layers = [model.get_submodule(name) for model in models]
            if not name:
                return None
            stacked.set_submodule(name, _StackedLinear(layers, side))
        known: dict[tuple[bool, ...], tuple[csr_array, csr_array]] = {}
        for part in stacked.modules():
            if type(part) is GCNConv and (str(part.aggr), str(part.flow)) == ("add", "source_to_target"):
                part.forward = _Convolution(part, side, known)
        owned = {f"{name}.{part}" for name in linear for part in ("weight", "bias")}
        free = [name for name, _ in models[0].named_parameters() if name not in owned]
        if any(_rowwise(models[0].get_parameter(name).shape) is None for name in free):
            return None
        found = {name: value for name, value in stacked.named_parameters() if name in owned}
        for name in free:
            found[name] = nn.Parameter(torch.stack([model.get_parameter(name).detach() for model in models]))
        return cls(side, stacked, found, tuple(free), ForwardAdapter(stacked))

    def logits(self) -> Tensor:
        """[K n, C]."""
        side = self.side
        given: dict[str, Tensor] = {}
        for name in self.free:
            value = self.parameters[name]
            shape = _rowwise(value.shape[1:])
            assert shape is not None
            each = value.view(side.count, 1, *shape).expand(-1, side.size, *shape)
            given[name] = each.reshape(side.count * side.size, *shape)
        return functional_call(_Called(self.forward, self.model), {f"model.{k}": v for k, v in given.items()}, (side,))  # type: ignore[no-any-return]

    def is_same_as(self, models: Sequence[nn.Module]) -> bool:
        """Whether it gives the losses and gradients of these, its first models; in training, dropout apart."""
        self.model.train()
        with _Dropout(None):
            try:
                out = self.logits()
                gradients = torch.autograd.grad(self.side.loss(out), list(self.parameters.values()))
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError):
                return False  # a layer that does more than a stack can
            return all(self._is_like(model, k, out.detach(), gradients) for k, model in enumerate(models))

    def _is_like(self, model: nn.Module, k: int, out: Tensor, gradients: Sequence[Tensor]) -> bool:
        """Whether model k alone gives its part of these answers and gradients."""
        side, n = self.side, self.side.size
        rows = slice(k * n, (k + 1) * n)
        inside = (side.edge_index[0] >= k * n) & (side.edge_index[0] < (k + 1) * n)
        edges = side.edge_index[:, inside] - k * n
        weight = None if side.edge_weight is None else side.edge_weight[inside]
        train = side.train[(side.train >= k * n) & (side.train < (k + 1) * n)]
        alone = ForwardAdapter(copy.deepcopy(model).train())
        own = alone.logits(side.x[rows], edges, weight, None)
        loss = functional.cross_entropy(own[train - k * n], side.y[train])
        named = dict(alone._model.named_parameters())
        single = torch.autograd.grad(loss, [named[name] for name in self.parameters])
        pairs = zip((out[rows], *(each[k] for each in gradients)), (own, *single), strict=True)
        return all(_close(mine, theirs) for mine, theirs in pairs)

    def train(self, optimizer: torch.optim.Optimizer, epochs: int) -> None:
        """Every model, in place."""
        side = self.side
        best: Tensor | None = None
        kept: dict[str, Tensor] = {}
        for _ in range(epochs):
            self.model.train()
            optimizer.zero_grad()
            side.loss(self.logits()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if side.val.numel():
                score = self._scores()
                better = torch.ones(side.count, dtype=torch.bool) if best is None else _beats(score, best)
                best = score if best is None else torch.where(better[:, None], score, best)
                for name, value in self.parameters.items():
                    kept[name] = kept.get(name, value.detach().clone())
                    kept[name][better] = value.detach()[better]
        with torch.no_grad():
            for name, best_value in kept.items():
                self.parameters[name].copy_(best_value)

    @torch.no_grad()
    def _scores(self) -> Tensor:
        """(accuracy, −loss) of each model on its validation items, [K, 2]; a loss that is no number loses every tie."""
        side = self.side
        self.model.eval()
        out, y, owner = self.logits()[side.val], side.y[side.val], side.val // side.size
        right = (out.argmax(dim=1) == y) & torch.isfinite(out).all(dim=1)
        losses = functional.cross_entropy(out, y, reduction="none")
        each = torch.stack([right.double(), -losses.double()], dim=1)
        sums = torch.zeros(side.count, 2, dtype=torch.float64).index_add_(0, owner, each)
        mean = sums / torch.bincount(owner, minlength=side.count)[:, None]
        return mean.nan_to_num(nan=-float("inf"), neginf=-float("inf"))

    def taken_apart(self, models: Sequence[nn.Module]) -> list[nn.Module]:
        """The models with what they have learned, in eval mode, frozen."""
        with torch.no_grad():
            for k, model in enumerate(models):
                for name, value in self.parameters.items():
                    model.get_parameter(name).copy_(value[k])
        return [model.eval().requires_grad_(False) for model in models]


class _Called(nn.Module):
    """The call of a model as a module, so that its parameters can be given by name."""

    def __init__(self, forward: ForwardAdapter, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._forward = forward

    def forward(self, side: _SideBySide) -> Tensor:
        return self._forward.logits(side.x, side.edge_index, side.edge_weight, None)


class _Dropout(TorchFunctionMode):
    """Inside: dropout is drawn by this generator, many times faster than by torch's on the CPU; by none, not at all."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        super().__init__()
        self._rng = rng

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = kwargs or {}
        if func is not functional.dropout:
            return func(*args, **given)
        call = inspect.signature(functional.dropout).bind(*args, **given)
        call.apply_defaults()
        x, p, training = (call.arguments[name] for name in ("input", "p", "training"))
        if self._rng is None or not training or p == 0:
            return x
        kept = torch.from_numpy(self._rng.random(tuple(x.shape), dtype=np.float32) >= p)
        return x * kept.to(x.dtype).div_(1 - p)


def _rowwise(shape: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of a parameter as one row of nodes: [H] and [1, H, C] have one, a matrix has none."""
    if len(shape) == 0:
        return (1,)
    if len(shape) == 1:
        return tuple(shape)
    return tuple(shape[1:]) if shape[0] == 1 else None


def _same(given: Tensor | None, own: Tensor | None) -> bool:
    """Whether it is the stack's own or a copy: a forward gets copies first, to see whether it writes on them."""
    return given is own or (given is not None and own is not None and torch.equal(given, own))


def _close(mine: Tensor, theirs: Tensor) -> bool:
    largest = float(theirs.detach().abs().max())
    return float((mine - theirs).detach().abs().max()) <= SAME * max(largest, 1e-3)


def _beats(score: Tensor, best: Tensor) -> Tensor:
    """Whether (accuracy, −loss) comes after, row by row."""
    return (score[:, 0] > best[:, 0]) | ((score[:, 0] == best[:, 0]) & (score[:, 1] > best[:, 1]))
