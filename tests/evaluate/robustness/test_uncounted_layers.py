"""A model that reads further than its layers tell: surroundings are tried at every node and where they cut arcs off."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import ChebConv, SAGEConv

from attacks.robustness.near import Near
from attacks.robustness.soft_flips import Victim
from auditor.data.edits import EdgeSpace
from auditor.data.graph import Graph, Split
from auditor.evaluate.robustness.node_answers import NodeAnswers
from auditor.evaluate.robustness.verification import Verifier
from auditor.outcomes import FlipSet
from auditor.targets.surroundings import reach_of
from auditor.targets.target import Target
from auditor.view import Access, grant_graph
from tests.evaluate.robustness.questions import parts_are_found_out
from tests.toys import ALL

PAIRS, SIZE = 10, 600


class Again(nn.Module):
    """One layer that runs six times."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer, self.last = nn.Linear(16, 16), SAGEConv(16, 16), nn.Linear(16, 4)

    def forward(self, x, edge_index):
        x = self.first(x)
        for _ in range(6):
            x = torch.tanh(self.layer(x, edge_index))
        return 5 * self.last(x)


class Wide(nn.Module):
    """Layers of four steps each, which do not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = ChebConv(16, 16, K=5), ChebConv(16, 4, K=5)

    def forward(self, x, edge_index):
        return 5 * self.two(torch.tanh(self.one(x, edge_index)), edge_index)


class Busy(nn.Module):
    """Nodes of four edges or more are told of all others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = SAGEConv(16, 4)

    def forward(self, x, edge_index):
        z = 5 * self.layer(x, edge_index)
        is_busy = torch.bincount(edge_index[1], minlength=x.shape[0]) >= 4
        return z - 3 * z.mean(dim=0) * is_busy[:, None]


def target_of(model: type[nn.Module]) -> Target:
    """Pairs of nodes, the first ones, beside a long ring; every node has the class that it is answered."""
    rng = np.random.default_rng(0)
    pairs, ring = torch.arange(0, 2 * PAIRS, 2), torch.arange(2 * PAIRS, SIZE)
    ends = torch.cat([torch.stack([pairs, pairs + 1]), torch.stack([ring, torch.roll(ring, -1)])], dim=1)
    x = torch.from_numpy((rng.random((SIZE, 16)) < 0.3).astype(np.float32))
    y = torch.arange(SIZE) % 4
    graph = Graph(x, torch.cat([ends, ends.flip(0)], dim=1), y, name="pairs and a ring")
    test = torch.zeros(SIZE, dtype=torch.bool)
    test[:6] = test[2 * PAIRS :: 40] = True
    torch.manual_seed(0)
    split = Split(~test, torch.zeros_like(test), test)
    target = Target("deep", graph, split, 4, ALL, "factory", "deep", {}, model().eval())
    return dataclasses.replace(target, graph=dataclasses.replace(graph, y=target.clean_logits().argmax(dim=1)))


def edge(u: int, v: int) -> torch.Tensor:
    return torch.tensor([min(u, v) * SIZE + max(u, v)])


@pytest.mark.parametrize("attacked", [6, SIZE], ids=["pairs", "all"])
@pytest.mark.parametrize("model", [Again, Wide])
def test_answers_are_those_of_whole_graphs_where_the_first_node_reads_next_to_nothing(model, attacked):
    """Of pairs alone nothing is cut off until an edge joins one of them to the ring."""
    target = target_of(model)
    assert reach_of(target.model) < 4
    items = torch.nonzero(target.split.test).flatten()[:attacked]
    verifier, rng = Verifier(target, items), np.random.default_rng(0)
    asked = [(0, FlipSet(1, edge(0, 1)))]
    for place, node in enumerate(verifier.items.tolist()):
        others = rng.choice(np.delete(np.arange(SIZE), node), 4, replace=False).tolist()
        asked += [(place, FlipSet(1, edge(node, other))) for other in others]
    parts_are_found_out(verifier, asked)


def test_once_parts_were_seen_to_answer_otherwise_none_is_asked_again(monkeypatch):
    verifier = Verifier(target_of(Again), torch.arange(0, SIZE, 40))
    monkeypatch.setattr("auditor.evaluate.robustness.node_answers.LEAST", 0)
    monkeypatch.setattr("auditor.evaluate.robustness.node_answers.ROWS", 0)
    answers, sizes = NodeAnswers(verifier), list[int]()
    monkeypatch.setattr(answers, "_most", 20)  # the second question settles the first
    verifier.handle.model.register_forward_pre_hook(lambda _model, given: sizes.append(given[0].shape[0]))
    for place, node in enumerate(verifier.items.tolist()):
        answers.ask(place, place, FlipSet(1, edge(node, (node + 300) % SIZE)))
    answers.settle()
    assert answers.agrees is False
    assert sum(size < SIZE for size in sizes) == 1
    assert len(answers.known) == len(verifier.items)


def busy_target() -> Target:
    """The last of the attacked nodes alone has many edges."""
    target = target_of(Busy)
    node = int(torch.nonzero(target.split.test).flatten()[-1])
    more = torch.stack([torch.full((2,), node), torch.tensor([105, 205])])
    graph = dataclasses.replace(
        target.graph, edge_index=torch.cat([target.graph.edge_index, more, more.flip(0)], dim=1)
    )
    target = dataclasses.replace(target, graph=graph)
    return dataclasses.replace(target, graph=dataclasses.replace(graph, y=target.clean_logits().argmax(dim=1)))


def test_every_node_is_tried_by_itself():
    target = busy_target()
    verifier = Verifier(target, torch.nonzero(target.split.test).flatten())
    answers, last = NodeAnswers(verifier), len(verifier.items) - 1
    node = int(verifier.items[last])
    asked = [
        (place, FlipSet(1, edge(node_, (node_ + 290) % SIZE))) for place, node_ in enumerate(verifier.items.tolist())
    ]
    asked.append((last, FlipSet(1, edge(node, 105))))  # its only claim, after which it is busy no more
    for name, (place, claim) in enumerate(asked):
        if name != last:
            answers.ask(name, place, claim)
    answers.settle()
    assert answers.agrees is False

    view = grant_graph(target, frozenset(Access), with_test_labels=True)
    near, none = Near(Victim.of(view)), torch.empty(0, dtype=torch.int64)
    for node in view.items.tolist():
        near.margins(node, view.y[node : node + 1], [none])
        assert near.agrees is (node != int(view.items[-1]))


@pytest.mark.parametrize("model", [Again, Wide])
def test_margins_are_those_of_the_whole_graph_where_the_first_node_reads_next_to_nothing(model):
    target = target_of(model)
    view = grant_graph(target, frozenset(Access), with_test_labels=True)
    near, space = Near(Victim.of(view)), EdgeSpace.of(target.graph)
    none = torch.empty(0, dtype=torch.int64)
    for node in view.items.tolist():
        y = view.y[node : node + 1]
        for keys in (none, edge(node, (node + 300) % SIZE)):
            edited = space.toggled(keys)
            whole = near.victim.outputs.read(target.logits(edited.x, edited.edge_index))[node]
            others = whole.index_fill(0, y, float("-inf")).max()
            torch.testing.assert_close(near.margins(node, y, [keys])[0], whole[int(y)] - others, rtol=1e-3, atol=1e-3)
    assert near.agreed == {False: True, True: False}
    assert near.agrees is False
