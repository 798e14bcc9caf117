"""Batches of made-up graphs, and the loop that per-record gradients are measured against."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auditor.data.graph import Graph
from auditor.targets.models import build_model
from defenses.dp.records import RecordBatch, RecordModel

FEATURES = 5
MIXED = (1, 5, 40, 3, 7, 1, 90, 9)


def graphs_of(sizes: tuple[int, ...] = MIXED, *, seed: int = 0, weighted: bool = False) -> Graph:
    """Random graphs; every fourth one has no edges."""
    rng = torch.Generator().manual_seed(seed)
    record = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    arcs, first = [], 0
    for i, size in enumerate(sizes):
        ends = torch.randint(size, (2, 2 * size if i % 4 else 0), generator=rng)
        arcs.append(torch.unique(ends[:, ends[0] < ends[1]], dim=1) + first)
        first += size
    up = torch.cat(arcs, dim=1)
    edge_index = torch.cat([up, up.flip(0)], dim=1)
    x = torch.randn(record.shape[0], FEATURES, generator=rng)
    y = torch.randint(2, (len(sizes),), generator=rng)
    weight = torch.rand(edge_index.shape[1], generator=rng) if weighted else None
    return Graph(x, edge_index, y, weight, record)


def network(name: str, *, layers: int = 2, seed: int = 0, **options: object) -> nn.Module:
    """A graph classifier of width 8 with random weights, biases included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        table = {"in_channels": FEATURES, "hidden_channels": 8, "num_layers": layers, "out_channels": 2}
        model = build_model({"class": name, **table, "readout": "add", **options})
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


def loop_gradients(model: RecordModel, batch: RecordBatch) -> list[Tensor]:
    """Autograd on the plain network, one record at a time; [B, *shape] a parameter."""
    parameters = model.parameters()
    alone = [torch.autograd.grad(batch.only(j).losses(model.model)[0], parameters) for j in range(batch.records)]
    return [torch.stack(column) for column in zip(*alone, strict=True)]


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest |difference| / |expected| of a whole record's gradient."""
    a, b = (torch.cat([g.flatten(1) for g in part], dim=1) for part in (found, expected))
    return float(((a - b).norm(dim=1) / b.norm(dim=1)).max())
