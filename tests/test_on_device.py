"""Every probe gives on another device what it gives on the CPU, and mixes nothing of the two."""

from __future__ import annotations

import pytest

from tests.on_device import CASES, measured, pairs
from tests.shadow import install, own_process

pytestmark = own_process

QUICK = ("strata", "strata of gap", "corruption of graphs")
ORDER_OF_SUMS = {"graphmi": 0.02, "ensemble-white-box": 0.02, "ensemble-all": 0.02}
"""Most are equal to the last bit. GraphMI's candidates add neighbours up in another order on a device: an AUC of a few
dozen edges may then move by a pair or two."""


@pytest.mark.parametrize("case", [c if c in QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_numbers_are_those_of_the_cpu(case: str) -> None:
    away = measured(case, install())
    for name, value, expected in pairs(away, measured(case, "cpu")):
        assert value == pytest.approx(expected, rel=0, abs=ORDER_OF_SUMS.get(case, 0.0)), name


def test_every_probe_is_among_them() -> None:
    from auditor import registry

    assert {case.partition(" of ")[0].partition(":")[0] for case in CASES} == set(registry.probes())
