"""`auditor.check_split`: what it takes besides files, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import auditor
from auditor.errors import GraphError, UsageError
from tests.data import splits_with_faults as made
from tests.toys import toy_target

GCN = toy_target("gcn", epochs=2)


def test_a_target_in_memory_has_its_own_split() -> None:
    report = auditor.check_split(GCN)
    assert (report.name, report.level, report.status) == (GCN.name, "node", "CLEAN")
    assert tuple(report.sizes.values()) == GCN.split.sizes


def test_against_a_target_of_the_same_nodes_its_train_items_are_known_by_number() -> None:
    swapped = replace(GCN.split, train=GCN.split.test, test=GCN.split.train)
    report = auditor.check_split(replace(GCN, split=swapped), against=GCN)
    (leak,) = report.leaks
    assert (leak.id, leak.found) == ("item-overlap", GCN.split.sizes[0])


def test_against_a_target_of_other_nodes_content_is_compared() -> None:
    x = torch.rand(GCN.graph.x.shape)
    test = torch.nonzero(GCN.split.test).flatten()
    copied = torch.nonzero(GCN.split.train).flatten()[:20]
    x[test[: len(copied)]] = GCN.graph.x[copied]
    report = auditor.check_split(replace(GCN, graph=replace(GCN.graph, x=x)), against=GCN)
    (leak,) = report.leaks
    assert (leak.id, leak.found) == ("row-duplicate", len(copied))
    assert leak.items[0] == (int(test[0]), int(copied[0]))
    assert auditor.check_split(replace(GCN, graph=replace(GCN.graph, x=torch.rand(x.shape))), against=GCN).status == (
        "CLEAN"
    )


def test_data_of_another_kind_than_the_target_are_refused() -> None:
    with pytest.raises(GraphError, match="30 features"):
        auditor.check_split(made.nodes(0), against=GCN)
    with pytest.raises(UsageError, match="no target"):
        auditor.check_split(made.nodes(0), against=made.nodes(0))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="which has its own"):
        auditor.check_split(GCN, split="public")


@pytest.mark.parametrize(("data", "split"), [("demo", None), ("demo", "masks:0"), (GCN, None)])
def test_a_seed_of_a_split_that_is_not_drawn_is_refused(data, split: str | None) -> None:
    """It would change nothing."""
    with pytest.raises(UsageError, match=r"seed 5 .* Leave it out"):
        auditor.check_split(data, split=split, split_seed=5)
    assert auditor.check_split("demo", split="random:0.5/0.2/0.3", split_seed=5)


def test_typed_data_in_memory_are_read_as_a_file_of_them_is() -> None:
    report = auditor.check_split(made.typed(0, mirror_named=False))
    assert {row.id for row in report.leaks} == {"link-mirror"}
    assert report.exit_code == 1


def test_data_in_memory_stay_as_they_were() -> None:
    data = made.nodes(0, copies=5)
    before = {key: value.clone() for key, value in data.to_dict().items()}
    auditor.check_split(data)
    assert all(torch.equal(value, before[key]) for key, value in data.to_dict().items())
