"""Models that misbehave once something is edited: every probe of single nodes, features and added nodes says so."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from auditor.errors import EvaluationError
from auditor.outcomes import CopyOutcome
from tests.evaluate.robustness.probing import claims, evaluated, number, rows, shipped
from tests.toys import toy_target

PROBES = {"local-evasion": "one_flip_rate", "feature-evasion": "robust_accuracy", "injection": "robust_accuracy"}


class Edited(nn.Module):
    """Answers as another model does on one graph, and something else on every other."""

    def __init__(self, inner: nn.Module, graph, wrong: float) -> None:
        super().__init__()
        self.inner, self.wrong = inner, wrong
        self.edges, self.total = graph.num_edges, float(graph.x.sum())

    def forward(self, x, edge_index):
        z = self.inner(x, edge_index)
        same = edge_index.shape[1] == self.edges and abs(float(x.detach().sum()) - self.total) < 1e-3
        return z if same else z * self.wrong


def by_control(probe):
    """A search that claims what the control does, and the control."""
    control = shipped(probe)[1]
    return claims(lambda view, attempt: control.run(view, attempt)), control


@pytest.mark.parametrize("probe", PROBES)
def test_answers_that_are_no_numbers_count_as_wrong_and_spoil_the_verdict(probe):
    gcn = toy_target("gcn")
    target = dataclasses.replace(gcn, model=Edited(gcn.model, gcn.graph, float("nan")))
    result = evaluated(probe, target, attacks=by_control(probe))
    row = rows(result)["finite-under-attack"]
    assert (row.kind, row.status) == ("integrity", "fail")
    assert number(result, PROBES[probe]).estimate.value == (1.0 if probe == "local-evasion" else 0.0)


@pytest.mark.parametrize("probe", PROBES)
def test_an_outcome_of_another_kind_is_refused(probe):
    def other(view, attempt):
        return CopyOutcome(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))

    with pytest.raises(EvaluationError, match="this harness takes a"):
        evaluated(probe, toy_target("gcn"), attacks=(claims(other),))


@pytest.mark.parametrize("probe", PROBES)
def test_a_model_that_keeps_state_and_mode_is_left_as_it_was(probe):
    target = toy_target("gcn")
    before = (target.graph.digest(), {k: v.clone() for k, v in target.model.state_dict().items()})
    drawn = torch.get_rng_state()
    evaluated(probe, target)
    assert target.graph.digest() == before[0]
    assert all(torch.equal(v, before[1][k]) for k, v in target.model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not target.model.training


@pytest.mark.parametrize("probe", ["feature-evasion", "injection"])
def test_saturated_answers_are_scaled_before_they_are_attacked(probe):
    gcn = toy_target("gcn")

    class Loud(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = gcn.model

        def forward(self, x, edge_index):
            return 1000 * self.inner(x, edge_index)

    result = evaluated(probe, dataclasses.replace(gcn, model=Loud()), eps="0.2")
    assert result.params["notes"][probe]["output_scale"] > 100
    assert result.measured[-1].excess.value > 0
