"""What audits of simulated mechanisms show, beside what the mechanisms really are (`python -m benchmarks.dp_audits`).

One audit: m canaries in or out by fair coins, one release, r guesses, one lower bound. EdgeRand releases each canary's
bit through randomised response and is audited by `one-run` with r = m at δ = 0. A Gaussian release adds noise to one
coordinate a canary and is audited at δ = 1e-5 with the .05 m surest guesses by `A` (any mechanism) and `G` (given its
shape), each at half of α. Lower bounds are at 95 %, verdicts at α = 1e-3. Seeds are (row of its table, audit).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from auditor.statistics import dp
from auditor.statistics.accounting import epsilon_of_mu, mu_of
from auditor.statistics.intervals import wilson

ALPHA, DELTA, GUESSED = 1e-3, 1e-5, 0.05
Release = Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.float64]]


@dataclass(frozen=True)
class Row:
    """A mechanism, what it claims and what it is."""

    name: str
    claim: float
    true: float
    m: int
    release: Release


def edge_rand(name: str, claim: float, flip: float, m: int) -> Row:
    """Randomised response that flips with probability `flip`: its true ε is logit(1 − flip)."""
    return Row(name, claim, float(logit(1 - flip)), m, lambda bits, rng: (bits ^ (rng.random(m) < flip)).astype(float))


def gaussian(name: str, claim: float, noise: float, m: int) -> Row:
    """A Gaussian release with `noise` times the standard deviation that its claim needs."""
    mu = mu_of(claim, DELTA) / noise
    return Row(name, claim, epsilon_of_mu(mu, DELTA), m, lambda bits, rng: rng.standard_normal(m) + mu * bits)


def right_guesses(row: Row, r: int, audits: int, stream: int) -> list[int]:
    """Right guesses of each audit."""
    found = []
    for seed in range(audits):
        rng = np.random.default_rng((stream, seed))
        included = rng.random(row.m) < 0.5
        found.append(dp.correct_guesses(included, row.release(included, rng), r, rng=rng))
    return found


def bounds(test: dp.OneRunTest, row: Row, r: int, right: list[int], delta: float) -> str:
    """Mean and range of the 95 % lower bounds."""
    known = {v: dp.lower_bound(test, row.m, r, v, delta, 0.05) for v in set(right)}
    values = [known[v] for v in right]
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def rejected(test: dp.OneRunTest, row: Row, r: int, right: list[int], delta: float, alpha: float) -> str:
    """Audits that reject the claim, and the 95 % interval of their share."""
    v_star = dp.smallest_rejecting(test, row.claim, delta, row.m, r, alpha)
    if v_star is None:
        return "cannot reject"
    hits = sum(v >= v_star for v in right)
    low, high = wilson(hits, len(right))
    return f"{hits} of {len(right)} [{low:.3f}, {high:.3f}]"


def report_edge_rand(audits: int) -> None:
    """Honest EdgeRand at four claims, and two bugs at claim 4."""
    m = 10_000
    rows = [edge_rand("honest", claim, float(expit(-claim)), m) for claim in (1.0, 2.0, 4.0, 8.0)]
    rows.append(edge_rand("half the flip rate", 4.0, float(expit(-4.0)) / 2, m))
    rows.append(edge_rand("doubled budget", 4.0, float(expit(-8.0)), m))
    print(f"\n## EdgeRand, m = r = {m}, δ = 0, one-run, {audits} audits\n")
    print("| mechanism | claim | true ε | 95 % bound: mean [range] | above the claim at 95 % | VIOLATED, α = 1e-3 |")
    print("|---|---|---|---|---|---|")
    for stream, row in enumerate(rows):
        right = right_guesses(row, m, audits, stream)
        print(
            f"| {row.name} | {row.claim:g} | {row.true:.2f} | {bounds('one-run', row, m, right, 0.0)} | "
            f"{rejected('one-run', row, m, right, 0.0, 0.05)} | {rejected('one-run', row, m, right, 0.0, ALPHA)} |",
            flush=True,
        )


def report_gaussian(audits: int) -> None:
    """Honest Gaussian releases and ones with half their noise, at two sizes."""
    print(f"\n## Gaussian release, r = {GUESSED:g} m, δ = {DELTA:g}, {audits} audits\n")
    print("| mechanism | m | claim | true ε | 95 % bound of G: mean [range] | of A | VIOLATED by G | by A |")
    print("|---|---|---|---|---|---|---|---|")
    rows = [
        gaussian(name, claim, noise, m)
        for m in (10_000, 40_000)
        for claim in (1.0, 4.0)
        for name, noise in (("honest", 1.0), ("half the noise", 0.5))
    ]
    for stream, row in enumerate(rows):
        r = round(GUESSED * row.m)
        right = right_guesses(row, r, audits, stream)
        shown = [bounds(test, row, r, right, DELTA) for test in ("G", "A")]
        shown += [rejected(test, row, r, right, DELTA, ALPHA / 2) for test in ("G", "A")]
        print(f"| {row.name} | {row.m} | {row.claim:g} | {row.true:.2f} | {' | '.join(shown)} |", flush=True)


def report_power() -> None:
    """What an audit of each size could see at best."""
    print("\n## Before any training: canaries that could reject a claim at α = 1e-3 if every guess is right\n")
    print("| claim | one-run, δ = 0, r = m | A, δ = 1e-5, r = .2 m | G, δ = 1e-5, r = .05 m |")
    print("|---|---|---|---|")
    settings: tuple[tuple[dp.OneRunTest, float, float], ...] = (
        ("one-run", 0.0, 1.0),
        ("A", DELTA, 0.2),
        ("G", DELTA, 0.05),
    )
    for claim in (1.0, 2.0, 4.0, 8.0):
        enough = [dp.enough_canaries(test, claim, delta, share, ALPHA) for test, delta, share in settings]
        print(f"| {claim:g} | " + " | ".join("none up to 1e6" if m is None else f"{m}" for m in enough) + " |")


def main() -> None:
    """Runs every audit and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=200, help="audits of each mechanism (default: 200)")
    audits = parser.parse_args().audits
    report_edge_rand(audits)
    report_gaussian(audits)
    report_power()


if __name__ == "__main__":
    main()
