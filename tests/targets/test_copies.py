"""One node on many edited graphs in few calls: the answers are those of really edited graphs, or there are none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import APPNP, GCNConv
from torch_geometric.utils import degree

from auditor.data.edits import EdgeSpace
from auditor.targets.copies import Copies
from tests.toys import sbm_graph, toy_target


def asked(target):
    """The space, what is needed to ask, and a function that asks and counts."""
    space, handle, calls = EdgeSpace.of(target.graph), target.handle(), []

    def ask(graph):
        calls.append(graph.num_nodes)
        with torch.no_grad():
            return handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)

    return space, Copies.of(space, handle.model), ask, calls


def whole(space, ask, node, sets):
    return torch.cat([ask(space.toggled(keys))[node : node + 1] for keys in sets])


def weighted(graph):
    weight = 0.5 + torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(graph, edge_weight=weight)


def one_way(graph):
    return dataclasses.replace(graph, edge_index=graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]])


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
@pytest.mark.parametrize("change", [lambda g: g, one_way], ids=["pairs", "arcs"])
def test_every_single_flip_and_sets_of_them_answer_as_edited_graphs_do(arch, change):
    graph = change(sbm_graph(n=150, degree=4.0))
    target = dataclasses.replace(toy_target(arch, graph=sbm_graph(n=150, degree=4.0), epochs=5), graph=graph)
    space, copies, ask, calls = asked(target)
    rng = np.random.default_rng(0)
    for node in (3, 80):
        single = list(space.at(node)[:, None])
        several = [torch.sort(space.at(node)[torch.from_numpy(rng.permutation(149)[:k])]).values for k in (2, 3, 5)]
        anywhere = [space.draw(3, rng) for _ in range(6)]
        for sets in (single, several, anywhere, [torch.empty(0, dtype=torch.int64)]):
            calls.clear()
            found = copies.answers(node, sets, ask)
            took = len(calls)
            torch.testing.assert_close(found, whole(space, ask, node, sets), atol=2e-5, rtol=2e-5)
        assert took == 1
    calls.clear()
    copies.answers(3, list(space.at(3)[:, None]), ask)
    assert len(calls) <= 8 < space.at(3).numel()


def test_weights_of_edges_go_with_the_copies():
    graph = sbm_graph(n=150, degree=4.0)
    target = dataclasses.replace(toy_target("gcn", graph=graph, epochs=5), graph=weighted(graph))
    space, copies, ask, _ = asked(target)
    sets = list(space.at(7)[:, None])
    torch.testing.assert_close(copies.answers(7, sets, ask), whole(space, ask, 7, sets), atol=2e-5, rtol=2e-5)


def test_a_model_that_looks_elsewhere_is_found_out():
    class Outward(nn.Module):
        """Divides by the number of arcs that leave a node: copies that read it count among them."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = GCNConv(24, 8), GCNConv(8, 3)

        def forward(self, x, edge_index):
            x = x / (1 + degree(edge_index[0], x.shape[0]))[:, None]
            return self.two(self.one(x, edge_index).relu(), edge_index)

    target = dataclasses.replace(toy_target("gcn", graph=sbm_graph(n=150), epochs=0), model=Outward().eval())
    space, copies, ask, _ = asked(target)
    sets = list(space.at(7)[:20, None])
    assert not copies.agree_with(7, sets, ask, copies.answers(7, sets, ask))


def test_what_cannot_be_asked_so_has_no_answers():
    class Wide(nn.Module):
        """Reads so far that every node is copied."""

        def __init__(self) -> None:
            super().__init__()
            self.one, self.spread = nn.Linear(24, 3), APPNP(40, 0.1)

        def forward(self, x, edge_index):
            return self.spread(self.one(x), edge_index)

    graph = sbm_graph(n=1200, degree=6.0)
    target = dataclasses.replace(toy_target("gcn", graph=graph, epochs=0), model=Wide().eval())
    space, copies, ask, calls = asked(target)
    sets = [space.at(0)[i : i + 1] for i in (5, 900)]
    assert copies.answers(0, sets, ask) is None
    assert calls == []
    many = toy_target("graph-gin", epochs=0)
    space, copies, ask, calls = asked(many)
    assert copies.answers(0, [space.existing[:1]], ask) is None
    assert calls == []
