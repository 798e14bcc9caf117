"""The numbers, facts and checks of a claim's audit as the document holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from auditor.document import Control, Estimate, Limit, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Bound, ClaimFacts
from auditor.evaluate.dp_claim.claim import Claim
from auditor.evaluate.dp_claim.plan import PROBE
from auditor.evaluate.dp_claim.power import Power
from auditor.evaluate.dp_claim.question import Question
from auditor.evaluate.dp_claim.static import DISAGREEMENT, Account
from auditor.evaluate.dp_claim.testing import Audited
from auditor.evaluate.dp_claim.verdict import Verdict
from auditor.guarantee import Guarantee

REACH_TWIN: Final = "reach twin: less noise"
_TWIN: Final[Mapping[str, str]] = {
    "released": "with the noise halved",
    "mechanism": "with the noise halved",
    "posteriors": "with the noise removed",
    "scores": "in the twin given",
}
"""What the reach twin lacks, by access; `parameters` has none."""
_SIGMA: Final = Metric("noise_sigma", "ratio", "lower")
_AUC: Final = Metric("canary_auc", "auc", "higher")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about one cell.

    Attributes:
        verdict: on the claim.
        power: of the plan; None for arithmetic alone.
        run: None where the verdict needed none.
        twin: the run with less noise.
        promised: the Guarantee of the run.
        seed: of the run.
    """

    verdict: Verdict
    power: Power | None = None
    run: Audited | None = None
    twin: Audited | None = None
    promised: Guarantee | None = None
    seed: int = 0


def numbers(question: Question, seen: Seen) -> tuple[Measured, ...]:
    """The judged number, then what stands beside it."""
    claim, account, run = question.claim, question.account, seen.run
    rows = [_judged(question, seen)]
    if account is not None:
        both = (("epsilon_prv", account.prv), ("epsilon_pld", account.pld))
        named = [(f"epsilon_{account.accountant}", account.epsilon)] if account.pld is None else both
        rows += [_shown(claim, _epsilon(name), value, 1) for name, value in named]
    sigma = _sigma_of(seen.promised)
    if sigma is not None:
        rows.append(_shown(claim, _SIGMA, sigma, 1))
    if run is not None:
        for b in (*run.bounds, *run.shown):
            name = f"epsilon_lower_{b.test}".replace(" ", "_").lower()
            rows.append(_shown(claim, _epsilon(name), b.lower_95, b.guesses, f"r={b.guesses}"))
        if run.canary_auc is not None:
            rows.append(_shown(claim, _AUC, run.canary_auc, run.bounds[0].guesses))
    return tuple(rows)


def validity(question: Question, seen: Seen) -> tuple[ValidityRow, ...]:
    """The checks that say how far the audit can be believed."""
    claim, account = question.claim, question.account
    rows = [_delta_row(claim, question.units)]
    if account is not None and account.pld is not None:
        rows.append(_accountants_row(account))
    if question.plan is not None:
        text = question.registered or "no --prereg was given: the guess sizes are the default ones"
        rows.append(check("preregistered", "integrity", None if question.registered is None else True, text))
    if seen.run is not None:
        rows.append(_reach_row(claim, seen.twin))
    return tuple(rows)


def _judged(question: Question, seen: Seen) -> Measured:
    """The highest lower bound; before any run none, or the recomputed epsilon where arithmetic decides."""
    claim, plan, run = question.claim, question.plan, seen.run
    controls: tuple[Control, ...] = ()
    if run is not None:
        name, value = "epsilon_lower", run.highest.lower_95
        # the bound at alpha, which with an alpha above 5 % would lie above that at 5 %
        estimate = Estimate(value=value, lo=min(run.lower, value), n=run.highest.guesses)
        if seen.twin is not None:
            controls = (Control(name=REACH_TWIN, estimate=Estimate(value=seen.twin.highest.lower_95)),)
    elif plan is None or seen.verdict.reason == "accounting":
        assert question.account is not None
        name, estimate = "epsilon_recomputed", Estimate(value=question.account.epsilon, n=1)
    else:
        name, estimate = "epsilon_lower", Estimate(value=None, n=max(plan.sizes))
    return measured(
        Metric(name, "epsilon", "higher", "claim"),
        estimate,
        finding=PROBE,
        subset=_place(claim),
        controls=controls,
        judged=True,
        limit=Limit(name="claimed_epsilon", value=claim.epsilon),
        facts=_facts(question, seen),
    )


def _facts(question: Question, seen: Seen) -> ClaimFacts:
    claim, plan, power = question.claim, question.plan, seen.power
    stated: dict[str, Any] = {}
    if plan is not None and power is not None:
        size = plan.m if power.unit == "canaries" else plan.runs
        stated = {"alpha": plan.share, "size": size, "unit": power.unit}
        stated |= {"enough": power.enough, "ceiling": power.ceiling}
    planned, promised = question.planned, seen.promised
    changed = planned is not None and promised is not None and promised.mechanism != planned.mechanism
    return ClaimFacts(
        verdict=seen.verdict.word,
        reason=seen.verdict.reason,
        **claim.record(),
        account=None if question.account is None else question.account.record(),
        audited=promised if changed else None,
        bounds=_bounds(seen),
        **stated,
    )


def _bounds(seen: Seen) -> tuple[Bound, ...]:
    """The registered tests, then those that are only shown."""
    run, twin, power = seen.run, seen.twin, seen.power
    if run is None:
        return ()
    return tuple(
        Bound(
            test=b.test,
            guesses=b.guesses,
            right=b.right,
            rejected=b.rejected,
            lower=b.lower,
            lower_95=b.lower_95,
            needed=None if power is None else power.needed(b.test, b.guesses),
            twin_lower_95=None if twin is None else twin.lower_95(b.test, b.guesses),
            judged=judged,
            seed=seen.seed,
        )
        for bounds, judged in ((run.bounds, True), (run.shown, False))
        for b in bounds
    )


def _place(claim: Claim) -> str:
    """Part of the fingerprint: another claim on the same mechanism is another finding."""
    return f"{claim.level}/{claim.relation}, claimed {claim.epsilon:g},{claim.delta:g}"


def _epsilon(name: str) -> Metric:
    return Metric(name, "epsilon", "higher")


def _shown(claim: Claim, metric: Metric, value: float | None, n: int, subset: str = "") -> Measured:
    where = "; ".join(filter(None, (_place(claim), subset)))
    return measured(metric, Estimate(value=value, n=n), finding=PROBE, subset=where)


def _sigma_of(promised: Guarantee | None) -> float | None:
    """The noise that a Guarantee records; None without any."""
    for key in ("sigma", "nm"):
        value: Any = None if promised is None else promised.mechanism.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _delta_row(claim: Claim, units: int | None) -> ValidityRow:
    shown = f"delta = {claim.delta:g}"
    if claim.delta == 0:
        return check("delta-below-1/N", "integrity", True, "delta = 0")
    if units is None:
        return check("delta-below-1/N", "integrity", None, f"{shown}; the number of units is unknown")
    return check("delta-below-1/N", "integrity", True, f"{shown}, below 1/{units} = {1 / units:.3g}")


def _accountants_row(account: Account) -> ValidityRow:
    if account.prv is None or account.disagreement is None:
        text = f"PLD {account.pld:.4g} stands alone: PRV does not reach an epsilon as large as this"
        return check("accountants-agree", "integrity", None, text)
    text = f"PRV {account.prv:.4g}, PLD {account.pld:.4g}: {100 * account.disagreement:.2f} % apart"
    return check("accountants-agree", "integrity", account.disagreement <= DISAGREEMENT, text)


def _reach_row(claim: Claim, twin: Audited | None) -> ValidityRow:
    if twin is None:
        return check("reach", "warning", None, "reach unknown: no run with less noise was given")
    found, how = twin.rejecting, _TWIN[claim.access]
    if found is None:
        text = f"{how} no test rejects the claim (95 % bound {twin.highest.lower_95:.2f})"
    else:
        text = f"{how} test {found.test} rejects the claim ({found.right:,} of {found.guesses:,} right)"
    return check("reach", "warning", found is not None, text)
