"""Per-graph gradients: right ones, and how fast, beside a loop and Opacus' modes (`python -m benchmarks.dp_gradients`).

One batch of B graphs, a network of 3 layers and width 32 with sum pooling. Methods take turns in one process on one
thread; times are medians over the repeats, ratios are to the loop of the same run. Opacus' own modes know no edges:
they are timed on the same network as a function of dense padded tensors, with linear layers alone. What they do on the
convolutions as they are is in the second table.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.utils import wrap_model
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch_geometric.utils import to_dense_adj, to_dense_batch

from auditor.data.graph import Graph
from auditor.data.sources import load_data
from auditor.targets.models import build_model
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from defenses.dp.records import RecordBatch, RecordModel

HIDDEN, LAYERS = 32, 3
MODES = ("hooks", "functorch", "ew", "ghost")


class DenseNetwork(nn.Module):
    """GCN or GIN on padded graphs: x [B, n, F], a [B, n, n], mask [B, n] -> [B, C]; masked after every bias."""

    def __init__(self, name: str, plain: nn.Module) -> None:
        super().__init__()
        weights = plain.state_dict()
        self.is_gcn = name == "GCN"
        suffixes = ("lin",) if self.is_gcn else ("nn.lins.0", "nn.lins.1")
        keys = [f"gnn.convs.{i}.{suffix}" for i in range(LAYERS) for suffix in suffixes]
        self.rows = nn.ModuleList(self._linear(weights, key) for key in keys)
        self.head = nn.ModuleList(self._linear(weights, f"head.lins.{i}") for i in range(2))

    def _linear(self, weights: dict[str, Tensor], key: str) -> nn.Linear:
        w = weights[f"{key}.weight"]
        bias = weights[f"{key}.bias" if f"{key}.bias" in weights else f"{key.removesuffix('.lin')}.bias"]
        layer = nn.Linear(w.shape[1], w.shape[0])
        layer.load_state_dict({"weight": w, "bias": bias})
        return layer

    def forward(self, x: Tensor, a: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        inside = mask.unsqueeze(-1)
        if self.is_gcn:
            a = a + torch.diag_embed(mask)
            scale = a.sum(dim=-1).clamp_min(1).rsqrt()
            a = scale.unsqueeze(-1) * a * scale.unsqueeze(-2)
        for i, layer in enumerate(self.rows):
            if self.is_gcn:
                x = a @ x
            elif i % 2 == 0:
                x = a @ x + x
            x = layer(x) * inside
            x = x.relu() if i < len(self.rows) - 1 else x
        out: Tensor = self.head[1](self.head[0](x.sum(dim=-2)).relu())
        return out


@dataclass
class Method:
    """Something that answers per-record gradients as one matrix [B, P], or their norms [B]."""

    name: str
    run: Callable[[], Tensor]
    expected: Tensor
    seconds: list[float]
    error: str = ""

    def measure(self) -> None:
        """Runs once and keeps time and error."""
        if self.error.startswith("no"):
            return
        start = time.perf_counter()
        try:
            found = self.run()
        except Exception as failure:
            self.error = f"no: {type(failure).__name__}: {str(failure).splitlines()[0][:70]}"
            return
        self.seconds.append(time.perf_counter() - start)
        a, b = (v.reshape(v.shape[0], -1) for v in (found, self.expected))
        self.error = f"{float(((a - b).norm(dim=1) / b.norm(dim=1).clamp_min(1e-12)).max()):.1e}"


def plain_network(name: str, features: int, classes: int) -> nn.Module:
    """Built-in architecture with weights of seed 0; biases are not zero."""
    sizes = {"in_channels": features, "hidden_channels": HIDDEN, "num_layers": LAYERS, "out_channels": classes}
    with forked_rng(0):
        model = build_model({"class": name, **sizes, "readout": "add"})
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                nn.init.normal_(parameter, std=0.1)
    return model


def flat(gradients: list[Tensor]) -> Tensor:
    """[B, P]."""
    return torch.cat([g.flatten(1) for g in gradients], dim=1)


def loop(model: nn.Module, records: list[RecordBatch]) -> Tensor:
    """Autograd record by record; the records are cut out before the clock starts."""
    parameters = list(model.parameters())
    alone = [torch.autograd.grad(record.losses(model)[0], parameters) for record in records]
    return flat([torch.stack(column) for column in zip(*alone, strict=True)])


def vectorised(dense: DenseNetwork, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
    """`vmap(grad)` of the dense network."""
    weights = {name: p.detach() for name, p in dense.named_parameters()}

    def loss(w: dict[str, Tensor], x: Tensor, a: Tensor, mask: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(dense, w, (x, a, mask))[None], label[None])

    found = vmap(grad(loss), in_dims=(None, 0, 0, 0, 0))(weights, *inputs, y)
    return flat(list(found.values()))


def opacus_mode(wrapped: GradSampleModule, mode: str, inputs: tuple[Tensor, ...], y: Tensor) -> Tensor:
    """Per-record gradients of the dense network by one of Opacus' modes; `ghost` answers norms alone."""
    wrapped.zero_grad(set_to_none=True)
    functional.cross_entropy(wrapped(*inputs), y).backward()
    if mode == "ghost":
        return wrapped.get_norm_sample()
    return flat([p.grad_sample for p in wrapped.parameters()])


def methods_of(name: str, graph: Graph) -> list[Method]:
    """Every method on one batch; the loop comes first."""
    batch = RecordBatch.of(graph)
    classes = int(graph.y.max()) + 1
    plain = plain_network(name, graph.num_features, classes)
    records = [batch.only(j) for j in range(batch.records)]
    truth = loop(plain, records)
    private = RecordModel(plain_network(name, graph.num_features, classes))
    x, mask = to_dense_batch(graph.x, graph.batch)
    inputs = (x, to_dense_adj(graph.edge_index, graph.batch), mask.float())
    dense = DenseNetwork(name, plain)
    ordered = _in_dense_order(plain, dense, truth)
    found = [
        Method("loop over graphs", partial(loop, plain, records), truth, []),
        Method("auditor, sparse", lambda: flat(private.gradients(batch)), truth, []),
        Method("dense, vmap(grad)", partial(vectorised, dense, inputs, graph.y), ordered, []),
    ]
    for mode in MODES:
        try:
            wrapped = wrap_model(DenseNetwork(name, plain), mode, batch_first=True, loss_reduction="mean")
        except Exception as failure:
            found.append(Method(f"dense, Opacus {mode}", lambda: truth, truth, [], f"no: {failure}"[:80]))
            continue
        expected = truth.norm(dim=1) if mode == "ghost" else ordered
        label = f"dense, Opacus {mode}" + (" (norms alone)" if mode == "ghost" else "")
        found.append(Method(label, partial(opacus_mode, wrapped, mode, inputs, graph.y), expected, []))
    return found


def _in_dense_order(plain: nn.Module, dense: DenseNetwork, truth: Tensor) -> Tensor:
    """Columns of `truth` in the order of the dense network's parameters: GCN names a layer's bias before its weight."""
    shapes = {name: p.numel() for name, p in plain.named_parameters()}
    parts = dict(zip(shapes, truth.split(list(shapes.values()), dim=1), strict=True))
    names = sorted(parts, key=lambda key: (key.startswith("head"), _layer(key), key.endswith("bias")))
    assert [shapes[key] for key in names] == [p.numel() for p in dense.parameters()]
    return torch.cat([parts[key] for key in names], dim=1)


def _layer(key: str) -> str:
    return key.removesuffix(".weight").removesuffix(".bias").removesuffix(".lin")


def on_convolutions(name: str, mode: str, graph: Graph) -> str:
    """What a mode makes of the network as PyG builds it."""
    plain = plain_network(name, graph.num_features, int(graph.y.max()) + 1)
    try:
        wrapped = wrap_model(plain, mode, batch_first=True, loss_reduction="mean")
        functional.cross_entropy(wrapped(graph.x, graph.edge_index, batch=graph.batch), graph.y).backward()
        if mode == "ghost":
            rows = {int(n.shape[0]) for p in wrapped.parameters() for n in [p._norm_sample]}
        else:
            rows = {int(p.grad_sample.shape[0]) for p in wrapped.parameters()}
    except Exception as failure:
        return f"{type(failure).__name__}: {str(failure).splitlines()[0][:60]}"
    return f"runs; rows {sorted(rows)} for {graph.num_items} graphs of {graph.num_nodes} nodes"


def batch_of(graphs: int) -> tuple[str, Graph]:
    """The first B training graphs of PROTEINS in a fixed random order."""
    root = os.environ.get("AUDITOR_DATA")
    data = load_data("tu_proteins", root=Path(root) if root else None)
    ids = np.random.default_rng(0).permutation(data.graph.num_items)[:graphs]
    return data.name, GraphSlices(data.graph).take(torch.from_numpy(ids))


def main() -> None:
    """Prints both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=256, help="B")
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of full backward hooks
    title, graph = batch_of(asked.graphs)
    sizes = torch.bincount(graph.batch)
    print(f"{title}: B = {graph.num_items}, {graph.num_nodes} nodes, largest graph {int(sizes.max())}\n")
    print("| network | method | relative error | median ms [min, max] | times as fast as the loop |")
    print("|---|---|---|---|---|")
    for name in ("GCN", "GIN"):
        methods = methods_of(name, graph)
        for _ in range(asked.repeats):
            for method in methods:
                method.measure()
        base = np.median(methods[0].seconds)
        for method in methods:
            ms = 1e3 * np.asarray(method.seconds)
            timing = f"{np.median(ms):.0f} [{ms.min():.0f}, {ms.max():.0f}]" if len(ms) else "–"
            ratio = f"{1e3 * base / np.median(ms):.1f}" if len(ms) else "–"
            print(f"| {name} | {method.name} | {method.error} | {timing} | {ratio} |", flush=True)
    print("\nOpacus on the network as PyG builds it, 8 graphs:\n\n| network | mode | what happens |\n|---|---|---|")
    few = GraphSlices(graph).take(torch.arange(8))
    for name in ("GCN", "GIN"):
        for mode in MODES:
            print(f"| {name} | {mode} | {on_convolutions(name, mode, few)} |", flush=True)


if __name__ == "__main__":
    main()
