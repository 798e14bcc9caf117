"""`gap`: noise against sensitivity, answers from the release, what an adversary gets, what is saved and refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auditor.compare.arms import fit_defended, load_any, make_defense
from auditor.data.graph import Graph, Split
from auditor.data.sources import load_data
from auditor.errors import CapabilityError, ConfigError, LoadError, SkippedError
from auditor.mechanism import PrivateDefense
from auditor.runner.execute import TrainedCache
from auditor.statistics.accounting import epsilon_of_mu, mu_of
from auditor.statistics.dp import rejects_claim
from auditor.targets.derived import save_derived
from auditor.targets.reference import NODES as REFERENCE_NODES
from auditor.targets.reference import synthetic_inputs
from auditor.targets.target import Capability, Target
from auditor.targets.train import train_reference
from auditor.targets.validity import validity_rows
from auditor.view import Access, SideKnowledge, grant_privacy
from defenses.dp.gap import Gap, private_arcs
from defenses.dp.gap_model import GapModel, neighbour_sums, unit_rows
from tests.defenses.dp.planted_gap import ArcSensitivity, BothDropped, OneRelease
from tests.defenses.synthetic_targets import task_of
from tests.toys import sbm_graph, small_graphs, toy_target


def fitted(graph: Graph | None = None, seed: int = 0, **params: Any) -> Target:
    return Gap(**params).fit(toy_target(graph=graph, epochs=1), task_of(seed))


def model_of(target: Target) -> GapModel:
    assert isinstance(target.model, GapModel)
    return target.model


def flipped(graph: Graph, u: int, v: int, *, both: bool = True) -> Graph:
    """The graph with pair (or arc) u, v removed if there, else added."""
    arcs = set(map(tuple, graph.edge_index.T.tolist()))
    for arc in [(u, v), (v, u)][: 2 if both else 1]:
        arcs ^= {arc}
    return graph.with_edges(torch.tensor(sorted(arcs)).T)


@pytest.mark.parametrize(("epsilon", "s"), [(1, 7.461), (4, 2.162), (8, 1.2005)])
def test_noise_is_that_of_the_specification(epsilon: float, s: float) -> None:
    assert Gap(epsilon).noise_std(1e-5) == pytest.approx(s, rel=2e-4)
    assert Gap(epsilon, relation="flip-arc").noise_std(1e-5) == pytest.approx(s / math.sqrt(2), rel=2e-4)
    assert Gap(epsilon, hops=1).noise_std(1e-5) == pytest.approx(s / math.sqrt(2), rel=2e-4)
    assert Gap(epsilon, hops=8).noise_std(1e-5) == pytest.approx(2 * s, rel=2e-4)


@pytest.mark.parametrize(("relation", "both"), [("flip-pair", True), ("flip-arc", False)])
def test_flipping_one_unit_moves_the_sums_by_the_sensitivity(relation: str, both: bool) -> None:
    graph = sbm_graph()
    x = unit_rows(torch.randn(graph.num_nodes, 16, generator=torch.Generator().manual_seed(0)))
    sums = neighbour_sums(x, private_arcs(graph, relation))
    edge = graph.edge_index[:, 0].tolist()
    for u, v in (edge, (0, 1), (5, 77)):
        moved = neighbour_sums(x, private_arcs(flipped(graph, u, v, both=both), relation)) - sums
        assert float(moved.norm()) == pytest.approx(Gap(relation=relation).sensitivity, abs=1e-5)


def test_the_guarantee_is_what_its_mechanism_gives() -> None:
    for defense in (Gap(), Gap(1.0, hops=3), Gap(8.0, relation="flip-arc", delta="1e-6")):
        planned = defense.planned(toy_target(epochs=1), task_of())
        record = planned.mechanism
        mu = math.sqrt(record["releases"]) * record["sensitivity"] / record["sigma"]
        assert epsilon_of_mu(mu, planned.delta) == pytest.approx(planned.epsilon, rel=1e-6)
        assert isinstance(defense, PrivateDefense)
    assert planned.units == 706
    assert planned.relation == "flip-arc"
    default = Gap().planned(toy_target(epochs=1), task_of())
    assert (default.units, default.delta, default.relation) == (353, 1e-4, "flip-pair")
    assert any("treated as public" in caveat for caveat in default.caveats)
    assert any("new release" in caveat for caveat in default.caveats)


def test_each_planted_mistake_spends_more_than_it_claims() -> None:
    mu = mu_of(1.0, 1e-5)
    for planted, excess in ((ArcSensitivity, math.sqrt(2)), (OneRelease, math.sqrt(2)), (BothDropped, 2.0)):
        true_mu = math.sqrt(2) * math.sqrt(2) / planted(1.0).noise_std(1e-5)
        assert true_mu == pytest.approx(excess * mu, rel=1e-6)


@pytest.mark.parametrize(("defense", "excess"), [(Gap(2.0), 1.0), (Gap(2.0, hops=1), 1.0), (BothDropped(2.0), 2.0)])
def test_released_scores_tell_canaries_apart_by_all_that_the_budget_allows(defense: Gap, excess: float) -> None:
    graph = sbm_graph(n=3000, degree=4)
    order = torch.from_numpy(np.random.default_rng(0).permutation(3000))
    pairs = order[:2800].reshape(2, 1400)
    keys = pairs.min(dim=0).values * 3000 + pairs.max(dim=0).values
    pairs = pairs[:, ~torch.isin(keys, graph.pair_keys())]
    included = torch.arange(pairs.shape[1]) % 2 == 0
    inside = pairs[:, included]
    base = toy_target(graph=graph, epochs=1)
    holding = replace(base, graph=graph.with_edges(torch.cat([graph.edge_index, inside, inside.flip(0)], dim=1)))
    scores = defense.released_scores(holding, pairs, task_of())
    assert scores.dtype == torch.float64
    a, b = scores[included], scores[~included]
    separation = float((a.mean() - b.mean()) / (0.5 * (a.var() + b.var())).sqrt())
    mu = mu_of(2.0, defense.planned(holding, task_of()).delta)
    error = math.sqrt(4 / scores.numel() + separation**2 / (2 * scores.numel()))
    assert abs(separation - excess * mu) < 4 * error


@pytest.mark.slow
def test_an_audit_of_a_large_graph_refutes_the_planted_mistakes_and_not_the_honest_one() -> None:
    n, m, guesses, delta = 100_000, 40_000, 2_000, 1e-7
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.integers(0, 3, n))
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    x[torch.arange(n), y] += 2
    edges = torch.from_numpy(rng.integers(0, n, (2, 400_000)))
    pairs = torch.from_numpy(rng.permutation(n))[: 2 * m].reshape(2, m)
    included = torch.from_numpy(rng.random(m) < 0.5)
    arcs = torch.cat([edges, edges.flip(0), pairs[:, included], pairs[:, included].flip(0)], dim=1)
    ids = torch.arange(n)
    split = Split(ids < 2000, (ids >= 2000) & (ids < 3000), ids >= 3000)
    base = replace(toy_target(epochs=1), graph=Graph(x, arcs, y), split=split)
    rejected = {}
    for kind in (Gap, BothDropped):
        order = torch.argsort(kind(4.0, delta).released_scores(base, pairs, task_of()))
        right = int(included[order[-guesses // 2 :]].sum()) + int((~included[order[: guesses // 2]]).sum())
        rejected[kind] = rejects_claim("G", 4.0, delta, m, guesses, right, 5e-4)
    assert rejected == {Gap: False, BothDropped: True}


def test_the_private_graph_is_answered_from_the_release_whatever_the_order_of_its_arcs() -> None:
    target = fitted()
    model, g = model_of(target), target.graph
    assert target.private is None
    served = model.answers()
    assert torch.equal(target.clean_logits(), served)
    for rows in (model.encode(g.x), *map(unit_rows, model.served.sums())):  # what the sensitivity rests on
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(120))
    order = torch.from_numpy(np.random.default_rng(0).permutation(g.num_edges))
    assert torch.equal(target.logits(g.x, g.edge_index[:, order]), served)
    loops = torch.cat([g.edge_index, torch.tensor([[4], [4]])], dim=1)
    assert torch.equal(target.logits(g.x, loops), served)
    assert torch.equal(target.logits(g.x, loops, torch.ones(loops.shape[1])), served)


def test_an_edited_graph_is_answered_by_the_same_draw() -> None:
    target = fitted()
    model, g = model_of(target), target.graph
    edited = flipped(flipped(g, 0, 1), 3, 9)
    assert model.noise is not None
    rows = [unit_rows(model.encoder(g.x))]
    for k in range(2):
        a = torch.zeros(120, 120, dtype=torch.float64)
        a[edited.edge_index[1], edited.edge_index[0]] = 1
        rows.append(unit_rows((a @ rows[-1].double() + model.noise[k]).float()))
    expected = model.head(torch.cat(rows, dim=1))
    torch.testing.assert_close(target.logits(g.x, edited.edge_index), expected)
    assert not torch.equal(target.logits(g.x, edited.edge_index), target.clean_logits())
    moved = target.with_nodes(torch.tensor([5, -1, 7])).model
    assert isinstance(moved, GapModel)
    assert moved.noise is not None
    assert torch.equal(moved.noise[:, 0], model.noise[:, 5])
    assert not moved.noise[:, 1].any()
    assert torch.equal(moved.noise[:, 2], model.noise[:, 7])


def test_the_recovered_draw_is_the_one_that_was_added() -> None:
    target = fitted(hops=1)
    model = model_of(target)
    s = Gap(hops=1).noise_std(1e-4)
    noise = s * torch.from_numpy(task_of().noise_rng("gap").standard_normal((120, 16)))
    assert model.noise is not None
    torch.testing.assert_close(model.noise[0], noise, atol=1e-5, rtol=0)


def tensors_in(thing: object, seen: set[int]) -> list[Tensor]:
    """Every tensor reachable from an object through attributes and containers."""
    if id(thing) in seen:
        return []
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, dict):
        parts = list(thing.values())
    elif isinstance(thing, (list, tuple, set, frozenset)):
        parts = list(thing)
    else:
        parts = [getattr(thing, n) for n in getattr(thing, "__slots__", ()) if hasattr(thing, n)]
        parts += list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []
    return [tensor for part in parts for tensor in tensors_in(part, seen)]


def test_no_tensor_of_a_privacy_view_holds_the_noise_or_an_edge() -> None:
    target = fitted()
    noise, arcs = model_of(target).noise, target.graph.arc_keys()
    assert noise is not None
    view = grant_privacy(target, frozenset(Access) - {Access.GRAPH}, SideKnowledge(), np.random.default_rng(0))
    found = tensors_in(view, set())
    assert any(t.shape == (120, 16) for t in found)  # the walk reaches the released sums
    for tensor in found:
        assert tensor.shape != noise.shape
        for draw in noise:
            if tensor.shape == draw.shape:
                assert not torch.allclose(tensor.double(), draw, atol=0.1)
        if not tensor.is_floating_point() and tensor.dim() == 2 and tensor.shape[0] == 2:
            assert tensor.shape[1] != arcs.numel()  # reference pairs are all pairs of this small graph
    exact = model_of(target).for_adversary()
    g = target.graph
    torch.testing.assert_close(view.model.logits(g.x, g.edge_index), exact(g.x, g.edge_index))
    assert not torch.allclose(view.model.logits(g.x, g.edge_index), target.clean_logits())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained target on disk."""
    out = tmp_path_factory.mktemp("gap")
    train_reference(load_data("demo"), "gcn", out_dir=out, epochs=5)
    return out


def saved(folder: Path, out: Path, spec: str = "gap") -> Target:
    base = load_any(folder, models=TrainedCache())
    target = fit_defended(base, make_defense(spec), seed=0, models=TrainedCache(), release=True)
    save_derived(target, folder, out)
    return target


@pytest.mark.parametrize("spec", ["gap", "gap:hops=1,relation=flip-arc", "gap:hops=0"])
def test_saved_and_loaded_answers_byte_for_byte_and_every_check_holds(folder: Path, tmp_path: Path, spec: str) -> None:
    target = saved(folder, tmp_path, spec)
    loaded = load_any(tmp_path, models=TrainedCache())
    assert torch.equal(loaded.clean_logits(), target.clean_logits())
    assert loaded.defense is not None
    assert loaded.defense.guarantee is not None
    assert loaded.defense.guarantee.noise_seed == "secret"
    assert loaded.capabilities == target.capabilities
    assert loaded.base is not None
    assert loaded.base.defense is None
    if loaded.defense.spec == "gap:hops=0":  # a model without edges: no edge can change an answer
        assert not (tmp_path / "served.safetensors").exists()
        assert Capability.GRAD_EDGE not in loaded.capabilities
    else:
        hops = model_of(target).hops
        assert set(load_file(tmp_path / "served.safetensors")) == {"x0", *(f"z{k + 1}" for k in range(hops))}
        a, b = model_of(loaded).noise, model_of(target).noise
        assert a is not None
        assert b is not None
        assert torch.equal(a, b)
    rows = validity_rows(loaded, np.random.default_rng(0))
    assert {row.id for row in rows if row.status == "fail"} == set()


def test_no_saved_file_holds_the_noise_even_where_the_reference_graph_has_as_many_nodes(tmp_path: Path) -> None:
    graph = sbm_graph(n=REFERENCE_NODES, degree=4)
    inputs = synthetic_inputs(graph)
    target = fitted(graph)
    model = model_of(target)
    with_noise = target.logits(inputs.x, inputs.edge_index)
    published = target.adversary_handle().logits(inputs.x, inputs.edge_index)
    torch.testing.assert_close(published, model.for_adversary()(inputs.x, inputs.edge_index))
    assert not torch.allclose(with_noise, published)
    assert "noise" not in model.state_dict()


def test_the_reference_file_is_written_without_the_noise(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("auditor.targets.reference.NODES", 300)  # as many as the demo graph has
    target = saved(folder, tmp_path)
    stored = load_file(tmp_path / "model.ref.safetensors")
    assert stored["x"].shape[0] == target.graph.num_nodes == 300
    exact = model_of(target).for_adversary()
    torch.testing.assert_close(stored["logits"], exact(stored["x"], stored["edge_index"]))
    assert load_any(tmp_path, models=TrainedCache()).accuracy() == target.accuracy()


def test_two_releases_differ_and_two_audits_do_not(folder: Path, tmp_path: Path) -> None:
    released = [model_of(saved(folder, tmp_path / str(i))).served.sums()[0] for i in range(2)]
    assert not torch.allclose(released[0], released[1], atol=0.5)
    audits = [model_of(fitted()).served.sums()[1] for _ in range(2)]
    assert torch.equal(audits[0], audits[1])
    assert not torch.equal(audits[0], model_of(fitted(seed=1)).served.sums()[1])


def test_without_hops_every_graph_gives_the_same_model() -> None:
    graph = sbm_graph()
    other = graph.with_edges(sbm_graph(seed=5, mixing=0.9).edge_index)
    first, second = fitted(graph, hops=0), fitted(other, hops=0)
    assert torch.equal(first.clean_logits(), second.clean_logits())
    assert first.defense is not None
    guarantee = first.defense.guarantee
    assert guarantee is not None
    assert (guarantee.epsilon, guarantee.delta, guarantee.mechanism) == (0.0, 0.0, {"name": "no edges"})
    weights, control = model_of(fitted(graph)).encoder, model_of(first).encoder
    assert all(torch.equal(a, b) for a, b in zip(weights.parameters(), control.parameters(), strict=True))
    assert Gap(hops=0).controls() == ()
    assert Gap(1.0, relation="flip-arc").controls() == ("gap:hops=0",)
    assert Gap(hidden=8).controls() == ("gap:hidden=8,hops=0",)


def test_edge_weights_carry_the_finite_difference_gradient() -> None:
    target = fitted(epsilon=40.0)
    g = target.graph
    weight = torch.ones(g.num_edges, requires_grad=True)
    model = model_of(target)
    mix = torch.randn(120, 3, generator=torch.Generator().manual_seed(0))
    out = (target.logits(g.x, g.edge_index, weight) * mix).sum()
    (gradient,) = torch.autograd.grad(out, weight)
    step, double = 1e-5, model.double()
    for arc in (0, 17, 300):
        values = []
        for sign in (1, -1):
            moved = torch.ones(g.num_edges, dtype=torch.float64)
            moved[arc] += sign * step
            values.append(float((in_double(double, g, moved) * mix).sum()))
        assert float(gradient[arc]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3, abs=1e-4)


def in_double(model: GapModel, g: Graph, weight: Tensor) -> Tensor:
    """The forward pass in float64 throughout."""
    rows = [unit_rows(model.encoder(g.x.double()))]
    assert model.noise is not None
    for k in range(model.hops):
        rows.append(unit_rows(neighbour_sums(rows[-1], g.edge_index, weight) + model.noise[k]))
    return model.classify(rows)


def test_without_noise_nothing_is_promised_and_sums_are_exact() -> None:
    exact = Gap().fit(toy_target(epochs=1), replace(task_of(), noise_scale=0.0))
    assert exact.defense is not None
    assert exact.defense.guarantee is None
    noise = model_of(exact).noise
    assert noise is not None
    assert float(noise.abs().max()) < 1e-5
    half = model_of(Gap().fit(toy_target(epochs=1), replace(task_of(), noise_scale=0.5))).noise
    assert half is not None
    assert float(half.std()) == pytest.approx(0.5 * Gap().noise_std(1e-4), rel=0.05)


def test_repeated_arcs_and_loops_are_summed_once() -> None:
    graph = sbm_graph()
    messy = graph.with_edges(torch.cat([graph.edge_index, graph.edge_index[:, :40], torch.tensor([[7], [7]])], dim=1))
    clean, target = fitted(graph), fitted(messy)
    assert torch.equal(model_of(clean).served.sums()[1], model_of(target).served.sums()[1])
    assert torch.equal(clean.clean_logits(), target.clean_logits())
    assert target.defense is not None
    assert target.defense.validity[0].status == "warn"


@pytest.mark.parametrize(
    "spec",
    ["epsilon=0", "epsilon=nan", "delta=0", "delta=1", "delta=small", "hops=-1", "relation=replace", "hidden=0"],
)
def test_a_parameter_out_of_range_is_a_usage_error(spec: str) -> None:
    with pytest.raises(ConfigError):
        make_defense(f"gap:{spec}")


def test_what_gap_does_not_fit_is_refused_with_the_way_on() -> None:
    base = toy_target(epochs=1)
    with pytest.raises(ConfigError, match="below 1/353"):
        Gap(delta=0.01).fit(base, task_of())
    directed = replace(base, graph=base.graph.with_edges(base.graph.edge_index[:, 1:]))
    with pytest.raises(SkippedError, match="flip-arc"):
        Gap().fit(directed, task_of())
    assert Gap(relation="flip-arc").planned(directed, task_of()).units == 705
    with pytest.raises(SkippedError, match="no edges"):
        Gap().fit(replace(base, graph=base.graph.with_edges(base.graph.edge_index[:, :0])), task_of())
    with pytest.raises(SkippedError, match="graphs"):
        Gap().fit(toy_target("graph-gin", graph=small_graphs(20), epochs=1), task_of())
    with pytest.raises(SkippedError, match="undefended"):
        Gap(hops=0).fit(fitted(hops=0), task_of())
    with pytest.raises(CapabilityError, match="released"):
        Gap().canary_sums(base, torch.ones(3, dtype=torch.bool), task_of())
    with pytest.raises(CapabilityError, match="hops"):
        Gap(hops=0).released_scores(base, torch.tensor([[0], [1]]), task_of())


def test_sums_of_another_graph_or_encoder_are_refused(folder: Path, tmp_path: Path) -> None:
    saved(folder, tmp_path)
    served = tmp_path / "served.safetensors"
    held = load_file(served)
    for change in (
        {"x0": held["x0"].flip(0)},
        {"z1": held["z1"][:-1]},
        {"z3": held["z1"]},
        {"x0": held["x0"] * float("nan")},
    ):
        save_file({name: value.clone() for name, value in {**held, **change}.items()}, served)
        with pytest.raises(LoadError):
            load_any(tmp_path, models=TrainedCache())


def test_there_is_no_batch_norm_to_choose() -> None:
    kinds = (nn.BatchNorm1d, nn.InstanceNorm1d)
    assert not any(isinstance(module, kinds) for module in model_of(fitted()).modules())
    with pytest.raises(ConfigError, match="norm"):
        make_defense("gap:norm=batch")
