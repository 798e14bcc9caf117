"""Small graphs whose class shows in their features and edges, by what the features are."""

from __future__ import annotations

import dataclasses
from functools import cache

import torch
from torch import nn

from auditor.targets.target import Target
from tests.toys import small_graphs, toy_target

KINDS = ("bits", "categories", "values")


@cache
def trained(kind: str) -> Target:
    """Graphs whose class shows in their features and edges, as bits, as categories or as values."""
    graph = small_graphs(100)
    rng = torch.Generator().manual_seed(0)
    own = graph.y[graph.batch]
    if kind == "values":
        x = torch.randn(graph.num_nodes, 3, generator=rng) + own[:, None] * torch.tensor([1.0, 0.0, 0.0])
    elif kind == "bits":
        x = (torch.rand(graph.num_nodes, 6, generator=rng) < 0.3).float()
        x[:, 0] = ((own == 1) & (torch.rand(graph.num_nodes, generator=rng) < 0.6)).float()
    else:
        drawn = torch.randint(0, 4, (graph.num_nodes,), generator=rng)
        x = nn.functional.one_hot(torch.where(torch.rand(graph.num_nodes, generator=rng) < 0.4, own, drawn), 4).float()
    return toy_target("graph-gin", graph=dataclasses.replace(graph, x=x))
