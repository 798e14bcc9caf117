"""Audits of a claim of differential privacy, of made-up numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auditor.document import (
    Audit,
    Control,
    Estimate,
    Measured,
    Metric,
    measured,
)
from auditor.document.facts import (
    Accounted,
    Bound,
    ClaimFacts,
)
from auditor.runner.finished import Finished
from tests.reports.samples import assembled, cell, guarantee

CLAIM: dict[str, Any] = {
    "epsilon": 4.0, "delta": 1e-5, "level": "edge", "relation": "flip-pair", "access": "mechanism",
}  # fmt: skip
PLAN = {
    "claim": CLAIM,
    "mode": "one-run",
    "canaries": 1000,
    "guess_sizes": [200, 750],
    "tests": ["B", "G"],
    "alpha": 0.001,
    "alpha_share": 0.00025,
    "score": "noisy sum",
    "seed": 0,
}
POWER = {
    "rows": [
        {"test": "B", "guesses": 200, "ceiling": 4.9, "needed": 199, "detectable": 4.4},
        {"test": "B", "guesses": 750, "ceiling": 5.9, "needed": 741, "detectable": 4.2},
    ],
    "probability": 0.8,
}


def _claim_cell(numbers: Sequence[Measured] = (), **more: Any) -> Finished:
    params = {"preregistration": PLAN, "power": POWER, "mechanism": guarantee().model_dump(mode="json")}
    return cell("dp-claim", "dp", numbers, arm="gap:epsilon=4", params=params, **more)


def claim_facts(**more: Any) -> ClaimFacts:
    """A claim that no test refutes."""
    bounds = (
        Bound(test="B", guesses=750, right=702, rejected=False, lower=2.1, lower_95=2.4, needed=741, twin_lower_95=5.1),
        Bound(test="A", guesses=750, right=702, rejected=False, lower=None, lower_95=2.2, judged=False),
    )
    account = Accounted(epsilon=4.0, delta=1e-5, accountant="gaussian-exact", parameters={"sigma": 2.162})
    known = {"verdict": "CONSISTENT", "alpha": 0.00025, "size": 1000, "unit": "canaries", "ceiling": 5.9}
    return ClaimFacts(**{**known, **CLAIM, "account": account, "bounds": bounds, **more})


def claimed(**more: Any) -> Audit:
    """The audit of a claim."""
    facts = claim_facts(**more)
    lower = Metric("epsilon_lower", "epsilon", "higher", "claim")
    own = Estimate(value=2.4, lo=2.1, n=750)
    twin = Control(name="reach twin: less noise", estimate=Estimate(value=5.1))
    judged = measured(lower, own, finding="dp-claim", subset="edge", controls=[twin], judged=True, facts=facts)
    sigma = measured(Metric("noise_sigma", "ratio", "lower"), Estimate(value=2.162), finding="dp-claim", subset="edge")
    return assembled([_claim_cell([judged, sigma], access=("mechanism",))])


def planned_claim() -> Audit:
    """The pre-registration of a claim's audit: nothing was run."""
    return assembled([_claim_cell(status="skipped", reason="--power-only: nothing was run")])
