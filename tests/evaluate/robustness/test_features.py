"""Edited features end to end: what features are, what is verified, what is found and what is not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from auditor.data.feature_space import FeatureSpace
from auditor.errors import ConfigError, SkippedError
from auditor.outcomes import FeatureEdit, FeatureOutcome
from auditor.targets.target import Capability, Target
from tests.evaluate.robustness.probing import claims, evaluated, number, rows, shipped
from tests.toys import ALL, random_split, sbm_graph, toy_target

PROBE = "feature-evasion"
NONE = torch.empty(0, dtype=torch.int64)


def noisy(arch: str = "gcn") -> Target:
    """A target whose features are values, one of them the same for all nodes."""
    graph = sbm_graph()
    noise = 0.1 * torch.randn(graph.x.shape, generator=torch.Generator().manual_seed(0))
    x = graph.x + noise
    x[:, 0] = 2.0
    return toy_target(arch, graph=dataclasses.replace(graph, x=x))


def normalised(power: float) -> Target:
    """A target whose bits were divided by the sum of their row (1) or its length (1/2)."""
    graph = sbm_graph()
    x = graph.x / graph.x.sum(dim=1, keepdim=True).clamp_min(1) ** power
    return toy_target("gcn", graph=dataclasses.replace(graph, x=x))


@pytest.fixture(scope="module")
def gcn():
    return toy_target("gcn")


@pytest.mark.parametrize(("power", "norm"), [(0.0, "none"), (1.0, "sum"), (0.5, "length")])
def test_divided_bits_are_recognised_edited_as_bits_and_divided_anew(power, norm):
    target = normalised(power)
    space = FeatureSpace.of(target.graph.x)
    assert (space.kind, space.norm) == ("bits", norm)
    torch.testing.assert_close(space.read(space.raw), target.graph.x)
    edited = space.read(space.toggled(torch.tensor([0, 5, 24])))
    again = FeatureSpace.of(torch.where(edited > 0, edited, torch.zeros_like(edited)))
    assert again.norm == norm
    assert torch.equal(edited[2:], target.graph.x[2:])


def test_gradient_through_the_division_agrees_with_finite_differences():
    space = FeatureSpace.of(normalised(1.0).graph.x)
    raw = space.raw[:3].double().requires_grad_(True)
    mix = torch.randn(raw.shape, generator=torch.Generator().manual_seed(0)).double()
    (gradient,) = torch.autograd.grad((space.read(raw) * mix).sum(), raw)
    step = 1e-6
    for place in [(0, 0), (1, 3), (2, 7)]:
        up, down = raw.detach().clone(), raw.detach().clone()
        up[place] += step
        down[place] -= step
        slope = ((space.read(up) - space.read(down)) * mix).sum() / (2 * step)
        assert float(gradient[place]) == pytest.approx(float(slope), abs=1e-6)


@pytest.mark.parametrize("target", [toy_target("gcn"), normalised(1.0), noisy(), noisy("gat")], ids=lambda t: t.name)
def test_edits_on_purpose_do_more_than_random_ones_and_every_check_passes(target):
    result = evaluated(PROBE, target, profile="standard", eps="0.05/0.2", radius="0.25/1.5")
    (judged,) = [m for m in result.measured if m.judged]
    assert judged.subset in ("ones=0.05", "radius=0.25")
    assert judged.control.name == "feature-random"
    largest = result.measured[-1]
    assert largest.excess.lo > 0
    assert largest.estimate.value <= judged.estimate.value <= target.accuracy()
    assert {row.id: row.evidence for row in result.validity if row.status == "fail"} == {}
    assert rows(result)["claim"].status == "pass"


def test_reported_accuracy_is_that_of_the_edited_features_by_an_independent_forward():
    target, kept = normalised(1.0), {}
    search = shipped(PROBE)[0]

    def remember(view, attempt):
        outcome = search.run(view, attempt)
        kept.update({p.budget: p.bits for p in outcome.points})
        return outcome

    result = evaluated(PROBE, target, attacks=(claims(remember), shipped(PROBE)[1]), eps="0.2")
    ((_, bits),) = kept.items()
    raw = (target.graph.x > 0).float()
    for key in bits.tolist():
        i, j = divmod(key, raw.shape[1])
        raw[i, j] = 1 - raw[i, j]
    x = raw / raw.sum(dim=1, keepdim=True).clamp_min(1)
    right = target.model(x, target.graph.edge_index).argmax(dim=1) == target.graph.y
    expected = float(right[target.split.test].double().mean())
    facts = result.measured[0].facts
    assert facts.attempts["claims (prob)"] == pytest.approx(expected)
    assert facts.edits <= facts.budget == bits.numel()


def test_a_planted_bit_breaks_a_node_each():
    class First(nn.Module):
        """Class 1 where the first bit is set."""

        def forward(self, x, edge_index):
            return torch.cat([torch.full_like(x[:, :1], 0.5), x[:, :1]], dim=1)

    graph = dataclasses.replace(sbm_graph(), y=torch.zeros(120, dtype=torch.int64))
    x = graph.x.clone()
    x[:, 0] = 0
    graph = dataclasses.replace(graph, x=x)
    target = Target("first", graph, random_split(120), 2, ALL, "factory", "first", {}, First())
    result = evaluated(PROBE, target, eps="0.02")
    broken = target.split.sizes[2] * (1 - result.measured[0].estimate.value)
    assert broken == pytest.approx(result.params["budgets"]["ones=0.02"])


@pytest.mark.parametrize("within", ["linf", "l2"])
def test_values_stay_within_radius_and_range(within):
    target = noisy()
    result = evaluated(PROBE, target, radius="0.5", within=within)
    assert rows(result)["budget"].status == "pass"
    assert result.params["still"] == 1


def changed(make):
    """A claim of a change of the values."""

    def attack(view, attempt):
        change = torch.zeros_like(view.x)
        make(change)
        return FeatureOutcome((FeatureEdit(attempt.radii[0], NONE, change),), ("planted",))

    return claims(attack)


def toggled(bits, **more):
    def attack(view, attempt):
        edit = FeatureEdit(attempt.budgets[0], torch.as_tensor(bits), **more)
        return FeatureOutcome((edit,), ("planted",))

    return claims(attack)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (changed(lambda c: c[3, 5:6].fill_(9.0)), "standard deviations, radius"),
        (changed(lambda c: c[3, 0:1].fill_(0.01)), "standard deviations, radius"),  # it never varies
        (changed(lambda c: c[3, 5:6].fill_(float("nan"))), "no finite number"),
    ],
)
def test_changes_that_break_a_rule_are_dropped_and_said(attack, message):
    row = rows(evaluated(PROBE, noisy(), attacks=(attack, shipped(PROBE)[1])))["budget"]
    assert row.status == "fail"
    assert message in row.evidence


@pytest.mark.parametrize(
    ("bits", "message"),
    [([1, 1], "listed twice"), (range(50), "budget"), ([10**9], "expected"), ([-1], "expected"), ([0.5], "expected")],
)
def test_bits_that_break_a_rule_are_dropped_and_said(gcn, bits, message):
    row = rows(evaluated(PROBE, gcn, attacks=(toggled(list(bits)), shipped(PROBE)[1])))["budget"]
    assert row.status == "fail"
    assert message in row.evidence


def test_a_value_outside_the_range_of_the_data_is_dropped():
    target = noisy()
    top = int(target.graph.x[:, 5].argmax())

    def above(view, attempt):
        change = torch.zeros_like(view.x)
        change[top, 5] = 0.05
        return FeatureOutcome((FeatureEdit(attempt.radii[0], NONE, change),), ("planted",))

    row = rows(evaluated(PROBE, target, attacks=(claims(above), shipped(PROBE)[1]), radius="1"))["budget"]
    assert "leaves the range" in row.evidence


def test_bits_per_node_are_bounded(gcn):
    result = evaluated(PROBE, gcn, eps="0.3", bits_per_node="1")
    assert rows(result)["budget"].status == "pass"
    assert result.measured[0].facts.edits <= gcn.graph.num_nodes
    row = rows(evaluated(PROBE, gcn, attacks=(toggled([0, 1]), shipped(PROBE)[1]), bits_per_node="1"))["budget"]
    assert "bits of one node" in row.evidence


def test_equal_cells_give_equal_results(gcn):
    first, second = (evaluated(PROBE, gcn) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("x", "message"), [(torch.eye(120), "identities"), (torch.ones(120, 3), "no feature varies")], ids=["eye", "ones"]
)
def test_features_that_cannot_be_edited_are_skipped_with_a_reason(x, message):
    target = toy_target("gcn", graph=dataclasses.replace(sbm_graph(), x=x), epochs=2)
    with pytest.raises(SkippedError, match=message):
        evaluated(PROBE, target)


def test_without_a_feature_gradient_it_is_skipped(gcn):
    without = dataclasses.replace(gcn, capabilities=gcn.capabilities - {Capability.GRAD_X})
    with pytest.raises(SkippedError, match="GRAD_X"):
        evaluated(PROBE, without)


def test_random_edits_in_place_of_the_search_are_no_gain(gcn):
    control = shipped(PROBE)[1]
    result = evaluated(PROBE, gcn, attacks=(claims(lambda v, a: control.run(v, a)), control), eps="0.05")
    excess = number(result, "robust_accuracy").excess
    assert excess.lo <= 0.05


@pytest.mark.parametrize(
    "params",
    [
        {"eps": "2"},
        {"eps": "0"},
        {"eps": "0.1/0.10"},
        {"radius": "0"},
        {"radius": "0.1/0.1"},
        {"within": "l1"},
        {"rounds": "0"},
    ],
)
def test_bad_parameters_are_refused(gcn, params):
    with pytest.raises(ConfigError):
        evaluated(PROBE, gcn, **params)
