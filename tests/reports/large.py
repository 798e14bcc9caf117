"""A document of any size: as many judged numbers as asked for, of several probes, arms, statuses and seeds."""

from __future__ import annotations

from auditor.document import Audit, Control, Estimate, Measured, measured
from auditor.runner.joining import Finished
from tests.policy.samples import AUC, audit_of, cell

NUMBERS_A_CELL = 50
ENDS = ((0.30, 0.26, 0.34), (0.01, -0.02, 0.03), (0.10, -0.05, 0.30), (-0.10, -0.12, -0.08))
"""Excesses that fail, pass, stay open and clear."""


def large(results: int) -> Audit:
    """So many judged results, judged by `standard`, in cells of fifty numbers each."""
    cells = [_cell(k) for k in range(-(-results // NUMBERS_A_CELL))]
    return audit_of(cells)


def _cell(index: int) -> Finished:
    probes = (("posterior-similarity", "privacy"), ("structure-evasion", "robustness"), ("strata", "shift"))
    probe, family = probes[index % len(probes)]
    numbers = [_number(index, k) for k in range(NUMBERS_A_CELL)]
    return cell(*numbers, probe=f"{probe}:part={index}", family=family)


def _number(index: int, k: int) -> Measured:
    value, lo, hi = ENDS[(index + k) % len(ENDS)]
    excess = Estimate(value=value, lo=lo, hi=hi, n=1000)
    controls = (Control(name="features+labels", estimate=Estimate(value=0.5), contrast=excess),)
    number = Estimate(value=0.5 + value, lo=0.49 + lo, hi=0.51 + hi, n=1000)
    return measured(AUC, number, finding="privacy-link-stealing", subset=f"group={k}", controls=controls, judged=True)
