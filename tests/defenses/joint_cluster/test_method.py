"""The defence `joint-cluster`: arms, modes, saving, nodes that move, and never a NaN."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from auditor import registry
from auditor.compare.arms import fit_defended, make_defense
from auditor.data.graph import Graph, Split
from auditor.defense import Defense, ServesInModes
from auditor.errors import ConfigError, EvaluationError, LoadError, SkippedError
from auditor.parameters import build
from auditor.runner.execute import TrainedCache
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Capability, ServedModel, Target
from auditor.tasks import output_kind
from defenses.joint_cluster.encoder import encoder_of
from defenses.joint_cluster.method import ARMS, JointCluster
from defenses.joint_cluster.model import ClusterModel
from tests.defenses.joint_cluster.fits import answer, fitted, task
from tests.toys import builder, sbm_graph, toy_target


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_serves_log_probabilities_better_than_chance_and_equal_seeds_agree(arm: str) -> None:
    first, second = fitted(arm=arm), fitted(arm=arm)
    out = answer(first)
    assert output_kind(out) == "log_probs"
    assert torch.equal(out, answer(second))
    assert first.accuracy() > 0.5  # three classes
    assert first.defense is not None
    assert first.defense.base == "toy-gcn-0"
    assert first.digest != fitted(1, arm=arm).digest
    assert not torch.equal(out, answer(fitted(1, arm=arm)))


@pytest.mark.parametrize("arch", ["gcn", "gat", "sage", "gin"])
def test_embeddings_are_the_encoders_output_for_every_family(arch: str) -> None:
    target = fitted(base=toy_target(arch, epochs=20))
    z = target.clean_embeddings()
    assert z.shape == (120, 16)
    assert isinstance(target.model, ClusterModel)
    g = target.graph
    torch.testing.assert_close(z, target.model.encoder(g.x, g.edge_index))
    assert output_kind(answer(target)) == "log_probs"


def test_plain_head_on_the_gcn_encoder_is_the_gcn() -> None:
    g = sbm_graph()
    torch.manual_seed(0)
    gcn = builder("gcn", g.num_features, 3)().eval()
    with torch.no_grad():
        gcn.convs[-1].bias.normal_()
        weight, bias = gcn.convs[-1].lin.weight.clone(), gcn.convs[-1].bias.clone()
        expected = gcn(g.x, g.edge_index)
        z = encoder_of(gcn).eval()(g.x, g.edge_index)
    torch.testing.assert_close(z @ weight.T + bias, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_edges_have_the_models_own_weights_and_a_gradient(mode: str) -> None:
    target = fitted(prototypes=mode)
    for graph in (target.graph, None):
        soft = Relaxation.choose(target.handle(), num_features=target.graph.num_features, level="node", graph=graph)
        assert soft.kind == "native"
    assert Capability.GRAD_EDGE in target.capabilities


@pytest.mark.parametrize("mode", ["frozen", "live", "recluster"])
def test_modes_share_one_fit_and_agree_on_the_clean_graph(mode: str) -> None:
    frozen, other = fitted(), fitted(prototypes=mode)
    torch.testing.assert_close(answer(other), answer(frozen), atol=1e-5, rtol=1e-4)
    has_members = any("member" in name for name in other.model.state_dict())
    assert has_members == (mode != "frozen")
    assert (Capability.GRAD_EDGE in other.capabilities) == (mode != "recluster")


def test_frozen_prototypes_do_not_move_with_edits_and_live_ones_do() -> None:
    g, kept = sbm_graph(), torch.rand(sbm_graph().num_edges, generator=torch.Generator().manual_seed(0)) > 0.3
    less = g.with_edges(g.edge_index[:, kept])
    moved = {}
    for mode in ("frozen", "live"):
        model = fitted(prototypes=mode).model
        assert isinstance(model, ClusterModel)
        with torch.no_grad():
            before = model.current_prototypes(model.embed(g.x, g.edge_index))
            after = model.current_prototypes(model.embed(less.x, less.edge_index))
        moved[mode] = float((before - after).abs().max())
    assert moved["frozen"] == 0
    assert moved["live"] > 1e-3


def test_live_gradient_reaches_edges_far_from_the_node_through_the_prototype() -> None:
    # A path of two halves: node 0's answer depends on edges at other members of its cluster only through m_k.
    reach = {}
    for mode in ("frozen", "live"):
        target = fitted(prototypes=mode)
        g = target.graph
        weight = torch.ones(g.num_edges, requires_grad=True)
        out = target.logits(g.x, g.edge_index, weight)
        (gradient,) = torch.autograd.grad(out[0, 0] - out[0, 1], weight)
        near = {0}
        for _ in range(3):
            near |= {v for u, v in g.edge_index.T.tolist() if u in near}
        far = torch.tensor([u not in near and v not in near for u, v in g.edge_index.T.tolist()])
        assert bool(far.any())
        reach[mode] = float(gradient[far].abs().max())
    assert reach["frozen"] == 0
    assert reach["live"] > 0


@pytest.mark.parametrize("clusters", [1, 2, 5, 20, 100, 120])
@pytest.mark.parametrize("params", [{}, {"prototypes": "live"}, {"partition": "metis"}, {"assignment": "nearest"}])
def test_finite_output_and_gradient_for_every_k(clusters: int, params: dict[str, str]) -> None:
    if params.get("partition") == "metis":
        pytest.importorskip("pymetis")
    _all_finite(fitted(base=toy_target(epochs=4), clusters=clusters, **params))


def _all_finite(target: Target) -> None:
    g = target.graph
    weight = torch.ones(g.num_edges, requires_grad=True)
    out = target.logits(g.x, g.edge_index, weight)
    assert bool(torch.isfinite(out).all())
    torch.testing.assert_close(out.exp().sum(dim=1), torch.ones(g.num_nodes), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(out[:, 0].sum(), weight)
    assert bool(torch.isfinite(gradient).all())
    assert bool(gradient.any())


def _retrained(base: Target, graph: Graph, split: Split | None = None) -> Target:
    return replace(base, graph=graph, split=split or base.split)


@pytest.mark.parametrize("clusters", [2, 20, 120])
def test_finite_on_isolated_nodes_components_and_training_nodes_in_one_corner(clusters: int) -> None:
    base, g = toy_target(epochs=4), sbm_graph()
    islands = g.with_edges(g.edge_index[:, (g.edge_index < 30).all(dim=0) | (g.edge_index >= 70).all(dim=0)])
    _all_finite(fitted(base=_retrained(base, islands), clusters=clusters))
    train = torch.zeros(120, dtype=torch.bool)
    train[:12] = True  # every class among them; in one bfs region or few
    split = Split(train, base.split.val & ~train, base.split.test & ~train)
    assert set(g.y[:12].tolist()) == {0, 1, 2}
    _all_finite(fitted(base=_retrained(base, g, split), clusters=clusters))


def test_no_cluster_below_the_least_occupancy_is_ever_served() -> None:
    target = fitted(clusters=60)
    table, train = target.model.table, torch.nonzero(target.split.train).flatten()
    kept = table[train][table[train] >= 0]
    assert int(torch.bincount(kept).min()) >= 5
    assert target.defense is not None
    assert target.defense.notes["clusters_merged"] > 0
    assert target.defense.notes["occupancy_min"] >= 5


def test_one_cluster_is_the_mean_of_all_training_nodes() -> None:
    target = fitted(clusters=1)
    z = target.clean_embeddings()
    torch.testing.assert_close(target.model.prototypes[0], z[target.split.train].mean(dim=0))
    torch.testing.assert_close(target.model.fallback, target.model.prototypes[0])


def test_plain_arm_has_no_table_and_the_partition_does_not_matter_to_it() -> None:
    first, second = fitted(arm="ce"), fitted(arm="ce", clusters=3, partition="random")
    assert torch.equal(answer(first), answer(second))
    assert all(name.startswith(("encoder.", "head.")) for name in first.model.state_dict())


@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_permuted_nodes_permute_the_output_when_the_model_is_told(mode: str) -> None:
    target, g = fitted(prototypes=mode), sbm_graph()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    place = torch.empty(120, dtype=torch.int64)
    place[order] = torch.arange(120)
    x, edges = g.x[order], place[g.edge_index]
    with torch.no_grad():
        told = target.with_nodes(order).logits(x, edges)
        untold = target.logits(x, edges)
    torch.testing.assert_close(told, answer(target)[order], atol=1e-5, rtol=1e-4)
    assert (untold - answer(target)[order]).abs().max() > 1e-3


def test_nearest_assignment_needs_no_telling_and_ships_no_table() -> None:
    target, g = fitted(assignment="nearest"), sbm_graph()
    assert set(target.model.state_dict()) >= {"prototypes", "fallback"}
    assert "table" not in target.model.state_dict()
    order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
    place = torch.empty(120, dtype=torch.int64)
    place[order] = torch.arange(120)
    with torch.no_grad():
        turned = target.logits(g.x[order], place[g.edge_index])
    torch.testing.assert_close(turned, answer(target)[order], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["frozen", "live", "recluster"])
@pytest.mark.parametrize("assignment", ["table", "nearest"])
def test_appended_and_missing_nodes_are_answered_and_keep_stored_entries(mode: str, assignment: str) -> None:
    target, g = fitted(prototypes=mode, assignment=assignment), sbm_graph()
    x = torch.cat([g.x, g.x[:3]])
    edges = torch.cat([g.edge_index, torch.tensor([[120, 4, 121, 4], [4, 120, 4, 121]])], dim=1)  # 122 is isolated
    smaller = g.induced(torch.arange(60))
    with torch.no_grad():
        more = target.logits(x, edges)
        fewer = target.with_nodes(torch.arange(60)).logits(smaller.x, smaller.edge_index)
        untold = target.logits(smaller.x, smaller.edge_index)
    for out, n in ((more, 123), (fewer, 60), (untold, 60)):
        assert out.shape == (n, 3)
        assert bool(torch.isfinite(out).all())
    if mode == "frozen" and assignment == "table":
        near = {4}
        for _ in range(2):  # two layers: whose degrees or neighbours changed
            near |= {v for u, v in g.edge_index.T.tolist() if u in near}
        far = torch.tensor([i not in near for i in range(120)])
        assert bool(far.any())
        torch.testing.assert_close(more[:120][far], answer(target)[far], atol=1e-5, rtol=1e-4)


def test_an_unseen_node_takes_the_cluster_of_most_neighbours() -> None:
    target, g = fitted(), sbm_graph()
    table = target.model.table
    a = int(torch.nonzero(table == 0)[0])
    b, c = torch.nonzero(table == 1)[:2, 0].tolist()
    edges = torch.cat([g.edge_index, torch.tensor([[120] * 3, [a, b, c]])], dim=1)
    z = torch.zeros(121, 16)
    place = target.model._place(z, edges, None, torch.zeros(7, 16), table)
    assert int(place[120]) == 1
    ignored = torch.ones(edges.shape[1])
    ignored[-2:] = 0  # edges of weight 0 are not there
    assert int(target.model._place(z, edges, ignored, torch.zeros(7, 16), table)[120]) == 0


PLANS = [
    {},
    {"arm": "ce"},
    {"arm": "ce_cluster"},
    {"prototypes": "live"},
    {"prototypes": "recluster"},
    {"assignment": "nearest"},
    {"clean": "jaccard", "clean_threshold": 0.05},
    {"rank": 2},
]


@pytest.mark.parametrize("params", PLANS)
def test_saved_tensors_rebuild_the_target_and_train_nothing(params) -> None:
    base = toy_target(epochs=4)
    target = fitted(base=base, **params)
    tensors = {name: value.clone() for name, value in target.model.state_dict().items()}
    defense = JointCluster(**{"partition": "bfs", "clusters": 6, **params})
    again = defense.wrap(base, tensors, task())
    assert torch.equal(answer(again), answer(target))
    assert again.digest == target.digest
    assert again.defense.spec == target.defense.spec


def _spoiled(tensors: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    changes = {
        "missing": {k: v for k, v in tensors.items() if k != "prototypes"},
        "nan": tensors | {"prototypes": tensors["prototypes"] * float("nan")},
        "short table": tensors | {"table": tensors["table"][:-1]},
        "cluster without prototype": tensors | {"table": torch.full_like(tensors["table"], 99)},
        "float table": tensors | {"table": tensors["table"].float()},
        "head": tensors | {"head.lin.weight": tensors["head.lin.weight"][:-1]},
        "fallback": tensors | {"fallback": tensors["fallback"][:-1]},
    }
    return changes[how]


@pytest.mark.parametrize(
    "how", ["missing", "nan", "short table", "cluster without prototype", "float table", "head", "fallback"]
)
def test_tensors_that_disagree_are_refused(how: str) -> None:
    base = toy_target(epochs=2)
    tensors = dict(fitted(base=base).model.state_dict())
    with pytest.raises(LoadError):
        JointCluster(partition="bfs", clusters=6).wrap(base, _spoiled(tensors, how), task())


def test_retrained_refits_the_defence_on_the_given_graph_alone() -> None:
    target, g = fitted(), sbm_graph()
    other = sbm_graph(seed=1)
    poisoned = Graph(g.x, other.edge_index, g.y)
    twin = target.retrained(poisoned, seed=0)
    fresh = fitted(base=_retrained(toy_target(epochs=20), poisoned))
    assert torch.equal(twin.model.table, fresh.model.table)
    assert not torch.equal(twin.model.table, target.model.table)
    for a, b in zip(twin.model.state_dict().values(), fresh.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_filter_drops_planted_edges_and_passes_their_absence_to_the_model() -> None:
    base, g = toy_target(epochs=20), sbm_graph()
    x = torch.zeros(120, 8)
    x[torch.arange(120), g.y] = 1
    x[torch.arange(120), 3 + torch.arange(120) % 5] = 1
    graph = Graph(x, g.edge_index, g.y)
    base = replace(base, graph=graph, build=builder("gcn", 8, 3))
    base = replace(base, recipe=type(base.recipe)(base.build, 20), model=base.build())
    target = JointCluster(partition="bfs", clusters=4, clean="jaccard", clean_threshold=0.2).fit(base, task())
    unlike = (x[g.edge_index[0]] * x[g.edge_index[1]]).sum(dim=1) == 0
    assert bool(unlike.any())
    without = graph.with_edges(g.edge_index[:, ~unlike])
    torch.testing.assert_close(answer(target, without), answer(target), atol=1e-6, rtol=0)
    plain = JointCluster(partition="bfs", clusters=4).fit(base, task())
    assert (answer(plain, without) - answer(plain)).abs().max() > 1e-3


def test_controls_lack_only_the_idea() -> None:
    assert JointCluster().controls() == (
        "joint-cluster:arm=ce",
        "joint-cluster:arm=ce_cluster",
        "joint-cluster:arm=joint_random",
    )
    assert JointCluster(tau=0.5, clean="jaccard").controls()[-1] == "joint-cluster:arm=ce_clean,clean=jaccard,tau=0.5"
    assert JointCluster(arm="ce").controls() == ()
    for spec in JointCluster(clusters=7, clean="jaccard").controls():
        id_, params = registry.parse_spec(spec)
        loaded = registry.find("defenses", id_).load()
        assert build(loaded, params, owner=id_).clusters == 7


def test_it_is_a_defence_that_serves_in_modes_and_its_model_may_be_asked_what_the_core_asks() -> None:
    defense = registry.find("defenses", "joint-cluster").load()()
    assert isinstance(defense, JointCluster)
    assert isinstance(defense, Defense)
    assert isinstance(defense, ServesInModes)
    target = fitted(base=toy_target(epochs=2))
    assert isinstance(target.model, ServedModel)
    g = target.graph
    with torch.no_grad():
        assert torch.equal(target.adversary_handle().logits(g.x, g.edge_index), answer(target))


BAD = [
    ("clusters=0", "clusters"),
    ("clusters=many", "auto or a whole number"),
    ("clusters=2.5", "auto or a whole number"),
    ("tau=0", "tau"),
    ("tau=inf", "expected a finite number"),
    ("tau=nan", "expected a finite number"),
    ("min-occupancy=0", "min-occupancy"),
    ("arm=joined", '"joint"'),
    ("partition=metsi", '"metis"'),
    ("prototypes=thawed", "prototypes"),
    ("clean-threshold=2", "auto or a number from 0 to 1"),
    ("clean-threshold=nan", "auto or a number from 0 to 1"),
    ("rank=0", "auto, full or a whole number"),
]


@pytest.mark.parametrize(("params", "message"), BAD)
def test_bad_parameters_are_refused_at_once(params: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_defense(f"joint-cluster:{params}")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"clusters": 121}, "N = 120"),
        ({"min_occupancy": 99}, "36 training nodes"),
        ({"compat": True, "clusters": 100}, "0/0"),
    ],
)
def test_parameters_that_do_not_fit_the_target_are_refused(params, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(base=toy_target(epochs=2), **params)


def test_identity_features_cannot_be_filtered() -> None:
    base, g = toy_target(epochs=2), sbm_graph()
    eye = Graph(torch.eye(120), g.edge_index, g.y)
    with pytest.raises(ConfigError, match="identity"):
        fitted(base=replace(base, graph=eye), clean="jaccard")


def test_targets_without_a_recipe_a_class_or_of_many_graphs_are_skipped() -> None:
    base = toy_target(epochs=2)
    with pytest.raises(SkippedError, match="RETRAIN"):
        fitted(base=replace(base, recipe=None))
    with pytest.raises(SkippedError, match="absent"):
        fitted(base=replace(base, num_classes=4))
    with pytest.raises(SkippedError, match="graphs"):
        fitted(base=toy_target("graph-gin", epochs=2))


def test_fit_leaves_target_and_global_generators_alone() -> None:
    base = toy_target(epochs=2)
    before, state = base.graph.digest(), torch.get_rng_state()
    fitted(base=base)
    assert base.graph.digest() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert base.defense is None


def test_a_loss_that_is_not_finite_is_an_error_and_not_a_model() -> None:
    with pytest.raises(EvaluationError, match="training loss is nan"):
        fit_defended(toy_target(epochs=2), make_defense("joint-cluster:tau=1e-40"), seed=0, models=TrainedCache())
