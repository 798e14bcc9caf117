"""Models that are trained side by side are those that are trained one by one."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

from auditor.data.graph import Graph
from auditor.targets import recipe as recipes
from auditor.targets import together as side_by_side
from auditor.targets.in_place import kept_fresh
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.together import Job, fit_together
from tests.toys import random_split, sbm_graph, small_graphs

SEEDS = (3, 4, 5)


def recipe(model: dict[str, Any], *, epochs: int = 15) -> TrainRecipe:
    sizes = {"in_channels": 24, "hidden_channels": 8, "num_layers": 2, "out_channels": 3}
    return TrainRecipe(partial(build_model, {**sizes, **model}), epochs=epochs)


def sparse(graph: Graph) -> Graph:
    """Features of which one in forty is not 0."""
    x = torch.zeros_like(graph.x)
    x[torch.arange(len(x)), torch.arange(len(x)) % x.shape[1]] = 1 + torch.rand(len(x))
    return dataclasses.replace(graph, x=x)


def equal(one: nn.Module, other: nn.Module) -> bool:
    values = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(a.equal(b) for a, b in values)


@pytest.mark.parametrize(
    "model",
    [
        {"class": "GCN"},
        {"class": "GCN", "normalize": False, "add_self_loops": False, "bias": False},
        {"class": "GAT", "heads": 2},
        {"class": "GraphSAGE"},
        {"class": "GIN", "train_eps": True},
        {"class": "MLP"},
        {"stack": "TAGConv"},
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [lambda g: g, sparse], ids=["dense", "sparse"])
def test_a_stack_is_its_models(model: dict[str, Any], make: Any) -> None:
    graph, how = make(sbm_graph()), recipe(model)
    splits = [random_split(120, seed=seed) for seed in SEEDS]
    jobs = [Job(graph, split, seed) for split, seed in zip(splits, SEEDS, strict=True)]
    together = fit_together(jobs, how.build, how.optimizer_of, how.epochs)
    assert together is not None
    for job, mine in zip(jobs, together, strict=True):
        alone = how.fit(graph, job.split, job.seed).model
        torch.manual_seed(job.seed)
        fresh = how.build()
        for (name, value), own in zip(mine.state_dict().items(), alone.state_dict().values(), strict=True):
            torch.testing.assert_close(value, own, rtol=1e-3, atol=1e-4, msg=name)
        assert any(not a.equal(b) for a, b in zip(mine.parameters(), fresh.parameters(), strict=True)), "it has learned"
        assert not mine.training
        assert not any(value.requires_grad for value in mine.parameters())


def test_what_is_left_over_of_full_stacks_is_a_stack_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, how = sbm_graph(), recipe({"class": "GCN"})
    splits = [random_split(120, seed=seed) for seed in SEEDS]
    monkeypatch.setattr(side_by_side, "ROOM", 2 * graph.x.numel())
    jobs = [Job(graph, split, seed) for split, seed in zip(splits, SEEDS, strict=True)]
    together = fit_together(jobs, how.build, how.optimizer_of, how.epochs)
    assert together is not None
    last = how.fit(graph, splits[-1], SEEDS[-1]).model
    for value, own in zip(together[-1].state_dict().values(), last.state_dict().values(), strict=True):
        torch.testing.assert_close(value, own, rtol=1e-3, atol=1e-4)


def test_a_model_that_is_handed_copies_sends_no_messages_in_a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    def message(self: GCNConv, x_j: torch.Tensor, edge_weight: torch.Tensor | None) -> torch.Tensor:
        sent.append(x_j.shape[0])
        return x_j if edge_weight is None else edge_weight[:, None] * x_j

    monkeypatch.setattr(GCNConv, "message", message)
    graph, how = sbm_graph(), recipe({"class": "GCN"}, epochs=3)
    jobs = [Job(graph, random_split(120, seed=seed), seed) for seed in SEEDS]
    assert fit_together(jobs, lambda: kept_fresh(how.build()), how.optimizer_of, how.epochs) is not None
    assert set(sent) == {graph.edge_index.shape[1] + graph.num_nodes}, "the models alone, for comparison"
    assert len(sent) == 4, "two models of two layers, once"


@pytest.mark.parametrize("weighted", [False, True])
def test_each_model_has_its_own_graph(weighted: bool) -> None:
    how = recipe({"class": "GCN"})
    graphs = [sbm_graph(seed=seed) for seed in SEEDS]
    if weighted:
        weights = (
            torch.rand(graph.edge_index.shape[1], generator=torch.Generator().manual_seed(1)) for graph in graphs
        )
        graphs = [dataclasses.replace(graph, edge_weight=weight) for graph, weight in zip(graphs, weights, strict=True)]
    jobs = [Job(graph, random_split(120, seed=s), s) for graph, s in zip(graphs, SEEDS, strict=True)]
    together = fit_together(jobs, how.build, partial(how.optimizer_of, fused=True), how.epochs)
    assert together is not None
    for job, mine in zip(jobs, together, strict=True):
        alone = how.fit(job.graph, job.split, job.seed).model
        graph = job.graph
        out = [model(graph.x, graph.edge_index, edge_weight=graph.edge_weight) for model in (mine, alone)]
        torch.testing.assert_close(*out, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [{"class": "GCN", "norm": "BatchNorm"}, {"class": "GCN", "norm": "GraphNorm"}, {"stack": "GATv2Conv"}],
    ids=str,
)
def test_what_cannot_be_stacked_is_trained_alone(model: dict[str, Any]) -> None:
    graph, how = sbm_graph(), recipe(model, epochs=3)
    splits = [random_split(120, seed=seed) for seed in SEEDS]
    jobs = [Job(graph, split, seed) for split, seed in zip(splits, SEEDS, strict=True)]
    assert fit_together(jobs, how.build, how.optimizer_of, 3) is None
    for fit, job in zip(how.fit_many(graph, splits, SEEDS), jobs, strict=True):
        alone = how.fit(graph, job.split, job.seed).model
        assert all(
            a.equal(b) for a, b in zip(fit.model.state_dict().values(), alone.state_dict().values(), strict=True)
        )


def test_many_graphs_are_trained_alone() -> None:
    graph = small_graphs(30)
    how = recipe({"class": "GIN", "readout": "add", "in_channels": 2, "out_channels": 2}, epochs=1)
    splits = [random_split(30, seed=seed) for seed in SEEDS]
    assert len(how.fit_many(graph, splits, SEEDS)) == 3
    assert fit_together([Job(graph, splits[0], 0)], how.build, how.optimizer_of, 1) is None


def test_equal_seeds_give_equal_bytes_and_the_global_generator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, how = sbm_graph(), recipe({"class": "GCN", "dropout": 0.5}, epochs=4)
    splits = [random_split(120, seed=seed) for seed in SEEDS]
    before = torch.get_rng_state()
    first, second = (how.fit_many(graph, splits, SEEDS) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first, second, strict=True):
        assert all(
            x.equal(y) for x, y in zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
        )
    monkeypatch.setattr(recipes, "fit_together", lambda *given: None)
    assert len(how.fit_many(graph, splits, SEEDS)) == 3
