"""Division and vote: an edit changes one part, the radius is exact, and parts know nothing but their own graph."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from auditor.data.edits import EdgeSpace, select_graphs
from auditor.data.graph import Graph
from auditor.evaluate.certificate.division import Division, add_votes, radius, winners
from tests.toys import small_graphs, toy_target

DIVISION = Division(5, directed=False)


def test_an_edit_changes_one_part_and_the_others_are_the_same_tensors() -> None:
    graph = small_graphs(6)
    space = EdgeSpace.of(graph)
    before = list(DIVISION.divided(graph))
    assert sum(part.num_edges for part in before) == graph.num_edges
    for key in space.sample(60, np.random.default_rng(0)):
        after = list(DIVISION.divided(space.toggled(key[None])))
        other = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a.num_edges != b.num_edges]
        assert len(other) == 1
        same = [torch.equal(a.edge_index, b.edge_index) for a, b in zip(before, after, strict=True)]
        assert same.count(False) == 1


def test_where_an_edge_lies_depends_on_no_other_graph() -> None:
    graph = small_graphs(6)
    alone, nodes = select_graphs(graph, torch.tensor([4]))
    inside = graph.batch[graph.edge_index[0]] == 4
    assert torch.equal(nodes[alone.edge_index], graph.edge_index[:, inside])
    wanted = DIVISION.part_of(graph, graph.edge_index[:, inside])
    assert np.array_equal(DIVISION.part_of(alone, alone.edge_index), wanted)


def test_both_arcs_of_an_edge_lie_in_one_part_unless_edges_have_directions() -> None:
    graph = small_graphs(40)
    assert np.array_equal(DIVISION.part_of(graph, graph.edge_index), DIVISION.part_of(graph, graph.edge_index.flip(0)))
    directed = Division(5, directed=True)
    there, back = (directed.part_of(graph, arcs) for arcs in (graph.edge_index, graph.edge_index.flip(0)))
    assert (there != back).mean() > 0.5


def test_every_part_gets_its_share_of_the_pairs() -> None:
    n = 60
    none = torch.empty(2, 0, dtype=torch.int64)
    graph = Graph(torch.ones(n, 1), none, torch.tensor([0]), batch=torch.zeros(n, dtype=torch.int64))
    u, v = torch.triu_indices(n, n, offset=1)
    found = np.bincount(Division(10, directed=False).part_of(graph, torch.stack([u, v])), minlength=10)
    assert stats.chisquare(found).pvalue > 0.001  # no draw: the hash is fixed


def test_a_loop_is_in_every_part() -> None:
    graph = small_graphs(2)
    looped = graph.with_edges(torch.cat([graph.edge_index, torch.tensor([[0], [0]])], dim=1))
    for part in DIVISION.divided(looped):
        assert bool((part.edge_index[0] == part.edge_index[1]).any())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_radius_is_exact_whatever_the_votes(classes: int) -> None:
    voters = 5
    tables = {tuple(np.bincount(said, minlength=classes)) for said in itertools.product(range(classes), repeat=voters)}
    for table in tables:
        votes = np.array([table])
        safe, own = int(radius(votes)[0]), int(winners(votes)[0])
        assert not beaten(votes, own, safe)
        assert safe >= votes[0, own] or beaten(votes, own, safe + 1)


def beaten(votes: np.ndarray, own: int, changes: int) -> bool:
    """Whether so many votes for the winner can make another class win."""
    for other in range(votes.shape[1]):
        moved = votes.copy()
        taken = min(changes, int(moved[0, own]))
        moved[0, own] -= taken
        moved[0, other] += taken
        if other != own and int(winners(moved)[0]) != own:
            return True
    return False


def test_equal_votes_go_to_the_smaller_class() -> None:
    assert winners(np.array([[2, 2], [0, 0], [1, 2]])).tolist() == [0, -1, 1]
    assert radius(np.array([[2, 2], [0, 0], [1, 2], [2, 1], [3, 0], [0, 4]])).tolist() == [0, 0, 0, 0, 1, 1]


def test_an_answer_that_is_no_number_is_no_vote() -> None:
    votes = np.zeros((3, 2), dtype=np.int64)
    add_votes(votes, np.array([1, -1, 0]))
    assert votes.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_votes_are_those_of_the_model_on_each_part() -> None:
    target = toy_target("graph-gin", graph=small_graphs(20))
    votes = DIVISION.votes(target.handle(), target.graph, target.num_classes)
    again = np.zeros_like(votes)
    for part in DIVISION.divided(target.graph):
        with torch.no_grad():
            said = target.logits(part.x, part.edge_index, None, part.batch).argmax(dim=1)
        again[np.arange(20), said.numpy()] += 1
    assert np.array_equal(votes, again)
