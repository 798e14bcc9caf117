"""Rows of the document: the one constructor of validity rows, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from auditor.document import CellRow, ValidityRow, check
from auditor.document.audit import Arm, Decision, Difference
from auditor.statistics.estimate import Estimate
from tests.policy.samples import audit_of, cell, measurement


@pytest.mark.parametrize(
    ("kind", "holds", "status"),
    [
        ("integrity", True, "pass"),
        ("integrity", False, "fail"),
        ("strength", False, "fail"),
        ("warning", True, "pass"),
        ("warning", False, "warn"),
        ("integrity", None, "not_checked"),
        ("warning", None, "not_checked"),
        ("integrity", "warn", "warn"),
        ("warning", "fail", "fail"),
        ("strength", "pass", "pass"),
    ],
)
def test_a_check_says_how_it_ended(kind: str, holds: bool | str | None, status: str) -> None:
    row = check("gradient", kind, holds, "seen")  # type: ignore[arg-type]
    assert row == ValidityRow(id="gradient", kind=kind, status=status, evidence="seen")  # type: ignore[arg-type]
    assert row.touches is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: check("x", "certainty", True, "seen"),  # type: ignore[arg-type]
        lambda: check("x", "warning", "maybe", "seen"),  # type: ignore[arg-type]
        lambda: CellRow(key="k", probe="p", family="f", seed=0, status="lost"),  # type: ignore[arg-type]
        lambda: CellRow(key="k", probe="p", family="f", seed=0, status="ok", access=("graph",)),  # type: ignore[call-arg]
        lambda: Difference(to="none", estimate=Estimate(value=0.1), mark="good"),  # type: ignore[arg-type]
        lambda: Decision(about="accuracy", status="perhaps"),  # type: ignore[arg-type]
        lambda: Arm(arm="l2r", words=("gain",)),  # type: ignore[call-arg]
    ],
)
def test_words_and_fields_that_nobody_knows_are_refused(make) -> None:
    with pytest.raises(ValidationError):
        make()


def test_judged_results_are_those_with_a_judgement() -> None:
    audit = audit_of([cell(measurement(), measurement(judged=False, subset="shown"))])
    assert [result.subset for result in audit.judged] == [""]
    assert [result.subset for result in audit.results if result.judgement is not None] == [""]
