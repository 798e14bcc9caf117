"""`dp-node`: sensitivity, sampler, noise and account belong together; the control without edges; what an audit sees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn.models import GCN

from auditor.compare.arms import fit_defended, load_any, make_defense, with_controls
from auditor.data.graph import Graph, Split
from auditor.data.sources import load_data
from auditor.defense import DefenseTask
from auditor.errors import CapabilityError, ConfigError, SkippedError
from auditor.mechanism import PrivateDefense
from auditor.parameters import parameters
from auditor.runner.execute import TrainedCache
from auditor.statistics.accounting import multi_term_epsilon, noise_for_multi_term, sigma_for, subsampled_gaussian
from auditor.statistics.dp import correct_guesses, g_lower_bound, rejects_claim
from auditor.targets.derived import save_derived
from auditor.targets.target import Capability, Target
from auditor.targets.train import train_reference
from defenses.dp import node as node_module
from defenses.dp import steps as steps_module
from defenses.dp.node import DPNode, NoiseSchedule, fixed_batch, rooted_records
from defenses.dp.records import RecordBatch, RecordModel
from defenses.dp.rooted import kept_arcs, occurrence_bound
from defenses.dp.steps import clipped_sum
from tests.defenses.synthetic_targets import same_tensors, task_of
from tests.toys import builder, random_split, sbm_graph, small_graphs, toy_target

FAST = DPNode(steps=12, batch=16)


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


# Accounting and Guarantee


def test_the_fit_carries_what_was_planned(target):
    task = task_of()
    fitted = FAST.fit(target, task)
    guarantee = fitted.defense.guarantee
    assert isinstance(FAST, PrivateDefense)
    assert guarantee == FAST.planned(target, task)
    assert (guarantee.level, guarantee.relation, guarantee.accountant) == ("node", "zero-out", "multi-term-rdp")
    assert guarantee.covers == ("training",)
    assert any("raw adjacency" in gap for gap in guarantee.not_protected)
    assert any(caveat.startswith("sampler-coupling") for caveat in guarantee.caveats)
    assert (guarantee.noise_seed, guarantee.units) == ("recorded", int(target.split.train.sum()))
    m = guarantee.mechanism
    assert (m["N"], m["b"], m["M"], m["K"], m["r"], m["steps"], m["C"]) == (36, 16, 5, 4, 1, 12, 1.0)
    assert guarantee.epsilon == multi_term_epsilon(m["N"], m["b"], m["M"], m["nm"], m["steps"], guarantee.delta) <= 8
    assert all(row.status == "pass" for row in fitted.defense.validity)
    assert {"per-record-gradients", "record-independence", "occurrence-bound", "delta-below-1/N"} <= {
        row.id for row in fitted.defense.validity
    }


@pytest.mark.parametrize(("hops", "kept", "terms"), [(1, 4, 5), (2, 4, 21), (1, 2, 3), (2, 8, 36)])
def test_the_noise_on_the_sum_is_2_m_c_nm(target, monkeypatch, hops, kept, terms):
    seen = []
    honest = steps_module.add_noise
    monkeypatch.setattr(steps_module, "add_noise", lambda sums, std, rng: seen.append(std) or honest(sums, std, rng))
    clips, clipped = [], steps_module.clipped_sum
    monkeypatch.setattr(steps_module, "clipped_sum", lambda g, clip: clips.append(clip) or clipped(g, clip))
    defense = DPNode(hops=hops, kept=kept, steps=3, batch=16, clip=0.5, epsilon=4.0, delta=1e-3)
    defense.fit(target, task_of())
    multiplier = noise_for_multi_term(4.0, 36, 16, terms, 3, 1e-3)
    assert terms == min(occurrence_bound(kept, hops), 36)
    assert seen == [2 * terms * 0.5 * multiplier] * 3
    assert clips == [0.5] * 3


def test_the_noise_scale_reaches_the_noise_and_takes_the_guarantee(target, monkeypatch):
    seen = []
    honest = steps_module.add_noise
    monkeypatch.setattr(steps_module, "add_noise", lambda sums, std, rng: seen.append(std) or honest(sums, std, rng))
    FAST.fit(target, task_of())
    half = FAST.fit(target, replace(task_of(), noise_scale=0.5))
    assert [a / 2 for a in seen[:12]] == seen[12:]
    assert half.defense.guarantee is None


# Sampler


def test_fixed_batches_have_b_distinct_roots_each_as_often_as_the_others():
    rng, counts = np.random.default_rng(0), np.zeros(40)
    for _ in range(4000):
        ids = fixed_batch(40, 7, rng)
        assert len(set(ids.tolist())) == 7
        counts[ids.numpy()] += 1
    expected = 4000 * 7 / 40
    assert ((counts - expected) ** 2 / (expected * (1 - 7 / 40))).sum() < 85  # χ², 39 degrees of freedom: p = 3e-5


def test_training_draws_fixed_batches_and_the_control_poisson_batches(target, monkeypatch):
    sizes: list[int] = []
    honest = node_module.rooted_records

    def spy(graph: Graph, arcs: object, roots: Tensor, hops: int) -> RecordBatch:
        assert bool(target.split.train[roots].all())
        sizes.append(len(roots))
        return honest(graph, arcs, roots, hops)

    monkeypatch.setattr(node_module, "rooted_records", spy)
    FAST.fit(target, task_of())
    assert sizes == [16] * 12
    sizes.clear()
    replace(FAST, hops=0).fit(target, task_of())
    assert len(set(sizes)) > 3  # N q (1 − q) = 8.9
    assert 13 < np.mean(sizes) < 19


def test_fewer_roots_than_the_batch_are_all_drawn(target):
    assert DPNode(steps=3).planned(target, task_of()).mechanism["b"] == 36


# Sensitivity


@pytest.mark.parametrize("arch", ["gcn", "sage", "gin"])
@pytest.mark.parametrize("hops", [0, 1, 2])
def test_gradients_of_a_batch_equal_those_of_each_subgraph_alone(arch, hops):
    graph = sbm_graph()
    torch.manual_seed(0)
    model = builder(arch, graph.num_features, 3)()
    arcs, roots = kept_arcs(graph, 4), torch.arange(0, 120, 9)
    private = RecordModel(model)
    together = private.gradients(rooted_records(graph, arcs, roots, hops))
    private.close()
    model.eval()
    for j, root in enumerate(roots):
        alone = rooted_records(graph, arcs, root[None], hops)
        loss = functional.cross_entropy(model(alone.x, alone.edge_index)[:1], graph.y[root][None])
        for row, expected in zip(together, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            assert torch.allclose(row[j], expected, atol=1e-6)


@pytest.mark.parametrize("hops", [1, 2])
def test_blanking_a_node_moves_the_clipped_sum_by_at_most_2_m_c(hops):
    """On real gradients: features zero, list emptied, own term gone. Without the clip the bound would break."""
    graph, kept, clip = sbm_graph(degree=12.0), 3, 0.05
    torch.manual_seed(1)
    model = GCN(graph.num_features, 16, 2, 3)
    private, roots = RecordModel(model), torch.arange(graph.num_nodes)
    terms = occurrence_bound(kept, hops)

    def gradients(g: Graph) -> list[Tensor]:
        return private.gradients(rooted_records(g, kept_arcs(g, kept), roots, hops))

    before, most, unclipped = gradients(graph), 0.0, 0.0
    for v in range(0, graph.num_nodes, 7):
        x = graph.x.clone()
        x[v] = 0
        blanked = replace(graph, x=x, edge_index=graph.edge_index[:, graph.edge_index[0] != v])
        after = gradients(blanked)
        for rows in after:
            rows[v] = 0
        moved = sum((a - b).flatten(1).abs().sum(dim=1) for a, b in zip(after, before, strict=True)) > 1e-6
        assert int(moved.sum()) <= terms
        a, b = clipped_sum(after, clip), clipped_sum(before, clip)
        most = max(most, float(sum((p - q).square().sum() for p, q in zip(a, b, strict=True)).sqrt()))
        raw = [p.sum(dim=0) - q.sum(dim=0) for p, q in zip(after, before, strict=True)]
        unclipped = max(unclipped, float(sum(d.square().sum() for d in raw).sqrt()))
    private.close()
    assert clip < most <= 2 * terms * clip < unclipped


def test_dropout_is_off_so_that_one_record_cannot_move_the_masks_of_the_others():
    graph = sbm_graph()
    model = GCN(graph.num_features, 16, 2, 3, dropout=0.5).train()
    private, arcs = RecordModel(model), kept_arcs(graph, 4)
    a = private.gradients(rooted_records(graph, arcs, torch.tensor([3, 50, 80]), 1))
    b = private.gradients(rooted_records(graph, arcs, torch.tensor([7, 50, 80]), 1))
    private.close()
    for first, second in zip(a, b, strict=True):
        assert torch.allclose(first[1:], second[1:], atol=1e-6)


# What comes out


def test_training_learns_where_there_is_no_noise(target):
    """The machinery trains: with the noise off it comes near the plain recipe, on the full graph."""
    free = DPNode(steps=60, batch=36, clip=10.0).fit(target, replace(task_of(), noise_scale=0.0))
    assert free.accuracy() > target.accuracy() - 0.15
    assert free.accuracy() > 0.6


def test_the_defended_model_is_the_targets_architecture_and_follows_its_edges(target):
    fitted = FAST.fit(target, task_of())
    assert type(fitted.model) is type(target.model)
    assert set(fitted.model.state_dict()) == set(target.model.state_dict())
    assert not any(hasattr(p, "grad_sample") for p in fitted.model.parameters())
    assert fitted.capabilities == target.capabilities
    g = target.graph
    assert not torch.equal(fitted.logits(g.x, g.edge_index[:, :0]), fitted.clean_logits())


def test_the_control_ignores_edges_and_has_the_ordinary_account(target):
    control = make_defense(FAST.controls()[0])
    assert control == replace(FAST, hops=0)
    assert control.controls() == ()
    fitted = control.fit(target, task_of())
    g, guarantee = target.graph, fitted.defense.guarantee
    assert torch.equal(fitted.logits(g.x, g.edge_index[:, :0]), fitted.clean_logits())
    assert Capability.GRAD_EDGE not in fitted.capabilities
    assert (guarantee.accountant, guarantee.level, guarantee.relation) == ("prv+pld", "node", "zero-out")
    sigma = sigma_for(8.0, 16 / 36, 12, 1e-3)
    assert guarantee.mechanism["sigma"] == sigma
    assert guarantee.epsilon == subsampled_gaussian(16 / 36, sigma, 12, 1e-3).epsilon
    assert guarantee.delta == FAST.planned(target, task_of()).delta
    assert sigma < 2 * noise_for_multi_term(8.0, 36, 16, 1, 12, 1e-3)  # M = 1 would handicap it
    assert {"poisson-sampler", "accountants-agree"} <= {r.id for r in fitted.defense.validity if r.status == "pass"}


def test_the_control_is_the_same_whatever_the_edges(target):
    control, g = replace(FAST, hops=0), target.graph
    other = replace(target, graph=g.with_edges(g.edge_index[:, ::3].flip(0)), digest="other")
    a, b = (control.fit(t, task_of(models=TrainedCache())).model for t in (target, other))
    assert all(same_tensors(a, b).values())


def test_compare_brings_the_control_along():
    specs = [request.spec for request in with_controls(["dp-node:epsilon=4,kept=3"])]
    assert specs == ["none", "dp-node:epsilon=4.0,kept=3", "dp-node:epsilon=4.0,hops=0"]


def test_one_seed_one_model_and_a_release_records_nothing(target):
    first, again = (FAST.fit(target, task_of(models=TrainedCache())) for _ in range(2))
    assert all(same_tensors(first.model, again.model).values())
    released = [fit_defended(target, FAST, seed=0, models=TrainedCache(), release=True) for _ in range(2)]
    assert not any(same_tensors(released[0].model, released[1].model).values())
    for made in released:
        assert made.defense.guarantee.noise_seed == "secret"
        assert "arcs_kept" not in made.defense.notes  # it follows from the private edges


@pytest.mark.parametrize(("batch", "scale"), [(16, 0.0), (36, 1.0)], ids=["roots", "noise"])
def test_neither_roots_nor_noise_of_a_release_follow_from_the_seed(target, batch, scale):
    """Without noise only the roots are drawn; with every root in each batch only the noise is."""
    release, defense = replace(task_of(), release=True, noise_scale=scale), replace(FAST, batch=batch)
    first, second = (defense.train(target, release).model for _ in range(2))
    assert not any(same_tensors(first, second).values())


def test_a_refit_runs_the_whole_mechanism(target):
    fitted = FAST.fit(target, task_of())
    again = fitted.retrained(seed=3)
    assert again.defense.guarantee.mechanism == fitted.defense.guarantee.mechanism
    assert not any(same_tensors(fitted.model, again.model).values())


def test_sat_perturbs_from_the_second_step_on(target):
    plain, sharp = FAST, replace(FAST, sat_rho=0.5)
    assert sharp.planned(target, task_of()).epsilon == plain.planned(target, task_of()).epsilon
    one, two = (replace(plain, steps=1), replace(sharp, steps=1))
    assert all(same_tensors(one.fit(target, task_of()).model, two.fit(target, task_of()).model).values())
    assert not all(same_tensors(plain.fit(target, task_of()).model, sharp.fit(target, task_of()).model).values())


def test_saved_and_loaded_again(tmp_path: Path):
    data = load_data("demo")
    train_reference(data, "gcn", out_dir=tmp_path / "base", epochs=5)
    base = load_any(tmp_path / "base", models=TrainedCache())
    for hops in (1, 0):
        quick = replace(FAST, hops=hops, epsilon=1.0)  # accounting takes longer at little noise
        made = fit_defended(base, quick, seed=0, models=TrainedCache(), release=True)
        out = tmp_path / f"hops{hops}"
        save_derived(made, tmp_path / "base", out)
        loaded = load_any(out, models=TrainedCache())
        assert all(same_tensors(made.model, loaded.model).values())
        assert torch.equal(made.clean_logits(), loaded.clean_logits())
        assert loaded.defense.guarantee == made.defense.guarantee
        assert loaded.capabilities == made.capabilities
        assert json.loads((out / "guarantee.json").read_text())["noise_seed"] == "secret"


# What an audit of the mechanism sees


def hundred_roots() -> Target:
    """500 nodes, 400 of which train."""
    graph = sbm_graph(n=500)
    return replace(toy_target(graph=graph, epochs=1), split=random_split(500, train=0.8, val=0.1))


def task_with(seed: int, scale: float = 1.0) -> DefenseTask:
    return replace(task_of(seed), noise_scale=scale)


def test_canary_sums_without_noise_are_what_one_node_can_move():
    target, m = hundred_roots(), 90
    included = torch.arange(m) % 3 == 0
    everyone = DPNode(batch=400, steps=7, clip=0.5)  # all roots in every step: nothing is random
    sums = everyone.canary_sums(target, included, task_with(0, 0.0))
    expected = torch.where(included, 7 * 0.5 * 5.0, -7 * 0.5 * 4.0).double()  # M = 5 terms against 4 turned round
    assert torch.equal(sums, expected)


def test_canary_sums_have_the_noise_of_a_fit():
    target = hundred_roots()
    defense = DPNode(batch=40, steps=50, epsilon=2.0)
    included = torch.ones(4000, dtype=torch.bool)
    with_noise = defense.canary_sums(target, included, task_with(1))
    schedule = defense._schedule(target)
    drawn = 40 / 400
    in_batch = 50 * 5 * drawn * (1 - drawn)  # variance of the number of terms drawn, nearly binomial
    expected = np.sqrt(50 * schedule.std**2 + in_batch)
    assert float(with_noise.std()) == pytest.approx(expected, rel=0.05)
    assert float(with_noise.mean()) == pytest.approx(50 * 5 * drawn, abs=5 * expected / 4000**0.5)


@parameters
class ForgetsTerms(DPNode):
    """Bug: the noise of one term (2·C·nm) under an account of M."""

    def _schedule(self, target: Target) -> NoiseSchedule:
        honest = DPNode._schedule(self, target)
        return replace(honest, std=honest.std / honest.terms)


@parameters
class NoNoise(DPNode):
    """Bug: noise left out."""

    def _schedule(self, target: Target) -> NoiseSchedule:
        return replace(DPNode._schedule(self, target), std=0.0)


def audited(defense: DPNode, target: Target, m: int, seed: int, claim: float, alpha: float) -> tuple[bool, float]:
    """Whether G or A, at half of α each, rejects the claim; and the bound by G."""
    bits = np.random.default_rng(seed).random(m) < 0.5
    scores = defense.canary_sums(target, torch.from_numpy(bits), task_with(seed)).numpy()
    delta, r = float(defense.delta), m // 20
    v = correct_guesses(bits, scores, r, rng=np.random.default_rng(seed))
    rejected = any(rejects_claim(test, claim, delta, m, r, v, alpha / 2) for test in ("A", "G"))
    return rejected, g_lower_bound(m, r, v, delta, alpha)


def test_a_dropped_m_is_seen_by_an_audit_and_an_honest_run_is_not():
    target, settings = hundred_roots(), {"epsilon": 1.0, "delta": 1e-4, "batch": 40, "steps": 30}
    honest = [audited(DPNode(**settings), target, 4000, seed, 1.0, 0.05) for seed in range(3)]
    planted = [audited(ForgetsTerms(**settings), target, 4000, seed, 1.0, 0.05) for seed in range(3)]
    assert not any(rejected for rejected, _ in honest)
    assert all(rejected for rejected, _ in planted)
    assert all(rejected for rejected, _ in [audited(NoNoise(**settings), target, 400, 0, 1.0, 0.05)])


def test_the_controls_canaries_are_one_term_each(target):
    m = 900
    included = torch.arange(m) % 2 == 0
    sums = replace(FAST, hops=0).canary_sums(target, included, task_with(0, 0.0))
    q = 16 / 36
    assert torch.equal(sums[~included], torch.zeros(m // 2, dtype=torch.float64))
    assert float(sums[included].mean()) == pytest.approx(12 * q, abs=0.4)
    assert float(sums[included].var()) == pytest.approx(12 * q * (1 - q), rel=0.3)


# Bad input

BAD = (
    "epsilon=0", "clip=-1", "lr=nan", "batch=0", "steps=0", "kept=0", "hops=4", "hops=-1", "sat-rho=-0.1", "delta=0",
    "delta=small", "accountant=pure", "accountant=multi-term-rdp,hops=0",
)  # fmt: skip


@pytest.mark.parametrize("words", BAD)
def test_parameters_out_of_range(words: str) -> None:
    with pytest.raises(ConfigError, match=f"dp-node: {words.partition(',')[0]} "):
        make_defense(f"dp-node:{words}")


def test_delta_is_checked_against_the_roots(target):
    with pytest.raises(ConfigError, match="1/36"):
        DPNode(delta=0.05).planned(target, task_of())


def test_targets_that_it_does_not_apply_to(target):
    g = target.graph
    weighted = replace(target, graph=g.with_edges(g.edge_index, torch.ones(g.num_edges)))
    for other, words in (
        (toy_target("graph-gin", graph=small_graphs(20), epochs=1), "Use dp-graph"),
        (weighted, "edge weights"),
        (toy_target("gat", epochs=1), "GATConv"),
        (FAST.fit(target, task_of()), "defended by dp-node"),
    ):
        with pytest.raises(SkippedError, match=words):
            FAST.fit(other, task_of())


def test_accesses_that_it_does_not_have(target):
    with pytest.raises(CapabilityError, match="expected one of mechanism, posteriors"):
        FAST.released_scores(target, torch.zeros(2, 1, dtype=torch.int64), task_of())


def test_a_graph_without_edges_and_a_split_with_few_roots():
    graph = sbm_graph()
    bare = replace(toy_target(epochs=1), graph=graph.with_edges(graph.edge_index[:, :0]))
    assert FAST.fit(bare, task_of(models=TrainedCache())).accuracy() >= 0
    train = torch.zeros(120, dtype=torch.bool)
    train[:3] = True
    few = replace(toy_target(epochs=1), split=Split(train, torch.zeros_like(train), ~train))
    guarantee = DPNode(steps=2).planned(few, task_of())
    assert (guarantee.mechanism["M"], guarantee.mechanism["b"], guarantee.units) == (3, 3, 3)
