"""`edge-rand` and `lap-graph`: sparse draws against dense ones, what is served and saved, what is refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import stats
from torch import Tensor

from auditor.compare.arms import fit_defended, load_any, make_defense, with_controls
from auditor.data.graph import Graph
from auditor.data.sources import load_data
from auditor.defense import DefenseTask
from auditor.errors import CapabilityError, ConfigError, LoadError, SkippedError
from auditor.mechanism import PrivateDefense
from auditor.runner.execute import TrainedCache
from auditor.targets.derived import save_derived
from auditor.targets.target import Capability, Target
from auditor.targets.train import train_reference
from defenses.dp.edge_rand import EdgeRand, flip_probability
from defenses.dp.lap_graph import LapGraph, largest_cells
from defenses.dp.pairs import Cells, cells_of, contains, edge_cells, num_cells, other_cells, pairs_of
from defenses.dp.released import ReleasesGraph
from tests.defenses.synthetic_targets import task_of
from tests.toys import sbm_graph, small_graphs, toy_target

DRAWS = 5000
NODES = 60
EDGES = edge_cells(sbm_graph(n=NODES, degree=6))
TOTAL = num_cells(NODES)


def dense_edge_rand(epsilon: float, rng: np.random.Generator) -> Cells:
    """Every pair flipped on its own."""
    bit = np.zeros(TOTAL, dtype=bool)
    bit[EDGES] = True
    return np.flatnonzero(bit ^ (rng.random(TOTAL) < 1 / (1 + np.exp(epsilon))))


def dense_lap_graph(epsilon: float, rng: np.random.Generator) -> Cells:
    """Every pair of nodes gets its own Laplace draw; the T largest are kept."""
    count = int(np.clip(round(EDGES.size + rng.laplace(scale=1 / (0.01 * epsilon))), 1, TOTAL))
    value = rng.laplace(scale=1 / (0.99 * epsilon), size=TOTAL)
    value[EDGES] += 1
    return np.argsort(-value)[:count]


def same_distribution(a: np.ndarray, b: np.ndarray, bins: int = 8) -> float:
    """p value of the two-sample χ² test on equally filled bins."""
    edges = np.unique(np.quantile(np.r_[a, b], np.linspace(0, 1, bins + 1)))
    edges[0], edges[-1] = -np.inf, np.inf
    counts = np.array([np.histogram(sample, edges)[0] for sample in (a, b)])
    return float(stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue)


@pytest.mark.parametrize(
    ("defense", "dense"),
    [
        (EdgeRand(2.0), dense_edge_rand),
        (EdgeRand(0.3), dense_edge_rand),
        (LapGraph(6.0), dense_lap_graph),
        (LapGraph(0.4), dense_lap_graph),  # T is often above P/2
    ],
)
def test_sparse_draws_are_distributed_as_dense_ones(defense: ReleasesGraph, dense) -> None:
    rng, other = np.random.default_rng(0), np.random.default_rng(1)
    sparse = [defense.draw(EDGES, NODES, rng, 1.0) for _ in range(DRAWS)]
    reference = [dense(defense.epsilon, other) for _ in range(DRAWS)]
    for found in sparse[:50]:
        assert np.unique(found).size == found.size
        assert 0 <= found.min() <= found.max() < TOTAL
    kept, kept_reference = (np.array([contains(EDGES, c).sum() for c in group]) for group in (sparse, reference))
    size, size_reference = (np.array([c.size for c in group]) for group in (sparse, reference))
    assert same_distribution(size, size_reference) > 1e-3
    assert same_distribution(kept, kept_reference) > 1e-3
    # Given how many there are, the noise edges are uniform over the pairs that are none.
    hits = np.bincount(np.concatenate(sparse), minlength=TOTAL)
    for cells in (EDGES, np.setdiff1d(np.arange(TOTAL), EDGES)):
        share = hits[cells].mean() / DRAWS
        pearson = ((hits[cells] - hits[cells].mean()) ** 2).sum() / (DRAWS * share * (1 - share))
        assert stats.chi2.sf(pearson, cells.size - 1) > 1e-3


@pytest.mark.parametrize("margin", [-6.0, -3.0])
def test_lap_graph_that_must_look_further_down_keeps_the_same_distribution(margin: float) -> None:
    edges, rng, other = EDGES[:20], np.random.default_rng(2), np.random.default_rng(3)
    near, far = (
        np.array([contains(edges, largest_cells(edges, TOTAL, 40, 0.5, r, margin=m)).sum() for _ in range(1500)])
        for r, m in ((rng, margin), (other, 300.0))
    )
    assert same_distribution(near, far) > 1e-3


def test_cells_and_pairs_are_inverse_of_each_other_also_where_floats_round() -> None:
    small = np.arange(num_cells(40))
    pairs = pairs_of(small)
    assert bool((pairs[0] < pairs[1]).all())
    assert int(pairs.max()) == 39
    assert np.array_equal(cells_of(pairs.flip(0)), small)
    n = 90_000_000  # beyond the 53 bits of a float's square root
    corners = torch.tensor([[0, n - 2, 0, n // 2], [n - 1, n - 1, n - 2, n - 3]])
    assert torch.equal(pairs_of(cells_of(corners)), corners)


@pytest.mark.parametrize("count", [3, 5, 8, 9])  # rejection, and enumeration of the last ones
def test_other_cells_are_uniform_over_sets_outside_those_taken(count: int) -> None:
    rng, taken = np.random.default_rng(0), np.array([0, 4, 5])
    drawn = [other_cells(count, 12, taken, rng) for _ in range(4000)]
    assert all(np.unique(d).size == count for d in drawn)
    hits = np.bincount(np.concatenate(drawn), minlength=12)
    assert not hits[taken].any()
    free = np.delete(hits, taken)
    if count < 9:
        share = count / 9  # negatively correlated cells: the χ² of a fixed-size sample
        pearson = ((free - 4000 * share) ** 2).sum() / (4000 * share * (1 - share)) * 8 / 9
        assert stats.chi2.sf(pearson, 8) > 1e-3
    else:
        assert (free == 4000).all()
    with pytest.raises(ValueError, match="9 free"):
        other_cells(10, 12, taken, rng)


@pytest.mark.parametrize("defense", [EdgeRand(4.0), LapGraph(8.0)])
def test_the_model_is_trained_and_served_on_the_released_graph(defense: ReleasesGraph) -> None:
    base = toy_target()
    target = defense.fit(base, task_of())
    assert isinstance(defense, PrivateDefense)
    assert target.private_graph is base.graph
    assert target.graph.digest() != base.graph.digest()
    assert target.graph.is_undirected
    assert base.recipe is not None
    expected = base.recipe.fit(target.graph, base.split, 0).model(target.graph.x, target.graph.edge_index)
    torch.testing.assert_close(target.clean_logits(), expected)
    scores = defense.released_scores(base, all_pairs(base.graph), task_of())
    assert scores.dtype == torch.float64
    assert torch.equal(scores.bool(), torch.from_numpy(np.isin(np.arange(num_cells(120)), edge_cells(target.graph))))


def all_pairs(graph: Graph) -> Tensor:
    return pairs_of(np.arange(num_cells(graph.num_nodes)))


def test_noise_scale_halves_the_flips_or_removes_them_and_takes_the_guarantee_away() -> None:
    base = toy_target()
    for defense in (EdgeRand(1.0), LapGraph(1.0)):
        exact = defense.fit(base, replace(task_of(), noise_scale=0.0))
        assert exact.defense is not None
        assert exact.defense.guarantee is None
        assert np.array_equal(edge_cells(exact.graph), edge_cells(base.graph))
    flips = [
        np.setxor1d(EdgeRand(1.0).draw(EDGES, NODES, np.random.default_rng(s), 0.5), EDGES).size for s in range(200)
    ]
    p = 0.5 * flip_probability(1.0)
    assert abs(np.mean(flips) - TOTAL * p) < 4 * np.sqrt(TOTAL * p * (1 - p) / 200)


@pytest.mark.parametrize("id_", ["edge-rand", "lap-graph"])
def test_without_hops_nothing_depends_on_an_edge_and_epsilon_is_zero(id_: str) -> None:
    defense, graph = make_defense(f"{id_}:hops=0"), sbm_graph()
    other = replace(graph, edge_index=sbm_graph(seed=5, mixing=0.9).edge_index)
    first = defense.fit(toy_target(graph=graph), task_of())
    second = defense.fit(replace(toy_target(graph=graph), graph=other), task_of())
    assert first.graph.num_edges == 0
    assert torch.equal(first.clean_logits(), second.clean_logits())
    assert torch.equal(first.logits(graph.x, graph.edge_index), first.clean_logits()), "edges added later are ignored"
    assert Capability.GRAD_EDGE not in first.capabilities
    assert first.defense is not None
    assert first.defense.guarantee is not None
    assert (first.defense.guarantee.epsilon, first.defense.guarantee.mechanism) == (0.0, {"name": "no edges"})
    assert defense.controls() == ()


def test_controls_are_both_edge_free_models() -> None:
    assert EdgeRand().controls() == ("edge-rand:hops=0", "gap:hops=0")
    assert [r.spec for r in with_controls(["lap-graph"])] == ["none", "lap-graph", "lap-graph:hops=0", "gap:hops=0"]


def test_guarantee_names_level_mechanism_and_gaps() -> None:
    task = task_of()
    planned = EdgeRand(4.0).planned(toy_target(), task)
    assert planned.mechanism["flip_probability"] == pytest.approx(0.0179862, rel=1e-5)
    assert (planned.epsilon, planned.delta, planned.accountant, planned.units) == (4.0, 0.0, "pure", 353)
    assert (planned.level, planned.relation, planned.covers) == ("edge", "flip-pair", ("training", "inference"))
    assert planned.not_protected == ("features", "labels", "node set")
    split = LapGraph(8.0).planned(toy_target(), task).mechanism
    assert split["epsilon_count"] + split["epsilon_cells"] == pytest.approx(8.0)
    assert split["epsilon_count"] == pytest.approx(0.08)
    assert planned.noise_seed == "recorded"
    assert EdgeRand().planned(toy_target(), replace(task, release=True)).noise_seed == "secret"


def test_loops_repeats_and_one_way_arcs_are_read_as_pairs_and_said() -> None:
    graph = sbm_graph()
    u, v = pairs_of(edge_cells(graph))
    messy = torch.cat([torch.stack([u, v]), torch.stack([u[:5], v[:5]]), torch.stack([u[:3], u[:3]])], dim=1)
    base = replace(toy_target(graph=graph), graph=graph.with_edges(messy))
    clean, target = EdgeRand(6.0).fit(toy_target(graph=graph), task_of()), EdgeRand(6.0).fit(base, task_of())
    assert torch.equal(clean.graph.edge_index, target.graph.edge_index)
    assert target.defense is not None
    (row,) = target.defense.validity
    assert row.status == "warn"
    for words in ("3 self-loops removed", "5 repeated arcs removed", "353 edges stored in one direction"):
        assert words in row.evidence
    assert clean.defense is not None
    assert clean.defense.validity[0].status == "pass"


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("id_", ["edge-rand", "lap-graph"])
def test_epsilon_out_of_range_is_a_usage_error(id_: str, value: str) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        make_defense(f"{id_}:epsilon={value}")


def test_hops_other_than_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="hops"):
        make_defense("edge-rand:hops=1")


def test_too_dense_a_release_names_the_smallest_epsilon_that_fits() -> None:
    with pytest.raises(ConfigError, match=r"smallest epsilon that fits is 4\.60") as refusal:
        EdgeRand(1.0).check_density(1000, 100_000)
    assert "2.7e+08" not in str(refusal.value)  # of pairs, not arcs: 1.3e9 expected
    EdgeRand(4.60).check_density(1000, 100_000)
    with pytest.raises(ConfigError, match="expected"):
        EdgeRand(4.59).check_density(1000, 100_000)
    with pytest.raises(ConfigError, match="No epsilon"):
        EdgeRand(20.0).check_density(60_000_000, 100_000)
    with pytest.raises(ConfigError, match="gap"):
        LapGraph(8.0).check_density(60_000_000, 100_000)


def test_graph_tasks_defended_targets_and_targets_without_recipe_are_skipped() -> None:
    with pytest.raises(SkippedError, match="graph"):
        EdgeRand().fit(toy_target("graph-gin", graph=small_graphs(20), epochs=1), task_of())
    with pytest.raises(SkippedError, match="undefended"):
        LapGraph().fit(EdgeRand().fit(toy_target(), task_of()), task_of())
    with pytest.raises(SkippedError, match="RETRAIN"):
        EdgeRand().fit(replace(toy_target(), recipe=None), task_of())
    with pytest.raises(CapabilityError, match="released"):
        EdgeRand().canary_sums(toy_target(), torch.ones(3, dtype=torch.bool), task_of())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained target on disk."""
    out = tmp_path_factory.mktemp("edges")
    train_reference(load_data("demo"), "gcn", out_dir=out, epochs=20)
    return out


def saved(folder: Path, out: Path, spec: str, *, release: bool = True) -> Target:
    base = load_any(folder, models=TrainedCache())
    target = fit_defended(base, make_defense(spec), seed=0, models=TrainedCache(), release=release)
    save_derived(target, folder, out)
    return target


@pytest.mark.parametrize("spec", ["edge-rand:epsilon=6", "lap-graph", "edge-rand:hops=0"])
def test_saved_and_loaded_answers_byte_for_byte_with_its_guarantee(folder: Path, tmp_path: Path, spec: str) -> None:
    target = saved(folder, tmp_path, spec)
    loaded = load_any(tmp_path, models=TrainedCache())
    assert torch.equal(loaded.clean_logits(), target.clean_logits())
    assert loaded.capabilities == target.capabilities
    assert torch.equal(loaded.graph.edge_index, target.graph.edge_index)
    assert torch.equal(loaded.private_graph.edge_index, target.private_graph.edge_index)
    assert loaded.defense is not None
    assert target.defense is not None
    assert loaded.defense.guarantee == target.defense.guarantee
    assert json.loads((tmp_path / "guarantee.json").read_text())["noise_seed"] == "secret"
    assert loaded.retrained(seed=1).defense.guarantee.noise_seed == "recorded"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 1.0, "mechanism": {"name": "EdgeRand", "flip_probability": 1 / (1 + math.e)}}, "epsilon = 1.0"),
        ({"mechanism": {"name": "EdgeRand", "flip_probability": 0.4}}, "mechanism.flip_probability = 0.4"),
        ({"mechanism": {"name": "SafeRelease"}}, "mechanism.flip_probability = None"),
        ({"level": "node", "relation": "zero-out"}, "level = node; expected edge"),
        ({"covers": ["training", "inference", "artefact"]}, "covers"),
        ({"not_protected": []}, "not_protected"),
        ({"units": 10**6}, "units = 1000000"),
        ({"mechanism": {"name": "x" * 60_000, "flip_probability": 0.4}}, "mechanism.flip_probability = 0.4"),
        ({"mechanism": {"name": "x" * 60_000}}, "mechanism.flip_probability = None"),
        (None, "missing"),
    ],
)
def test_a_guarantee_that_its_defence_does_not_make_is_refused(
    folder: Path, tmp_path: Path, change: dict[str, object] | None, words: str
) -> None:
    saved(folder, tmp_path, "edge-rand:epsilon=6")
    place = tmp_path / "guarantee.json"
    if change is None:
        place.unlink()
    else:
        place.write_text(json.dumps({**json.loads(place.read_text()), **change}))
    with pytest.raises(LoadError, match=re.escape(words)):
        load_any(tmp_path, models=TrainedCache())


def test_caveats_come_from_the_defence_and_not_from_the_file(folder: Path, tmp_path: Path) -> None:
    target = saved(folder, tmp_path, "edge-rand:epsilon=6")
    place = tmp_path / "guarantee.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "caveats": ["certified by nobody"]}))
    loaded = load_any(tmp_path, models=TrainedCache())
    assert loaded.defense is not None
    assert target.defense is not None
    assert loaded.defense.guarantee == target.defense.guarantee


def test_a_guarantee_beside_a_defence_that_promises_none_is_refused(folder: Path, tmp_path: Path) -> None:
    saved(folder, tmp_path / "dp", "edge-rand:epsilon=6")
    saved(folder, tmp_path / "plain", "l2r:mode=erm")
    (tmp_path / "plain" / "guarantee.json").write_bytes((tmp_path / "dp" / "guarantee.json").read_bytes())
    with pytest.raises(LoadError, match="promises no differential privacy"):
        load_any(tmp_path / "plain", models=TrainedCache())
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "guarantee.json").write_bytes((tmp_path / "dp" / "guarantee.json").read_bytes())
    with pytest.raises(LoadError, match="no \\[defense\\] table"):
        load_any(bare, models=TrainedCache())


def test_two_releases_differ_and_two_audits_do_not(folder: Path, tmp_path: Path) -> None:
    secret = [saved(folder, tmp_path / str(i), "edge-rand:epsilon=6") for i in range(2)]
    assert not torch.equal(secret[0].graph.edge_index, secret[1].graph.edge_index)
    base = load_any(folder, models=TrainedCache())
    audits = [EdgeRand(6.0).fit(base, DefenseTask(0, TrainedCache())) for _ in range(2)]
    assert torch.equal(audits[0].graph.edge_index, audits[1].graph.edge_index)
    text = " ".join(p.read_text() for p in (tmp_path / "0").iterdir() if p.suffix in (".json", ".toml"))
    assert "noise_rng" not in text
    assert "true_edges_kept" not in secret[0].defense.notes  # type: ignore[union-attr]
    assert "true_edges_kept" in audits[0].defense.notes  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e.int(), "int64"),
        (lambda e: e.flatten(), "int64"),
        (lambda e: torch.cat([e, torch.tensor([[0], [10**6]])], dim=1), "ids in"),
        (lambda e: e - 1, "ids in"),
        (lambda e: torch.cat([e, torch.tensor([[3], [3]])], dim=1), "self-loops"),
        (lambda e: torch.cat([e, e[:, :2]], dim=1), "repeats 2 arcs"),
        (lambda e: e[:, 1:], "reverse"),
        (None, "no edge_index"),
    ],
)
def test_a_served_graph_that_was_changed_is_refused(folder: Path, tmp_path: Path, change, words: str) -> None:
    saved(folder, tmp_path, "edge-rand")
    served = tmp_path / "served.safetensors"
    edges = load_file(served)["edge_index"]
    if change is None:
        served.unlink()
    else:
        save_file({"edge_index": change(edges).contiguous()}, served)
    with pytest.raises(LoadError, match=words):
        load_any(tmp_path, models=TrainedCache())
