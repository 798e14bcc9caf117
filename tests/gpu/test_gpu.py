"""On a real GPU: the numbers of the CPU within what rounding does to each harness, and the same numbers twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import auditor
from auditor import registry
from tests.on_device import CASES, measured, pairs
from tests.runner.hostile import hostile

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine"),
    pytest.mark.slow,
]
GPU = "cuda:0"
TOLERANCES = {"privacy": 0.03, "robustness": 0.04, "shift": 0.002}
"""Logits differ in the sixth digit. That moves an item across a class boundary hardly ever (shift); a search that takes
the best of many near-equal flips may take another one, worth an item of thirty (robustness); and a descent of a hundred
steps may rank two of a few dozen edges the other way round (privacy)."""


def tolerance(case: str) -> float:
    return TOLERANCES[registry.probes()[case.partition(" of ")[0].partition(":")[0]].family]


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_those_of_the_cpu(case: str) -> None:
    for name, value, expected in pairs(measured(case, GPU), measured(case, "cpu")):
        assert value == pytest.approx(expected, rel=0, abs=tolerance(case)), name


@pytest.mark.parametrize("case", ["graphmi", "structure-evasion", "corruption of graphs"])
def test_numbers_are_the_same_twice(case: str) -> None:
    assert measured(case, GPU) == measured(case, GPU)


@pytest.mark.workers
def test_a_run_says_which_gpu_made_its_numbers(tmp_path: Path) -> None:
    report = auditor.audit(hostile(tmp_path / "t"), only="strata", profile="quick", device="cuda")
    assert report.document.environment["device"] == f"cuda ({torch.cuda.get_device_name(0)})"
    assert next(row for row in report.document.validity if row.id == "device").status == "pass"
