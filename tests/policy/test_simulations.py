"""False alarms and misses of the whole judgement over many simulated audits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.policy import Policy, coverage_of, verdict_of
from auditor.runner.finished import Finished
from auditor.statistics.intervals import Z95
from tests.policy.samples import cell, judged_by, measurement, row, rows_of

pytestmark = pytest.mark.slow

STRICT = Policy.named("strict")
SE = 0.02


def simulated(rng: np.random.Generator, k: int, seed_sd: float, planted: float = 0.0) -> list[Finished]:
    """One audit of 40 judged numbers over k seeds that share their items; the first has the planted effect."""
    truth = np.zeros(40)
    truth[0] = planted
    shared = truth + rng.normal(0, SE, 40)
    cells = []
    for seed in range(k):
        values = shared + rng.normal(0, seed_sd, 40)
        rows = [
            measurement(float(v), float(v - Z95 * SE), float(v + Z95 * SE), subset=str(i)) for i, v in enumerate(values)
        ]
        cells.append(cell(*rows, seed=seed))
    return cells


def exit_code(cells: list[Finished], policy: Policy) -> int:
    results, rows = judged_by(cells, policy), rows_of(cells)
    return verdict_of(results, rows, coverage_of(rows, len(rows)), policy).exit_code


@pytest.mark.parametrize(("k", "seed_sd"), [(1, 0.0), (3, 0.005), (3, 0.2)])
def test_null_audit_fails_in_at_most_5_percent(k: int, seed_sd: float) -> None:
    rng = np.random.default_rng(11)
    failed = sum(exit_code(simulated(rng, k, seed_sd), STRICT) == 1 for _ in range(400))
    assert failed <= 20


def test_without_widening_the_null_audit_would_fail_more_often_than_not() -> None:
    """The trap the widening avoids; 1 − .975^40 = .64."""
    rng = np.random.default_rng(11)
    failed = sum(bool((rng.normal(0, SE, 40) > Z95 * SE).any()) for _ in range(400))
    assert failed / 400 == pytest.approx(1 - math.pow(0.975, 40), abs=0.08)


@pytest.mark.parametrize("policy", [STRICT, Policy(), Policy.named("lenient")])
def test_planted_effect_always_fails(policy: Policy) -> None:
    rng = np.random.default_rng(12)
    assert all(exit_code(simulated(rng, 3, 0.005, planted=0.6), policy) == 1 for _ in range(50))


@pytest.mark.parametrize("kind", ["strength", "integrity"])
@pytest.mark.parametrize("policy", [STRICT, Policy(), Policy.named("lenient")])
def test_broken_attacks_with_harmless_values_never_turn_green(policy: Policy, kind: str) -> None:
    cells = [cell(*(measurement(-0.2, -0.25, -0.15, subset=str(i)) for i in range(40)))]
    assert exit_code(cells, policy) == 0  # the same values from sound attacks pass
    results, rows = judged_by(cells, policy, [row("fail", kind, "gradient")]), rows_of(cells)
    for hushed in (False, True):
        verdict = verdict_of(results, rows, coverage_of(rows, 1), policy, exit_zero=hushed)
        assert (verdict.exit_code, verdict.status) == (3, "INCOMPLETE")
