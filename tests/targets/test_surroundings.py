"""Parts of an edited graph: those that a walk through the whole edited graph would cut out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import APPNP, GCNConv, MessagePassing, SGConv

from auditor.data.edits import EdgeSpace
from auditor.data.fields import Fields
from auditor.targets.surroundings import ByEnd, Parts, around, reach_of
from tests.toys import sbm_graph


def weighted(graph):
    weight = 0.5 + torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(graph, edge_weight=weight)


def one_way(graph):
    return dataclasses.replace(graph, edge_index=graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]])


def slips(graph):
    """A few pairs are there one way only, and two nodes have loops."""
    arcs = torch.cat([graph.edge_index[:, 2:], torch.tensor([[4, 9], [4, 9]])], dim=1)
    return dataclasses.replace(graph, edge_index=arcs)


def named(graph):
    return dataclasses.replace(graph, fields=Fields(node={"kind": torch.arange(graph.num_nodes)}))


@pytest.mark.parametrize(
    "change", [lambda g: g, one_way, weighted, slips, named], ids=["pairs", "arcs", "weights", "slips", "fields"]
)
def test_parts_are_those_of_the_edited_graph(change):
    graph = change(sbm_graph(200, degree=3.0))
    space, rng = EdgeSpace.of(graph), np.random.default_rng(0)
    parts, sizes = Parts.of(space), set()
    assert space.directed is (change is one_way)
    for node in (0, 4, 77, 150):
        at = space.at(node)
        there = at[space.exists(at)]
        mixed = torch.unique(torch.cat([there[:2], at[torch.from_numpy(rng.permutation(at.numel())[:3])]]))
        for keys in (at[:0], there, mixed, space.draw(30, rng), space.existing[::2].contiguous()):
            edited = space.toggled(keys)
            for hops in range(4):
                ids = parts.around(torch.tensor([node]), keys, hops)
                assert torch.equal(ids, around(edited, torch.tensor([node]), hops))
                found, expected = parts.part(ids, keys), edited.induced(ids)
                assert found.digest() == expected.digest()
                sizes.add(ids.numel())
                source, target = parts.arcs_into(ids, keys)
                arcs = torch.stack([source, ids[target]])
                into = edited.edge_index[:, torch.isin(edited.edge_index[1], ids)]
                assert sorted(arcs.T.tolist()) == sorted(into.T.tolist())
                assert parts.cut_off(found, ids, keys) == into.shape[1] - found.num_edges
    assert len(sizes) > 15


class Attention(MessagePassing):
    """Its keys are called K, as its queries and values are called Q and V."""

    def __init__(self) -> None:
        super().__init__()
        self.Q, self.K, self.V = (nn.Linear(4, 4) for _ in range(3))


def test_a_layer_counts_its_steps_where_it_says_them_and_once_where_that_name_is_another_thing():
    assert reach_of(nn.Sequential(GCNConv(4, 4), SGConv(4, 4, K=3), APPNP(K=10, alpha=0.1))) == 1 + 1 + 3 + 10
    assert reach_of(nn.Sequential(Attention(), Attention())) == 3


def test_arcs_at_a_node_are_found_by_either_end():
    ends = torch.tensor([2, 0, 2, 4, 2])
    arcs, whose = ByEnd.of(ends, 6).at(torch.tensor([2, 3, 0]))
    assert (arcs.tolist(), whose.tolist()) == ([0, 2, 4, 1], [0, 0, 0, 2])
    arcs, whose = ByEnd.of(ends, 6).at(torch.tensor([5]))
    assert arcs.numel() == whose.numel() == 0
