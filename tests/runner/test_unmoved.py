"""A run on a model that no edge can move, and on one that hides a graph of its own: verdict and exit code."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from auditor.document import NONE, Audit
from auditor.document.codes import ResultUntrusted, Untrusted
from auditor.policy import Policy
from auditor.runner.assemble import RunSettings
from auditor.runner.plan import choose_probes, plan
from auditor.targets.target import Capability, Target
from auditor.view import SideKnowledge
from tests.runner.running import audited
from tests.toys import MLP, toy_target


def audit_of(target: Target, only: str = "structure-evasion", policy: str = "standard") -> Audit:
    settings = RunSettings((0,), "quick", Policy.named(policy))
    cells = plan(target, choose_probes(only=only), seeds=(0,), profile="quick", side=SideKnowledge())
    return audited(target, cells, settings)


def unmoved() -> Target:
    target = toy_target("mlp")
    return dataclasses.replace(target, capabilities=frozenset(Capability) - {Capability.GRAD_EDGE})


@pytest.mark.parametrize("policy", ["standard", "strict"])
def test_no_edge_can_change_an_answer_passes_and_the_run_is_complete(policy) -> None:
    target = dataclasses.replace(unmoved(), verified=True)
    audit = audit_of(target, policy=policy)
    (judged,) = [result for result in audit.results if result.judged]
    assert (judged.finding, judged.arm) == ("robustness-structure", NONE)
    assert judged.judgement is not None
    assert (judged.judgement.status, judged.judgement.severity_upper) == ("pass", "none")
    assert (audit.coverage.planned, audit.coverage.ok, audit.coverage.skipped) == (1, 1, 0)
    assert (audit.verdict.status, audit.verdict.exit_code) == ("PASSED", 0)
    assert {row.id: row.status for row in audit.validity}["edge-dependence"] == "pass"


class Hidden(MLP):
    def __init__(self, own: torch.Tensor) -> None:
        super().__init__(24, 16, 3)
        self.own = own

    def forward(self, x, edge_index):
        return self.layers(x.index_add(0, self.own[1], x[self.own[0]]))


def test_a_model_with_a_graph_of_its_own_passes_nothing() -> None:
    target = unmoved()
    audit = audit_of(dataclasses.replace(target, model=Hidden(target.graph.edge_index)))
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 3)
    assert any(isinstance(code, ResultUntrusted) for code in audit.verdict.codes)
    main = next(result for result in audit.results if result.judged and result.question == "robustness")
    assert main.judgement is not None
    assert main.judgement.untrusted
    (code,) = [code for code in main.judgement.codes if isinstance(code, Untrusted)]
    assert "edge-dependence" in code.checks
