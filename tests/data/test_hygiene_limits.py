"""Split hygiene where data are odd: nothing vacuous passes, nothing correct alarms, what cannot be read is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric.data import Data, HeteroData, TemporalData
from torch_geometric.transforms import RandomLinkSplit

from auditor import check_split
from auditor.data.hygiene.same_graph import same_graphs
from auditor.errors import GraphError, UsageError
from reports.sentences.split import headline
from tests.data import splits_with_faults as made
from tests.data.looked_at import many, regular, row_of


def with_test(change: Callable[[Data], None]) -> Any:
    parts = made.links(0)
    change(parts[2])
    return parts


def far_ids() -> list[Data]:
    parts = made.links(0)
    for part in parts:
        del part.x
        part.edge_label_index = part.edge_label_index * 10**12
    return parts


def without_messages() -> list[Data]:
    parts = made.whole_graph_given(0)
    for part in parts:
        del part.edge_index
    return parts


def stream_without_a_time() -> list[TemporalData]:
    parts = made.stream(0)
    parts[2].t = parts[2].t.double()
    parts[2].t[3] = float("nan")
    return parts


def pairs_without_a_time() -> list[Data]:
    parts = made.timed_links(0)
    parts[2].edge_label_time = parts[2].edge_label_time.double()
    parts[2].edge_label_time[0] = float("nan")
    return parts


def too_few_times() -> list[Data]:
    parts = made.timed_links(0)
    parts[2].edge_label_time = parts[2].edge_label_time[:3]
    return parts


def short_masks() -> HeteroData:
    data = HeteroData()
    data["paper"].x = torch.rand(50, 3)
    data["paper"].train_mask, data["paper"].test_mask = torch.arange(40) < 25, torch.arange(40) >= 25
    return data


def sparse_features() -> HeteroData:
    data = short_masks()
    data["paper"].x = data["paper"].x[:40].to_sparse()
    return data


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "ids beyond 64 bits of a pair": (far_ids, "Renumber the nodes"),
    "pairs without messages": (without_messages, "holds pairs and no edge_index"),
    "an event without a time": (stream_without_a_time, "1 of 220 times are no numbers"),
    "a pair without a time": (pairs_without_a_time, "times are no numbers"),
    "too few times": (too_few_times, "edge_label_time is [3] for 296 pairs"),
    "masks of another length": (short_masks, "the masks have 40 entries"),
    "sparse features": (sparse_features, "expected a dense row of real numbers"),
    "one label": (
        lambda: with_test(lambda part: part.__setattr__("edge_label", torch.tensor(1.0))),
        "edge_label is []",
    ),
    "pairs in one row": (
        lambda: Data(x=torch.ones(5, 1), edge_index=torch.tensor([[0], [1]]), test_pos_edge_index=torch.arange(3)),
        "expected pairs as pos_edge_index [2, P]",
    ),
    "benchmark pairs in one row": (
        lambda: {"train": {"edge": torch.zeros(3, dtype=torch.int64)}, "test": {"edge": torch.arange(3)}},
        "expected pairs [P, 2]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(GraphError) as refused:
        check_split(make())
    assert said in str(refused.value)


def no_pairs() -> Any:
    def empty(part: Data) -> None:
        part.edge_label_index, part.edge_label = part.edge_label_index[:, :0], part.edge_label[:0]

    return with_test(empty)


def no_events() -> list[TemporalData]:
    train, val, test = made.stream(0)
    return [train, val, TemporalData(src=test.src[:0], dst=test.dst[:0], t=test.t[:0])]


def test_pairs_without_arcs_to_read_are_said_not_to_be_compared() -> None:
    none, pairs = torch.empty(2, 0, dtype=torch.int64), torch.tensor([[0], [1]])
    report = check_split(Data(x=torch.ones(5, 1), edge_index=none, edge_label_index=pairs))
    row = row_of(report, "link-in-messages", "test")
    assert row is not None
    assert row.status == "not_checked"
    assert report.exit_code == 3
    assert any("taken for those that test" in note for note in report.notes)


@pytest.mark.parametrize("make", [no_pairs, no_events])
def test_a_test_without_items_is_not_clean(make: Callable[[], Any]) -> None:
    report = check_split(make())
    assert (report.status, report.exit_code) == ("UNDECIDED", 3)
    assert any(row.status == "not_checked" for row in report.rows)


@pytest.mark.parametrize("make", [made.links, made.nodes])
def test_an_order_in_time_is_not_taken_for_checked(make: Callable[[int], Any]) -> None:
    with pytest.raises(UsageError, match="has no times to compare"):
        check_split(make(0), chronological=True)


def test_times_may_be_unsigned() -> None:
    parts = made.stream(0, cut="random")
    for part in parts:
        part.t = part.t.to(torch.uint32)
    assert check_split(parts).exit_code == 1


def test_times_may_stand_in_a_column() -> None:
    parts = made.timed_links(0, future=True)
    for part in parts:
        part.time = part.time[:, None]
    row = row_of(check_split(parts), "future-edge", "test")
    assert row is not None
    assert row.status == "leak"


def test_nodes_some_of_which_have_no_time_are_not_compared_unless_it_is_said() -> None:
    data = made.nodes(0)
    data.time = torch.arange(data.num_nodes).double()
    data.time[torch.nonzero(data.test_mask)[0]] = float("nan")
    row = row_of(check_split(data), "future-edge")
    assert row is not None
    assert row.status == "not_checked"
    with pytest.raises(GraphError, match="times are no numbers"):
        check_split(data, chronological=True)


def test_test_pairs_that_were_trained_on_are_found() -> None:
    parts = made.links(0)
    train, test = parts[0], parts[2]
    true = test.edge_label_index[:, test.edge_label > 0].flip(0)
    train.edge_label_index = torch.cat([train.edge_label_index, true], dim=1)
    train.edge_label = torch.cat([train.edge_label, torch.ones(true.shape[1])])
    report = check_split(parts)
    row = row_of(report, "item-overlap", "test")
    assert row is not None
    assert (row.status, row.found, row.of) == ("leak", true.shape[1], true.shape[1])
    assert [leak.id for leak in report.leaks] == ["item-overlap"]


def test_classes_of_edges_are_no_negatives() -> None:
    """A sign of 0 is a class; the same split is still checked for pairs that the message graph shows."""
    edge = made.arcs(0)
    data = Data(x=torch.ones(made.NODES, 1), edge_index=edge, edge_label=torch.arange(edge.shape[1]) % 2)
    torch.manual_seed(0)
    split = RandomLinkSplit(0.05, 0.1, neg_sampling_ratio=0.0, add_negative_train_samples=False)
    parts = list(split(data))
    report = check_split(parts)
    assert report.leaks == ()
    assert report.sizes["test"] == parts[2].edge_label_index.shape[1]
    parts[2].edge_index = edge
    row = row_of(check_split(parts), "link-in-messages", "test")
    assert row is not None
    assert (row.status, row.found) == ("leak", row.of)


def test_two_nodes_may_meet_again_where_pairs_have_times() -> None:
    parts = made.timed_links(0)
    parts[2].edge_label_index[:, 0] = parts[2].edge_index[:, 0]
    report = check_split(parts)
    row = row_of(report, "link-in-messages", "test")
    assert row is not None
    assert (row.status, row.found, report.exit_code) == ("note", 1, 0)
    for part in parts:
        del part.time
    assert check_split(parts).exit_code == 1  # nothing says any more that the arc is older


def test_arcs_of_train_from_the_time_of_the_test_are_found() -> None:
    parts = made.timed_links(0)
    parts[0].time = parts[0].time + 10**6
    row = row_of(check_split(parts), "future-edge", "arcs of train before test")
    assert row is not None
    assert row.status == "leak"


def test_a_pass_says_no_more_than_was_looked_at() -> None:
    categories = headline(check_split(made.categories(0)))
    assert "not every check could be made" in categories
    graphs = [
        Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([i % 2])) for i in range(9)
    ]
    for i, graph in enumerate(graphs):
        graph.train_mask, graph.test_mask = torch.tensor([i < 6]), torch.tensor([i >= 6])
    report = check_split(graphs)
    row = row_of(report, "graph-duplicate")
    assert row is not None
    assert (row.found, row.of, report.exit_code) == (3, 3, 0)
    assert "No more test data was visible in training than under random splits" in headline(report)
    assert "No exact copy of test data" in headline(check_split(made.nodes(0)))


def test_types_with_nothing_but_masks_are_not_passed_over() -> None:
    data = HeteroData()
    data["paper"].num_nodes = 50
    data["paper"].train_mask, data["paper"].test_mask = torch.arange(50) < 25, torch.arange(50) >= 25
    report = check_split(data)
    row = row_of(report, "row-duplicate", "paper")
    assert row is not None
    assert row.status == "not_checked"
    assert report.sizes["test"] == 25


def test_hundreds_of_graphs_of_one_colour_take_no_time() -> None:
    begun = time.process_time()
    groups, exact = same_graphs(many(*(regular(seed, n=20) for seed in range(200))))
    assert exact.all()
    assert len(set(groups)) > 190
    assert time.process_time() - begun < 10  # every pair by VF2: minutes
