"""Golden audits: the demo and claims of differential privacy; and what the scenarios cover."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from auditor import registry
from tests.golden import stored
from tests.golden.scenarios import COMPARISONS, JUDGED, RUNS, SCENARIOS

RUN = (pytest.param("demo", marks=pytest.mark.slow), *RUNS[1:])
"""The demo takes as long as every other scenario together."""


@pytest.mark.parametrize("name", RUN)
def test_numbers_and_decisions_are_those_stored(name: str, agrees: Callable[[str], None]) -> None:
    agrees(name)


def test_every_scenario_is_stored_and_compared() -> None:
    assert {*RUNS, *JUDGED, *COMPARISONS} == set(SCENARIOS)
    assert {path.stem for path in stored.DATA.glob("*.json")} == set(SCENARIOS)


def test_every_probe_gives_numbers_somewhere() -> None:
    keys = [key.split(" | ") for name in SCENARIOS for key in stored.read(name)[1]]
    measured = {key[3].partition(":")[0] for key in keys if key[1:2] == ["number"]}
    assert set(registry.probes()) <= measured
