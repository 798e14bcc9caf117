from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import global_add_pool

from attacks.shift.corruption import Corruption
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.shift.harness import evaluate
from auditor.evaluate.shift.reference import Reference
from auditor.policy import Policy
from auditor.targets.target import Capability
from tests.evaluate.shift.cells import make_cell, row, with_model
from tests.toys import sbm_graph, small_graphs, toy_target


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn", graph=sbm_graph(400))


@pytest.fixture(scope="module")
def result(target):
    return evaluate(make_cell(target, "corruption", profile="standard"))


@pytest.fixture(scope="module")
def graphs():
    return toy_target("graph-gin", graph=small_graphs(200))


def status(result, id_):
    return next(v.status for v in result.validity if v.id == id_)


def test_every_kind_and_severity_has_a_gap_and_an_auroc(result):
    subsets = [m.subset for m in result.measured if m.metric == "accuracy"]
    assert len(subsets) == len(set(subsets)) == 4 * 3 + 2
    assert subsets == [m.subset for m in result.measured if m.metric == "msp_auroc"]
    for m in result.measured:
        assert m.estimate.lo <= m.estimate.value <= m.estimate.hi
        assert m.estimate.hi > m.estimate.lo
        assert m.excess.lo <= m.excess.value <= m.excess.hi
        assert m.excess.hi > m.excess.lo


def test_the_gap_is_taken_on_the_same_items(target, result):
    clean = target.accuracy()
    for m in result.measured:
        if m.metric == "accuracy":
            assert m.control.estimate.value == pytest.approx(clean)
            assert m.excess.value == pytest.approx(clean - m.estimate.value)


def test_gated_is_the_mildest_severity_and_not_noise_on_binary_features(result):
    gated = {m.subset for m in result.measured if m.metric == "accuracy" and m.judged}
    assert gated == {"edge-drop=0.1", "edge-add=0.1", "feature-mask=0.1", "node-drop=0.1"}
    for m in result.measured:
        if m.metric == "accuracy":
            assert (m.p_for is not None) == (m.p_adjusted is not None) == m.judged
    assert row(result, "accuracy", "feature-noise=0.1").facts.leaves_domain


def test_noise_can_be_gated_by_request(target):
    result = evaluate(
        make_cell(target, "corruption", Corruption(kinds=("feature-noise",)), params={"gate_noise": "true"})
    )
    assert row(result, "accuracy", "feature-noise=0.1").judged


def test_a_model_without_edges_has_no_gap_under_edge_corruption():
    """The null: what the model does not read cannot hurt it."""
    mlp = toy_target("mlp", graph=sbm_graph(400))
    result = evaluate(make_cell(mlp, "corruption", Corruption(kinds=("edge-drop", "edge-add")), profile="standard"))
    for m in result.measured:
        if m.metric == "accuracy":
            assert m.excess.value == 0.0
            assert m.excess.lo < 0 < m.excess.hi
            assert m.judged is (m.subset in ("edge-drop=0.1", "edge-add=0.1"))
            assert m.p_adjusted == (1.0 if m.judged else None)
        if m.metric == "msp_auroc":
            assert m.estimate.value == 0.5
            assert not m.judged


def test_a_planted_gap_is_found_and_passes_holm(graphs):
    """Constant features zeroed: the toy GIN counts nodes by them."""
    found = row(
        evaluate(make_cell(graphs, "corruption", Corruption(kinds=("edge-drop",), severities=(0.5,)))),
        "accuracy",
        "edge-drop=0.5",
    )
    assert found.excess.lo > 0.2
    assert not found.judged  # 0.5 is not the mildest severity


class EdgeReader(nn.Module):
    """Right as long as no arc was added or dropped; far more confident when wrong."""

    def __init__(self, y, arcs):
        super().__init__()
        self.y, self.arcs = y, arcs
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x, edge_index):
        broken = edge_index.shape[1] != self.arcs
        said = (self.y + 1) % 3 if broken else self.y
        spread = torch.linspace(0, 1, len(x)).unsqueeze(1)
        return nn.functional.one_hot(said, 3) * (self.scale + spread + (3.0 if broken else 0.0))


def test_a_gap_at_the_mildest_severity_fails_the_gate_and_inverted_confidence_is_raised(target):
    broken = with_model(target, EdgeReader(target.graph.y, target.graph.num_edges))
    result = evaluate(make_cell(broken, "corruption", Corruption(kinds=("edge-drop",))))
    gap = row(result, "accuracy", "edge-drop=0.1")
    assert gap.estimate.value == 0.0
    assert gap.excess.lo > 0.9
    assert gap.p_adjusted <= 0.025
    assert (gap.question, gap.p_for) == ("damage", Policy().fails_from["damage"])  # what is tested is what is judged
    msp = row(result, "msp_auroc", "edge-drop=0.1")
    assert msp.judged
    assert msp.facts.silent
    assert (msp.facts.clean.value, msp.facts.shifted.value) == (1.0, 0.0)
    inverted = row(result, "msp_inversion", "edge-drop=0.1")
    assert (inverted.finding, inverted.question) == ("shift-inverted-confidence", "inverted-confidence")
    assert inverted.estimate.value == 0.0
    assert inverted.estimate.hi < 0.1
    assert status(result, "shift-severity-zero") == "pass"


def test_an_auroc_is_compared_with_chance_and_shown_beside_half_of_the_clean_items(result):
    for m in result.measured:
        if m.metric == "msp_auroc":
            half = m.controls[1]
            assert (m.contrast.to, half.contrast) == ("chance", None)
            assert m.excess.value == 0.5 - m.estimate.value
            assert m.question == "silent-failure"
            assert m.facts.auroc["msp"] == m.estimate.value
            assert half.estimate.lo <= half.estimate.value <= half.estimate.hi


class Pooled(nn.Module):
    """The sum of its nodes: loses confidence with every node that goes."""

    def __init__(self, y):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, edge_index, batch):
        size = global_add_pool(torch.ones(len(x), 1), batch)
        return torch.cat([size * self.scale, torch.zeros_like(size)], dim=1)


def test_a_doubtful_label_never_decides(graphs):
    result = evaluate(make_cell(graphs, "corruption", Corruption(kinds=("crop",)), profile="standard"))
    assert not any(m.judged for m in result.measured)
    assert row(result, "accuracy", "crop=0.75").facts.labels == "doubtful"


@pytest.mark.parametrize(
    ("molecules", "judged", "status"),
    [
        (None, {"edge-drop=0.1", "feature-noise=0.1", "node-drop=0.1"}, "not_checked"),
        (False, {"edge-drop=0.1", "feature-noise=0.1", "node-drop=0.1"}, None),
        (True, {"feature-noise=0.1"}, "pass"),
    ],
)
def test_edits_that_make_another_molecule_are_shown_and_not_judged(graphs, molecules, judged, status):
    known = replace(graphs, molecules=molecules)
    result = evaluate(make_cell(known, "corruption", Corruption(kinds=("edge-drop", "feature-noise", "node-drop"))))
    assert {m.subset for m in result.measured if m.metric == "accuracy" and m.judged} == judged
    assert {m.subset for m in result.measured if m.metric == "accuracy"} >= {"edge-drop=0.1", "node-drop=0.1"}
    rows = {check.id: check for check in result.validity}
    found = rows.get("shift-molecules")
    assert (found and found.status) == status
    if molecules is None:
        assert found is not None
        assert "taken for none" in found.evidence
        assert "[data] molecules = true" in found.evidence


class Even(nn.Module):
    """Whether a graph has an even number of edges: another class as soon as one is gone."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, x, edge_index, batch):
        inside = torch.zeros(len(x), 1).index_add_(0, edge_index[0], torch.ones(edge_index.shape[1], 1))
        edges = global_add_pool(inside, batch).flatten() / 2
        return self.scale * nn.functional.one_hot((edges % 2).long(), 2).float()


def test_nothing_is_judged_of_what_is_another_molecule(graphs):
    graph = graphs.graph
    with torch.no_grad():
        y = Even()(graph.x, graph.edge_index, graph.batch).argmax(1)
    for molecules, judged in ((True, False), (False, True)):
        even = replace(with_model(graphs, Even()), molecules=molecules, graph=replace(graph, y=y))
        result = evaluate(make_cell(even, "corruption", Corruption(kinds=("edge-drop",))))
        assert row(result, "accuracy", "edge-drop=0.1").excess.lo > 0.2
        assert any(m.judged for m in result.measured) is judged


def test_nodes_and_large_graphs_are_no_molecules(target):
    result = evaluate(make_cell(target, "corruption", Corruption(kinds=("edge-drop",))))
    assert "shift-molecules" not in {check.id for check in result.validity}


def test_confidence_that_notices_has_an_auroc_above_half(graphs):
    pooled = with_model(graphs, Pooled(graphs.graph.y))
    result = evaluate(make_cell(pooled, "corruption", Corruption(kinds=("node-drop",)), profile="standard"))
    assert row(result, "msp_auroc", "node-drop=0.3").estimate.value > 0.7


class Breaks(nn.Module):
    """Divides by the smallest in-degree: infinite as soon as a node has lost all its edges."""

    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(24, classes))

    def forward(self, x, edge_index):
        degree = torch.zeros(len(x)).index_add_(0, edge_index[1], torch.ones(edge_index.shape[1]))
        return (x @ self.weight) / degree.unsqueeze(1)


def test_answers_that_are_not_finite_count_as_wrong_and_are_a_finding(target):
    broken = with_model(target, Breaks(3))
    result = evaluate(make_cell(broken, "corruption", Corruption(kinds=("edge-drop",), severities=(0.5,))))
    found = row(result, "non_finite_rate", "edge-drop=0.5")
    assert found.finding == "shift-non-finite"
    assert found.judged
    assert 0 < found.estimate.value < 0.5
    assert found.excess.lo <= found.excess.value
    accuracy = row(result, "accuracy", "edge-drop=0.5")
    assert accuracy.estimate.value <= 1 - found.estimate.value


class Indexed(nn.Module):
    """Reads a table by node number: cannot be asked about fewer nodes."""

    def __init__(self, n, classes):
        super().__init__()
        self.table = nn.Parameter(torch.randn(n, classes, generator=torch.Generator().manual_seed(0)))

    def forward(self, x, edge_index):
        return self.table[: len(x)] + 0 * x.sum()


def test_node_drop_is_for_inductive_targets_only(target):
    indexed = with_model(target, Indexed(400, 3))
    result = evaluate(make_cell(indexed, "corruption"))
    assert "node-drop" in result.params["skipped"]
    assert not [m for m in result.measured if m.subset.startswith("node-drop")]


def test_where_nothing_can_be_corrupted_the_cell_is_skipped_with_the_reasons(target):
    with pytest.raises(SkippedError, match=r"crop: .*classifies nodes"):
        evaluate(make_cell(target, "corruption", Corruption(kinds=("crop",))))
    indexed = with_model(target, Indexed(400, 3))
    with pytest.raises(SkippedError, match=r"crop: .*; node-drop: the model's answer depends on the order"):
        evaluate(make_cell(indexed, "corruption", Corruption(kinds=("node-drop", "crop"))))


def test_the_declared_transform_is_applied_again_to_masked_rows(target):
    x = target.graph.x
    scaled = replace(target.graph, x=x / x.sum(1, keepdim=True).clamp_min(1))
    normal = replace(target, graph=scaled, transform="row-normalize")
    attack = Corruption(kinds=("feature-mask", "feature-noise"))
    again, bare = (
        evaluate(make_cell(normal, "corruption", attack, params={"renormalise": word})) for word in ("true", "false")
    )
    assert row(again, "accuracy", "feature-mask=0.1").facts.remarks["renormalised"]
    assert not row(again, "accuracy", "feature-noise=0.1").facts.remarks["renormalised"]  # negative entries
    assert "renormalised" not in row(bare, "accuracy", "feature-mask=0.1").facts.remarks
    assert (
        row(again, "msp_auroc", "feature-mask=0.1").estimate.value
        != row(bare, "msp_auroc", "feature-mask=0.1").estimate.value
    )
    assert status(again, "shift-severity-zero") == "pass"


def test_a_model_of_classes_only_has_no_auroc(target):
    blind = replace(target, capabilities=frozenset({Capability.LABELS}))
    result = evaluate(make_cell(blind, "corruption", Corruption(kinds=("edge-drop",))))
    assert {m.metric for m in result.measured} == {"accuracy"}


def test_same_seed_same_bytes_another_seed_other_draws(target):
    attack = Corruption(kinds=("edge-drop", "feature-noise"))
    first, second, other = (evaluate(make_cell(target, "corruption", attack, seed=s)) for s in (0, 0, 1))
    dumps = [
        json.dumps([m.model_dump(mode="json") for m in r.measured], sort_keys=True) for r in (first, second, other)
    ]
    assert dumps[0] == dumps[1] != dumps[2]


def test_a_wrong_parameter_offers_the_nearest_name(target):
    with pytest.raises(ConfigError, match="renormalise"):
        evaluate(make_cell(target, "corruption", params={"renormalize": "true"}))


def tampering(change):
    class Tampered(Corruption):
        def run(self, view, attempt):
            outcome = super().run(view, attempt)
            return replace(outcome, sets=[change(s) for s in outcome.sets])

    return Tampered(kinds=("edge-drop",))


def touch_x(shifted):
    return replace(shifted, graph=replace(shifted.graph, x=shifted.graph.x + 1e-3))


def drop_one_more(shifted):
    keys = shifted.graph.edge_index
    gone = (keys == keys[:, :1]).all(0) | (keys == keys[:, :1].flip(0)).all(0)
    return replace(shifted, graph=shifted.graph.with_edges(keys[:, ~gone]))


def one_way(shifted):
    return replace(shifted, graph=shifted.graph.with_edges(shifted.graph.edge_index[:, 1:]))


def other_items(shifted):
    return replace(shifted, items=shifted.items.flip(0))


def doubled(shifted):
    keys = shifted.graph.edge_index
    return replace(shifted, graph=shifted.graph.with_edges(torch.cat([keys, keys[:, :1], keys[:, :1].flip(0)], 1)))


def said_to_be_features(shifted):
    return replace(shifted, edits="features")


def said_to_be_nothing(shifted):
    return replace(shifted, edits="none")


@pytest.mark.parametrize(
    "change",
    [touch_x, drop_one_more, one_way, other_items, doubled, said_to_be_features, said_to_be_nothing],
)
def test_a_false_claim_is_refused(target, change):
    with pytest.raises(EvaluationError, match="edge-drop"):
        evaluate(make_cell(target, "corruption", tampering(change)))


def test_severity_zero_that_changes_answers_is_reported(target):
    class Drifts(nn.Module):
        """Adds a little with every call."""

        def __init__(self):
            super().__init__()
            self.inner, self.calls = target.model, 0

        def forward(self, x, edge_index):
            self.calls += 1
            return self.inner(x, edge_index) * (1 + 0.1 * self.calls)

    result = evaluate(
        make_cell(with_model(target, Drifts()), "corruption", Corruption(kinds=("edge-drop", "edge-add")))
    )
    assert status(result, "shift-severity-zero") == "fail"


def test_halves_of_the_clean_items_give_half_at_the_stated_rate():
    from auditor.evaluate.shift.detection import never_flat
    from auditor.statistics.clustered import Resamples, percentile
    from auditor.statistics.detection import auroc, auroc_replicates

    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        scores = rng.normal(size=200)
        a, b = scores[:100], scores[100:]
        weights = [Resamples.draw(np.arange(100), rng=rng, replicates=300).item_weights() for _ in range(2)]
        lo, hi = never_flat(percentile(auroc_replicates(a, b, *weights)), auroc(a, b), 100)
        hits += lo <= 0.5 <= hi
    assert 0.92 <= hits / 200 <= 0.98


@pytest.mark.slow
def test_cora_gcn_falls_as_far_as_published_prototypes(data_root, tmp_path):
    from auditor.data.sources import load_data
    from auditor.targets.train import train_reference

    data = load_data("cora", root=data_root, cache=tmp_path / "cache")
    cora = train_reference(data, "gcn", out_dir=tmp_path / "cora", hidden=16, seed=0)
    result = evaluate(make_cell(cora, "corruption", profile="standard"))
    anchors = {"edge-drop=0.3": 0.781, "edge-drop=0.5": 0.771, "edge-add=0.5": 0.747, "feature-mask=0.3": 0.785}
    for subset, accuracy in anchors.items():
        assert row(result, "accuracy", subset).estimate.value == pytest.approx(accuracy, abs=0.03)
    assert row(result, "accuracy", "feature-noise=1").estimate.value == pytest.approx(0.483, abs=0.06)
    assert row(result, "msp_auroc", "feature-noise=1").facts.silent
    assert row(result, "accuracy", "feature-noise=1").facts.remarks["norm_ratio"] == pytest.approx(0.26 / 2.08, rel=0.1)
    assert 1.0 <= row(result, "accuracy", "edge-drop=0.5").facts.design_effect < 3.0
    # Every seed asks the same of one partition of the nodes, whose design effect lies between 3 and 7 as it is drawn.
    effects = {Reference.of(make_cell(cora, "corruption", seed=s)).deff for s in range(3)}
    assert len(effects) == 1
    assert 3.0 < effects.pop() < 7.0
