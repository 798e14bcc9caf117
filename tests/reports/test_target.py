"""What verbs say of a target before any audit: trained, defended, checked, planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from auditor.document import ValidityRow, check
from auditor.guarantee import Guarantee
from reports.sentences import target
from tests.reports import samples


@dataclass
class Cell:
    """One test of a plan."""

    spec: str
    seed: int = 0
    estimate_s: float = 150.0
    skip: str = ""


@dataclass
class Fit:
    """A fit with notes."""

    spec: str = "l2r"
    version: str = "1"
    seed: int = 0
    guarantee: Guarantee | None = None
    validity: tuple[ValidityRow, ...] = (check("ess-floor", "strength", True, "ESS is 0.58 N"),)
    notes: dict[str, Any] = field(default_factory=dict)


def test_a_plan_counts_what_would_run() -> None:
    one, none = Cell("strata"), Cell("graphmi", skip="needs PARAMS")
    assert target.plan([one]) == "1 of 1 test would run, about 2 min of CPU time on a graph of 3,000 nodes."
    assert target.plan([one, one], jobs=2, groups=1).endswith("3,000 nodes, shared by 2 processes, in 1 group.")
    assert target.plan([one, none]).startswith("1 of 2 tests would run")
    assert target.plan_cells(none) == ("graphmi", "0", "–", "needs PARAMS")


def test_what_never_reaches_the_model_is_told() -> None:
    row = samples.target(provenance={"call": {"not_used": ["pos", "kind"]}})
    assert "in the data but not used by forward: pos, kind" in target.facts(row)
    assert target.unused(samples.target(provenance={"call": {"not_used": []}})) == ""


def test_checks_are_counted_by_how_they_ended() -> None:
    rows = [check("a", "integrity", True, ""), check("b", "warning", False, ""), check("c", "strength", False, "")]
    assert target.passed(rows[:1]) == "1 of 1 check passed"
    assert target.passed(rows) == "1 of 3 checks passed, 1 warns, 1 failed"
    assert target.passed([rows[1]] * 2) == "0 of 2 checks passed, 2 warn"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.3101206829996954, "0.310"), (0.58407, "0.584"), (1703, "1,703"), (0.0, "0"), (0.00002, "0.00002"),
        (False, "no"), ("train", "train"), ([], "none"), ([1, 2], "1 and 2"), ([{"node": 1}], "1 entry"),
        (list(range(11)), "11 entries"), ({"value": 0.5, "n": 3}, "value 0.5, n 3"), (None, "–"),
    ],
)  # fmt: skip
def test_what_a_fit_recorded_is_written_as_every_number_is(value: object, text: str) -> None:
    row = samples.realistic().target
    assert target.fitted(row, row, Fit(notes={"some_note": value}))[-1] == f"some note: {text}"


def test_a_defended_target_stands_beside_the_one_it_was_made_from() -> None:
    row = samples.realistic().target
    lines = target.fitted(row, row.model_copy(update={"defense": "l2r"}), Fit())
    assert lines[0].startswith(f"{row.name} is made: 1 of 1 check passed. Test accuracy 8")
    assert lines[1].startswith(f"before {row.name}: test accuracy")
    assert lines[2].startswith(f"after {row.name}: test accuracy")
    assert lines[3:] == [
        "split public (seed 0): 140 training, 500 validation and 1,000 test",
        "defended by l2r: no formal guarantee",
        "version 1, seed 0",
        "passed ess floor: ESS is 0.58 N",
    ]
