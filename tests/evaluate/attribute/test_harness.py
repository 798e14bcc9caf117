"""Attribute inference: a planted column is found, one that is known without the model or told to nobody is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditor import registry
from auditor.data.fields import Fields
from auditor.data.graph import Graph
from auditor.data.sensitive import sensitive_column
from auditor.document import Measured
from auditor.document.facts import Attribute
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.attribute.comparing import compared, constant
from auditor.evaluate.attribute.predictors import folds_of
from auditor.probe import Cell, CellResult
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import build_attacks, choose_probes, plan
from auditor.targets.target import Capability, Target
from auditor.view import SideKnowledge
from tests.toys import random_split, toy_target

EVALUATION = registry.load_location("auditor.evaluate.attribute.harness:evaluate")
N = 300


class Reads(nn.Module):
    """Answers by one column of the features, two classes."""

    def __init__(self, column: int, scale: float = 2.0) -> None:
        super().__init__()
        self.column, self.scale = column, scale
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, edge_index):
        z = self.scale * x[:, self.column]
        return torch.stack([-z, z], dim=1)


def graph_of(*columns: np.ndarray, seed: int = 0) -> Graph:
    """The columns first, then four of noise; labels and edges that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(np.c_[(*columns, rng.normal(size=(N, 4)))]).float()
    edges = torch.from_numpy(rng.integers(0, N, (2, 900)))
    return Graph(x, torch.cat([edges, edges.flip(0)], dim=1), torch.from_numpy(rng.integers(0, 2, N)), name="made")


def target_of(graph: Graph, model: nn.Module) -> Target:
    return Target(
        name="made",
        graph=graph,
        split=random_split(N),
        num_classes=2,
        capabilities=frozenset(Capability),
        kind="factory",
        digest="made",
        provenance={},
        model=model,
    )


def evaluated(target: Target, side: SideKnowledge, seed: int = 0, **params: str) -> CellResult:
    probe = registry.find_probe("attribute-inference")
    attacks, own = build_attacks(probe, {"replicates": "100", **params})
    return EVALUATION(Cell(target, probe, attacks, own, "quick", seed, side, TrainedCache()))


def number(result: CellResult) -> Measured:
    (only,) = result.measured
    assert only.judged
    return only


def secret(kind: str, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = {"binary": rng.integers(0, 2, N), "classes": rng.integers(0, 3, N), "number": rng.normal(size=N)}
    return made[kind].astype(float)


@pytest.mark.parametrize(("kind", "unit"), [("binary", "auc"), ("classes", "share"), ("number", "share")])
def test_a_column_that_the_answers_give_away_is_found(kind: str, unit: str) -> None:
    target = target_of(graph_of(secret(kind)), Reads(0))
    found = number(evaluated(target, SideKnowledge(sensitive=0)))
    assert found.unit == unit
    assert isinstance(found.facts, Attribute)
    assert (found.facts.about, found.facts.known) == (kind, 0.5)
    assert found.estimate.value > 0.85
    assert found.excess.lo > 0.25


@pytest.mark.parametrize("kind", ["binary", "classes", "number"])
def test_answers_that_say_nothing_of_it_give_nothing(kind: str) -> None:
    target = target_of(graph_of(secret(kind)), Reads(1))
    found = number(evaluated(target, SideKnowledge(sensitive=0)))
    assert found.excess.lo < 0
    assert found.excess.value < 0.08


def test_a_column_that_stands_in_another_one_is_no_leak_of_the_model() -> None:
    column = secret("binary")
    target = target_of(graph_of(column, column), Reads(0))
    found = number(evaluated(target, SideKnowledge(sensitive="0")))
    assert found.control.estimate.value > 0.99
    assert found.excess.value < 0.01
    unknown = number(evaluated(target, SideKnowledge(sensitive=0, features=False)))
    assert unknown.excess.lo > 0.25


def test_labels_and_neighbours_are_known_only_where_they_are_granted() -> None:
    column = secret("binary")
    rng = np.random.default_rng(5)
    groups = [np.flatnonzero(column == value) for value in (0, 1)]
    arcs = np.concatenate([rng.choice(group, (2, 900)) for group in groups], axis=1)
    graph = replace(graph_of(column), edge_index=torch.from_numpy(np.concatenate([arcs, arcs[::-1]], axis=1).copy()))
    target = target_of(graph, Reads(0))
    alone, beside = (evaluated(target, SideKnowledge(sensitive=0, neighbours=each)) for each in (False, True))
    assert number(alone).control.estimate.value < 0.65
    assert number(beside).control.estimate.value > 0.97
    assert number(beside).excess.lo < 0.03
    assert "neighbours" in beside.access
    assert "neighbours" not in alone.access
    labelled = target_of(replace(graph, y=torch.from_numpy(column).long()), Reads(0))
    assert number(evaluated(labelled, SideKnowledge(sensitive=0))).control.estimate.value > 0.99
    assert number(evaluated(labelled, SideKnowledge(sensitive=0, labels="none"))).control.estimate.value < 0.65


def test_what_is_left_of_a_normalised_row_tells_nothing_of_what_was_taken_out() -> None:
    rng = np.random.default_rng(0)
    words = (rng.random((N, 30)) < 0.3).astype(float)
    words[:, 1] = 1
    graph = graph_of(secret("binary"))
    normalised = torch.from_numpy(words / words.sum(axis=1, keepdims=True)).float()
    column = sensitive_column(replace(graph, x=normalised), 0)
    assert torch.equal(column.values, torch.from_numpy(words[:, 0]))
    torch.testing.assert_close(column.others.sum(dim=1), torch.ones(N))
    plain = sensitive_column(replace(graph, x=torch.from_numpy(words).float()), 0)
    assert torch.equal(plain.values, column.values)
    assert torch.equal(plain.others, torch.from_numpy(words[:, 1:]).float())


def test_a_field_of_the_nodes_is_named() -> None:
    graph = replace(graph_of(secret("binary")), fields=Fields(node={"age": torch.arange(N)[:, None] % 4}))
    column = sensitive_column(graph, "age")
    assert column.kind == "classes"
    assert column.others.shape == (N, 5)
    assert column.values.tolist()[:5] == [0, 1, 2, 3, 0]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (9, "from 0 to 4"),
        ("99", "from 0 to 4"),
        ("agee", "Did you mean|age"),
        ("wide", "one number for each"),
        ("flat", "is 1 for every node"),
    ],
)
def test_a_column_that_cannot_be_meant_is_refused_before_anything_runs(column: str | int, words: str) -> None:
    fields = Fields(node={"age": torch.arange(N), "wide": torch.zeros(N, 2), "flat": torch.ones(N)})
    target = target_of(replace(graph_of(secret("binary")), fields=fields), Reads(0))
    requests = choose_probes(only="attribute-inference")
    with pytest.raises(ConfigError, match=words) as caught:
        plan(target, requests, seeds=(0,), profile="quick", side=SideKnowledge(sensitive=column))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [-1, True, 0.5, ""])
def test_what_is_no_column_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="sensitive"):
        SideKnowledge(sensitive=value)


def test_without_a_column_it_is_left_out_or_says_how_to_name_one() -> None:
    target = toy_target(epochs=1)
    asked = choose_probes(only="attribute-inference")
    (cell,) = plan(target, asked, seeds=(0,), profile="quick", side=SideKnowledge())
    assert "sensitive = 3" in cell.skip
    default = choose_probes(profile="quick", family="privacy")
    planned = plan(target, default, seeds=(0,), profile="quick", side=SideKnowledge())
    assert "attribute-inference" not in {each.id for each in planned}
    planned = plan(target, default, seeds=(0,), profile="quick", side=SideKnowledge(sensitive=0))
    assert "attribute-inference" in {each.id for each in planned}
    with pytest.raises(SkippedError, match="sensitive = 3"):
        evaluated(target, SideKnowledge())


def test_too_few_that_differ_are_a_reason() -> None:
    rare = np.zeros(N)
    rare[:5] = 1
    with pytest.raises(SkippedError, match="5 of 300"):
        evaluated(target_of(graph_of(rare), Reads(0)), SideKnowledge(sensitive=0))


def test_folds_have_their_share_of_every_value() -> None:
    values = np.repeat([0.0, 1.0], [90, 10])
    fold = folds_of(values, 2, np.random.default_rng(0))
    assert [int(values[fold == k].sum()) for k in (0, 1)] == [5, 5]


def test_hand_numbers() -> None:
    values, fold = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1])
    claims = [np.array([0.1, 0.2, 0.9, 0.8]), np.zeros(4)]
    rng = np.random.default_rng(0)
    found, _ = compared(claims, values, "binary", fold, rng=rng, replicates=50)
    assert [each.value for each in found] == [0.5, 0.5]  # pairs of two folds are not compared
    squares, apart = compared([values, values + 1], np.arange(4.0), "number", fold, rng=rng, replicates=50)
    assert squares[0].value == pytest.approx(1 - 8 / 5)  # squared errors 0, 0, 4, 4; around the mean 5
    assert apart[0].value == pytest.approx(squares[0].value - squares[1].value)
    assert constant(np.array([0.0, 2.0, 2.0, 1.0]), "classes", np.array([0, 1, 1, 1])).tolist() == [2, 0, 0, 0]
    assert constant(np.array([4.0, 2.0]), "number", np.array([0, 1])).tolist() == [2, 4]


def test_equal_seeds_give_equal_numbers() -> None:
    target = target_of(graph_of(secret("binary")), Reads(0, 0.5))
    one, two = (number(evaluated(target, SideKnowledge(sensitive=0))) for _ in range(2))
    assert one == two
