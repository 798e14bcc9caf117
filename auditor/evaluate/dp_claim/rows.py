"""The numbers and checks of a claim's audit as the document holds them."""

from __future__ import annotations

from typing import Any

from auditor.audit import Control, Interval, Limit, Measurement, ValidityRow
from auditor.evaluate.dp_claim.claim import TWIN_WORDS, Claim
from auditor.evaluate.dp_claim.plan import PROBE, Plan
from auditor.evaluate.dp_claim.static import DISAGREEMENT, Account
from auditor.evaluate.dp_claim.testing import Audited
from auditor.evaluate.dp_claim.verdict import Verdict
from auditor.guarantee import Guarantee

TOUCHES = (PROBE,)


def measurements(
    claim: Claim,
    verdict: Verdict,
    *,
    plan: Plan | None = None,
    account: Account | None = None,
    run: Audited | None = None,
    twin: Audited | None = None,
    sigma: float | None = None,
) -> tuple[Measurement, ...]:
    """The primary number, then what stands beside it."""
    if run is None and (plan is None or verdict.reason == "accounting"):
        primary = _number(claim, "epsilon_recomputed", None if account is None else account.epsilon, 1, verdict)
    elif run is None:
        assert plan is not None
        primary = _number(claim, "epsilon_lower", None, max(plan.sizes), verdict)
    else:
        primary = _epsilon_lower(claim, verdict, run, twin)
    rows = [primary]
    if account is not None:
        both = (("epsilon_prv", account.prv), ("epsilon_pld", account.pld))
        named = [(f"epsilon_{account.accountant}", account.epsilon)] if account.pld is None else both
        rows += [_beside(claim, name, value, 1) for name, value in named if name != primary.name]
    if sigma is not None:
        rows.append(_beside(claim, "noise_sigma", sigma, 1, higher_is_worse=False))
    if run is not None:
        rows += [
            _beside(claim, f"epsilon_lower_{b.test}".replace(" ", "_").lower(), b.lower_95, b.guesses, f"r={b.guesses}")
            for b in (*run.bounds, *run.shown)
        ]
        if run.canary_auc is not None:
            rows.append(_beside(claim, "canary_auc", run.canary_auc, sum(b.guesses for b in run.bounds[:1])))
    return tuple(rows)


def _place(claim: Claim) -> str:
    """Part of the fingerprint: another claim on the same mechanism is another finding."""
    return f"{claim.level}/{claim.relation}, claimed {claim.epsilon:g},{claim.delta:g}"


def _number(claim: Claim, name: str, value: float | None, n: int, verdict: Verdict) -> Measurement:
    return Measurement(
        name=name,
        subset=_place(claim),
        finding=PROBE,
        value=value,
        ci=None,
        control=None,
        advantage=None,
        n=n,
        direction="higher_is_worse",
        scale="claim",
        limit=Limit(name="claimed_epsilon", value=claim.epsilon),
        primary=True,
        text=verdict.sentence,
        notes={"verdict": verdict.word, "reason": verdict.reason},
    )


def _epsilon_lower(claim: Claim, verdict: Verdict, run: Audited, twin: Audited | None) -> Measurement:
    highest = run.highest
    control = None if twin is None else Control(name="reach twin: less noise", value=twin.highest.lower_95)
    own = _number(claim, "epsilon_lower", highest.lower_95, highest.guesses, verdict)
    return own.model_copy(update={"ci": Interval(lo=run.lower, hi=None), "control": control})


def _beside(
    claim: Claim, name: str, value: float | None, n: int, subset: str = "", *, higher_is_worse: bool = True
) -> Measurement:
    return Measurement(
        name=name,
        subset="; ".join(filter(None, (_place(claim), subset))),
        finding=PROBE,
        value=value,
        ci=None,
        control=None,
        advantage=None,
        n=n,
        direction="higher_is_worse" if higher_is_worse else "lower_is_worse",
        scale="other",
    )


def validity(
    claim: Claim,
    *,
    account: Account | None,
    units: int | None,
    registered: str | None,
    twin: Audited | None,
    ran: bool,
) -> tuple[ValidityRow, ...]:
    """The checks that say how far the audit can be believed.

    Args:
        claim: what was audited.
        account: the recomputed epsilon.
        units: what delta is judged by; None when nobody said.
        registered: how the plan was fixed before scores; None when it was not; empty where nothing is run.
        twin: the reach twin.
        ran: whether scores were seen.
    """
    rows = [_delta_row(claim, units)]
    if account is not None and account.pld is not None:
        rows.append(_accountants_row(account))
    if registered is None:
        rows.append(
            _row(
                "preregistered",
                "integrity",
                "not_checked",
                "no --prereg was given: the guess sizes are the default ones",
            )
        )
    elif registered:
        rows.append(_row("preregistered", "integrity", "pass", registered))
    if ran:
        rows.append(_reach_row(claim, twin))
    return tuple(rows)


def sigma_of(planned: Guarantee | None) -> float | None:
    """The noise that a planned Guarantee records; None without any."""
    for key in ("sigma", "nm"):
        value: Any = None if planned is None else planned.mechanism.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _delta_row(claim: Claim, units: int | None) -> ValidityRow:
    if claim.delta == 0:
        return _row("delta-below-1/N", "integrity", "pass", "delta = 0")
    if units is None:
        return _row(
            "delta-below-1/N", "integrity", "not_checked", f"delta = {claim.delta:g}; the number of units is unknown"
        )
    return _row("delta-below-1/N", "integrity", "pass", f"delta = {claim.delta:g}, below 1/{units} = {1 / units:.3g}")


def _accountants_row(account: Account) -> ValidityRow:
    if account.prv is None or account.disagreement is None:
        text = f"PLD {account.pld:.4g} stands alone: PRV does not reach an epsilon as large as this"
        return _row("accountants-agree", "integrity", "not_checked", text)
    text = f"PRV {account.prv:.4g}, PLD {account.pld:.4g}: {100 * account.disagreement:.2f} % apart"
    status = "pass" if account.disagreement <= DISAGREEMENT else "fail"
    return _row("accountants-agree", "integrity", status, text)


def _reach_row(claim: Claim, twin: Audited | None) -> ValidityRow:
    if twin is None:
        return _row("reach", "warning", "not_checked", "reach unknown: no run with less noise was given")
    found, how = twin.rejecting, TWIN_WORDS[claim.access]
    if found is None:
        text = f"{how} no test rejects the claim (95 % bound {twin.highest.lower_95:.2f})"
        return _row("reach", "warning", "warn", text)
    text = f"{how} test {found.test} rejects the claim ({found.right:,} of {found.guesses:,} right)"
    return _row("reach", "warning", "pass", text)


def _row(id_: str, kind: Any, status: Any, evidence: str) -> ValidityRow:
    return ValidityRow(id=id_, kind=kind, status=status, evidence=evidence, touches=TOUCHES)
