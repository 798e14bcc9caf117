"""Forty test graphs tell little: what they cannot tell is open, for want of graphs and not for a fault of the audit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch_geometric.nn import global_mean_pool

from auditor.data.graph import Split
from auditor.document import CellRow
from auditor.document import codes as why
from auditor.evaluate.shift.harness import evaluate
from auditor.policy import coverage_of, verdict_of
from auditor.policy.rules import Policy
from auditor.runner.describe import check_validity
from auditor.runner.finished import Finished
from reports.sentences.compose import said
from tests.evaluate.shift.cells import make_cell, with_model
from tests.policy.samples import judged_by, rows_of
from tests.toys import small_graphs, toy_target

RIGHT = 26


class Reader(nn.Module):
    """Says what stands in the first feature of a graph's nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        told = self.scale * global_mean_pool(x[:, :1], batch)
        return torch.cat([-told, told], dim=1)


@pytest.fixture(scope="module")
def audited():
    """Results, cell rows and rows of the target of a model that is right on 26 of 40 test graphs and 66 % sure."""
    base = toy_target("graph-gin", graph=small_graphs(80))
    test = torch.arange(80) >= 40
    split = Split(torch.arange(80) < 30, (torch.arange(80) >= 30) & ~test, test)
    wrong = torch.zeros(80, dtype=torch.bool)
    wrong[40 : 40 + 40 - RIGHT] = True
    told = torch.where(wrong, 1 - base.graph.y, base.graph.y)
    x = base.graph.x.clone()
    x[:, 0] = (0.33 * (2.0 * told - 1))[base.graph.batch]
    target = with_model(replace(base, graph=replace(base.graph, x=x), split=split), Reader())
    rows = check_validity(target, ["strata"])
    found = evaluate(make_cell(target, "strata"))
    row = CellRow(key="k", probe="strata", family="shift", seed=0, status="ok", validity=found.validity)
    cells = [Finished(row, found.access, found.measured)]
    return judged_by(cells, validity=rows), rows_of(cells), rows


def test_no_row_calls_it_a_failure(audited):
    _, cells, rows = audited
    touching = [*cells[0].validity, *(row for row in rows if row.touches is None or "strata" in row.touches)]
    assert {"shift-id-accuracy", "beats-constant"} < {row.id for row in touching}
    assert [row.id for row in touching if row.status == "fail"] == []
    assert next(row for row in rows if row.id == "beats-constant").status == "warn"


def test_calibration_ends_open_and_asks_for_more_test_graphs(audited):
    results, cells, _ = audited
    over = next(result for result in results if result.question == "over-confidence")
    assert over.judgement.status == "inconclusive"
    assert not over.judgement.untrusted
    (settle,) = (code for code in over.judgement.codes if isinstance(code, why.Settle))
    assert settle.there == 40
    assert settle.items > 0
    text = said(over, "graph")
    assert f"this data cannot settle it: about {settle.items} more test graphs would" in text
    verdict = verdict_of(results, cells, coverage_of(cells, 1), Policy())
    assert verdict.exit_code == 0  # open, and nothing that anybody must mend
    assert not any(isinstance(code, why.ResultUntrusted) for code in verdict.codes)
