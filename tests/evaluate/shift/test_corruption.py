from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import global_add_pool

from attacks.shift.corruption import Corruption
from auditor.errors import ConfigError, EvaluationError
from auditor.evaluate.shift.harness import evaluate
from auditor.probe import ShiftOutcome
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
    subsets = [m.subset for m in result.measurements if m.name == "accuracy"]
    assert len(subsets) == len(set(subsets)) == 4 * 3 + 2
    assert subsets == [m.subset for m in result.measurements if m.name == "msp_auroc"]
    for m in result.measurements:
        assert m.ci.lo <= m.value <= m.ci.hi
        assert m.ci.hi > m.ci.lo
        assert m.advantage.ci.lo <= m.advantage.value <= m.advantage.ci.hi
        assert m.advantage.ci.hi > m.advantage.ci.lo


def test_the_gap_is_taken_on_the_same_items(target, result):
    clean = target.accuracy()
    for m in result.measurements:
        if m.name == "accuracy":
            assert m.control.value == pytest.approx(clean)
            assert m.advantage.value == pytest.approx(clean - m.value)


def test_gated_is_the_mildest_severity_and_not_noise_on_binary_features(result):
    gated = {m.subset for m in result.measurements if m.name == "accuracy" and m.primary}
    assert gated == {"edge-drop=0.1", "edge-add=0.1", "feature-mask=0.1", "node-drop=0.1"}
    for m in result.measurements:
        if m.name == "accuracy":
            assert (m.limit is not None) == (m.p_adjusted is not None) == m.primary
    assert row(result, "accuracy", "feature-noise=0.1").notes["leaves_domain"]


def test_noise_can_be_gated_by_request(target):
    result = evaluate(
        make_cell(target, "corruption", Corruption(kinds=("feature-noise",)), params={"gate_noise": "true"})
    )
    assert row(result, "accuracy", "feature-noise=0.1").primary


def test_a_model_without_edges_has_no_gap_under_edge_corruption():
    """The null: what the model does not read cannot hurt it."""
    mlp = toy_target("mlp", graph=sbm_graph(400))
    result = evaluate(make_cell(mlp, "corruption", Corruption(kinds=("edge-drop", "edge-add")), profile="standard"))
    for m in result.measurements:
        if m.name == "accuracy":
            assert m.advantage.value == 0.0
            assert m.advantage.ci.lo < 0 < m.advantage.ci.hi
            assert m.primary is (m.subset in ("edge-drop=0.1", "edge-add=0.1"))
            assert m.p_adjusted == (1.0 if m.primary else None)
        if m.name == "msp_auroc":
            assert m.value == 0.5
            assert not m.primary


def test_a_planted_gap_is_found_and_passes_holm(graphs):
    """Constant features zeroed: the toy GIN counts nodes by them."""
    found = row(
        evaluate(make_cell(graphs, "corruption", Corruption(kinds=("edge-drop",), severities=("0.5",)))),
        "accuracy",
        "edge-drop=0.5",
    )
    assert found.advantage.ci.lo > 0.2
    assert not found.primary  # 0.5 is not the mildest severity


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
    assert gap.value == 0.0
    assert gap.advantage.ci.lo > 0.9
    assert gap.p_adjusted <= 0.025
    msp = row(result, "msp_auroc", "edge-drop=0.1")
    assert msp.primary
    assert msp.notes["silent"]
    assert msp.text.startswith("falls silently: accuracy 0.0 %")
    inverted = row(result, "msp_inversion", "edge-drop=0.1")
    assert inverted.finding == "shift-inverted-confidence"
    assert inverted.value == 0.0
    assert inverted.ci.hi < 0.1
    assert status(result, "shift-severity-zero") == "pass"


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
    assert not any(m.primary for m in result.measurements)
    assert "doubtful" in row(result, "accuracy", "crop=0.75").text


def test_confidence_that_notices_has_an_auroc_above_half(graphs):
    pooled = with_model(graphs, Pooled(graphs.graph.y))
    result = evaluate(make_cell(pooled, "corruption", Corruption(kinds=("node-drop",)), profile="standard"))
    assert row(result, "msp_auroc", "node-drop=0.3").value > 0.7


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
    result = evaluate(make_cell(broken, "corruption", Corruption(kinds=("edge-drop",), severities=("0.5",))))
    found = row(result, "non_finite_rate", "edge-drop=0.5")
    assert found.finding == "shift-non-finite"
    assert found.primary
    assert 0 < found.value < 0.5
    assert found.advantage.ci.lo <= found.advantage.value
    accuracy = row(result, "accuracy", "edge-drop=0.5")
    assert accuracy.value <= 1 - found.value


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
    assert not [m for m in result.measurements if m.subset.startswith("node-drop")]


def test_the_declared_transform_is_applied_again_to_masked_rows(target):
    x = target.graph.x
    scaled = replace(target.graph, x=x / x.sum(1, keepdim=True).clamp_min(1))
    normal = replace(target, graph=scaled, transform="row-normalize", _clean={})
    attack = Corruption(kinds=("feature-mask", "feature-noise"))
    again, bare = (
        evaluate(make_cell(normal, "corruption", attack, params={"renormalise": word})) for word in ("true", "false")
    )
    assert row(again, "accuracy", "feature-mask=0.1").notes["transform"] == "row-normalize re-applied"
    assert "negative" in row(again, "accuracy", "feature-noise=0.1").notes["transform"]
    assert "transform" not in row(bare, "accuracy", "feature-mask=0.1").notes
    assert row(again, "msp_auroc", "feature-mask=0.1").value != row(bare, "msp_auroc", "feature-mask=0.1").value
    assert status(again, "shift-severity-zero") == "pass"


def test_a_model_of_classes_only_has_no_auroc(target):
    blind = replace(target, capabilities=frozenset({Capability.LABELS}))
    result = evaluate(make_cell(blind, "corruption", Corruption(kinds=("edge-drop",))))
    assert {m.name for m in result.measurements} == {"accuracy"}


def test_same_seed_same_bytes_another_seed_other_draws(target):
    attack = Corruption(kinds=("edge-drop", "feature-noise"))
    first, second, other = (evaluate(make_cell(target, "corruption", attack, seed=s)) for s in (0, 0, 1))
    dumps = [
        json.dumps([m.model_dump(mode="json") for m in r.measurements], sort_keys=True) for r in (first, second, other)
    ]
    assert dumps[0] == dumps[1] != dumps[2]


def test_a_wrong_parameter_offers_the_nearest_name(target):
    with pytest.raises(ConfigError, match="renormalise"):
        evaluate(make_cell(target, "corruption", params={"renormalize": "true"}))


def tampering(change):
    class Tampered(Corruption):
        def run(self, view, task):
            outcome = super().run(view, task)
            return ShiftOutcome(sets=[change(s) for s in outcome.sets], notes=outcome.notes)

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


@pytest.mark.parametrize("change", [touch_x, drop_one_more, one_way, other_items, doubled])
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
    from auditor.evaluate.shift.detection import _never_flat
    from auditor.statistics.clustered import Resamples, percentile
    from auditor.statistics.detection import auroc, auroc_replicates

    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        scores = rng.normal(size=200)
        a, b = scores[:100], scores[100:]
        weights = [Resamples.draw(np.arange(100), rng=rng, replicates=300).item_weights() for _ in range(2)]
        lo, hi = _never_flat(percentile(auroc_replicates(a, b, *weights)), auroc(a, b), 100)
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
        assert row(result, "accuracy", subset).value == pytest.approx(accuracy, abs=0.03)
    assert row(result, "accuracy", "feature-noise=1").value == pytest.approx(0.483, abs=0.06)
    assert row(result, "msp_auroc", "feature-noise=1").text.startswith("falls silently")
    assert row(result, "accuracy", "feature-noise=1").notes["norm_ratio"] == pytest.approx(0.26 / 2.08, rel=0.1)
    assert 1.0 <= row(result, "accuracy", "edge-drop=0.5").notes["design_effect_of_gap"] < 3.0
    assert 3.0 < result.params["id"]["design_effect"] < 5.0
