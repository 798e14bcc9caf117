"""The audit of a claim on the terminal: what is claimed, the bounds, the word of the verdict."""

from __future__ import annotations

import re

from reports.terminal.report import TerminalReport
from tests.reports import sample_claims

REPORT = TerminalReport()


def test_a_claim_shows_what_is_claimed_the_bounds_and_the_verdict_word() -> None:
    text = REPORT.render(sample_claims.claimed(), verbose=True)
    flat = " ".join(text.split())
    assert "epsilon 4, delta 0.00001, per edge (flip one pair), for whoever sees the noisy sums" in flat
    assert "account the stated parameters (sigma 2.162) give epsilon 4.00 at delta 0.00001" in flat
    assert "power a true epsilon of 4.20 would be noticed 80 times in 100: 741 of 750 guesses right" in flat
    assert "plan one-run: 1,000 canaries, 200 and 750 guesses; tests B and G, each at α 0.00025 of 0.001" in flat
    row = next(line for line in text.splitlines() if line.startswith("B "))
    assert re.split(r"\s{2,}", row) == ["B", "750", "702", "741", "2.400", "2.100", "5.100", "not refuted"]
    assert "CONSISTENT: This audit could have refuted the claim and did not" in flat


def test_a_planned_claim_shows_the_plan_and_no_verdict_word() -> None:
    flat = " ".join(REPORT.render(sample_claims.planned_claim()).split())
    assert "epsilon 4, delta 0.00001" in flat
    assert "Dp-claim on gap:epsilon=4 does not apply: --power-only: nothing was run" in flat
    assert not re.search("VIOLATED|CONSISTENT|UNDERPOWERED", flat)
