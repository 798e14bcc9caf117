"""Many graphs one by one: what each is, in time that grows with their number and not with its square."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from auditor.data import edits
from auditor.data.batches import nodes_of
from auditor.data.edits import select_graphs, single_graphs
from auditor.data.fields import Fields
from auditor.data.graph import Graph
from tests.toys import small_graphs


def fielded(count: int) -> Graph:
    """Small graphs with weights and fields of nodes, edges and graphs."""
    graph = small_graphs(count)
    n, arcs = graph.num_nodes, graph.num_edges
    fields = Fields(
        node={"age": torch.arange(n).float()},
        edge={"kind": torch.arange(arcs).float()},
        graph={"t": torch.arange(count)},
    )
    return replace(graph, edge_weight=torch.arange(arcs).float() + 1, fields=fields)


@pytest.mark.parametrize("items", [[0], [3], [0, 1, 2], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29], list(range(40))])
def test_each_graph_is_what_selecting_it_alone_gives(items: list[int]) -> None:
    graph = fielded(40)
    found = single_graphs(graph, torch.tensor(items))
    assert len(found) == len(items)
    for item, (alone, nodes) in zip(items, found, strict=True):
        wanted, ids = select_graphs(graph, torch.tensor([item]))
        assert torch.equal(nodes, ids)
        assert alone.digest() == wanted.digest()
    for item, nodes in zip(items, nodes_of(graph.batch, torch.tensor(items)), strict=True):  # type: ignore[arg-type]
        assert torch.equal(nodes, torch.nonzero(graph.batch == item).flatten())


def test_no_graph_is_no_list() -> None:
    assert single_graphs(small_graphs(4), torch.empty(0, dtype=torch.int64)) == []


def test_what_is_looked_at_does_not_grow_with_the_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four times as many graphs four times as much, and a little for one more level of parts."""
    seen = [0]

    def counted(graph: Graph, items: Tensor) -> tuple[Graph, Tensor]:
        seen[0] += graph.num_nodes
        return select_graphs(graph, items)

    monkeypatch.setattr(edits, "select_graphs", counted)
    looked_at = []
    for count in (100, 400):
        seen[0] = 0
        assert len(single_graphs(small_graphs(count), torch.arange(count))) == count
        looked_at.append(seen[0])
    assert looked_at[1] <= 6 * looked_at[0]
