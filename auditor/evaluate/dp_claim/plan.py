"""The pre-registration: everything that a verdict depends on, fixed before the first score is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from auditor.document import Audit
from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.claim import Claim
from auditor.statistics.dp import universal

Mode = Literal["one-run", "multi-run"]

SHARES: Final = (0.2, 0.75)
"""Guesses per canary, where nothing better is known of the scores: the surest fifth, and most of them."""
PROBE: Final = "dp-claim"
MAX_RUNS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before anything runs.

    Attributes:
        claim: what is tested.
        mode: `one-run` (m canaries at once) or `multi-run` (one canary, many trainings).
        m: canaries.
        sizes: numbers of guesses; in `multi-run` the one number of judged trainings.
        tests: names of the tests, each at its share of alpha.
        alpha: of the whole audit.
        runs: repeats; in `multi-run` trainings with the canary, and as many without.
        seed: of the first repeat.
        score: what is scored, larger = "in".
        canaries: sha256 of the canaries; empty where the user made them.
    """

    claim: Claim
    mode: Mode
    m: int
    sizes: tuple[int, ...]
    tests: tuple[str, ...]
    alpha: float
    runs: int
    seed: int
    score: str
    canaries: str

    @property
    def share(self) -> float:
        """Level of one test at one size in one repeat: alpha split evenly, since any of them may reject."""
        repeats = self.runs if self.mode == "one-run" else 1
        return self.alpha / (len(self.sizes) * len(self.tests) * repeats)

    @property
    def share_95(self) -> float:
        """The same split of 5 %, for the bounds that are information."""
        return 0.05 * self.share / self.alpha

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the repeats."""
        return tuple(range(self.seed, self.seed + (self.runs if self.mode == "one-run" else 1)))

    def record(self) -> dict[str, Any]:
        """Plain values for the document, with the digest that makes a later change of any of them visible."""
        own = {
            "claim": self.claim.record(),
            "mode": self.mode,
            "canaries": self.m,
            "guess_sizes": list(self.sizes),
            "tests": list(self.tests),
            "alpha": self.alpha,
            "alpha_share": self.share,
            "runs": self.runs,
            "seed": self.seed,
            "score": self.score,
            "canary_digest": self.canaries,
        }
        return {**own, "digest": digest(own)}


def make_plan(
    claim: Claim,
    *,
    mode: Mode,
    m: int,
    shares: Iterable[float] = SHARES,
    alpha: float,
    runs: int,
    seed: int,
    score: str,
    canaries: str = "",
    pure: bool = False,
) -> Plan:
    """The plan with the guess sizes of these shares; `pure` where the mechanism is known to have no Gaussian shape.

    Raises:
        ConfigError: alpha, m or runs out of range.
    """
    if not 0 < alpha < 1:
        raise ConfigError(f"--alpha is {alpha:g}; expected a level above 0 and below 1, for instance 1e-3.")
    if not 1 <= runs <= MAX_RUNS:
        raise ConfigError(f"--runs is {runs}; expected a number from 1 to {MAX_RUNS:,}.")
    if mode == "multi-run":
        if runs < 4:
            raise ConfigError(
                f"--runs is {runs}; multi-run needs at least 4 trainings with the canary: half of them set the "
                "threshold, the others are judged."
            )
        tests: tuple[str, ...] = ("multi-run",) if pure or claim.delta == 0 else ("multi-run", "multi-run G")
        return Plan(claim, mode, 1, (runs - runs // 2,), tests, alpha, runs, seed, score, canaries)
    if m < 2:
        raise ConfigError(f"--canaries is {m}; expected at least 2.")
    sizes = tuple(dict.fromkeys(min(m, max(2, round(share * m))) for share in shares))
    tests = chosen_tests(claim.delta, pure=pure)
    return Plan(claim, mode, m, sizes, tests, alpha, runs, seed, score, canaries)


def chosen_tests(delta: float, *, pure: bool = False) -> tuple[str, ...]:
    """The tests of a one-run audit: the universal one, and G where a Gaussian shape is possible.

    A pure mechanism keeps an (ε, δ) claim for every δ and has no such shape: G would reject honest ones.
    """
    return (universal(delta),) if pure or delta == 0 else (universal(delta), "G")


def digest(record: Mapping[str, Any]) -> str:
    """Sha256 (hex) over canonical JSON."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


def registered(audit: Audit) -> Mapping[str, Any]:
    """The pre-registration in a document that `--power-only` (or an audit) wrote.

    Raises:
        ConfigError: the document holds none, or it was changed since.
    """
    cells = [cell for cell in audit.cells if cell.probe == PROBE]
    if any(cell.status != "skipped" for cell in cells) or any(result.probe == PROBE for result in audit.results):
        raise ConfigError(
            "not pre-registered: the --prereg document is an audit that has seen scores. Give the audit.json that "
            '"auditor dp-claim --power-only" wrote before there were any.'
        )
    records = [cell.params.get("preregistration") for cell in cells]
    record = next((found for found in records if isinstance(found, dict)), None)
    if record is None:
        raise ConfigError(
            "not pre-registered: the --prereg document holds no pre-registration. Give the audit.json that "
            '"auditor dp-claim --power-only" wrote.'
        )
    own = {key: value for key, value in record.items() if key != "digest"}
    if record.get("digest") != digest(own):
        raise ConfigError(
            "not pre-registered: the pre-registration does not have the digest it was written with, so that something "
            "in it was changed afterwards. Write a new one with --power-only, before scores exist."
        )
    return record


def check_registered(plan: Plan, record: Mapping[str, Any]) -> None:
    """Raises ConfigError where the plan is not the registered one."""
    own = plan.record()
    other = [key for key in own if key != "digest" and own[key] != record.get(key)]
    if other:
        shown = "; ".join(f"{key} is {own[key]}, registered was {record.get(key)}" for key in other)
        raise ConfigError(
            f"not pre-registered: {shown}. Sizes and tests are chosen before scores are seen: audit with what was "
            "registered, or register anew and draw new scores."
        )
